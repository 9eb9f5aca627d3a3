"""`bncheck targets`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Any

from ..support.terminal import complain, unwritable
from ..targets.adapters.built_in import BUILT_IN, ORDERS, BuiltIn
from ..targets.adapters.installed import missing, version_of


def add_targets_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck targets`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the list there as well")


def run_targets(args: argparse.Namespace) -> int:
    """List the named targets; 0, whatever is installed."""
    from ..run.text import write_json

    path = args.json
    if wrong := unwritable(path):
        return complain(wrong)
    rows = [*(row(name, built_in) for name, built_in in BUILT_IN.items()), *_third_party()]
    print("\n".join(table(rows)))
    if path is not None:
        try:
            write_json(path, {"bncheck": version("bncheck"), "targets": rows})
        except OSError as error:
            print(f"bncheck: --json={path}: {error.strerror or error}", file=sys.stderr)
            return 2
    return 0


def row(name: str, built_in: BuiltIn) -> dict[str, Any]:
    """Return what there is to know of a built-in target, without importing it."""
    from packaging.requirements import Requirement

    needs = {Requirement(need).name: version_of(need) for need in built_in.needs or ("bncheck",)}
    problem = missing(built_in)
    return {
        "name": name,
        "says": built_in.says,
        "installed": not problem,
        "versions": {need: found for need, found in needs.items() if found is not None},
        "problem": problem,
        "install": f"pip install {built_in.pip}" if built_in.pip else "",
        "extra": built_in.extra,
        "orders": [f"{name}:{order}" for order in ORDERS] if built_in.differentiates else [],
    }


def _third_party() -> Iterator[dict[str, Any]]:
    for point in entry_points(group="bncheck.targets"):
        if point.name not in BUILT_IN:
            yield _registered(point)


def _registered(point: EntryPoint) -> dict[str, Any]:
    """Return the same of a target that another distribution registers."""
    dist = point.dist
    versions = {dist.name: dist.version} if dist is not None else {}
    rest = {"problem": "", "install": "", "extra": "", "orders": []}
    return {
        "name": point.name, "says": point.value, "installed": True, "versions": versions, **rest
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the list: what is here, what is missing, and the orders of modes."""
    widths = [max(len(r[key]) for r in rows) for key in ("name", "says")]
    for r in rows:
        versions = " ".join(f"{name} {found}" for name, found in r["versions"].items())
        state = versions if r["installed"] else f"- {r['problem']}; try: {r['install']}"
        yield f"{r['name']:{widths[0]}}  {r['says']:{widths[1]}}  {state}".rstrip()
    installed = sum(r["installed"] for r in rows)
    differentiating = ", ".join(r["name"] for r in rows if r["orders"])
    yield f"\n{installed} of {len(rows)} installed; run one with: bncheck run NAME"
    yield "The second derivative by its order of modes is a target of its own, NAME:ORDER, with"
    yield f"NAME out of {differentiating}; ORDER out of {', '.join(ORDERS)}"

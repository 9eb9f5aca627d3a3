"""`bncheck probe`: how batch norms behave, found out from the outside."""

from __future__ import annotations

import argparse
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..model.contract import TargetError
from ..probe.migration import lines
from ..probe.portrait import Portrait, as_json, probe
from ..probe.table import migrations, pairs, table
from ..run.text import versions, write_json
from ..support.argument_types import STYLE, positive, seconds, seed_number
from ..support.signals import status_of, terminable
from ..support.terminal import clear, complain, show, unwritable
from ..targets.isolate.limits import Limits
from ..targets.open import open_target
from ..targets.styles import styled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck probe`."""
    parser.add_argument("target", nargs="+", metavar="TARGET", help="one, or several side by side")
    parser.add_argument("--style", **STYLE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("-v", "--verbose", action="store_true", help="how sure, in figures")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="of all data (0)")
    parser.add_argument(
        "--up-to", type=positive, default=2**20, metavar="N",
        help="grade up to so many values per statistic (1048576)",
    )  # fmt: skip
    parser.add_argument(
        "--in-process", action="store_true", help="call targets here, not in their own processes"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="per call (60)"
    )
    parser.add_argument(
        "--memory", type=positive, default=4096, metavar="MB", help="that calls may take (4096)"
    )


def run(args: argparse.Namespace) -> int:
    """Probe each target; 0 all were probed, 2 one could not be, 130 or 143 cut short."""
    if wrong := unwritable(args.json):
        return complain(wrong)
    if args.up_to < 16:
        return complain(f"--up-to={args.up_to}: expected at least 16, the least that is graded")
    try:
        specs = [styled(args.style, spec) for spec in args.target]
    except TargetError as error:
        return complain(str(error))
    portraits: list[Portrait] = []
    status = 0
    with terminable():
        try:
            for spec in dict.fromkeys(specs):
                portraits.append(Portrait(spec))
                status = max(status, _one(portraits[-1], args))
        except KeyboardInterrupt as stop:
            status = status_of(stop)
    clear()
    shown = [portrait for portrait in portraits if not portrait.error]
    if any(portrait.answers for portrait in shown):
        print(table(shown, shutil.get_terminal_size((120, 24)).columns, args.verbose))
        print("\n".join(migrations(shown)), end="\n" if len(shown) > 1 else "")
    if status > 128:
        print("interrupted; this is what had been found")
    return _written(args, portraits) or status


def _one(portrait: Portrait, args: argparse.Namespace) -> int:
    """Probe one target into its portrait; a target that does not load is one line."""
    _tick(portrait.spec)("loading")
    try:
        with open_target(
            portrait.spec, Limits(args.timeout, args.memory, args.in_process)
        ) as target:
            probe(target, portrait, seed=args.seed, up_to=args.up_to, tick=_tick(portrait.spec))
    except TargetError as error:
        clear()
        portrait.error = str(error)
        return complain(str(error))
    return 0


def _tick(spec: str) -> Any:
    def tick(text: str) -> None:
        show(f"{spec}: {text}")

    return tick


def document(portraits: list[Portrait], seed: int) -> dict[str, Any]:
    """Return the JSON of several portraits, with what to change between each two."""
    known = [portrait for portrait in portraits if not portrait.error]
    return {
        "bncheck": version("bncheck"),
        "versions": versions(),
        "seed": seed,
        "complete": all(portrait.complete for portrait in known),
        "targets": [as_json(portrait) for portrait in portraits],
        "migrations": [
            {"from": a.spec, "to": b.spec, "change": lines(a, b)} for a, b in pairs(known)
        ],
    }


def _written(args: argparse.Namespace, portraits: list[Portrait]) -> int:
    if args.json is None:
        return 0
    try:
        write_json(args.json, document(portraits, args.seed))
    except OSError as error:
        return complain(f"--json={args.json}: {error.strerror or error}")
    return 0

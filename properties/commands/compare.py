"""`bncheck compare`: one batch norm carried from a target to another."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..model.contract import DTYPES, TargetError
from ..probe.compare import Comparison, compare
from ..run.text import versions, write_json
from ..support.argument_types import add_limits
from ..support.signals import status_of, terminable
from ..support.terminal import complain, unwritable
from ..targets.isolate.limits import Limits
from ..targets.open import open_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck compare`."""
    parser.add_argument("one", metavar="A", help="a target, as bncheck run takes it")
    parser.add_argument("other", metavar="B", help="the target that its numbers are carried to")
    parser.add_argument(
        "--as-is", action="store_true", help="copy momentum as a number, whatever it means in B"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="", metavar="NAME", help="of all arrays (float32)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Compare; 0 they agree, 1 they differ, 2 the command is wrong, 130 interrupted."""
    if wrong := unwritable(args.json):
        return complain(wrong)
    limits = Limits(args.timeout, args.memory, args.in_process)
    with terminable(), ExitStack() as stack:
        try:
            opened = [stack.enter_context(open_target(s, limits)) for s in (args.one, args.other)]
            found = compare(opened[0], opened[1], args.as_is, args.dtype)
        except TargetError as error:
            return complain(str(error))
        except KeyboardInterrupt as stop:
            return status_of(stop)
    if args.json is not None:
        try:
            write_json(args.json, document(args.one, args.other, found))
        except OSError as error:
            return complain(f"--json={args.json}: {error.strerror or error}")
    print(text(args.one, args.other, found))
    return 1 if found.differing else 0


def text(one: str, other: str, found: Comparison) -> str:
    """Return what was compared, a line per quantity, the reason, and the verdict."""
    a, b = found.given
    ranks = ", ".join(f"{rank}-D" for rank in found.ranks)
    numbers = (("eps", a.eps, b.eps), ("momentum", a.momentum, b.momentum))
    told = (
        f"{name}={x:g}" if x == y else f"{name}={x:g} in {one}, {y:g} in {other}"
        for name, x, y in numbers
    )
    lines = [
        f"{one} -> {other}: {found.dtype}; {ranks}; {'; '.join(told)}",
        f"{'quantity':<29} {'difference':>10} {'allowed':>10}",
    ]
    for gap in found.gaps:
        verdict = "" if gap.same else "  differs"
        lines.append(f"{gap.quantity:<29} {gap.difference:>10.3g} {gap.allowed:>10.3g}{verdict}")
    lines += [f"not in both: {', '.join(found.missing)}"] if found.missing else []
    if not found.differing:
        return "\n".join([*lines, f"SAME: {len(found.gaps)} quantities agree"])
    lines += [f"why: {reason}" for reason in found.why]
    lines.append(
        "once that is taken into account all of it agrees"
        if found.why
        else "no convention explains it; bncheck run says of each whether it is right"
    )
    return "\n".join([*lines, f"DIFFER: {len(found.differing)} of {len(found.gaps)} quantities"])


def document(one: str, other: str, found: Comparison) -> dict[str, Any]:
    """Return it as JSON, numbers that are not finite as texts."""
    given = zip(("from", "to"), (one, other), found.given, strict=True)
    return {
        "bncheck": version("bncheck"),
        "versions": versions(),
        **{key: {"target": spec, **asdict(numbers)} for key, spec, numbers in given},
        "dtype": found.dtype,
        "ndim": list(found.ranks),
        "verdict": "differ" if found.differing else "same",
        "quantities": [
            {
                "name": gap.quantity,
                "difference": _number(gap.difference),
                "allowed": _number(gap.allowed),
                "same": gap.same,
            }
            for gap in found.gaps
        ],
        "not_in_both": list(found.missing),
        "why": list(found.why),
    }


def _number(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)

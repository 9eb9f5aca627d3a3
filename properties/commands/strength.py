"""`bncheck strength`: how many known gradient bugs one loss can show."""

from __future__ import annotations

import argparse
import re

from ..support.argument_types import number, seed_number
from ..support.terminal import complain


def _shape(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,4})\s*,\s*(\d{1,4})\s*", text)
    if not found or not int(found[1]) >= 2 or not int(found[2]) >= 1 or _size(found) > 4096:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected n,c with n at least 2, c at least 1 and at most 4096 numbers"
        )
    return int(found[1]), int(found[2])


def _size(found: re.Match[str]) -> int:
    return int(found[1]) * int(found[2])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck strength`."""
    parser.add_argument("--loss", required=True, metavar="FORMULA", help="in y, w and t: sum(y**2)")
    parser.add_argument("--shape", type=_shape, default=(8, 3), metavar="N,C", help="of x (8,3)")
    parser.add_argument("--rtol", type=number, default=1e-3, metavar="R", help="(1e-3)")
    parser.add_argument("--atol", type=number, default=0.0, metavar="A", help="(0)")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="(0)")
    parser.add_argument("--plain", action="store_true", help="gamma is 1 and beta is 0")


def run(args: argparse.Namespace) -> int:
    """Say which bugs the loss shows, and a better one; 0 all are shown, 1 not, 2 no loss."""
    from ..exam.strength import NotALoss, better, strength

    for name in ("rtol", "atol"):
        if not 0 <= getattr(args, name) < float("inf"):
            return complain(f"--{name}={getattr(args, name)}: expected a number of at least 0")
    try:
        found = strength(args.loss, args.shape, args.rtol, args.atol, args.seed, args.plain)
    except NotALoss as error:
        return complain(str(error))
    total = len(found.seen) + len(found.missed)
    print(f"{found.loss}: shows {len(found.seen)} of {total} gradient bugs")
    if found.missed:
        print(f"  misses {', '.join(found.missed)}")
        best = better(args.shape, args.rtol, args.atol, args.seed, args.plain)
        if len(best.seen) > len(found.seen):
            print(f"better: {best.loss}: {len(best.seen)} of {total}, w and t drawn once")
            if best.missed:
                print(f"  misses {', '.join(best.missed)}")
    return 1 if found.missed else 0

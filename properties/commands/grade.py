"""`bncheck grade`: a verdict for machines, as JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys

from ..grade.grading import Asked, grade
from ..grade.submission import put_on, spec_of
from ..model.contract import FUNCTIONS, LAYER
from ..support.argument_types import add_bounds, positive, seconds, seed_of_64_bits
from ..support.signals import status_of, terminable
from ..support.terminal import complain, nearest
from ..targets.isolate.limits import Limits

STATUS = {"pass": 0, "fail": 1, "refused": 2, "undecided": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck grade`."""
    parser.add_argument("submission", metavar="SUBMISSION", help="a target, as for run")
    parser.add_argument(
        "--budget", type=seconds, default=30.0, metavar="SECONDS", help="for the search (30)"
    )
    parser.add_argument(
        "--seed", type=seed_of_64_bits, metavar="N", help="64 bits; drawn where left out"
    )
    parser.add_argument(
        "--steps", type=positive, default=0, metavar="N",
        help="as many steps as another grade took, whatever the time: it is replayed exactly",
    )  # fmt: skip
    parser.add_argument(
        "--require", default="", metavar="NAMES",
        help="functions that have to be offered, with commas: forward_eval,backward_train",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu",
        help="where tensors of PyTorch and kernels in Triton are put (cpu: by its interpreter)",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="deviations at an edge are failures")
    parser.add_argument(
        "--quick", action="store_true", help="tell a failure as it is found: not small, no cause"
    )
    add_bounds(parser)


def run(args: argparse.Namespace) -> int:
    """Grade a submission; the exit status is that of `bncheck run`."""
    require = [name for name in args.require.split(",") if name]
    for name in require:
        if name not in (*FUNCTIONS, *LAYER):
            hint = nearest(name, [*FUNCTIONS, *LAYER], cutoff=0.3)
            return complain(f"--require={name}: expected functions of the contract{hint}")
    asked = Asked(
        put_on(spec_of(args.submission), args.device),
        secrets.randbits(64) if args.seed is None else args.seed,
        args.budget,
        args.steps,
        require,
        args.strict,
        args.quick,
        Limits(args.timeout, args.memory),
    )
    with terminable():
        try:
            with contextlib.redirect_stdout(sys.stderr):
                told = grade(asked)
        except KeyboardInterrupt as stop:
            return status_of(stop)
    print(json.dumps(told, indent=1, allow_nan=False))
    return STATUS[told["verdict"]]

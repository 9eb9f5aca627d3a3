"""The command `bncheck experiment`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..support.argument_types import positive, seed_number
from ..support.signals import interrupts_ignored, status_of, terminable
from ..support.terminal import clear, complain, show
from ..support.writing import write_whole

if TYPE_CHECKING:
    from ..experiment.claims import Design
    from ..experiment.training import Curve, Setting


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value


def _several(text: str) -> int:
    value = positive(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"{text!r}: expected at least 2, an interval needs two")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck experiment`."""
    out = Path("bncheck-experiment")
    add = parser.add_argument
    add("--out", type=Path, default=out, metavar="DIR", help=f"where the figures go ({out})")
    add("--seeds", type=_several, default=5, metavar="K", help="runs of each kind (5)")
    add("--steps", type=positive, default=500, metavar="N", help="of gradient descent (500)")
    add("--rate", type=_positive_number, default=0.01, metavar="R", help="learning rate (0.01)")
    add("--eps", type=_positive_number, default=1e-5, metavar="E", help="of batch norm (1e-5)")
    add("--jobs", type=positive, metavar="N", help="processes (all cores)")
    add("--seed", type=seed_number, default=0, metavar="N", help="of all that is drawn (0)")
    text = "images x (n, ...) and classes t (n,) (scikit-learn's digits)"
    add("--data", type=Path, metavar="FILE.npz", help=text)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(args: argparse.Namespace) -> int:
    """Train, draw and tell; 0 done, 2 bad input, 130 interrupted, what was done being kept."""
    from ..experiment.claims import Design
    from ..experiment.figures import NoMatplotlib, pyplot
    from ..experiment.images import BadImages, digits, from_file
    from ..experiment.training import Plan

    plan = Plan(steps=args.steps, eps=args.eps, seed=args.seed)
    if args.steps < plan.epoch:
        return complain(f"--steps={args.steps}: expected at least {plan.epoch}")
    try:
        pyplot()
        images = from_file(args.data) if args.data else digits()
    except (BadImages, NoMatplotlib) as error:
        return complain(str(error))
    try:
        args.out.mkdir(exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        return complain(f"--out={args.out}: {why}; expected a folder in one that exists")
    source = str(args.data) if args.data else "scikit-learn's handwritten digits"
    design = Design(images, source, plan, args.rate, args.seeds)
    curves, planned, cut = _trained(design, args.jobs or _cores())
    if not curves:
        return cut
    with interrupts_ignored():
        return _tell(design, curves, planned, args.out) or cut


def _trained(design: Design, jobs: int) -> tuple[dict[Setting, Curve], int, int]:
    """Return the curves that were done, how many there should be, and the status if cut short."""
    from ..experiment import training

    curves: dict[Setting, Curve] = {}
    planned, shown, cut = len(design.first()) + 3 * design.seeds, -1, 0

    def tick(setting: Setting, curve: Curve) -> None:
        nonlocal shown
        curves[setting] = curve
        text = f"{len(curves)} of {planned} runs"
        show(text)
        if not sys.stderr.isatty() and 10 * len(curves) // planned > shown:
            shown = 10 * len(curves) // planned
            print(text, file=sys.stderr, flush=True)

    try:
        with terminable():
            training.sweep(design.images, design.plan, design.first(), jobs, tick)
            faster = design.faster(curves)
            planned = len(design.first()) + len(faster)
            training.sweep(design.images, design.plan, faster, jobs, tick)
    except KeyboardInterrupt as error:
        cut = status_of(error)
    clear()
    if cut:
        kept = f"{len(curves)} of {planned} runs are kept"
        kept = kept if curves else "no run was done, nothing is written"
        print(f"bncheck: interrupted; {kept}", file=sys.stderr, flush=True)
    return curves, planned, cut


def _tell(design: Design, curves: dict[Setting, Curve], planned: int, out: Path) -> int:
    from ..experiment import page
    from ..experiment.figures import draw

    files = draw(design, curves) | page.files(design, curves, planned)
    try:
        for name, content in sorted(files.items()):
            write_whole(out / name, content)
    except OSError as error:
        return complain(f"--out={out}: {error.strerror or error}")
    for claim in page.claims(design, curves):
        print(claim)
    print(f"written to {out}: {', '.join(sorted(files))}")
    return 0

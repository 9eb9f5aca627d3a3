"""The command `bncheck experiment`."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..support.argument_types import positive, seed_number
from ..support.terminal import clear, complain, show
from ..support.writing import write_whole

if TYPE_CHECKING:
    from ..experiment.schedule import Design
    from ..experiment.training import Curve


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


class _Cut(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived, the first of them; those that follow are ignored."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


@contextmanager
def _cut_once() -> Iterator[None]:
    """Raise _Cut at the first SIGINT or SIGTERM, and let nothing disturb what follows it."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def handler(number: int, _: Any) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise _Cut(number)

    for number in numbers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def run(args: argparse.Namespace) -> int:
    """Train, draw and tell; 0 done, 2 bad input, 130 interrupted, what was done being kept."""
    from ..experiment.figures import NoMatplotlib, pyplot
    from ..experiment.images import BadImages, digits, from_file
    from ..experiment.schedule import Design, weight_scales
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
    design = Design(images, source, plan, weight_scales(), args.rate, args.seeds)
    with _cut_once():
        return _Experiment(design, args.jobs or _cores(), args.out).all()


class _Experiment:
    """The runs, as they are done, and what is told of them, also when they are cut short."""

    def __init__(self, design: Design, jobs: int, out: Path) -> None:
        self.design, self.jobs, self.out = design, jobs, out
        self.curves: list[Curve] = []
        self.planned, self.shown = 0, -1

    def all(self) -> int:
        from ..experiment.sweep import sweep

        cut = 0
        try:
            for settings, planned in self.design.stages(self.curves):
                self.planned = planned
                sweep(self.design.images, self.design.plan, settings, self.jobs, self._tick)
        except _Cut as error:
            cut = error.status
        clear()
        if cut:
            kept = f"{len(self.curves)} of {self.planned} runs are kept"
            kept = kept if self.curves else "no run was done, nothing is written"
            print(f"bncheck: interrupted; {kept}", file=sys.stderr, flush=True)
        if not self.curves:
            return cut
        return self._tell(cut)

    def _tick(self, curve: Curve) -> None:
        self.curves.append(curve)
        done = len(self.curves)
        text = f"{done} of {self.planned} runs"
        show(text)
        if not sys.stderr.isatty() and 10 * done // self.planned > self.shown:
            self.shown = 10 * done // self.planned
            print(text, file=sys.stderr, flush=True)

    def _tell(self, cut: int) -> int:
        from ..experiment.figures import draw
        from ..experiment.schedule import findings
        from ..experiment.text import count_claim, csv_files, markdown, race_claim

        found = findings(self.design, self.curves, self.planned)
        t = self.design.images.held_t
        chance = float((t[:, None] == t).mean(axis=1).max())
        files = draw(found.runs, found.plan, self.design.scales, found.rate, chance)
        files |= {**csv_files(found), "experiment.md": markdown(found).encode()}
        try:
            for name, content in sorted(files.items()):
                write_whole(self.out / name, content)
        except OSError as error:
            return complain(f"--out={self.out}: {error.strerror or error}")
        if found.scales:
            print(count_claim(found.scales))
        for race in found.races:
            print(race_claim(race, found.plan))
        print(f"written to {self.out}: {', '.join(sorted(files))}")
        return cut

"""`bncheck report`: every installed target judged, in a given time, on one page."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
import time
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from ..model.contract import TargetError
from ..report.children import Children
from ..report.environments import Place, asked, places
from ..report.gather import Gathering
from ..report.stages import Plan
from ..report.target_results import TargetResults, results_of
from ..support.argument_types import positive, seed_number
from ..support.signals import status_of, terminable
from ..support.terminal import clear, complain, show

MINUTES = 9.0


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of minutes above 0")
    return value


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck report`."""
    add = parser.add_argument
    add("target", nargs="*", metavar="TARGET", help="(default: all that are installed)")
    text = "write report.html and report.md there"
    add("--out", type=Path, required=True, metavar="DIR", help=text)
    text = "per invariant, as far as the time goes (100)"
    add("--examples", type=positive, default=100, metavar="N", help=text)
    add("--seed", type=seed_number, default=0, metavar="N", help="of all that is drawn (0)")
    add("--jobs", type=positive, metavar="N", help="targets at a time (as many as there are cores)")
    text = "an interpreter with bncheck and further targets; may be repeated"
    add("--python", action="append", default=[], metavar="PATH", help=text)
    text = f"for all of it ({MINUTES:g})"
    add("--minutes", type=_minutes, default=MINUTES, metavar="M", help=text)
    add("--resume", action="store_true", help="take all that DIR/data holds, of any version")


def run_report(args: argparse.Namespace) -> int:
    """Judge and write; 0 a report was written, 1 nothing could be judged, 2 bad input, 130 cut."""
    from ..report.plots import available

    out: Path = args.out
    try:
        available()
        if not out.resolve().parent.is_dir() or (out.exists() and not out.is_dir()):
            raise TargetError(f"--out={out}: expected a folder, or a name in one that exists")
        out.mkdir(exist_ok=True)
    except (TargetError, OSError) as error:
        return complain(str(error))
    with terminable():
        try:
            return _Report(args).all()
        except TargetError as error:
            return complain(str(error))
        except OSError as error:
            return complain(f"--out={out}: {error.strerror or error}")


class _Report:
    """One report, from asking the environments to its two files."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.begun = time.monotonic()
        self.plan = Plan(args.out.resolve(), args.examples, args.seed)
        self.children = Children()
        self.lock = threading.Lock()

    def all(self) -> int:
        """Judge all targets and write the report of what was found, whole or cut short."""
        cut, found = 0, []
        try:
            found = self._places()
            self._gather([place for place in found if not place.problem])
        except KeyboardInterrupt as stop:
            self.children.stop()
            cut = status_of(stop)
        clear()
        if not found:
            return cut
        targets = [results_of(self.plan, place) for place in found]
        self._write(targets, cut == 0)
        return cut or (0 if any(t.rows for t in targets) else 1)

    def _places(self) -> list[Place]:
        pythons = dict.fromkeys((sys.executable, *self.args.python))
        lists, problems = asked(pythons, self.children)
        if problems:
            raise TargetError(problems[0])
        return places(lists, self.args.target)

    def _gather(self, found: Sequence[Place]) -> None:
        args = self.args
        jobs = args.jobs or len(os.sched_getaffinity(0))
        left = 60 * args.minutes - (time.monotonic() - self.begun) - 1.5 * len(found)  # the page
        gathering = Gathering(
            self.plan, found, max(1.0, left), jobs, args.resume, self.children, self._tick
        )
        try:
            gathering.all()
        except KeyboardInterrupt:
            self.children.stop()
            gathering.wait()
            raise

    def _tick(self, text: str) -> None:
        with self.lock:
            left = max(0.0, 60 * self.args.minutes - (time.monotonic() - self.begun))
            show(f"{text}; at most {left / 60:.1f} minutes left")

    def _write(self, targets: Sequence[TargetResults], complete: bool) -> None:
        from ..corpus.files import write_whole
        from ..invariants import INVARIANTS
        from ..report.page import About, html, markdown, view

        for t in targets:
            counts = t.counts(list(INVARIANTS)) if t.rows else {}
            told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
            print(f"{t.name:<18} {t.whole:<10} {told or t.problem}")
        minutes = (time.monotonic() - self.begun) / 60
        about = About(
            version("bncheck"), date.today().isoformat(), self.args.seed, self.args.examples,
            minutes, platform.python_version(), complete,
        )  # fmt: skip
        content = view(about, targets, plots=True)
        for name, text in (("report.html", html(content)), ("report.md", markdown(content))):
            write_whole(self.plan.folder / name, text)
        whole = "" if complete else "interrupted; the same command goes on from there; "
        print(
            f"\n{whole}{self.plan.folder / 'report.html'} and report.md, in {minutes:.1f} minutes"
        )

"""`bncheck run`: check a target against the invariants."""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from ..corpus.failures import entry
from ..corpus.files import remember
from ..engine.database import absolute
from ..engine.exercise import Result
from ..invariants import INVARIANTS
from ..model.contract import TargetError
from ..run.diagnosis import Cause
from ..run.jobs import spread
from ..run.screen import heading, screen
from ..run.session import Options, Session, session
from ..run.text import (
    conventions_text,
    document,
    exit_status,
    failure_text,
    header,
    line,
    summary,
    write_json,
)
from ..support.signals import status_of, terminable
from ..support.terminal import clear, coloured, complain, nearest, show, unwritable
from ..targets import styles
from ..targets.isolate import trace
from ..targets.isolate.limits import Limits, needs_process

SWEEPS = (1, 5)  # examples of each invariant that -x shows first: most known bugs die at one


def run(args: argparse.Namespace) -> int:
    """Run the invariants; the exit status is that of the README."""
    for option, given in (("--only", args.only), ("--skip", args.skip)):
        unknown = [name for name in given if name not in INVARIANTS]
        if unknown:
            return complain(f"{option}={unknown[0]}: no such invariant{_nearest(unknown[0])}")
    if wrong := unwritable(args.json):
        return complain(wrong)
    try:
        args.target = styles.styled(args.style, args.target)
    except TargetError as error:
        return complain(str(error))
    if args.device:
        args.target = f"{args.target}@{args.device}"
    limits = Limits(args.timeout, args.memory, args.in_process)
    seed = secrets.randbelow(2**32) if args.seed is None else args.seed
    options = Options(args.target, limits, args.examples, seed, args.database, strict=args.strict)
    chosen = [name for name in INVARIANTS if not args.only or name in args.only]
    names = [name for name in chosen if name not in args.skip]
    if not names:
        return complain("--skip: it leaves no invariant; expected fewer names")
    with terminable(), ExitStack() as stack:
        try:
            held = stack.enter_context(session(options))
            return _Run(held, names, args).all()
        except TargetError as error:
            return complain(str(error))
        except KeyboardInterrupt as stop:
            return status_of(stop)


def _nearest(name: str) -> str:
    meant = nearest(name, INVARIANTS, cutoff=0.3)
    return meant or "; expected one that bncheck invariants lists"


def _report_killed_runs() -> None:
    """Name what earlier runs that were killed left of their last calls."""
    for path in trace.left():
        command = f"python -m {trace.__name__} {path}"
        print(f"bncheck: a run was killed here in a call; {command} shows it", file=sys.stderr)


@contextmanager
def _shown(text: str) -> Iterator[None]:
    """Say what is being worked out."""
    show(text)
    try:
        yield
    finally:
        clear()


class _Run:
    """Results as they come, and what is known when the run is cut short."""

    def __init__(self, held: Session, names: list[str], args: argparse.Namespace) -> None:
        self.session, self.names, self.exitfirst = held, names, args.exitfirst
        self.jobs, self.out, self.skipped = args.jobs, args.json, args.skip
        self.verbose = args.verbose
        self.target, self.options = held.target, held.options
        self.where = absolute(held.options.database)
        self.examples = held.options.examples
        self.results: list[Result] = []
        self.done = self.ticks = 0

    def all(self) -> int:
        """Run and show everything; return the exit status."""
        isolated = needs_process(self.options.spec, self.options.limits)
        if isolated:
            _report_killed_runs()
        if self.verbose:
            print(conventions_text(self.target))
            print(f"seed {self.options.seed}\n{header(self.target)}", flush=True)
        else:
            print(heading(self.target, self.options.seed), flush=True)
        cut = 0
        try:
            self._each()
        except KeyboardInterrupt as stop:
            cut = status_of(stop)
        except TargetError as error:  # a worker or a database that is lost
            clear()
            cut = complain(str(error))
        self._finish(cut != 0)
        if isolated and not cut:
            trace.clean()
        unwritten = self._write()
        self._remember()
        return cut or unwritten or exit_status(self.results)

    def _each(self) -> None:
        if self.exitfirst and self._sweep():
            return
        for _, results in self._exercised(self.options.examples):
            for result in results:
                self.results.append(result)
                self._show(result)
                if self.exitfirst and result.verdict in ("fail", "unexpected pass"):
                    return
            self.done += 1

    def _sweep(self) -> bool:
        """Show few examples to every invariant, then more; return whether one failed."""
        for examples in SWEEPS:
            if examples < self.options.examples:
                for _, results in self._exercised(examples):
                    for result in results:
                        if result.verdict == "fail":
                            self.results, self.examples = [result], examples
                            self._show(result)
                            return True
        return False

    def _exercised(self, examples: int) -> Iterator[tuple[str, list[Result] | Iterator[Result]]]:
        """Yield the results of each invariant as they come, from here or from the workers."""
        if self.jobs > 1:
            options = replace(self.options, examples=examples, database=self.where)
            for number, found in enumerate(spread(options, self.names, self.jobs), 1):
                show(f"[{number}/{len(self.names)}] {found[0]}")
                yield found
            return
        for name in self.names:
            self.ticks = 0
            yield name, self.session.results(name, examples=examples, tick=self._tick(name))

    def _tick(self, name: str) -> Callable[[], None]:
        def tick() -> None:
            self.ticks += 1
            if self.ticks % 10 == 0:
                show(f"[{self.done + 1}/{len(self.names)}] {name} {self.ticks}")

        return tick

    def _show(self, result: Result) -> None:
        if self.verbose:
            clear()
            print(line(result, self.target), flush=True)

    def _finish(self, interrupted: bool) -> None:
        clear()
        for name in self.skipped:
            print(f"skipped: {name}")
        run = self.target, self.options.seed, self.examples, self.where
        early = "stopped at the first failure; so far " if self.done < len(self.names) else ""
        early = "interrupted; so far " if interrupted else early
        if not self.verbose:
            args = self.options.seed, self.examples, self.where
            causes = self._causes()
            audit = self._audit()
            text = screen(self.target, self.results, causes, *args, early=early, audit=audit)
            print(coloured(text), flush=True)
        else:
            for result in self.results:
                if result.verdict == "fail" and result.case is not None:
                    print(f"\n{failure_text(result, *run, self.session.cause_of(result))}")
                elif result.verdict not in ("pass", "not offered"):
                    print(f"\n{result.invariant.name}: {result.verdict}: {result.message}")
            print(f"\n{early}{summary(self.results) or 'nothing'}", flush=True)
        if interrupted:
            print(self._again(), flush=True)

    def _again(self) -> str:
        """Return how to go on after an interrupt: the rest of the invariants, or all of them."""
        left = self.names[self.done :]
        spec = shlex.quote(self.target.spec)
        command = f"bncheck run {spec} --seed {self.options.seed} --examples {self.examples}"
        only = " ".join(f"--only {name}" for name in left) if len(left) <= 5 else ""
        how = f"{command} {only}" if only else f"{command} (from the beginning)"
        return f"{self.done} of {len(self.names)} invariants were done; to go on: {how}"

    def _causes(self) -> list[Cause]:
        """Return what may be wrong where an example fails."""
        if not any(r.verdict == "fail" and r.case is not None for r in self.results):
            return []
        with _shown("looking for the cause"):
            return self.session.causes

    def _audit(self) -> list[str]:
        """Return what the audit says, where numbers are wrong."""
        if not any(r.verdict == "fail" and r.failure is not None for r in self.results):
            return []
        with _shown("asking the audit"):
            return self.session.audit

    def _remember(self) -> None:
        """Leave the counterexamples where `bncheck corpus add --from-last-run` finds them."""
        failed = [r for r in self.results if r.verdict == "fail"]
        try:
            remember([entry(self.target, r.invariant, r.case) for r in failed if r.case])
        except OSError as error:
            print(f"bncheck: counterexamples not kept: {error.strerror}", file=sys.stderr)

    def _write(self) -> int:
        """Write the JSON file that was asked for; return 2 where that cannot be done."""
        if self.out is None:
            return 0
        complete = self.done == len(self.names)
        run = self.target, self.results, self.options.seed, self.examples
        try:
            told = document(*run, complete, self.where, self.session.cause_of)
            write_json(self.out, told)
        except OSError as error:
            return complain(f"--json={self.out}: {error.strerror or error}")
        return 0

"""The command `bncheck`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .support.argument_types import DATABASE, positive, seconds, seed_number
from .support.signals import status_of, terminable

if TYPE_CHECKING:
    from .engine.exercise import Result
    from .model.contract import Target
    from .targets.isolate.limits import Limits


LONGEST = 1000  # characters of a complaint


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, with status 2."""
        one = " ".join(message.split())
        one = one.replace("ignored explicit argument", "expected no value, not")
        one = one if len(one) <= LONGEST else f"{one[:LONGEST]}…"
        self.exit(2, f"{self.prog}: {one}; see {self.prog} --help\n")


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the arguments of the wanted one, or of all."""
    top = _Parser(prog="bncheck", description="Check any batch normalization.", allow_abbrev=False)
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    run = commands.add_parser(
        "run", help="check a target against all invariants", allow_abbrev=False
    )
    run.add_argument(
        "target", nargs="?", default="bn", metavar="TARGET",
        help="a built-in name, module, module:NAME, file.py, file.py:NAME or exec:COMMAND "
        "(default: bn)",
    )  # fmt: skip
    run.add_argument("-x", "--exitfirst", action="store_true", help="stop at the first failure")
    run.add_argument(
        "--examples", type=positive, default=100, metavar="N", help="per invariant (100)"
    )
    run.add_argument("--seed", type=seed_number, metavar="N", help="draw the same examples again")
    run.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    run.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="INVARIANT",
        help="may be given more than once",
    )
    run.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="processes, with equal results (1)"
    )
    run.add_argument("--database", **DATABASE)
    run.add_argument(
        "--in-process", action="store_true", help="call the target here, not in its own process"
    )
    run.add_argument(
        "--timeout", type=seconds, default=20.0, metavar="SECONDS", help="per call (20)"
    )
    run.add_argument(
        "--memory", type=positive, default=4096, metavar="MB", help="that calls may take (4096)"
    )
    commands.add_parser("invariants", help="list what is checked, as a Markdown table")
    for name, (room, prefix, text) in _ROOMS.items():
        command = commands.add_parser(name, help=text, allow_abbrev=False)
        if wanted in (None, name):
            getattr(_room(room), f"add_{prefix}arguments")(command)
    return top


SWEEP = 5  # examples of each invariant that -x shows first: they kill nine of ten known bugs

_ROOMS = {  # command: the module that has it, the prefix of its functions there, what it does
    "audit": ("audit", "", "judge a gradient formula exactly"),
    "replay": ("corpus", "replay_", "run the regression corpus on a target"),
    "corpus": ("corpus", "", "add to, list, show and check the regression corpus"),
    "mutants": ("kill_matrix", "list_", "list the known bugs, runnable as mutants:NAME"),
    "targets": ("targets", "targets_", "list the named targets and what they need"),
    "hunt": ("hunt", "", "search for the largest error, on many cores or machines"),
    "probe": ("probe", "", "find out how targets behave, side by side"),
    "report": ("report", "report_", "judge every installed target, on one page"),
    "diff": ("diff", "diff_", "what changed between two results, and if for the worse"),
    "kill-matrix": ("kill_matrix", "", "run every invariant on every known bug"),
    "experiment": ("experiment", "", "train with and without batch norm, draw both"),
}


def _room(name: str) -> Any:
    import importlib

    return importlib.import_module(f".commands.{name}", __package__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    _show_anything()
    given = sys.argv[1:] if arguments is None else list(arguments)
    top = parser(next((word for word in given if not word.startswith("-")), ""))
    args = top.parse_args(given)
    if args.version:
        from importlib.metadata import version

        print(f"bncheck {version('bncheck')}")
        return 0
    if args.command is None:
        top.error(f"COMMAND is missing: expected one of run, invariants, {', '.join(_ROOMS)}")
    try:
        if args.command == "invariants":
            return _list_invariants()
        if args.command in _ROOMS:
            room, prefix, _ = _ROOMS[args.command]
            return int(getattr(_room(room), f"run_{prefix}".rstrip("_"))(args))
        return _run(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who read the output has gone; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _show_anything() -> None:
    """Let what the terminal's encoding lacks be printed as its number, not end the command."""
    import io

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _list_invariants() -> int:
    from .run.text import invariants_table

    print(invariants_table())
    return 0


def _complain(text: str) -> int:
    print(f"bncheck: {' '.join(text.split())[:LONGEST]}", file=sys.stderr)
    return 2


def _run(args: argparse.Namespace) -> int:
    from .engine.database import absolute, opened
    from .invariants import INVARIANTS
    from .model.contract import TargetError
    from .run.expectations import read

    unknown = [name for name in args.only if name not in INVARIANTS]
    if unknown:
        return _complain(
            f"--only={unknown[0]}: no such invariant{_nearest(unknown[0], INVARIANTS)}"
        )
    if args.json is not None and (args.json.is_dir() or not args.json.resolve().parent.is_dir()):
        return _complain(f"--json={args.json}: expected a file in a folder that exists")
    seed = _random_seed() if args.seed is None else args.seed
    names = [name for name in INVARIANTS if name in args.only] if args.only else list(INVARIANTS)
    with terminable():
        try:
            registry = read()
            database = opened(args.database)
            args.database = absolute(args.database)
            target = _quietly_found(args)
            return _Run(args, target, names, seed, registry, database).all()
        except TargetError as error:
            return _complain(str(error))
        except KeyboardInterrupt as stop:
            return status_of(stop)
        finally:
            _end_processes()


def _quietly_found(args: argparse.Namespace) -> Target:
    import warnings

    from .targets.offers import find

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find(args.target, _limits(args))


def _limits(args: argparse.Namespace) -> Limits | None:
    from .targets.isolate.limits import Limits

    return None if args.in_process else Limits(args.timeout, args.memory)


def _tell_killed_runs() -> None:
    """Name what earlier runs that were killed left of their last calls."""
    if f"{__package__}.targets.isolate.trace" in sys.modules:
        from .targets.isolate.trace import left

        for path in left():
            command = f"python -m {__package__}.targets.isolate.trace {path}"
            print(f"bncheck: a run was killed here in a call; {command} shows it", file=sys.stderr)


def _forget_killed_runs() -> None:
    """Remove what earlier runs that were killed left of their last calls."""
    if f"{__package__}.targets.isolate.trace" in sys.modules:
        from .targets.isolate.trace import clean

        clean()


def _end_processes() -> None:
    if f"{__package__}.targets.isolate.remote" in sys.modules:
        from .targets.isolate.remote import close_all

        close_all()


def _random_seed() -> int:
    import secrets

    return secrets.randbelow(2**32)


def _nearest(name: str, names: Any) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.3)
    return f"; did you mean {near[0]}?" if near else "; expected one that bncheck run lists"


class _Run:
    """One run of a target: results as they come, and what is known when it is cut short."""

    def __init__(
        self,
        args: argparse.Namespace,
        target: Target,
        names: list[str],
        seed: int,
        registry: Any,
        database: Any,
    ) -> None:
        self.args, self.target, self.names, self.seed = args, target, names, seed
        self.registry, self.database, self.examples = registry, database, args.examples
        self.results: list[Result] = []
        self.done = self.ticks = 0
        self.progress = sys.stderr.isatty()

    def all(self) -> int:
        from .model.contract import TargetError
        from .run.text import conventions_text, exit_status, header

        _tell_killed_runs()
        print(conventions_text(self.target))
        print(f"seed {self.seed}\n{header(self.target)}", flush=True)
        cut = 0
        try:
            self._each()
        except KeyboardInterrupt as stop:
            cut = status_of(stop)
        except TargetError as error:  # a worker or a database that is lost
            self._clear()
            cut = _complain(str(error))
        self._finish(cut != 0)
        if not cut:
            _forget_killed_runs()
        unwritten = self._write()
        self._remember()
        return cut or unwritten or exit_status(self.results)

    def _each(self) -> None:
        from .run.text import line

        if self.args.exitfirst and self._sweep():
            return
        for _, results in self._held(self.args.examples):
            for result in results:
                self.results.append(result)
                self._clear()
                print(line(result, self.target), flush=True)
                if self.args.exitfirst and result.verdict in ("fail", "unexpected pass"):
                    return
            self.done += 1

    def _sweep(self) -> bool:
        """Show some examples to every invariant, which is soon done; return whether one failed."""
        from .run.text import line

        examples = min(SWEEP, self.args.examples)
        for _, results in self._held(examples):
            for result in results:
                if result.verdict == "fail":
                    self.results, self.examples = [result], examples
                    self._clear()
                    print(line(result, self.target), flush=True)
                    return True
        return False

    def _held(self, examples: int) -> Iterator[tuple[str, Iterable[Result]]]:
        """Yield the results of each invariant as they come, from here or from the workers."""
        from .run.expectations import held

        if self.args.jobs > 1:
            from .run.jobs import Task, spread

            task = Task(
                self.target.spec, _limits(self.args), tuple(self.registry), examples, self.seed,
                self.args.database,
            )  # fmt: skip
            yield from spread(task, self.names, self.args.jobs)
            return
        options = {"examples": examples, "seed_number": self.seed, "database": self.database}
        for name in self.names:
            self.ticks = 0
            yield name, held(self.target, name, self.registry, tick=self._tick(name), **options)

    def _tick(self, name: str) -> Any:
        def tick() -> None:
            self.ticks += 1
            if self.progress and self.ticks % 10 == 0:
                text = f"[{self.done + 1}/{len(self.names)}] {name} {self.ticks}"
                print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

        return tick

    def _clear(self) -> None:
        if self.progress:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _finish(self, interrupted: bool) -> None:
        from .run.text import failure_text, summary

        self._clear()
        for result in self.results:
            if result.verdict == "fail" and result.case is not None:
                text = failure_text(
                    result, self.target, self.seed, self.examples, self.args.database
                )
                print(f"\n{text}")
            elif result.verdict in ("unexpected pass", "undecided", "expected failure"):
                print(f"\n{result.invariant.name}: {result.verdict}: {result.message}")
        early = "stopped at the first failure; so far " if self.done < len(self.names) else ""
        stopped = "interrupted; so far " if interrupted else early
        print(f"\n{stopped}{summary(self.results) or 'nothing'}", flush=True)

    def _remember(self) -> None:
        """Leave the counterexamples where `bncheck corpus add --from-last-run` finds them."""
        from .corpus.failures import entry
        from .corpus.files import remember

        failed = [r for r in self.results if r.verdict == "fail" and r.case is not None]
        try:
            remember([entry(self.target, r.invariant, r.case) for r in failed if r.case])
        except OSError as error:
            print(f"bncheck: counterexamples not kept: {error.strerror}", file=sys.stderr)

    def _write(self) -> int:
        """Write the JSON file that was asked for; return 2 where that cannot be done."""
        from .run.text import document, write_json

        if self.args.json is None:
            return 0
        complete = self.done == len(self.names)
        run = self.target, self.results, self.seed, self.examples
        content = document(*run, complete, self.args.database)
        try:
            write_json(self.args.json, content)
        except OSError as error:
            return _complain(f"--json={self.args.json}: {error.strerror or error}")
        return 0


if __name__ == "__main__":
    sys.exit(main())

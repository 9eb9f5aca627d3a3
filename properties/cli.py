"""The command `bncheck`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .support.argument_types import DATABASE, STYLE, add_limits, positive, seed_number
from .support.terminal import LONGEST, begin, nearest


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, with status 2."""
        one = " ".join(message.split())
        one = one.replace("ignored explicit argument", "expected no value, not")
        if given := re.search(r"COMMAND: invalid choice: '([^']*)'", one):
            one += nearest(given[1], ["run", "invariants", *_ROOMS])
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
        help="a built-in name, module, module:NAME, file.py, file.py:NAME, model.onnx:NODE or "
        "exec:COMMAND "
        "(default: bn)",
    )  # fmt: skip
    run.add_argument("--style", **STYLE)
    run.add_argument(
        "--device", default="", metavar="NAME", help="where PyTorch runs, as in cuda:0"
    )
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
        "--skip",
        action="append",
        default=[],
        metavar="INVARIANT",
        help="leave it out; may be given more than once",
    )
    run.add_argument(
        "--strict", action="store_true", help="remarks (deviations at an edge) are failures"
    )
    run.add_argument("-v", "--verbose", action="store_true", help="a line for each invariant")
    run.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="processes, with equal results (1)"
    )
    run.add_argument("--database", **DATABASE)
    add_limits(run)
    commands.add_parser("invariants", help="list what is checked, as a Markdown table")
    for name, (room, prefix, text) in _ROOMS.items():
        command = commands.add_parser(name, help=text, allow_abbrev=False)
        if wanted in (None, name):
            getattr(_room(room), f"add_{prefix}arguments")(command)
    return top


_ROOMS = {  # command: the module that has it, the prefix of its functions there, what it does
    "audit": ("audit", "", "judge a gradient formula exactly"),
    "grade": ("grade", "", "a verdict for machines, as JSON, within a budget"),
    "new": ("new", "", "print an adapter to begin with, in the style of your code"),
    "replay": ("corpus", "replay_", "run the regression corpus on a target"),
    "corpus": ("corpus", "", "add to, list, show and check the regression corpus"),
    "mutants": ("kill_matrix", "list_", "list the known bugs, runnable as mutants:NAME"),
    "targets": ("targets", "targets_", "list the named targets and what they need"),
    "hunt": ("hunt", "", "search for the largest error, on many cores or machines"),
    "probe": ("probe", "", "find out how targets behave, side by side"),
    "compare": ("compare", "", "carry a batch norm from one target to another: what differs"),
    "report": ("report", "report_", "judge every installed target, on one page"),
    "diff": ("diff", "diff_", "what changed between two results, and if for the worse"),
    "kill-matrix": ("kill_matrix", "", "run every invariant on every known bug"),
    "exam": ("exam", "", "run your own tests against the known bugs"),
    "strength": ("strength", "", "how many gradient bugs one loss can show"),
    "experiment": ("experiment", "", "train with and without batch norm, draw both"),
}


def _room(name: str) -> Any:
    import importlib

    return importlib.import_module(f".commands.{name}", __package__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    begin()
    _show_anything()
    given = sys.argv[1:] if arguments is None else list(arguments)
    wanted = next((word for word in given if not word.startswith("-")), "")
    if wanted == "audit":
        given = _room("audit").joined(given)
    top = parser(wanted)
    args = top.parse_args(given)
    args.words = given
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
        return int(_room("run").run(args))
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


if __name__ == "__main__":
    sys.exit(main())

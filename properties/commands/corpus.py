"""`bncheck replay` and `bncheck corpus add|list|show|check|distill`."""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from ..corpus.files import CORPUS, LAST_RUN, Entry, add_entries, read_corpus, read_file
from ..corpus.numbers import Malformed
from ..support.terminal import complain

_FOLDER: dict[str, Any] = {
    "type": Path,
    "metavar": "DIR",
    "help": "another corpus (the one that bncheck brings, and bncheck-corpus here if there is one)",
}
OWN = Path("bncheck-corpus")  # what a user adds, beside what is tested


def add_replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck replay`."""
    parser.add_argument("target", nargs="?", default="bn", metavar="TARGET", help="(default: bn)")
    parser.add_argument("--core", action="store_true", help="only what kills every mutant")
    parser.add_argument("--strict", action="store_true", help="remarks are failures")
    parser.add_argument("--corpus", **_FOLDER)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck corpus`."""
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", required=True, parser_class=type(parser)
    )
    add = actions.add_parser("add", help="add entries from a file or from the last failing run")
    add.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a corpus file or --json FILE"
    )
    add.add_argument("--from-last-run", action="store_true", help=f"take {LAST_RUN}")
    show = actions.add_parser("show", help="show an entry as a table, or as arrays to paste")
    show.add_argument("key", metavar="KEY", help="the sentence, or a part that only it has")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--python", action="store_true", help="as NumPy arrays")
    form.add_argument("--c", action="store_true", help="as C arrays")
    others = (
        actions.add_parser("list", help="list the entries"),
        actions.add_parser("check", help="check form, sorting, and every expected value"),
        actions.add_parser("distill", help="make the mutants' entries anew and mark the core"),
    )
    for action in (add, show, *others):
        action.add_argument("--corpus", **_FOLDER)


def _folders(given: Path | None) -> list[Path]:
    return [given] if given else [CORPUS, *([OWN] if OWN.is_dir() else [])]


def _read(given: Path | None) -> tuple[list[Entry], list[str]]:
    """Return the entries and the problems of a folder, or of the usual ones."""
    entries: list[Entry] = []
    problems: list[str] = []
    for folder in _folders(given):
        if not folder.is_dir():
            raise Malformed(f"--corpus={folder}: expected a folder of corpus files")
        found = read_corpus(folder)
        entries, problems = entries + found[0], problems + found[1]
    return entries, problems


def run_replay(args: argparse.Namespace) -> int:
    """Replay entries; 0 all hold, 1 one failed, 2 unreadable, 3 the target offers none of them."""
    from ..corpus.replay import replay
    from ..model.contract import TargetError
    from ..targets.isolate.limits import Limits
    from ..targets.open import open_target

    try:
        entries, problems = _read(args.corpus)
        hidden = warnings.catch_warnings(
            action="ignore"
        )  # what a target warns of is its own affair
        with open_target(args.target, Limits(in_process=True)) as target, hidden:
            for problem in problems:
                complain(problem)
            chosen = [entry for entry in entries if entry.core or not args.core]
            results = [replay(target, entry, strict=args.strict) for entry in chosen]
    except (Malformed, TargetError) as error:
        return complain(str(error))
    for result in results:
        if result.verdict == "fail":
            print(failure_text(result, args.target))
        if result.verdict == "remark":
            print(f"remark: {result.entry.key}")
    verdicts = ("pass", "fail", "not offered", "remark")
    for reason, number in Counter(
        r.message for r in results if r.verdict == "not offered"
    ).most_common():
        print(f"not offered: {number} need {reason}")
    counts = {v: sum(r.verdict == v for r in results) for v in verdicts}
    shown = [
        f"{count} {verdict}" for verdict, count in counts.items() if count or verdict != "remark"
    ]
    print(", ".join(shown))
    if counts["fail"]:
        return 1
    return 2 if problems else (0 if counts["pass"] else 3)


def failure_text(result: Any, spec: str) -> str:
    """Return a failed entry: its sentence, the place, got and wanted, the error, its source."""
    call = result.entry.calls[result.call]["call"]
    lines = [f"{result.entry.key}.", f"  at      calls[{result.call}], {call}"]
    if (failure := result.failure) is not None:
        index = ", ".join(str(i) for i in failure.index)
        times = failure.error / failure.radius if failure.radius else float("inf")
        lines[-1] += f": {failure.quantity}[{index}]"
        lines += [
            f"  got     {failure.got!r}",
            f"  wanted  {failure.want!r}",
            f"  error   {failure.error:.3g}, {times:.3g} times the allowed {failure.radius:.3g}",
        ]
    if result.message:
        lines.append(f"  because {result.message}")
    return "\n".join(
        [*lines, f"  source  {result.entry.source}", f"  again   bncheck replay {spec}"]
    )


def run(args: argparse.Namespace) -> int:
    """Run one of the actions; 0 all well, 1 `check` found something, 2 bad input."""
    try:
        return {"add": _add, "list": _list, "show": _show, "check": _check, "distill": _distill}[
            args.action
        ](args)
    except Malformed as error:
        return complain(str(error))
    except OSError as error:
        return complain(f"--corpus={args.corpus or OWN}: {error.strerror or error}")


def _add(args: argparse.Namespace) -> int:
    if (args.file is None) == (not args.from_last_run):
        return complain("corpus add: expected FILE or --from-last-run, one of the two")
    path = LAST_RUN if args.from_last_run else args.file
    if not path.is_file():
        why = "no failing run left one here" if args.from_last_run else "no such file"
        return complain(f"file={path}: {why}")
    folder = args.corpus or OWN
    if args.corpus is not None and not folder.is_dir():
        return complain(f"--corpus={args.corpus}: expected a folder of corpus files")
    offered = _offered(path)
    folder.mkdir(exist_ok=True)
    added = add_entries(folder / "findings.json", offered)
    print("\n".join(f"added: {key}" for key in added) or "nothing new")
    return 0


def _offered(path: Path) -> list[Entry]:
    """Return the entries of a corpus file or of a report, what they expect worked out anew."""
    from dataclasses import replace

    from ..corpus.expected import with_expected

    found = _of_report(path)
    if found is None:
        found, problems = read_file(path)
        if problems:
            raise Malformed(problems[0])
    try:
        return [replace(e, calls=with_expected(e.calls), core=False, file="") for e in found]
    except (ValueError, ArithmeticError) as error:  # a root of nothing, shapes that do not fit
        raise Malformed(f"file={path}: what is right cannot be computed: {error}") from error


def _of_report(path: Path) -> list[Entry] | None:
    """Return the counterexamples of a `bncheck run --json` file, None if it is no such file."""
    from ..corpus.files import LARGEST_FILE, as_json
    from ..corpus.schema import check_entry

    try:
        if path.stat().st_size > LARGEST_FILE:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [row["counterexample"] for row in content["invariants"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    found = []
    for given in filter(None, rows):
        try:
            made = Entry(given["sentence"], given["source"], False, given["calls"])
            if not isinstance(made.key, str):
                raise TypeError("a text as its sentence")
        except (TypeError, KeyError) as error:
            raise Malformed(f"file={path}: a counterexample without {error}") from error
        if made.calls:
            check_entry(as_json(made))
            found.append(made)
    return found


def _list(args: argparse.Namespace) -> int:
    entries, problems = _read(args.corpus)
    for entry in entries:
        calls = " ".join(call["call"] for call in entry.calls)
        print(f"{'core' if entry.core else '    '}  {entry.key}  [{calls}]")
    print(f"{len(entries)} entries, {sum(e.core for e in entries)} of them core")
    for problem in problems:
        complain(problem)
    return 2 if problems else 0


def _show(args: argparse.Namespace) -> int:
    from ..corpus.show import as_c, as_python, as_table

    entries, _ = _read(args.corpus)
    found = [e for e in entries if e.key == args.key] or [e for e in entries if args.key in e.key]
    if len(found) != 1:
        return complain(
            f"key={args.key!r}: {len(found)} entries have it: expected one that one has"
        )
    print((as_python if args.python else as_c if args.c else as_table)(found[0]))
    return 0


def _check(args: argparse.Namespace) -> int:
    """Check form and sorting of each file, and recompute what every call must give."""
    from ..corpus.expected import differing

    entries, problems = _read(args.corpus)
    problems += [text for entry in entries for text in differing(entry)]
    for folder in _folders(args.corpus):
        problems += _unsorted(folder)
    for problem in problems:
        print(problem)
    print(f"{len(entries)} entries, {len(problems)} problems")
    return 1 if problems else 0


def _unsorted(folder: Path) -> list[str]:
    from ..corpus.files import format_entries

    entries = read_corpus(folder)[0]
    lines = []
    for file in sorted({entry.file for entry in entries}):
        text = format_entries(entry for entry in entries if entry.file == file)
        if text != (folder / file).read_text(encoding="utf-8"):
            lines.append(
                f"file={folder / file}: key='(the whole file)': not sorted and laid out as written"
            )
    return lines


def _distill(args: argparse.Namespace) -> int:
    from ..kills.distill import distilled

    folder = args.corpus or CORPUS
    _read(folder)
    survivors = distilled(folder)
    print(f"not killed by any list of calls: {', '.join(survivors) or 'none'}")
    return 0

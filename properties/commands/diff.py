"""`bncheck diff`: what changed between two results, for a job that must notice the worse."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..report.changes import BETTER, CHANGED, WORSE, Change, of_runs
from ..report.changes_probe import of_probes
from ..report.result_form import problem
from ..support.terminal import complain


class Unreadable(Exception):
    """A file that is no result of bncheck; the text names it and says what was expected."""


def add_diff_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck diff`."""
    parser.add_argument("old", type=Path, metavar="OLD.json", help="of bncheck run or probe --json")
    parser.add_argument("new", type=Path, metavar="NEW.json", help="another one of the same kind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the changes there")


def run_diff(args: argparse.Namespace) -> int:
    """Tell the changes; 0 nothing got worse, 1 something did, 2 a file is not what it should be."""
    from ..run.text import write_json

    try:
        old, new = (read(path, name) for path, name in ((args.old, "OLD"), (args.new, "NEW")))
        kinds = [kind(content) for content in (old, new)]
        if kinds[0] != kinds[1]:
            raise Unreadable(
                f"NEW={args.new}: it is of bncheck {kinds[1]}: expected one of bncheck {kinds[0]}, "
                f"as OLD={args.old} is"
            )
        if args.json is not None and (
            args.json.is_dir() or not args.json.resolve().parent.is_dir()
        ):
            raise Unreadable(f"--json={args.json}: expected a file in a folder that exists")
        changes = compared(old, new)
        if args.json is not None:
            write_json(args.json, document(args.old, args.new, old, new, changes))
    except Unreadable as error:
        return complain(str(error))
    except OSError as error:
        return complain(f"--json={args.json}: {error.strerror or error}")
    print(text(changes))
    return 1 if any(change.direction == WORSE for change in changes) else 0


def read(path: Path, name: str) -> dict[str, Any]:
    """Return the content of a result file.

    Raises:
        Unreadable: it cannot be read, or is no result of bncheck run or probe.
    """
    wanted = "expected a file of bncheck run --json or bncheck probe --json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unreadable(f"{name}={path}: {error.strerror or error}; {wanted}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name}={path}: it is no JSON; {wanted}") from error
    if why := problem(content):
        raise Unreadable(f"{name}={path}: {why}; {wanted}")
    return dict(content)


def kind(content: Mapping[str, Any]) -> str:
    """Return which command wrote a result."""
    return "run" if "invariants" in content else "probe"


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the changes between two results of one kind, those for the worse first."""
    found = list((of_runs if kind(old) == "run" else of_probes)(old, new))
    order = (WORSE, BETTER, CHANGED)
    return sorted(found, key=lambda change: order.index(change.direction))


def text(changes: Sequence[Change]) -> str:
    """Return the changes a line each, with what shows them again, and a line that counts them."""
    lines = []
    for change in changes:
        lines.append(f"{change.direction:<8} {change.what}: {change.old} -> {change.new}")
        if change.detail:
            lines.append(f"{'':<8}   {change.detail}")
        if change.again:
            lines.append(f"{'':<8}   again   {change.again}")
    counts = (sum(c.direction == d for c in changes) for d in (WORSE, BETTER, CHANGED))
    told = "{} worse, {} better, {} changed otherwise".format(*counts)
    return "\n".join([*lines, told if changes else "nothing changed"])


def document(
    old_path: Path, new_path: Path, old: Any, new: Any, changes: Sequence[Change]
) -> dict[str, Any]:
    """Return the changes as JSON, with the counterexample of each new failure."""
    rows = {
        (row["name"], row.get("where", "")): row.get("counterexample")
        for row in new.get("invariants", [])
    }
    labels = {f"{name} [{where}]" if where else name: entry
              for (name, where), entry in rows.items()}  # fmt: skip
    return {
        "bncheck": version("bncheck"),
        "old": {"file": str(old_path), "target": old.get("target")},
        "new": {"file": str(new_path), "target": new.get("target")},
        "worse": sum(change.direction == WORSE for change in changes),
        "changes": [
            {**asdict(change), "counterexample": labels.get(change.what)} for change in changes
        ],
    }

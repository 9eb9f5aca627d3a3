"""Which targets are installed where: each interpreter is asked for its own list."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .children import Children

_ASKED = 120.0  # seconds that an interpreter has to list its targets


@dataclass(frozen=True)
class Place:
    """A target and the interpreter in whose environment it is installed.

    problem says in one line why it is in none, install how to change that.
    """

    target: str
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    says: str = ""
    problem: str = ""
    install: str = ""


def asked(pythons: Iterable[str], children: Children) -> tuple[dict[str, list[Any]], list[str]]:
    """Return the list of targets of each interpreter, and a line for each that has none."""
    found: dict[str, list[Any]] = {}
    problems = []
    for python in pythons:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "targets.json"
            command = [python, "-m", "properties.cli", "targets", "--json", str(path)]
            try:
                ended = children.run(command, _ASKED)
                rows = json.loads(path.read_text(encoding="utf-8"))["targets"]
            except (OSError, ValueError, KeyError) as error:
                what = error.strerror or "it cannot be run" if isinstance(error, OSError) else error
                why = ended.line if "ended" in locals() and ended.status else str(what)
                problems.append(
                    f"--python={python}: expected an interpreter where bncheck is installed: {why}"
                )
                continue
            found[python] = rows
    return found, problems


def places(lists: dict[str, list[Any]], wanted: Sequence[str]) -> list[Place]:
    """Return where each wanted target is; without wanted ones, all that any interpreter names.

    A target that no interpreter names, such as a file, is looked for by the first of them.
    """
    named: dict[str, list[tuple[str, Any]]] = {}
    for python, rows in lists.items():
        for row in rows:
            named.setdefault(row["name"], []).append((python, row))
    chosen = list(dict.fromkeys(wanted)) or list(named)
    return [_place(target, named, next(iter(lists), "")) for target in chosen]


def _place(target: str, named: dict[str, list[tuple[str, Any]]], first: str) -> Place:
    rows = named.get(target) or named.get(target.rpartition(":")[0], [])
    if not rows:
        return Place(target, first)
    for python, row in rows:
        if row["installed"]:
            return Place(target, python, row["versions"], row["says"])
    row = rows[0][1]
    return Place(target, "", {}, row["says"], row["problem"], row["install"])

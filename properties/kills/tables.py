"""The kill matrix as JSON, CSV and Markdown, and the stored one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ..bugs.catalogue import NOT_RUNNABLE
from ..bugs.controls import controls
from ..bugs.elsewhere import all_mutants
from ..invariants import INVARIANTS
from .matrix import Kill, Matrix

STORED = Path(__file__).with_name("kill_matrix.json")


def to_json(matrix: Matrix) -> dict[str, Any]:
    """Return the matrix as what is stored."""
    median_examples, median_numbers = matrix.medians()
    return {
        "seed": matrix.seed,
        "examples": matrix.examples,
        "median_examples": median_examples,
        "median_numbers": median_numbers,
        "invariants_that_kill_nothing": matrix.idle(),
        "mutants": {
            name: {
                "killed_by": dict(sorted(cells.items())),
                "fastest": vars(matrix.fastest[name]) if name in matrix.fastest else None,
            }
            for name, cells in sorted(matrix.mutants.items())
        },
        "controls": dict(sorted(matrix.controls.items())),
    }


def from_json(content: dict[str, Any]) -> Matrix:
    """Return the matrix that was stored."""
    rows = content["mutants"]
    return Matrix(
        content["seed"],
        content["examples"],
        {name: row["killed_by"] for name, row in rows.items()},
        {name: Kill(**row["fastest"]) for name, row in rows.items() if row["fastest"]},
        content["controls"],
    )


def stored(path: Path = STORED) -> Matrix:
    """Return the matrix in the repository."""
    return from_json(json.loads(path.read_text(encoding="utf-8")))


def to_csv(matrix: Matrix) -> str:
    """Return a row per mutant and control, a column per invariant: examples until it failed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "name", *INVARIANTS])
    for kind, rows in (("mutant", matrix.mutants), ("control", matrix.controls)):
        for name, cells in sorted(rows.items()):
            writer.writerow([kind, name, *(cells.get(column, "") for column in INVARIANTS)])
    return text.getvalue()


def to_markdown(matrix: Matrix) -> str:
    """Return who is caught by what, as tables."""
    lines = ["# Kill matrix", "", *summary(matrix), "", "## Mutants", ""]
    lines += ["| mutant | fastest killer | examples | numbers | killers |", "|---|---|---|---|---|"]
    for name, cells in sorted(matrix.mutants.items()):
        kill = matrix.fastest.get(name)
        where = f"{kill.invariant} | {kill.examples} | {kill.numbers}" if kill else "none | - | -"
        lines.append(f"| {name} | {where} | {len(cells)} |")
    lines += ["", "## Invariants", "", "| invariant | kills |", "|---|---|"]
    for column in INVARIANTS:
        lines.append(f"| {column} | {sum(column in c for c in matrix.mutants.values())} |")
    lines += ["", "## Controls", "", "| control | accused by |", "|---|---|"]
    for name, cells in sorted(matrix.controls.items()):
        lines.append(f"| {name} | {', '.join(cells) or 'nothing'} |")
    return "\n".join(lines) + "\n"


def summary(matrix: Matrix) -> list[str]:
    """Return the findings, a line each."""
    survivors, accused, alone = matrix.survivors(), matrix.accused(), matrix.killed_by_one()
    examples, numbers = matrix.medians()
    return [
        f"{len(matrix.mutants) - len(survivors)} of {len(matrix.mutants)} mutants killed, "
        f"{len(accused)} of {len(matrix.controls)} controls accused "
        f"(seed {matrix.seed}, {matrix.examples} examples per invariant).",
        f"The median kill takes {examples:g} examples and shrinks to {numbers:g} numbers.",
        f"Surviving: {', '.join(survivors) or 'none'}.",
        f"Accused: {', '.join(accused) or 'none'}.",
        f"Invariants that kill nothing: {', '.join(matrix.idle()) or 'none'}.",
        "Killed by one invariant alone: "
        + ("; ".join(f"{name} ({by})" for name, by in sorted(alone.items())) or "none")
        + ".",
    ]


def listing() -> list[str]:
    """Return a line per mutant, control and bug that cannot be run."""
    lines = []
    for name, mutant in all_mutants().items():
        lines.append(f"mutant        {name}: {mutant.model}  [{mutant.body}; {mutant.source}]")
    for name, control in controls().items():
        lines.append(f"control       {name}: {control.reason}")
    for name, (feature, reason) in NOT_RUNNABLE.items():
        lines.append(f"not runnable  {name}: needs {feature}; {reason}")
    return lines

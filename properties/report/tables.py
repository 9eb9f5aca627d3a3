"""Tables and their cells, apart from how they are written; the same for HTML and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A cell: what it shows, what it says to who cannot see that, its kind, and where it leads.

    kind is a verdict, an accuracy class, "number", "code" or empty.
    """

    text: str
    says: str = ""
    kind: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption, whose first column heads its rows.

    kind is "turned" where the heads are turned to be narrow, "wide" where cells hold sentences.
    """

    name: str
    caption: str
    heads: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    kind: str = ""


def plain(*texts: str) -> list[Cell]:
    """Return cells of plain text."""
    return [Cell(text) for text in texts]


SIGNS = {
    "pass": "✓",
    "fail": "✗",
    "expected failure": "≈",
    "remark": "·",
    "unexpected pass": "!",
    "undecided": "?",
    "not offered": "-",
    "not reached": "·",
    "not judged": "·",
}
MEANS = {
    "pass": "holds in every example",
    "fail": "a counterexample was found",
    "remark": "a deviation on inputs that an author may declare out of scope",
    "expected failure": "a deviation that is registered with reason and link was seen",
    "unexpected pass": "a registered deviation was not seen",
    "undecided": "no example would have shown the planted error",
    "not offered": "the target does not have what this needs",
    "not reached": "the time was over before it",
}


def verdict_cell(verdict: str, link: str = "") -> Cell:
    """Return the sign of a verdict, with its name for who does not see it."""
    return Cell(SIGNS[verdict], verdict, verdict.replace(" ", "-"), link)


def number(value: float, digits: int = 2) -> str:
    """Return a figure in a few digits."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return f"{value:.{digits - 1}e}"


def seconds(value: float) -> str:
    """Return a time in the unit that suits it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"

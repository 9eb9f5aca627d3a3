"""The table of a hunt: what is known per quantity, dtype and decade, and how parts are joined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from .measure import Decade, Point, read_point

Where = tuple[str, str, Decade]  # quantity, dtype, decade


@dataclass(frozen=True)
class Cell:
    """What was seen in one decade.

    largest is the point with the largest error in ulp, closest the one with the largest multiple
    of its radius, beyond the largest error where the radius is infinite; pairwise_multiple is the
    largest one, of whichever point.
    """

    examples: int = 0
    decided: int = 0
    failing: int = 0
    largest: Point | None = None
    closest: Point | None = None
    beyond: Point | None = None
    pairwise_multiple: float = 0.0

    @property
    def verdict(self) -> str:
        """Return fail, pass, or undecided where no example has a finite radius."""
        return "fail" if self.failing else "pass" if self.decided else "undecided"

    @property
    def accuracy(self) -> str | None:
        """Return A within the pairwise radius, B within that of any order, C beyond, or None."""
        if not self.decided:
            return None
        return "C" if self.failing else "A" if self.pairwise_multiple <= 1.0 else "B"


def seen(points: Iterable[Point]) -> dict[Decade, Cell]:
    """Return the cells of one example."""
    found: dict[Decade, list[Point]] = {}
    for point in points:
        found.setdefault(point.decade, []).append(point)
    return {decade: _cell(of) for decade, of in found.items()}


def _cell(points: list[Point]) -> Cell:
    """Return the cell of the channels of one example that lie in one decade."""
    decided = [p for p in points if p.decided]
    far = [p for p in points if not p.decided and p.recipe.regime in ("offset", "far_offset")]
    beyond = max(far, key=attrgetter("ulp"), default=None)
    if not decided:
        return Cell(1, 0, 0, beyond=beyond)
    closest = max(decided, key=attrgetter("multiple"))
    pairwise = max(p.pairwise_multiple for p in decided)
    largest = max(decided, key=attrgetter("ulp"))
    return Cell(1, 1, int(closest.multiple > 1.0), largest, closest, beyond, pairwise)


def _more(a: Point | None, b: Point | None, key: str) -> Point | None:
    """Return the point with more of something; the first of equals, so that order is kept."""
    if a is None or b is None:
        return a or b
    return b if getattr(b, key) > getattr(a, key) else a


def joined(a: Cell, b: Cell) -> Cell:
    """Return what two parts say together."""
    return Cell(
        a.examples + b.examples,
        a.decided + b.decided,
        a.failing + b.failing,
        _more(a.largest, b.largest, "ulp"),
        _more(a.closest, b.closest, "multiple"),
        _more(a.beyond, b.beyond, "ulp"),
        max(a.pairwise_multiple, b.pairwise_multiple),
    )


def cell_as_json(cell: Cell) -> dict[str, Any]:
    """Return what a state file keeps of a cell."""
    points = {name: getattr(cell, name) for name in ("largest", "closest", "beyond")}
    return {
        "examples": cell.examples,
        "decided": cell.decided,
        "failing": cell.failing,
        "pairwise_multiple": str(cell.pairwise_multiple),
        **{name: None if point is None else point.as_json() for name, point in points.items()},
    }


def read_cell(value: dict[str, Any]) -> Cell:
    """Return a cell from what `cell_as_json` gave."""
    points: dict[str, Any] = {
        name: None if value[name] is None else read_point(value[name])
        for name in ("largest", "closest", "beyond")
    }
    counts: dict[str, Any] = {name: value[name] for name in ("examples", "decided", "failing")}
    return Cell(**counts, **points, pairwise_multiple=float(value["pairwise_multiple"]))

"""The table of a hunt: what is known per quantity, dtype and decade, and how parts are joined."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
    found: dict[Decade, Cell] = {}
    for point in points:
        found[point.decade] = joined(found.get(point.decade, Cell()), _single(point))
    return {
        decade: replace(
            cell,
            examples=1,
            decided=min(cell.decided, 1),
            failing=min(cell.failing, 1),
        )
        for decade, cell in found.items()
    }


def _single(point: Point) -> Cell:
    if not point.decided:
        beyond = point if point.recipe.regime in ("offset", "far_offset") else None
        return Cell(1, 0, 0, beyond=beyond)
    multiple = point.pairwise_multiple
    return Cell(1, 1, int(point.multiple > 1.0), point, point, None, multiple)


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

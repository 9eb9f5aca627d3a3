"""The failing cases of a hunt as corpus entries, and all that was found as one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from ..corpus.entries import recorded
from ..corpus.expected import with_expected
from ..corpus.files import unused
from ..model.cases import Case, build
from ..model.contract import Target
from ..run.text import versions
from .cells import Cell, Where, joined, read_cell
from .measure import Decade, Point, read_point
from .quantities import QUANTITIES
from .search import Failing
from .shards import Shard
from .state import State


@dataclass
class Table:
    """What all finished shards came to.

    cells by quantity, dtype and decade; smallest holds the failing case of the fewest numbers by
    quantity and dtype; died names the shards that ended their process.
    """

    cells: dict[Where, Cell] = field(default_factory=dict)
    smallest: dict[tuple[str, str], Failing] = field(default_factory=dict)
    died: dict[str, str] = field(default_factory=dict)

    @property
    def quantities(self) -> list[tuple[str, str]]:
        """The quantities and dtypes that something is known of, in the order of the hunt."""
        return list(dict.fromkeys((quantity, dtype) for quantity, dtype, _ in self.cells))

    def cell(self, quantity: str, dtype: str, decade: Decade) -> Cell:
        """Return a cell, empty where nothing is known."""
        return self.cells.get((quantity, dtype, decade), Cell())

    def of(self, quantity: str, dtype: str) -> dict[Decade, Cell]:
        """Return the cells of a quantity and dtype, from the least mean/sd to the constants."""
        found = {d: c for (q, t, d), c in self.cells.items() if (q, t) == (quantity, dtype)}
        return dict(sorted(found.items(), key=lambda item: rank(item[0])))

    def worst(self, quantity: str, dtype: str) -> Point | None:
        """Return the point with the largest multiple of its radius."""
        points = [cell.closest for cell in self.of(quantity, dtype).values() if cell.closest]
        return max(points, key=lambda point: point.multiple, default=None)

    def verdict(self, quantity: str, dtype: str) -> str:
        """Return fail, pass, or undecided where no decade has an example with a finite radius."""
        cells = list(self.of(quantity, dtype).values())
        if (quantity, dtype) in self.smallest or any(cell.failing for cell in cells):
            return "fail"
        return "pass" if any(cell.decided for cell in cells) else "undecided"


def rank(decade: Decade) -> int:
    """Return where a decade stands: from mean/sd below one to the constant channels."""
    return decade if isinstance(decade, int) else 1000


def table(shards: Sequence[Shard], state: State) -> Table:
    """Return what the finished shards came to, joined in the order of the hunt."""
    found = Table()
    for shard in shards:
        if shard.name not in state.done:
            continue
        content = state.done[shard.name]
        for decade, value in content["cells"]:
            where = (shard.quantity, shard.dtype, decade)
            found.cells[where] = joined(found.cells.get(where, Cell()), read_cell(value))
        given = content["smallest"]
        if given is not None and given["point"] is None:
            found.died[shard.name] = given["message"]
        elif given is not None:
            failing = Failing(read_point(given["point"]), given["message"])
            key = (shard.quantity, shard.dtype)
            if key not in found.smallest or failing.size < found.smallest[key].size:
                found.smallest[key] = failing
    return found


def verdict(found: Table) -> str:
    """Return pass, fail or undecided for the whole."""
    verdicts = {found.verdict(*key) for key in found.quantities}
    if "fail" in verdicts or found.died:
        return "fail"
    return "undecided" if "undecided" in verdicts or not verdicts else "pass"


def case_of(target: Target, point: Point) -> Case:
    """Return the case of a point."""
    return build(point.recipe, target.conventions)


def sentence(quantity: str, case: Case, point: Point) -> str:
    """Return what a case is called."""
    what = case.recipe.regime.replace("_", " ")
    shape, dtype = list(case.x.shape), case.recipe.dtype
    at = f"mean/sd {point.mean_over_sd:.2g}"
    return f"{QUANTITIES[quantity].sentence}: {what}, {at}, {dtype} {shape}"


def entry(target: Target, quantity: str, point: Point, again: str) -> dict[str, Any]:
    """Return the corpus entry of a point: its sentence, and the calls with what is right."""
    case = case_of(target, point)
    calls = recorded(target, lambda logged: QUANTITIES[quantity].got(logged, case))
    return {
        "sentence": sentence(quantity, case, point),
        "source": f"found by {again}",
        "calls": with_expected(calls),
    }


def _known(found: Table, target: Target, quantity: str, dtype: str) -> str:
    """Return the reason of an expected failure that what was found is, "" where it is none."""
    from .registered import known

    entry = known(found, target, quantity, dtype)
    return f"{entry.reason} ({entry.link})" if entry else ""


def document(
    target: Target, head: dict[str, Any], found: Table, done: int, total: int, again: str
) -> dict[str, Any]:
    """Return all that a hunt found, for `report` and for scripts."""
    cases: dict[str, Any] = {}
    keys: dict[tuple[str, Any], str] = {}

    def named(quantity: str, point: Point | None, failing: bool) -> dict[str, Any] | None:
        if point is None:
            return None
        at = (quantity, point.recipe)
        if at not in keys:
            keys[at] = unused(sentence(quantity, case_of(target, point), point), cases)
            cases[keys[at]] = {"recipe": asdict(point.recipe)}
        if failing and "calls" not in cases[keys[at]]:
            made = entry(target, quantity, point, again)
            cases[keys[at]] |= {"source": made["source"], "calls": made["calls"]}
        content = {k: v for k, v in point.as_json().items() if k not in ("recipe", "decade")}
        return {**content, "case": keys[at]}

    rows = []
    for quantity, dtype in found.quantities:
        for decade, cell in found.of(quantity, dtype).items():
            points = {
                "largest": named(quantity, cell.largest, False),
                "closest": named(quantity, cell.closest, cell.verdict == "fail"),
                "beyond": named(quantity, cell.beyond, False),
            }
            counts = {k: getattr(cell, k) for k in ("examples", "decided", "failing")}
            rows.append(
                {"quantity": quantity, "dtype": dtype, "decade": decade, **counts, **points}
                | {"verdict": cell.verdict, "class": cell.accuracy}
            )
    smallest = [
        {
            "quantity": q,
            "dtype": d,
            "message": failing.message,
            "known": _known(found, target, q, d),
        }
        | {"point": named(q, failing.point, True)}
        for (q, d), failing in found.smallest.items()
    ]
    return {
        "bncheck": version("bncheck"),
        "hunt": head,
        "target": target.spec,
        "versions": versions(),
        "complete": done == total,
        "shards": {"done": done, "total": total},
        "verdict": verdict(found),
        "cells": rows,
        "smallest": smallest,
        "died": found.died,
        "cases": cases,
    }

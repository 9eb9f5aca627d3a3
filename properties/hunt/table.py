"""What all finished shards of a hunt came to, per quantity, dtype and decade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .cells import Cell, Where, joined, read_cell
from .measure import Decade, Point, read_point
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

"""What a hunt is cut into: one quantity, dtype and situation each, with a seed of its own."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..engine.strategies import Inputs, offered_dtypes
from ..model.cases import REGIMES, WELL, Recipe
from ..model.contract import Target
from .quantities import QUANTITIES, Quantity

DECADES = range(9)  # of mean/sd, 1 to 1e8
_OFFSETS = ("offset", "far_offset")
_SWEEP = "mean/sd 1e"
_BITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
_UNIT_SD = 1 / math.sqrt(3)  # the standard deviation of numbers spread evenly from -1 to 1


@dataclass(frozen=True)
class Shard:
    """One part of a hunt; situation is a regime's name or "mean/sd 1e" and a decade."""

    quantity: str
    dtype: str
    situation: str

    @property
    def name(self) -> str:
        """What the shard is called in the state file."""
        return f"{self.quantity} | {self.dtype} | {self.situation}"

    def seed(self, seed_number: int) -> int:
        """Return a seed that is the shard's own, whoever runs it and when."""
        return (seed_number ^ zlib.crc32(self.name.encode())) % 2**32


def _exponents(decade: int, dtype: str, well: bool) -> tuple[float, float]:
    """Return the least and largest log2 of the offset that puts mean/sd into this decade."""
    reach = _BITS[dtype] / (4 if well else 1)
    least, largest = (math.log2(_UNIT_SD * 10.0**d) for d in (decade, decade + 1))
    return max(least, 0.0), min(largest, reach)


def situations(quantity: Quantity, dtype: str) -> Iterator[str]:
    """Yield the decades of mean/sd that the dtype holds, then the regimes with other data."""
    for decade in DECADES:
        least, largest = _exponents(decade, dtype, quantity.well)
        if least < largest:
            yield f"{_SWEEP}{decade}"
    for name in WELL if quantity.well else REGIMES:
        if name not in (*_OFFSETS, "not_finite", "balanced"):
            yield name


def inputs(shard: Shard) -> Inputs:
    """Return the kind of cases that the shard draws, before `placed` moves them."""
    sweep = shard.situation.startswith(_SWEEP)
    regime = "offset" if sweep else shard.situation
    well = QUANTITIES[shard.quantity].well
    return Inputs(regimes=(regime,), n=(2, 20 if well else 40), affine=True, tracked=True)


def placed(shard: Shard, recipe: Recipe) -> Recipe:
    """Return the recipe with mean/sd in the shard's decade; as it is for a regime."""
    if not shard.situation.startswith(_SWEEP):
        return recipe
    decade = int(shard.situation.removeprefix(_SWEEP))
    least, largest = _exponents(decade, shard.dtype, QUANTITIES[shard.quantity].well)
    share = (least + (largest - least) * recipe.level / 1024) / _BITS[shard.dtype]
    if share <= 0.25:
        return replace(recipe, regime="offset", level=round(share * 4096))
    return replace(recipe, regime="far_offset", level=round((share - 0.25) / 0.75 * 1024))


def offered_quantities(target: Target, only: Iterable[str] = ()) -> list[Quantity]:
    """Return the quantities that the target offers, those of `only` where it names any."""
    wanted = set(only) or set(QUANTITIES)
    return [
        q
        for q in QUANTITIES.values()
        if q.name in wanted and all(need in target.offers for need in q.needs)
    ]


def shards(target: Target, only: Iterable[str] = (), dtypes: Iterable[str] = ()) -> list[Shard]:
    """Return all shards of a hunt on this target, in the order in which they are sent."""
    kept = set(dtypes)
    offered = offered_dtypes(target.conventions, target.offers)
    return [
        Shard(quantity.name, dtype, situation)
        for quantity in offered_quantities(target, only)
        for dtype in offered
        if not kept or dtype in kept
        for situation in situations(quantity, dtype)
    ]

"""The recipes of a shard as points of a grid: drawn evenly, changed a little, made smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..engine.strategies import bounded, choices
from ..model.cases import Recipe
from ..model.contract import Target
from .shards import Shard, inputs, placed

At = tuple[int, ...]  # one index per field of a recipe; 0 is the simplest
CHANNELS = (1, 2, 3, 4, *[16] * 4, *[32] * 4)  # they are independent: one example carries many
_FIRST = ("channels", "spatial", "n", "bits", "level")  # what is made small first


@dataclass(frozen=True)
class Space:
    """What each field of a recipe is chosen from, the simplest first."""

    shard: Shard
    columns: tuple[Sequence[Any], ...]

    def recipe(self, at: At) -> Recipe:
        """Return the recipe at a point."""
        drawn = Recipe(*(column[i] for column, i in zip(self.columns, at, strict=True)))
        fitting = bounded(drawn.channels, drawn.n, drawn.spatial)
        return placed(self.shard, replace(drawn, **{**fitting, "mixed": ()}))  # of one regime

    def drawn(self, rng: np.random.Generator) -> At:
        """Return a point, all alike."""
        return tuple(int(rng.integers(len(column))) for column in self.columns)

    def changed(self, rng: np.random.Generator, at: At) -> At:
        """Return a point that differs in one or two fields, and every other time in the seed."""
        free = [k for k, column in enumerate(self.columns) if len(column) > 1]
        moved = set(rng.choice(free, size=min(int(rng.integers(1, 3)), len(free)), replace=False))
        if rng.random() < 0.5:
            moved.add(_NAMES.index("seed"))
        return tuple(
            int(rng.integers(len(self.columns[k]))) if k in moved else i for k, i in enumerate(at)
        )

    def smaller(self, at: At) -> Iterator[At]:
        """Yield points that are simpler in one field: at once, by half, by one."""
        for k in _ORDER:
            for i in dict.fromkeys((0, at[k] // 2, at[k] - 1)):
                if 0 <= i < at[k]:
                    yield (*at[:k], i, *at[k + 1 :])


_NAMES = [field.name for field in fields(Recipe)]
_ORDER = [_NAMES.index(k) for k in _FIRST] + [k for k, n in enumerate(_NAMES) if n not in _FIRST]


def space_of(shard: Shard, target: Target) -> Space:
    """Return the space of a shard on a target of its dtype alone."""
    chosen = choices(inputs(shard), target.conventions, target.offers)
    chosen["channels"] = CHANNELS
    return Space(shard, tuple(chosen[name] for name in _NAMES))


def shrunk(space: Space, at: At, fails: Callable[[At], bool], tries: int = 200) -> At:
    """Return a point that still fails where every simpler one holds, as far as the tries reach."""
    while True:
        for simpler in space.smaller(at):
            tries -= 1
            if tries < 0:
                return at
            if fails(simpler):
                at = simpler
                break
        else:
            return at

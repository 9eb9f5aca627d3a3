"""The search of one shard: an even sweep, then changes of the worst, then Hypothesis's climb."""

from __future__ import annotations

import math
import warnings
from dataclasses import astuple, dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis import target as climb
from hypothesis.database import ExampleDatabase

from ..engine.database import Part
from ..engine.local_constants import without_local_constants
from ..model.cases import build
from ..model.contract import Target
from ..run.expectations import only_dtypes
from .cells import Cell, joined, seen
from .measure import Decade, Point, measure
from .quantities import QUANTITIES
from .shards import Shard
from .space import At, Space, shrunk, space_of


@dataclass(frozen=True)
class Failing:
    """A case outside its radius: its worst point, and how the target misbehaved, if it did."""

    point: Point
    message: str = ""

    @property
    def size(self) -> tuple[Any, ...]:
        """Return what the smallest case has least of: numbers, then bits, then the rest."""
        r = self.point.recipe
        numbers = r.n * (len(r.pick) or r.channels) * math.prod(r.spatial)
        return numbers, r.bits, r.level, r.seed, repr(astuple(r))


@dataclass
class Found:
    """What the search of a shard came to; smallest is the failing case of the fewest numbers."""

    cells: dict[Decade, Cell] = field(default_factory=dict)
    smallest: Failing | None = None

    def add(self, points: list[Point], message: str = "", count: bool = True) -> Point:
        """Take in an example and return its point with the largest multiple of the radius."""
        worst = max(points, key=lambda point: point.multiple)
        if worst.multiple > 1.0:
            failing = Failing(worst, message)
            if self.smallest is None or failing.size < self.smallest.size:
                self.smallest = failing
        if count:
            for decade, cell in seen(points).items():
                self.cells[decade] = joined(self.cells.get(decade, Cell()), cell)
        return worst


def search(
    target: Target,
    shard: Shard,
    examples: int,
    seed_number: int,
    *,
    database: ExampleDatabase | None = None,
) -> Found:
    """Search one shard.

    A fifth of the examples is drawn evenly, three fifths are changes of the worst so far, a fifth
    is Hypothesis's, which climbs by `target()`. A failing case is then made small.

    Args:
        target: as `probe.find` gives it.
        shard: what to search.
        examples: how many.
        seed_number: of the whole hunt; the same number finds the same.
        database: where Hypothesis shares examples; what it holds is tried first.
    """
    target = only_dtypes(target, (shard.dtype,))
    run = _Search(target, shard, space_of(shard, target), Found())
    own = shard.seed(seed_number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a target warns of is its own affair
        last = examples // 5
        run.sweep(examples - last, np.random.Generator(np.random.PCG64(own)))
        if last:
            run.climb(last, own, database)
        if run.small:
            shrunk(run.space, run.small, lambda at: run.tried(at, count=False)[0] > 1.0)
            run.alone()
    return run.found


@dataclass
class _Search:
    """A search under way; small is the failing point of the fewest numbers."""

    target: Target
    shard: Shard
    space: Space
    found: Found
    small: At = ()

    def tried(self, at: At, count: bool = True) -> tuple[float, float]:
        """Return the largest multiple of the radius and the largest error in ulp at a point."""
        case = build(self.space.recipe(at), self.target.conventions)
        points, message = measure(self.target, QUANTITIES[self.shard.quantity], case)
        before = self.found.smallest
        worst = self.found.add(points, message, count)
        if self.found.smallest is not before:
            self.small = at
        return worst.multiple, max((p.ulp for p in points if p.decided), default=0.0)

    def alone(self) -> None:
        """Leave the failing channel of the smallest case alone, if it fails so."""
        smallest = self.found.smallest
        if smallest is None or smallest.point.recipe.channels == 1:
            return
        recipe = replace(smallest.point.recipe, pick=(smallest.point.channel,))
        if self.target.conventions.statistics == "per_channel":
            case = build(recipe, self.target.conventions)
            points, message = measure(self.target, QUANTITIES[self.shard.quantity], case)
            self.found.add(points, message, count=False)

    def sweep(self, examples: int, rng: np.random.Generator) -> None:
        """Draw evenly, then change what had the largest multiple and what the largest error."""
        best: list[tuple[float, At]] = [(-1.0, ())] * 2
        for k in range(examples):
            even = k < (examples + 3) // 4
            at = self.space.drawn(rng) if even else self.space.changed(rng, best[k % 2][1])
            scores = self.tried(at)
            best = [(s, at) if s > b[0] else b for s, b in zip(scores, best, strict=True)]

    def climb(self, examples: int, own_seed: int, database: ExampleDatabase | None) -> None:
        """Let Hypothesis draw and climb; `seed` comes first, as it would take the database away."""

        @given(st.tuples(*(st.integers(0, len(column) - 1) for column in self.space.columns)))
        def exercise(at: At) -> None:
            multiple, ulp = self.tried(at)
            climb(_score(multiple), label="multiple of the radius")
            climb(_score(ulp), label="ulp")

        options = settings(
            max_examples=examples,
            database=database and Part(database, self.target.spec, self.shard.name),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.reuse, Phase.generate, Phase.target),
            print_blob=False,
        )
        with without_local_constants():
            options(seed(own_seed)(exercise))()


def _score(value: float) -> float:
    """Return a finite number that grows with the error."""
    return min(max(math.log2(value), -200.0), 200.0) if value > 0 else -200.0

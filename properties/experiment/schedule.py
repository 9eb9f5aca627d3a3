"""Which runs are made, in which order, and what is found from those that are done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .claims import FASTER, AtScale, Race, Runs, best_scales, by_scale, entrants, pairs, race
from .training import Curve, Images, Plan, Setting, Start, start

SIDES = ((1.0, 1.0), (FASTER, FASTER), (1.0, FASTER))  # of a race, as multiples of the rate


def weight_scales(count: int = 16) -> list[float]:
    """Return weight scales from 1 to 1e-4, equally many per decade.

    Source: "Deep Learning from Scratch", chapter 6, which has 16.
    """
    return [float(scale) for scale in np.logspace(0, -4, count)]


@dataclass(frozen=True)
class Design:
    """The whole experiment: the images and where they are from, and what is run on them."""

    images: Images
    source: str
    plan: Plan
    scales: Sequence[float]
    rate: float
    seeds: int

    def first(self) -> list[Setting]:
        """Return the runs with and without batch norm at all scales, seed by seed."""
        return [s for seed in range(self.seeds) for s in pairs(self.scales, self.rate, seed)]

    def faster(self, curves: Sequence[Curve]) -> list[Setting]:
        """Return the runs at the faster rate, whose scales follow from the first ones."""
        best = best_scales(Runs(curves), self.scales, self.rate)
        rates = (FASTER * self.rate, FASTER * self.rate)
        seeds = sorted({seed for seed, _ in best})
        sides = [(seed, shared) for seed in seeds for shared in (False, True)]
        return sorted({s for seed, shared in sides for s in entrants(best, rates, seed, shared)})

    def stages(self, curves: Sequence[Curve]) -> Iterator[tuple[list[Setting], int]]:
        """Yield the runs of each stage and how many there are in all; curves are those done."""
        first = self.first()
        yield first, len(first) + 3 * self.seeds
        faster = self.faster(curves)
        yield faster, len(first) + len(faster)


@dataclass(frozen=True)
class Findings:
    """All that is reported: done of planned runs, what came out, and what was run."""

    runs: Runs
    planned: int
    plan: Plan
    images: str
    rate: float
    seeds: int
    scales: list[AtScale]
    starts: dict[float, Start]
    races: list[Race]

    @property
    def complete(self) -> bool:
        """Whether every planned run was made."""
        return len(self.runs.by) == self.planned


def findings(design: Design, curves: Sequence[Curve], planned: int) -> Findings:
    """Return what the runs say that are done."""
    runs, at, rate = Runs(curves), design.scales, design.rate
    best, seeds = best_scales(runs, at, rate), runs.seeds(at, rate)
    races = (
        race(runs, design.plan, best, (a * rate, b * rate), shared)
        for a, b in SIDES
        for shared in (False, True)
    )
    held = f"{len(design.images.x)} to train on and {len(design.images.held_x)} held out"
    return Findings(
        runs=runs,
        planned=planned,
        plan=design.plan,
        images=f"{design.source}, {held}",
        rate=rate,
        seeds=len(seeds),
        scales=by_scale(runs, at, rate) if seeds else [],
        starts={
            scale: start(design.images, design.plan, Setting(rate, 0, scale, True)) for scale in at
        },
        races=[found for found in races if found is not None],
    )

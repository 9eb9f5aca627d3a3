"""What is run, and what the runs say, in numbers with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from .images import Images
from .training import Curve, Plan, Setting

CONFIDENCE = 0.95
FASTER = 5.0  # the rate of the second comparison, as a multiple of the first
SIDES = ((1.0, 1.0), (FASTER, FASTER), (1.0, FASTER))  # of a race, as multiples of the rate
SCALES = tuple(float(scale) for scale in np.logspace(0, -4, 16))  # Deep Learning from Scratch, 6
Curves = Mapping[Setting, Curve]
Best = dict[tuple[int, bool], float]  # the scale by seed and kind of net


@dataclass(frozen=True)
class Design:
    """The whole experiment: the images and where they are from, and what is run on them."""

    images: Images
    source: str
    plan: Plan
    rate: float
    seeds: int
    scales: Sequence[float] = SCALES

    def pairs(self, seed: int) -> list[Setting]:
        """Return a seed's runs without batch norm and with it, at all scales."""
        kinds = (False, True)
        return [Setting(self.rate, seed, scale, kind) for scale in self.scales for kind in kinds]

    def first(self) -> list[Setting]:
        """Return the runs without batch norm and with it at all scales, seed by seed."""
        return [setting for seed in range(self.seeds) for setting in self.pairs(seed)]

    def faster(self, curves: Curves) -> list[Setting]:
        """Return the runs at the faster rate, whose scales follow from the first ones."""
        best, rates = best_scales(self, curves), (FASTER * self.rate, FASTER * self.rate)
        sides = [(seed, shared) for seed, kind in best if kind for shared in (False, True)]
        return sorted({s for seed, shared in sides for s in entrants(best, rates, seed, shared)})

    def done(self, curves: Curves) -> list[int]:
        """Return the seeds that have every run of the first ones."""
        return [s for s in range(self.seeds) if all(p in curves for p in self.pairs(s))]


class Interval(NamedTuple):
    """A mean over seeds and what holds it with the confidence that was asked for."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the t interval of a mean: infinite from one value, of no width where all agree."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf)
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return Interval(mean, float(mean - half), float(mean + half))


class AtScale(NamedTuple):
    """The held-out accuracies reached at one weight scale, per seed, and their paired difference.

    difference is one of as many intervals as there are scales, which hold together with the
    stated confidence (Bonferroni).
    """

    scale: float
    plain: tuple[float, ...]
    normalized: tuple[float, ...]
    difference: Interval

    @property
    def verdict(self) -> str:
        """better, worse or undecided: batch norm against none."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "undecided"


def by_scale(design: Design, curves: Curves) -> list[AtScale]:
    """Compare what is reached at the end, scale by scale, seed by seed."""
    seeds, found = design.done(curves), []
    if not seeds:
        return []
    for scale in design.scales:
        plain, normalized = (
            tuple(curves[Setting(design.rate, s, scale, kind)].held_out[-1] for s in seeds)
            for kind in (False, True)
        )
        differences = [b - a for a, b in zip(plain, normalized, strict=True)]
        i = interval(differences, 1 - (1 - CONFIDENCE) / len(design.scales))
        possible = Interval(i.mean, max(i.low, -1.0), min(i.high, 1.0))  # of two accuracies
        found.append(AtScale(scale, plain, normalized, possible))
    return found


def best_scales(design: Design, curves: Curves) -> Best:
    """Return per seed and kind of net the scale that is best for the other seeds.

    Best is the highest held-out accuracy, averaged over the whole training and the other seeds: a
    scale that is chosen on the seed it is judged on would look better than it is.
    """
    seeds = design.done(curves)
    best: Best = {}
    for seed in seeds:
        others = [other for other in seeds if other != seed] or seeds
        for kind in (False, True):
            means = [
                np.mean([curves[Setting(design.rate, o, scale, kind)].held_out for o in others])
                for scale in design.scales
            ]
            best[seed, kind] = design.scales[int(np.argmax(means))]
    return best


class Race(NamedTuple):
    """How many steps each net needs to the best accuracy that is reached without, per seed.

    rates: without and with; shared: both nets at the scale that is best without; goal: that
    accuracy; plain, normalized: the steps to it, None where it was not reached.
    """

    rates: tuple[float, float]
    shared: bool
    goal: tuple[float, ...]
    plain: tuple[int, ...]
    normalized: tuple[int | None, ...]

    @property
    def reached(self) -> list[int]:
        """The steps of the runs with batch norm that got there."""
        return [steps for steps in self.normalized if steps is not None]

    @property
    def times(self) -> Interval | None:
        """How many times fewer with batch norm, a geometric mean; None where one got not there."""
        if len(self.reached) < len(self.normalized):
            return None
        logs = [math.log(p / n) for p, n in zip(self.plain, self.reached, strict=True)]
        bounds = (math.exp(bound) if bound < 700 else math.inf for bound in interval(logs))
        return Interval(*bounds)


def entrants(best: Best, rates: tuple[float, float], seed: int, shared: bool) -> list[Setting]:
    """Return the two runs that race: without batch norm and with it."""
    return [
        Setting(rates[0], seed, best[seed, False], False),
        Setting(rates[1], seed, best[seed, not shared], True),
    ]


def race(
    plan: Plan, curves: Curves, best: Best, rates: tuple[float, float], shared: bool = False
) -> Race | None:
    """Compare the steps to the highest accuracy that the net without batch norm reaches.

    Returns:
        None where no seed has both runs.
    """
    rows: list[tuple[float, int, int | None]] = []
    for seed in sorted({seed for seed, _ in best}):
        pair = entrants(best, rates, seed, shared)
        if all(setting in curves for setting in pair):
            without, with_norm = (np.array(curves[setting].held_out) for setting in pair)
            there = np.flatnonzero(with_norm >= without.max())
            steps = plan.every * (1 + int(there[0])) if len(there) else None
            rows.append((float(without.max()), plan.every * (1 + int(without.argmax())), steps))
    return Race(rates, shared, *zip(*rows, strict=True)) if rows else None


def races(design: Design, curves: Curves) -> list[Race]:
    """Return the races at one rate, at the faster one, and across, of those that were run."""
    best = best_scales(design, curves)
    found = [
        race(design.plan, curves, best, (a * design.rate, b * design.rate), shared)
        for a, b in SIDES
        for shared in (False, True)
    ]
    return [one for one in found if one is not None]

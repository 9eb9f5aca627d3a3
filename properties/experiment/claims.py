"""What the runs say, in numbers with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..model.contract import Array
from .training import Curve, Plan, Setting

CONFIDENCE = 0.95
FASTER = 5.0  # the rate of the second comparison, as a multiple of the first


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and what holds it with the confidence that was asked for."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the t interval of a mean: infinite from one value, of no width where all agree."""
    a = np.asarray(values, np.float64)
    mean = float(a.mean())
    if len(a) < 2:
        return Interval(mean, -math.inf, math.inf)
    quantile = float(stats.t.ppf((1 + confidence) / 2, len(a) - 1))
    half = quantile * float(a.std(ddof=1)) / math.sqrt(len(a))
    return Interval(mean, mean - half, mean + half)


@dataclass(frozen=True)
class AtScale:
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


class Runs:
    """The curves by their setting."""

    def __init__(self, curves: Iterable[Curve]) -> None:
        self.by = {curve.setting: curve for curve in curves}

    def seeds(self, scales: Sequence[float], rate: float) -> list[int]:
        """Return the seeds that have every run at these scales."""
        seeds = sorted({setting.seed for setting in self.by if setting.rate == rate})
        return [s for s in seeds if all(st in self.by for st in pairs(scales, rate, s))]

    def curve(self, rate: float, seed: int, scale: float, normalized: bool) -> Array:
        """Return the held-out accuracies of a run, in the order of its steps."""
        return np.array(self.by[Setting(rate, seed, scale, normalized)].held_out)

    def at(self, rate: float, scale: float, normalized: bool) -> list[Curve]:
        """Return the curves of all seeds of one kind, in the order of the seeds."""
        wanted = (rate, scale, normalized)
        return [c for s, c in sorted(self.by.items()) if (s.rate, s.scale, s.normalized) == wanted]


def pairs(scales: Sequence[float], rate: float, seed: int) -> list[Setting]:
    """Return the settings with and without batch norm at these scales."""
    return [Setting(rate, seed, scale, kind) for scale in scales for kind in (False, True)]


def by_scale(runs: Runs, scales: Sequence[float], rate: float) -> list[AtScale]:
    """Compare what is reached at the end, scale by scale, seed by seed."""
    seeds, found = runs.seeds(scales, rate), []
    confidence = 1 - (1 - CONFIDENCE) / len(scales)
    for scale in scales:
        plain, normalized = (
            tuple(float(runs.curve(rate, seed, scale, kind)[-1]) for seed in seeds)
            for kind in (False, True)
        )
        i = interval([b - a for a, b in zip(plain, normalized, strict=True)], confidence)
        possible = Interval(i.mean, max(i.low, -1.0), min(i.high, 1.0))  # of two accuracies
        found.append(AtScale(scale, plain, normalized, possible))
    return found


Best = dict[tuple[int, bool], float]  # the scale by seed and kind of net


def best_scales(runs: Runs, scales: Sequence[float], rate: float) -> Best:
    """Return per seed and kind of net the scale that is best for the other seeds.

    Best is the highest held-out accuracy, averaged over the whole training and the other seeds: a
    scale that is chosen on the seed it is judged on would look better than it is.
    """
    seeds = runs.seeds(scales, rate)
    best: Best = {}
    for seed in seeds:
        others = [other for other in seeds if other != seed] or seeds
        for kind in (False, True):
            means = [
                float(np.mean([runs.curve(rate, other, scale, kind) for other in others]))
                for scale in scales
            ]
            best[seed, kind] = scales[int(np.argmax(means))]
    return best


@dataclass(frozen=True)
class Race:
    """How many times fewer steps batch norm needs to reach the best accuracy without, per seed.

    rates: without and with; shared: both nets at the scale that is best without; goal: that
    accuracy; plain, normalized: the steps to it, None where it was not reached; times: the
    geometric mean of the quotients, None where a run did not get there.
    """

    rates: tuple[float, float]
    shared: bool
    goal: tuple[float, ...]
    plain: tuple[int, ...]
    normalized: tuple[int | None, ...]
    times: Interval | None


def entrants(best: Best, rates: tuple[float, float], seed: int, shared: bool) -> list[Setting]:
    """Return the two runs that race: without batch norm and with it."""
    return [
        Setting(rates[0], seed, best[seed, False], False),
        Setting(rates[1], seed, best[seed, not shared], True),
    ]


def race(
    runs: Runs, plan: Plan, best: Best, rates: tuple[float, float], shared: bool = False
) -> Race | None:
    """Compare the steps to the highest accuracy that the net without batch norm reaches.

    Returns:
        None where no seed has both runs.
    """
    goals, plain, normalized = [], [], []
    for seed in sorted({seed for seed, _ in best}):
        pair = entrants(best, rates, seed, shared)
        if all(setting in runs.by for setting in pair):
            without, with_norm = (np.array(runs.by[setting].held_out) for setting in pair)
            goals.append(float(without.max()))
            plain.append(plan.every * (1 + int(without.argmax())))
            there = np.flatnonzero(with_norm >= goals[-1])
            normalized.append(plan.every * (1 + int(there[0])) if len(there) else None)
    if not goals:
        return None
    times = _times(plain, normalized)
    return Race(rates, shared, tuple(goals), tuple(plain), tuple(normalized), times)


def _times(plain: Sequence[int], normalized: Sequence[int | None]) -> Interval | None:
    reached = [n for n in normalized if n is not None]
    if len(reached) < len(normalized):
        return None
    logs = interval([math.log(p / n) for p, n in zip(plain, reached, strict=True)])
    bounds = (math.inf if bound > 700 else math.exp(bound) for bound in (logs.low, logs.high))
    return Interval(math.exp(logs.mean), *bounds)

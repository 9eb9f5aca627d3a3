"""Training calls that show an average, and the averages there are: weights of old and new."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from reference.ball import Ball, Precision

from ..model import expected
from ..model.contract import Array
from ..model.expected import Wanted
from .subject import Probing, case_of, row, train

MOMENTA = (0.25, 127 / 128, 1 / 128)  # each exact in every binary format
_C = 8
EPS = 0.5


@dataclass(frozen=True)
class Step:
    """One training call: old and new running statistics, the batch's, all rows (1, c)."""

    momentum: float
    old_mean: Array
    old_var: Array
    new_mean: Array
    new_var: Array
    mean: Wanted
    var: Wanted
    n: int
    precision: Precision


@dataclass(frozen=True)
class Weights:
    """The weights of old and new statistics in the average, and their relative error."""

    old: float
    new: float
    error: float


def step(p: Probing, dtype: str, rank: int, n: int, momentum: float, stream: int) -> Step:
    """Train once on integers, whose statistics every algorithm has exactly but for a division."""
    rng = p.random(stream)
    rows = rng.integers(-6, 7, size=(n, _C)) + rng.permutation(_C) - 3.0
    rows[0] += n - rows.sum(axis=0) % n  # a whole mean
    start = {"running_mean": rng.permutation(_C) + 9.0, "running_var": rng.permutation(_C) + 33.0}
    case = case_of(p, dtype, rows, rank, momentum=momentum, eps=EPS, **start)
    result = train(p, case)
    biased = replace(case.conventions, running_var="biased")
    mean, var = expected.batch_statistics(replace(case, conventions=biased))
    return Step(
        momentum,
        row(case.running_mean),
        row(case.running_var),
        row(result.running_mean),
        row(result.running_var),
        mean,
        var,
        expected.rows(case, case.x).shape[0],
        expected.precision_of(case, state=True),
    )


def _corrected(keep: float, k: int, p: Precision) -> Weights:
    """Return the weights of Adam's average at its k-th call: keep (1 - keep**(k-1)) and the rest.

    The power errs by 2k roundings, relatively, which the division by 1 - keep**k magnifies.
    """
    power = keep**k
    new = (1 - keep) / (1 - power)
    return Weights(1 - new, new, (8 + (2 * k + 4) * power / (1 - power)) * p.u)


Model = Callable[[float, int, Precision], Weights]


def _plain(old: Callable[[float], float], new: Callable[[float], float]) -> Model:
    return lambda m, k, p: Weights(old(m), new(m), 2 * p.u)


MODELS: dict[str, Model] = {
    "keep": _plain(lambda m: m, lambda m: 1 - m),
    "update": _plain(lambda m: 1 - m, lambda m: m),
    "cumulative": lambda m, k, p: Weights((k - 1) / k, 1 / k, 4 * p.u),
    "keep, corrected": lambda m, k, p: _corrected(m, k, p),
    "update, corrected": lambda m, k, p: _corrected(1 - m, k, p),
    "the batch alone": _plain(lambda m: 0.0, lambda m: 1.0),
    "never changed": _plain(lambda m: 1.0, lambda m: 0.0),
    "added to the old": _plain(lambda m: 1.0, lambda m: m),
}
COUNTING = ("cumulative", "keep, corrected", "update, corrected")


def measured(step: Step) -> tuple[float, float]:
    """Return the weights of old and new mean that fit the channels best."""
    a = np.stack([step.old_mean[0], step.mean.value[0]], axis=1)
    old, new = np.linalg.lstsq(a, step.new_mean[0], rcond=None)[0]
    return float(old), float(new)


def count_of(name: str, steps: list[Step]) -> int | None:
    """Return at which of its calls the target was in the first step, were it of this model."""
    with np.errstate(all="ignore"):
        try:
            if name == "cumulative":
                return max(1, round(1 / measured(steps[0])[1]))
            at = 1 if name.startswith("keep") else 2
            keep = steps[at].momentum if at == 1 else 1 - steps[at].momentum
            power = 1 - (1 - keep) / measured(steps[at])[1]
            return max(1, round(math.log(power) / math.log(keep)) - at)
        except (ValueError, ZeroDivisionError, OverflowError):
            return None


def worn_off(name: str, count: int, steps: list[Step]) -> bool:
    """Return whether a correction has become too small to be told from none at this count."""
    if not name.endswith("corrected"):
        return False
    plain = MODELS[name.partition(",")[0]]
    for i, s in enumerate(steps):
        w = MODELS[name](s.momentum, count + i, s.precision)
        one = averaged(s.old_mean, s.mean, w, s.precision)
        other = averaged(s.old_mean, s.mean, plain(s.momentum, 1, s.precision), s.precision)
        if np.any(np.abs(one.value - other.value) > 2 * (one.radius + other.radius)):
            return False
    return True


def averaged(old: Array, batch: Wanted, w: Weights, p: Precision) -> Wanted:
    """Return w.old * old + w.new * batch with its radius, as `rounding.running_radius`."""
    first = Ball(np.array([[w.old]]), w.error * abs(w.old) + p.u * abs(w.new), p)
    second = Ball(np.array([[w.new]]), w.error * abs(w.new) + p.u * abs(w.old), p)
    old_, batch_ = Ball(old, None, p), Ball(batch.value, batch.radius, p)
    forms = [old_ * first + batch_ * second]
    if w.old + w.new == 1:
        forms.append(old_ + (batch_ - old_) * second)
    parts = w.old * old, w.new * batch.value
    own = 2.0**-51 * (np.abs(parts[0]) + np.abs(parts[1]))  # what float64 loses here
    return Wanted(parts[0] + parts[1], np.maximum(forms[0].radius, forms[-1].radius) + own)

"""How running statistics are averaged: direction of momentum, count, correction, divisor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from reference.ball import Precision

from ..model import contract
from ..model.cases import state_dtype
from ..model.expected import Wanted
from ..model.verdict import Claim
from .answers import FOUND, NONE, OPEN, REFUSED, SEEN, Answer, asked, chosen, merged, misfit
from .steps import (
    COUNTING,
    EPS,
    MODELS,
    MOMENTA,
    Step,
    averaged,
    count_of,
    measured,
    step,
    worn_off,
)
from .subject import Probing


def _mean_claims(steps: list[Step], name: str, count: int) -> Iterator[Claim]:
    for i, s in enumerate(steps):
        want = averaged(s.old_mean, s.mean, MODELS[name](s.momentum, count + i, s.precision),
                        s.precision)  # fmt: skip
        yield Claim("running_mean", s.new_mean, want.value, want.radius)


def _model(steps: list[Step]) -> tuple[Answer, int]:
    """Return which model the running mean follows, and the count of the first step in it."""
    evidence, counts = {}, {}
    for name in MODELS:
        count = count_of(name, steps) if name in COUNTING else 1
        if count is not None and not worn_off(name, count, steps):
            counts[name] = count
            evidence[name] = misfit(_mean_claims(steps, name, count))
    weights = {f"momentum={s.momentum!r}": measured(s) for s in steps}
    found = chosen("average", evidence, old_and_new_weights=weights)
    return found, counts.get(found.value, 1)


DIVISORS: dict[str, Callable[[Step], Wanted]] = {
    "biased": lambda s: s.var,
    "unbiased": lambda s: _scaled(s.var, s.n / (s.n - 1), s.precision),
    "biased, with eps in it": lambda s: _plus(s.var, EPS, s.precision),
    "the standard deviation": lambda s: _root(s.var, s.precision),
    "mean of squares": lambda s: _plus(s.var, s.mean.value**2, s.precision),
}


def _scaled(var: Wanted, factor: float, p: Precision) -> Wanted:
    value = var.value * factor
    return Wanted(value, var.radius * factor + 4 * p.magnitude(value))


def _plus(var: Wanted, more: Any, p: Precision) -> Wanted:
    value = var.value + more
    return Wanted(value, var.radius + 4 * p.magnitude(value))


def _root(var: Wanted, p: Precision) -> Wanted:
    value = np.sqrt(var.value)
    return Wanted(value, var.radius / value + 4 * p.magnitude(value))


def _divisor(steps: list[Step], name: str, count: int) -> Answer:
    """Return what enters the running variance, given how the running mean is averaged."""
    if all(MODELS[name](s.momentum, count, s.precision).new == 0 for s in steps):
        return Answer("running_var", OPEN, "", "the running variance never changes")

    def claims(kind: str) -> Iterator[Claim]:
        for i, s in enumerate(steps):
            w = MODELS[name](s.momentum, count + i, s.precision)
            want = averaged(s.old_var, DIVISORS[kind](s), w, s.precision)
            yield Claim("running_var", s.new_var, want.value, want.radius)

    numbers = {"n": steps[0].n, "new_running_var": steps[0].new_var[0].tolist()}
    return chosen("running_var", {kind: misfit(claims(kind)) for kind in DIVISORS}, **numbers)


def places(p: Probing) -> dict[str, tuple[str, int, int]]:
    """Return where to look: each rank, each dtype, and another number of values."""
    first = p.conventions.ndim[0]
    found = {f"rank {rank}": (p.dtype, rank, 8) for rank in p.conventions.ndim}
    found |= {dtype: (dtype, first, 8) for dtype in p.conventions.dtypes if dtype != p.dtype}
    return {**found, "n = 64": (p.dtype, first, 64)}


def averages(p: Probing) -> list[Answer]:
    """Return direction of momentum, cumulative or not, corrected or not, and the divisor."""
    models, divisors = {}, {}
    for i, (place, (dtype, rank, n)) in enumerate(places(p).items()):
        try:
            steps = [step(p, dtype, rank, n, m, 10 * i + j) for j, m in enumerate(MOMENTA)]
        except contract.Misbehaved as error:
            models[place] = divisors[place] = Answer("", REFUSED, str(error))
            continue
        models[place], count = _model(steps)
        if models[place].verdict == FOUND:
            divisors[place] = _divisor(steps, models[place].value, count)
        else:
            divisors[place] = Answer("", OPEN, "", "the weights of old and new are not known")
    average = merged("average", models)
    divisor = merged("running_var", divisors)
    p.divisor = divisor.value if divisor.known else ""
    p.weight = _WEIGHTS.get(average.value) if average.known else None
    return [*_told(average), divisor]


_WEIGHTS = {"keep": 0.5, "update": 0.5, "the batch alone": 1.0}
_MOMENTUM = {"keep": "keep", "update": "update", "keep, corrected": "keep",
             "update, corrected": "update", "the batch alone": "ignored",
             "cumulative": "ignored", "never changed": "ignored",
             "added to the old": "adds"}  # fmt: skip


def _told(average: Answer) -> list[Answer]:
    """Return what the model of the average says on each of the three questions."""
    rest = (average.sure, average.evidence, average.numbers)
    name = average.value
    if average.verdict != FOUND:
        return [
            Answer(question, average.verdict, name, *rest)
            for question in ("momentum", "cumulative average", "bias correction")
        ]
    how = f" ({name})" if name in ("the batch alone", "never changed", "cumulative") else ""
    return [
        Answer("momentum", FOUND, _MOMENTUM[name] + how, *rest),
        Answer("cumulative average", FOUND, "yes" if name == "cumulative" else "no", *rest),
        Answer("bias correction", FOUND, "yes" if name.endswith("corrected") else "no", *rest),
    ]


def initial(p: Probing) -> Answer:
    """Return the running statistics that a fresh layer starts with."""

    def ask() -> Answer:
        if "initial_state" not in p.target.offers:
            return p.lacks("initial statistics", "initial_state")
        mean, var = contract.initial_state(p.target, 3, state_dtype(p.dtype))
        if np.ptp(mean) or np.ptp(var) or not np.isfinite([mean, var]).all():
            numbers = {"running_mean": mean.tolist(), "running_var": var.tolist()}
            return Answer("initial statistics", NONE, "", "channels differ", {}, numbers)
        told = f"mean {mean[0] + 0.0:g}, variance {var[0] + 0.0:g}"  # -0 is 0
        return Answer("initial statistics", SEEN, told, "returned")

    return asked("initial statistics", ask)

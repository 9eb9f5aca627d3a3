"""What a case must give: the reference's values and the radius of each, when asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from reference import rounding
from reference.ball import Precision, precision
from reference.float64 import Reference, reference_eval, reference_train, with_gradients

from .cases import Case
from .contract import Array

_TERM = 2.0**52  # a reference's bound is 2**-52 of the largest term that is added


class Wanted(NamedTuple):
    """A value, how far a right implementation may lie from it, and the largest term it adds."""

    value: Array
    radius: Array
    term: Array | None = None


def rows(case: Case, a: Array) -> Array:
    """Return a as float64 rows, one column per statistic, stored by columns if they are long."""
    a = case.conventions.rows(a)
    return a.astype(np.float64, order="F" if a.shape[0] > a.shape[1] else "C")


def row(a: Array | None, like: Array, fill: float) -> Array:
    """Return a parameter as a float64 row (1, c), fill where it is None."""
    if a is None:
        return np.full((1, like.shape[1]), fill)
    return a.astype(np.float64).reshape(1, -1)


def precision_of(case: Case, *, state: bool = False, pairwise: bool = False) -> Precision:
    """Return the precision of the case's dtype, or of its running statistics."""
    c = case.conventions
    wide = state and c.halves == "float32" and case.recipe.dtype in ("float16", "bfloat16")
    dtype = "float32" if wide else case.recipe.dtype
    return precision(dtype, c.accumulator, c.subnormals, pairwise, c.halves)


@dataclass(frozen=True)
class Pass:
    """One pass over a case: its rows, the reference, and the spread of the statistics."""

    x: Array
    dy: Array
    gamma: Array
    beta: Array
    ref: Reference
    spread: rounding.Spread


def _parameters(case: Case, x: Array) -> tuple[Array, Array]:
    return row(case.gamma, x, 1.0), row(case.beta, x, 0.0)


def training(case: Case, *, gradients: bool = False) -> Pass:
    """Return the training pass, with the backward if asked for."""

    def make() -> Pass:
        if gradients:
            forward = training(case)
            return replace(forward, ref=with_gradients(forward.ref, forward.dy))
        x, dy = rows(case, case.x), rows(case, case.dy)
        gamma, beta = _parameters(case, x)
        with np.errstate(all="ignore"):
            ref = reference_train(x, None, gamma, beta, case.eps)
            spread = rounding.statistics_spread(x, ref, case.eps, precision_of(case))
        return Pass(x, dy, gamma, beta, ref, spread)

    return case.memo(("training", gradients), make)


def inference(case: Case, mean: Array, var: Array) -> Pass:
    """Return the inference pass at the given statistics (c,)."""
    x, dy = rows(case, case.x), rows(case, case.dy)
    gamma, beta = _parameters(case, x)
    with np.errstate(all="ignore"):
        ref = reference_eval(x, dy, gamma, beta, mean, var, case.eps)
        spread = rounding.eval_spread(row(var, x, 1.0), case.eps, precision_of(case))
    return Pass(x, dy, gamma, beta, ref, spread)


def paired(case: Case, *, gradients: bool = False) -> Pass:
    """Return the training pass with the spread that sums in pairs have."""
    p, pr = training(case, gradients=gradients), precision_of(case, pairwise=True)
    with np.errstate(all="ignore"):
        spread = case.memo(
            "paired spread", lambda: rounding.statistics_spread(p.x, p.ref, case.eps, pr)
        )
    return replace(p, spread=spread)


def trained(case: Case, pairwise: bool, *, gradients: bool = False) -> Pass:
    """Return the training pass, its spread that of sums in pairs or in any order."""
    return (paired if pairwise else training)(case, gradients=gradients)


def certified(ref: Reference, name: str, radius: Array) -> Wanted:
    """Return a result of the reference, whose bound adds to the radius and tells the term."""
    bound = ref.bound[name]
    return Wanted(ref.value[name], radius + bound, bound * _TERM)


def _output(p: Pass, pr: Precision) -> Wanted:
    with np.errstate(all="ignore"):
        radius = rounding.output_radius(p.x, p.ref, p.gamma, p.beta, p.spread, pr)
        return certified(p.ref, "y", radius)


def output(case: Case, pairwise: bool = False) -> Wanted:
    """Return y in training, (n, c).  # (44)"""
    pr = precision_of(case, pairwise=pairwise)
    return case.memo(("y", pairwise), lambda: _output(trained(case, pairwise), pr))


def normalized(case: Case) -> Wanted:
    """Return xhat: y with gamma 1 and beta 0, (n, c)."""

    def make() -> Wanted:
        p = training(case)
        one, zero = np.ones_like(p.gamma), np.zeros_like(p.beta)
        with np.errstate(all="ignore"):
            ref = Reference(
                {**p.ref.value, "y": p.ref.xhat},
                {**p.ref.bound, "y": p.ref.bound["xhat"]},
                p.ref.memory,
            )
            radius = rounding.output_radius(p.x, ref, one, zero, p.spread, precision_of(case))
        return Wanted(p.ref.xhat, radius + ref.bound["y"])

    return case.memo("xhat", make)


def gradients(case: Case, pairwise: bool = False) -> dict[str, Wanted]:
    """Return dx (n, c), dgamma and dbeta (1, c) in training.  # (45)"""

    def make() -> dict[str, Wanted]:
        p, pr = trained(case, pairwise, gradients=True), precision_of(case, pairwise=pairwise)
        with np.errstate(all="ignore"):
            radii = rounding.gradient_radii(p.x, p.dy, p.ref, p.gamma, p.spread, pr)
            return {name: certified(p.ref, name, radius) for name, radius in radii.items()}

    return case.memo(("gradients", pairwise), make)


def eval_output(case: Case, mean: Array, var: Array) -> Wanted:
    """Return y in inference, (n, c), at the given statistics (c,)."""
    p = inference(case, mean, var)
    return _output(p, precision_of(case))


def eval_gradients(case: Case, mean: Array, var: Array) -> dict[str, Wanted]:
    """Return dx, dgamma and dbeta in inference."""
    p, pr = inference(case, mean, var), precision_of(case)
    with np.errstate(all="ignore"):
        radii = rounding.parameter_radii(p.x, p.dy, p.ref, p.spread, pr)
        radii["dx"] = rounding.eval_gradient_radius(p.dy, p.ref, p.gamma, p.spread, pr)
        return {name: certified(p.ref, name, radius) for name, radius in radii.items()}


def batch_statistics(case: Case, pairwise: bool = False) -> tuple[Wanted, Wanted]:
    """Return the mean and the variance that enter the running statistics, each (1, c)."""
    p, pr = trained(case, pairwise), precision_of(case, state=True, pairwise=pairwise)
    n = p.x.shape[0]
    var, radius = p.ref.var, p.spread.var
    if case.conventions.running_var == "unbiased" and n > 1:
        factor = n / (n - 1)
        with np.errstate(all="ignore"):
            var, radius = var * factor, radius * factor + 4 * pr.magnitude(var * factor)
    size = np.abs(p.x).mean(axis=0, keepdims=True)
    mean = Wanted(p.ref.mean, p.spread.mean + p.ref.bound["mean"], size)
    return mean, Wanted(var, radius + p.ref.bound["var"] * 2, var)


def keep_of(case: Case) -> float:
    """Return the share of the old running statistics that is kept."""
    return case.momentum if case.conventions.momentum == "keep" else 1.0 - case.momentum


def initial(case: Case) -> tuple[Wanted, Wanted]:
    """Return the running statistics that the case starts from, taken as exact."""
    x = rows(case, case.x)
    return exactly(case.running_mean, 0.0, x), exactly(case.running_var, 1.0, x)


def running(case: Case, mean: Wanted, var: Wanted, pairwise: bool = False) -> tuple[Wanted, Wanted]:
    """Return the running statistics after training on this case from (mean, var).  # (18), (19)"""
    pr, keep = precision_of(case, state=True, pairwise=pairwise), keep_of(case)
    found = []
    with np.errstate(all="ignore"):
        for old, batch in zip((mean, var), batch_statistics(case, pairwise), strict=True):
            value = keep * old.value + (1.0 - keep) * batch.value
            if keep == 1.0:
                value = old.value
            radius = rounding.running_radius(
                old.value, batch.value, batch.radius, keep, case.momentum, pr
            )
            assert batch.term is not None
            term = keep * np.abs(old.value) + (1.0 - keep) * batch.term
            radius = radius + keep * old.radius + 2.0**-51 * np.abs(value)
            found.append(Wanted(value, radius, term))
    return found[0], found[1]


def exactly(a: Array | None, fill: float, like: Array) -> Wanted:
    """Return an array taken as exact, as a row."""
    value = row(a, like, fill)
    return Wanted(value, np.zeros_like(value))

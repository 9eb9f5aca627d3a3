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


class Wanted(NamedTuple):
    """A value and how far a right implementation may lie from it."""

    value: Array
    radius: Array


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


def _output(p: Pass, pr: Precision) -> Wanted:
    with np.errstate(all="ignore"):
        radius = rounding.output_radius(p.x, p.ref, p.gamma, p.beta, p.spread, pr)
    return Wanted(p.ref.y, radius + p.ref.bound["y"])


def output(case: Case) -> Wanted:
    """Return y in training, (n, c)."""
    return case.memo("y", lambda: _output(training(case), precision_of(case)))


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


def gradients(case: Case) -> dict[str, Wanted]:
    """Return dx (n, c), dgamma and dbeta (1, c) in training."""

    def make() -> dict[str, Wanted]:
        p = training(case, gradients=True)
        with np.errstate(all="ignore"):
            radii = rounding.gradient_radii(p.x, p.dy, p.ref, p.gamma, p.spread, precision_of(case))
        return _wanted(p.ref, radii)

    return case.memo("gradients", make)


def _wanted(ref: Reference, radii: dict[str, Array]) -> dict[str, Wanted]:
    return {
        name: Wanted(ref.value[name], radius + ref.bound[name]) for name, radius in radii.items()
    }


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
    return _wanted(p.ref, radii)


def batch_statistics(case: Case) -> tuple[Wanted, Wanted]:
    """Return the mean and the variance that enter the running statistics, each (1, c)."""
    p, pr = training(case), precision_of(case, state=True)
    n = p.x.shape[0]
    var, radius = p.ref.var, p.spread.var
    if case.conventions.running_var == "unbiased" and n > 1:
        factor = n / (n - 1)
        with np.errstate(all="ignore"):
            var, radius = var * factor, radius * factor + 4 * pr.magnitude(var * factor)
    mean = Wanted(p.ref.mean, p.spread.mean + p.ref.bound["mean"])
    return mean, Wanted(var, radius + p.ref.bound["var"] * 2)


def keep_of(case: Case) -> float:
    """Return the share of the old running statistics that is kept."""
    return case.momentum if case.conventions.momentum == "keep" else 1.0 - case.momentum


def running(case: Case, mean: Wanted, var: Wanted) -> tuple[Wanted, Wanted]:
    """Return the running statistics after training on this case from (mean, var)."""
    pr, keep = precision_of(case, state=True), keep_of(case)
    found = []
    with np.errstate(all="ignore"):
        for old, batch in zip((mean, var), batch_statistics(case), strict=True):
            value = keep * old.value + (1.0 - keep) * batch.value
            if keep == 1.0:
                value = old.value
            radius = rounding.running_radius(
                old.value, batch.value, batch.radius, keep, case.momentum, pr
            )
            found.append(Wanted(value, radius + keep * old.radius + 2.0**-51 * np.abs(value)))
    return found[0], found[1]


def exactly(a: Array | None, fill: float, like: Array) -> Wanted:
    """Return an array taken as exact, as a row."""
    value = row(a, like, fill)
    return Wanted(value, np.zeros_like(value))

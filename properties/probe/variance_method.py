"""How the variance is computed, from the growth of its error with mean/sd."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference.ball import precision
from reference.float64 import reference_train

from ..bugs.wrong_precision import WRONG_PRECISION
from ..model import expected
from ..model.cases import dtype_of
from ..model.contract import Array
from ..model.verdict import Claim
from ..plants.forms import RIGHT_FORMS
from .answers import FOUND, OPEN, Answer, asked, misfit, narrowest
from .subject import Probing, case_of, row, train, weight_of

_N = 6
_PER_RATIO = 32  # channels per mean/sd
_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


@dataclass(frozen=True)
class Shown:
    """One batch over many mean/sd, exact statistics, and the variance that was got, rows (1, c)."""

    x: Array
    ratio: Array
    mean: Array
    var: Array
    got: Array
    u: float
    wide_u: float


def _rows(p: Probing, dtype: str, stream: int) -> tuple[Array, Array]:
    """Return rows of sd about 1 and mean 2**k in each channel, as the dtype holds them."""
    inner = p.radius_dtype(dtype)  # what it rounds x to is no error of the variance
    powers = np.arange(0, _BITS[inner] - 3)
    ratio = np.repeat(2.0**powers, _PER_RATIO)
    noise = p.random(stream).standard_normal((_N, len(ratio)))
    rows = (ratio + noise).astype(dtype_of(inner)).astype(np.float64)
    return np.concatenate([np.ones((_N, 1)), rows], axis=1), ratio


def _show(p: Probing, dtype: str, divisor: str, pivoted: bool = False) -> Shown:
    """Train on them from running variance 0; pivoted passes the mean as running mean.

    The first channel is one throughout: with the running mean 0 it tells the weight of the batch.
    """
    rows, ratio = _rows(p, dtype, 601)
    start = np.concatenate([[0.0], ratio]) if pivoted else np.zeros(len(ratio) + 1)
    case = case_of(p, dtype, rows, running_mean=start)
    result = train(p, case)
    factor = _N / (_N - 1) if divisor == "unbiased" else 1.0
    got = row(result.running_var)[:, 1:] / (weight_of(p, result, 1.0) * factor)
    x = expected.rows(case, case.x)[:, 1:]
    ref = reference_train(x, None, None, None, 1.0)
    inner = expected.precision_of(case, state=True)
    return Shown(x, ratio, ref.mean, ref.var, got, inner.u, precision("float64").u)


def _order(u: float) -> float:
    return (_N - 1) * u


def _around(s: Shown) -> tuple[Array, Array]:
    """Return mean |x - mean| and the largest |x - mean|, (1, c)."""
    off = np.abs(s.x - s.mean)
    return off.mean(axis=0, keepdims=True), off.max(axis=0, keepdims=True)


def _mean_error(s: Shown) -> Array:
    size = np.abs(s.x).mean(axis=0, keepdims=True)
    return (_order(s.u) + 2 * s.u) * size  # (40)


def shifted(s: Shown) -> Array:
    """Return the radius of a variance about a pivot near the mean: free of mean/sd.  # (42)"""
    _, far = _around(s)
    square = ((np.abs(s.x - s.mean) + far) ** 2).mean(axis=0, keepdims=True)
    return (2 * _order(s.u) + 8 * s.u) * square


def _one_pass(s: Shown, u: float) -> Array:
    squares = (s.x**2).mean(axis=0, keepdims=True)
    lost = (_order(u) + 3 * u) * squares + (2 * _order(u) + 4 * u) * s.mean**2
    return lost + 6 * s.u * s.var


def one_pass_wide(s: Shown) -> Array:
    """Return the radius of mean(x * x) - mean**2 in float64, grown as u64 (mean/sd)**2."""
    return shifted(s) + (_one_pass(s, s.wide_u) if s.u > s.wide_u else 0.0)


def two_pass(s: Shown) -> Array:
    """Return the radius of mean((x - mean)**2), grown as (u mean/sd)**2.  # (42)"""
    mean = _mean_error(s)
    return (_order(s.u) + 6 * s.u) * (s.var + mean**2) + mean**2


def merged(s: Shown) -> Array:
    """Return the radius of Welford's updates and of merged chunks, grown as u mean/sd.  # (42)"""
    around, far = _around(s)
    steps = math.ceil(math.log2(_N))
    chain = around + np.minimum((1 + steps) * around, far)
    mean = _mean_error(s) + 4 * s.u * chain
    return (_order(s.u) + 8 * s.u) * s.var + 4 * mean * chain + mean**2


def one_pass(s: Shown) -> Array:
    """Return the radius of mean(x * x) - mean**2, grown as u (mean/sd)**2."""
    return _one_pass(s, s.u) + merged(s)


METHODS: dict[str, Callable[[Shown], Array]] = {  # each radius holds those before it
    "shifted": shifted,
    "one pass in float64": one_pass_wide,
    "two passes": lambda s: np.maximum(two_pass(s), one_pass_wide(s)),
    "running update or merged chunks": lambda s: np.maximum(merged(s), two_pass(s)),
    "one pass": one_pass,
}


def _pieces(name: str, x: Array) -> Array:
    pieces = WRONG_PRECISION[name] if name in WRONG_PRECISION else RIGHT_FORMS[name]
    mean = pieces.mean(x)
    return pieces.variance(x, mean).astype(np.float64)


_PLANTS = {
    "one pass in float64": ("one_pass_variance", np.float64),
    "two passes": ("two_pass", None),
    "running update or merged chunks": ("welford", None),
    "one pass": ("one_pass_variance", None),
}


def _planted(s: Shown, method: str, dtype: str, radius: Array) -> float:
    """Return what a textbook implementation of a method shows here, over a radius."""
    name, wide = _PLANTS[method]
    t = wide or (np.float32 if dtype in ("float16", "bfloat16") else dtype_of(dtype))
    with np.errstate(all="ignore"):
        got = _pieces(name, s.x.astype(t))
        if wide and s.u > s.wide_u:
            got = got.astype(np.float32).astype(np.float64)
        return misfit([Claim("var", got, s.var, radius)])


def growth(s: Shown) -> list[tuple[float, float]]:
    """Return (mean/sd, largest relative error of the variance) for each mean/sd."""
    error = (np.abs(s.got - s.var) / s.var)[0]
    return [(float(r), float(error[s.ratio == r].max())) for r in np.unique(s.ratio)]


def method(p: Probing, dtype: str, divisor: str) -> Answer:
    """Return the method whose error grows as that of the variance does, with the growth itself."""
    question = f"variance ({dtype})"

    def ask() -> Answer:
        if divisor not in ("biased", "unbiased"):
            why = "the running variance cannot be read as the batch's"
            return Answer(question, OPEN, "", why)
        s = _show(p, dtype, divisor)
        return _pivot(p, _ringed(question, s, p.radius_dtype(dtype)), dtype, divisor)

    return asked(question, ask)


def _ringed(question: str, s: Shown, dtype: str) -> Answer:
    with np.errstate(all="ignore"):
        radii = {name: radius(s) for name, radius in METHODS.items()}
        if s.u == s.wide_u:
            del radii["one pass in float64"]
        evidence = {
            name: misfit([Claim("var", s.got, s.var, radius)]) for name, radius in radii.items()
        }
    at = next((name for name in radii if evidence[name] <= 1), None)
    wider: Mapping[str, Any] = {}
    if at is not None:
        names = list(radii)
        wider = {name: _planted(s, name, dtype, radii[at]) for name in names[names.index(at) + 1 :]}
    return narrowest(question, evidence, wider, growth=growth(s))


def _pivot(p: Probing, found: Answer, dtype: str, divisor: str) -> Answer:
    """See whether the running mean serves as pivot: then passing the mean makes it exact."""
    if found.verdict != FOUND or found.value != "one pass":
        return found
    shown = _show(p, dtype, divisor, pivoted=True)
    near = _ringed(found.question, shown, p.radius_dtype(dtype))
    if near.verdict in (FOUND, OPEN) and near.value.startswith("shifted"):
        return replace(found, value="shifted by the running mean", sure=near.sure)
    return found

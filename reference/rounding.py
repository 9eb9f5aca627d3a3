"""The tolerance of each result: its radius over the named forms, for this very input.

A radius has two parts. The computed statistics lie within delta of the mean and rho of rstd,
relatively, whatever the form; all forms are the same function of them, so their error moves a
result by its derivatives, equations (44) and (45). The roundings of each form itself come from
running it over `Ball` at the exact statistics; the widest form counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import form_roundings, forms
from .ball import Ball, Precision
from .double import Array
from .float64 import Reference
from .form_roundings import Flow, flow_of, largest_of, mean_rows, size_of


@dataclass(frozen=True)
class Spread:
    """How far computed statistics may lie off, (1, c): mean, var absolutely, rstd relatively."""

    mean: Array
    var: Array
    rstd: Array


def _checked(value: Array, n: int, largest: float) -> Array:
    """Return value, infinite where a sum of n such may pass the largest finite number."""
    return np.where(value * n > largest, np.inf, value)


def statistics_spread(x: Array, ref: Reference, eps: float, p: Precision) -> Spread:
    """Return the widest error of mean, var and rstd over the named forms.  # (40) to (43)

    Args:
        x: (n, c) float64.
        ref: the reference of this batch.
        p: the precision of the implementation.
    """
    n = x.shape[0]
    s, store = p.terms(n), p.store
    size = _checked(mean_rows(ref.memo(size_of, x, None)), n, p.largest)  # (1, c)
    center, around = np.abs(ref.mean), mean_rows(ref.memo(size_of, ref.xc, None))  # (1, c)
    furthest = ref.memo(largest_of, ref.xc, None)  # (1, c)
    steps = math.ceil(math.log2(n)) if n > 1 else 0
    w = around + np.minimum((1 + steps) * around, furthest)  # (41)
    d = np.abs(x - x[:1])  # (n, c)
    mean_d = _checked(mean_rows(d), n, p.largest)
    two_pass = s * size + (2 * p.sum_u + store) * center  # (40)
    shifted = (p.u + s + 2 * p.sum_u) * mean_d + p.u * center  # (41)
    merged = (s + p.sum_u) * size + 4 * p.u * w + store * center  # (41)
    delta = np.maximum(np.maximum(two_pass, shifted), merged) + (n + 2) * p.eta  # (41)
    farthest = _checked((2 * furthest) ** 2, 1, p.largest)  # of two chunks
    var = _variance_spread(n, ref.var, delta, w, d, mean_d, ref.xc[:1], p)
    var = np.where(np.isfinite(farthest), var, np.inf)
    return Spread(delta, var, rstd_spread(ref.var, var, eps, p))


def _variance_spread(
    n: int,
    var: Array,
    delta: Array,
    w: Array,
    d: Array,
    mean_d: Array,
    off: Array,
    p: Precision,
) -> Array:
    """Return the widest error of the biased variance, (1, c), in the letters of (42).

    Args:
        d: |x - x_1|, (n, c), and mean_d its mean; off is the mean of x - x_1, of either sign.
    """
    order = p.terms(n) + 2 * p.sum_u + 3 * p.u  # s + 5 u
    two_pass = order * (var + delta**2) + delta**2
    merged = (order + 2 * p.u) * var + 4 * delta * w + delta**2
    mean_square = _checked(mean_rows(d * d), n, p.largest)
    e = (p.u + p.terms(n) + 2 * p.sum_u) * mean_d
    shifted = order * mean_square + (2 * np.abs(off) + e) * e
    shifted = shifted + p.u * (off**2 + var)
    return np.maximum(np.maximum(two_pass, merged), shifted) + p.u * var + (n + 2) * p.eta


def rstd_spread(var: Array, radius: Any, eps: float, p: Precision) -> Array:
    """Return the relative error of 1 / sqrt(var + eps) for var within radius, (1, c).  # (43)"""
    inner = var + eps
    q = (radius + p.u * inner + p.sum_u * eps) / inner
    left = np.sqrt(np.maximum(1 - q, 0))  # 1 / left - 1 is q / (left (1 + left))
    moved = np.where(left > 0, q / np.where(left > 0, left * (1 + left), 1.0), np.inf)
    return np.asarray(moved + 4 * p.u * (1 + moved))


def _widest(results: Sequence[Ball]) -> Any:
    radius = results[0].radius
    for ball in results[1:]:
        radius = np.maximum(radius, ball.radius)
    return radius


def _run(of: Sequence[forms.Form], ref: Reference, p: Precision, *values: Array) -> Any:
    """Return the radius of the widest form over balls: what was computed from them is kept."""
    balls = [ref.memo(_exact_ball, value, p) for value in values]
    return _widest([form(*balls) for form in of])


def _exact_ball(value: Array, p: Precision) -> Ball:
    return Ball(value, None, p)


def output_radius(
    x: Array, ref: Reference, gamma: Array, beta: Array, spread: Spread, p: Precision
) -> Array:
    """Return the radius of y, (n, c); none where gamma * (x - mean) may overflow.  # (44)"""
    scale = np.abs(gamma) * ref.rstd * _stretch(x, ref, p)
    by_rstd = ref.memo(size_of, ref.xc, None) * (scale * spread.rstd)  # (n, c)
    moved = by_rstd + scale * spread.mean * (1 + spread.rstd)  # (n, c)
    roundings = form_roundings.output(x, gamma, beta, ref, p)
    if roundings is None:
        roundings = _run(forms.OUTPUT, ref, p, x, gamma, beta, ref.mean, ref.rstd)
    product = _checked(np.abs(gamma) * ref.memo(size_of, ref.xc, None), 1, p.largest)  # (n, c)
    roundings = np.where(np.isinf(product), np.inf, roundings)
    return np.asarray(p.stored(ref.y, moved + roundings))


def _slack(n: int, p: Precision) -> float:
    """Return s + 8 u, the roundings of a sum of products and of what follows.  # (44), (45)"""
    return p.terms(n) + 8 * p.u


def _stretch(x: Array, ref: Reference, p: Precision) -> Array:
    """Return by how much a form's own roundings enlarge what moves, (1, c).  # (44), (45)"""
    largest = ref.memo(largest_of, x, None)  # (1, c)
    return np.asarray(1 + _slack(x.shape[0], p) + 4 * p.u * largest * ref.rstd)


def moved_linear(
    v: Array, x: Array, gamma: Array, ref: Reference, spread: Spread, p: Precision
) -> Array:
    """Return how far the statistics move (15) or (21), with v for dy or tx, (n, c).  # (45)

    A sum that is zero in exact arithmetic leaves its roundings: hence the slack beside |mean(v)|.
    """
    flow, xhat = ref.memo(flow_of, v, ref.xhat), ref.memo(size_of, ref.xhat, None)
    rho, t, q = spread.rstd, spread.mean * ref.rstd, np.abs(flow.along)  # (1, c)
    m = np.abs(flow.mean) + _slack(x.shape[0], p) * flow.mean_size  # (1, c)
    by_rstd = rho * (flow.centred + xhat * (3 * q))
    by_mean = t * q + (xhat + t) * (t * m)
    growth = (1 + rho) ** 3 * _stretch(x, ref, p)
    return np.asarray((by_rstd + by_mean) * (np.abs(gamma) * ref.rstd * growth))


def gradient_radii(
    x: Array, dy: Array, ref: Reference, gamma: Array, spread: Spread, p: Precision
) -> dict[str, Array]:
    """Return the radii of dx (n, c), dgamma and dbeta (1, c) in training.  # (45)"""
    flow = ref.memo(flow_of, dy, ref.xhat)
    moved = moved_linear(dy, x, gamma, ref, spread, p)
    roundings = form_roundings.gradients(x, flow, gamma, ref, p)
    if roundings is None:
        of_x = _run(forms.INPUT_GRADIENT, ref, p, dy, x, gamma, ref.mean, ref.rstd)
        parameters = parameter_radii(x, dy, ref, spread, p)
    else:
        of_x, of_gamma = roundings
        parameters = _parameters(x, flow, ref, spread, of_gamma, p)
    # a staged backward divides by the third power of the deviation
    cube = _checked(((1 + spread.rstd) / ref.rstd) ** 3, 1, p.largest)
    dx = np.where(np.isfinite(cube), p.stored(ref.dx, moved + of_x), np.inf)
    return {"dx": dx, **parameters}


def parameter_radii(
    x: Array, dy: Array, ref: Reference, spread: Spread, p: Precision
) -> dict[str, Array]:
    """Return the radii of dgamma and dbeta, (1, c), in training and inference."""
    of_gamma = _run(forms.GAMMA_GRADIENT, ref, p, dy, x, ref.mean, ref.rstd)
    return _parameters(x, ref.memo(flow_of, dy, ref.xhat), ref, spread, of_gamma, p)


def _parameters(
    x: Array, dy: Flow, ref: Reference, spread: Spread, of_gamma: Array, p: Precision
) -> dict[str, Array]:
    """Return the radii of dgamma and dbeta from the roundings of the former, (1, c)."""
    n, off = x.shape[0], spread.mean * ref.rstd * (1 + spread.rstd)
    size = n * dy.mean_size
    of_beta = p.terms(n) * size + p.store * np.abs(ref.dbeta) + p.eta
    stray = np.abs(ref.dbeta) + _slack(n, p) * size
    by_rstd = np.fmax(spread.rstd * np.abs(ref.dgamma), 0)  # also where infinity meets zero
    moved = (by_rstd + off * stray) * _stretch(x, ref, p)
    return {"dgamma": moved + of_gamma, "dbeta": np.where(size > p.largest, np.inf, of_beta)}


def eval_spread(var: Array, eps: float, p: Precision) -> Spread:
    """Return the spread of given statistics: only eps, the root and its reciprocal round."""
    return Spread(np.zeros_like(var), np.zeros_like(var), rstd_spread(var, 0.0, eps, p))


def eval_gradient_radius(
    dy: Array, ref: Reference, gamma: Array, spread: Spread, p: Precision
) -> Array:
    """Return the radius of dx = gamma * rstd * dy in inference, (n, c).  # (17)"""
    roundings = (Ball(dy, None, p) * (Ball(gamma, None, p) * Ball(ref.rstd, None, p))).radius
    return np.asarray(p.stored(ref.dx, np.abs(ref.dx) * spread.rstd + roundings))


def running_radius(
    old: Array, batch: Array, batch_radius: Array, keep: float, momentum: float, p: Precision
) -> Array:
    """Return the radius of keep * old + (1 - keep) * batch, (1, c).  # (18), (19)

    momentum is what the implementation was given: keep, or 1 - keep.
    """
    given = p.sum_u * abs(momentum)
    derived = given + p.sum_u * abs(1.0 - momentum)
    first, second = (given, derived) if keep == momentum else (derived, given)
    keep_ = Ball(np.array([[keep]]), first, p)
    rest = Ball(np.array([[1.0 - keep]]), second, p)
    old_, batch_ = Ball(old, None, p), Ball(batch, batch_radius, p)
    return np.asarray(_widest([old_ * keep_ + batch_ * rest, old_ + (batch_ - old_) * rest]))

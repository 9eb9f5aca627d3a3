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

from . import forms
from .ball import Ball, Precision
from .double import Array
from .float64 import Reference


@dataclass(frozen=True)
class Spread:
    """How far computed statistics may lie off, each (1, c): mean, var absolutely, rstd relatively."""

    mean: Array
    var: Array
    rstd: Array


def _mean(a: Array) -> Array:
    return np.add.reduce(a, axis=0, keepdims=True) / a.shape[0]


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
    order, store = p.terms(n), p.u if p.sum_u < p.u else 0.0
    size, center = _checked(_mean(np.abs(x)), n, p.largest), np.abs(ref.mean)  # (1, c)
    off = np.abs(ref.xc)  # (n, c)
    around = _mean(off)  # (1, c)
    steps = math.ceil(math.log2(n)) if n > 1 else 0
    chain = around + np.minimum((1 + steps) * around, off.max(axis=0, keepdims=True))
    pivot = np.abs(x - x[:1])  # (n, c)
    to_pivot = _checked(_mean(pivot), n, p.largest)
    two_pass = order * size + (2 * p.sum_u + store) * center  # (40)
    shifted = (p.u + order + 2 * p.sum_u) * to_pivot + p.u * center
    merged = (order + p.sum_u) * size + 4 * p.u * chain + store * center
    mean = np.maximum(np.maximum(two_pass, shifted), merged) + 2 * p.eta  # (41)
    farthest = _checked((2 * off.max(axis=0, keepdims=True)) ** 2, 1, p.largest)  # of two chunks
    var = _variance_spread(n, ref.var, mean, chain, pivot, to_pivot, ref.xc[:1], p)
    var = np.where(np.isfinite(farthest), var, np.inf)
    return Spread(mean, var, rstd_spread(ref.var, var, eps, p))


def _variance_spread(
    n: int,
    var: Array,
    mean: Array,
    chain: Array,
    pivot: Array,
    to_pivot: Array,
    pivot_off: Array,
    p: Precision,
) -> Array:
    """Return the widest error of the biased variance, (1, c).  # (42)"""
    order = p.terms(n) + 2 * p.sum_u + 3 * p.u
    two_pass = order * (var + mean**2) + mean**2
    merged = (order + 2 * p.u) * var + 4 * mean * chain + mean**2
    pivot_square = _checked(_mean(pivot * pivot), n, p.largest)
    shift = (p.u + p.terms(n) + 2 * p.sum_u) * to_pivot
    shifted = order * pivot_square + (2 * np.abs(pivot_off) + shift) * shift
    shifted = shifted + p.u * (pivot_off**2 + var)
    return np.maximum(np.maximum(two_pass, merged), shifted) + p.u * var + 2 * p.eta


def rstd_spread(var: Array, radius: Any, eps: float, p: Precision) -> Array:
    """Return the relative error of 1 / sqrt(var + eps) for var within radius, (1, c).  # (43)"""
    inner = var + eps
    share = (radius + p.u * inner + p.sum_u * eps) / inner
    left = np.sqrt(np.maximum(1 - share, 0))
    moved = np.where(left > 0, share / np.where(left > 0, left * (1 + left), 1.0), np.inf)
    return np.asarray(moved + 4 * p.u * (1 + moved))


def _widest(results: Sequence[Ball]) -> Any:
    radius = results[0].radius
    for ball in results[1:]:
        radius = np.maximum(radius, ball.radius)
    return radius


def output_radius(
    x: Array, ref: Reference, gamma: Array, beta: Array, spread: Spread, p: Precision
) -> Array:
    """Return the radius of y, (n, c).  # (44)"""
    moved = (
        np.abs(gamma) * ref.rstd * (np.abs(ref.xc) * spread.rstd + spread.mean * (1 + spread.rstd))
    )
    arguments = [Ball(v, None, p) for v in (x, gamma, beta, ref.mean, ref.rstd)]
    local = _widest([form(*arguments) for form in forms.OUTPUT])
    return np.asarray(p.stored(ref.y, moved + local))


def _moved_gradient(
    dy: Array, mean_dy: Array, mean_dy_xhat: Array, gamma: Array, ref: Reference, spread: Spread
) -> Array:
    """Return how far the spread of the statistics moves dx, (n, c).  # (45)"""
    off = spread.mean * ref.rstd  # (1, c)
    xhat = np.abs(ref.xhat)
    by_rstd = spread.rstd * (np.abs(dy - mean_dy) + 3 * xhat * np.abs(mean_dy_xhat))
    by_mean = off * (np.abs(mean_dy_xhat) + (xhat + off) * np.abs(mean_dy))
    return np.asarray(np.abs(gamma) * ref.rstd * (1 + spread.rstd) ** 3 * (by_rstd + by_mean))


def gradient_radii(
    x: Array, dy: Array, ref: Reference, gamma: Array, spread: Spread, p: Precision
) -> dict[str, Array]:
    """Return the radii of dx (n, c), dgamma and dbeta (1, c) in training.  # (45)"""
    moved = _moved_gradient(dy, ref.mean_dy, ref.mean_dy_xhat, gamma, ref, spread)
    arguments = [Ball(v, None, p) for v in (dy, x, gamma, ref.mean, ref.rstd)]
    local = _widest([form(*arguments) for form in forms.INPUT_GRADIENT])
    return {"dx": p.stored(ref.dx, moved + local), **parameter_radii(x, dy, ref, spread, p)}


def parameter_radii(
    x: Array, dy: Array, ref: Reference, spread: Spread, p: Precision
) -> dict[str, Array]:
    """Return the radii of dgamma and dbeta, (1, c), in training and inference."""
    off = spread.mean * ref.rstd * (1 + spread.rstd)
    moved = spread.rstd * np.abs(ref.dgamma) + off * np.abs(ref.dbeta)
    dy_, x_, mean, rstd = (Ball(v, None, p) for v in (dy, x, ref.mean, ref.rstd))
    local = _widest([form(dy_, x_, mean, rstd) for form in forms.GAMMA_GRADIENT])
    return {"dgamma": moved + local, "dbeta": dy_.sum().radius + p.eta}


def eval_spread(var: Array, eps: float, p: Precision) -> Spread:
    """Return the spread of given statistics: only eps, the root and its reciprocal round."""
    return Spread(np.zeros_like(var), np.zeros_like(var), rstd_spread(var, 0.0, eps, p))


def eval_gradient_radius(
    dy: Array, ref: Reference, gamma: Array, spread: Spread, p: Precision
) -> Array:
    """Return the radius of dx = gamma * rstd * dy in inference, (n, c).  # (17)"""
    local = (Ball(dy, None, p) * (Ball(gamma, None, p) * Ball(ref.rstd, None, p))).radius
    return np.asarray(p.stored(ref.dx, np.abs(ref.dx) * spread.rstd + local))


def running_radius(
    old: Array, batch: Array, batch_radius: Array, keep: float, momentum: float, p: Precision
) -> Array:
    """Return the radius of keep * old + (1 - keep) * batch, (1, c).  # (18), (19)

    momentum is what the implementation was given: keep, or 1 - keep.
    """
    rounded = {momentum: p.sum_u * abs(momentum)}
    other = 1.0 - momentum
    around = p.sum_u * (abs(momentum) + abs(other))
    keep_ = Ball(np.array([[keep]]), rounded.get(keep, around), p)
    rest = Ball(np.array([[1.0 - keep]]), around if keep == momentum else rounded[momentum], p)
    del other
    old_, batch_ = Ball(old, None, p), Ball(batch, batch_radius, p)
    return np.asarray(_widest([old_ * keep_ + batch_ * rest, old_ + (batch_ - old_) * rest]))

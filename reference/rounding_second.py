"""The tolerances of forward mode, double backward, folding and the merging of shards."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import forms
from .ball import Ball, Precision
from .double import Array
from .float64 import Reference
from .rounding import Spread, moved_linear, rstd_spread


def _mean(a: Array) -> Array:
    return np.asarray(np.add.reduce(a, axis=0, keepdims=True) / a.shape[0])


def _balls(p: Precision, *values: Any) -> list[Ball]:
    return [Ball(np.asarray(value), None, p) for value in values]


def _moved_xhat(weight: Array, ref: Reference, spread: Spread) -> Array:
    """Return how far the statistics move xhat * weight, (n, c).  # (44)"""
    t = spread.mean * ref.rstd
    return np.asarray(np.abs(weight) * (np.abs(ref.xhat) * spread.rstd + t * (1 + spread.rstd)))


def tangent_radius(
    x: Array,
    tangents: tuple[Array, Array, Array],
    ref: Reference,
    gamma: Array,
    spread: Spread,
    p: Precision,
) -> Array:
    """Return the radius of ty, (n, c); also that of the double backward by dy.  # (21), (22)"""
    tx, tgamma, tbeta = tangents
    moved = moved_linear(tx, x, gamma, ref, spread, p) + _moved_xhat(tgamma, ref, spread)
    tx_, x_, gamma_, mean, rstd = _balls(p, tx, x, gamma, ref.mean, ref.rstd)
    rest = (x_ - mean) * rstd * Ball(tgamma, None, p) + Ball(tbeta, None, p)
    roundings = np.maximum.reduce(
        [(form(tx_, x_, gamma_, mean, rstd) + rest).radius for form in forms.INPUT_GRADIENT]
    )
    return np.asarray(moved + roundings)


def second_radii(
    x: Array,
    dy: Array,
    seconds: tuple[Array, Array, Array],
    ref: Reference,
    gamma: Array,
    spread: Spread,
    p: Precision,
) -> dict[str, Array]:
    """Return the radii of the double backward by x, gamma and dy.  # (22) to (24)"""
    ddx, ddgamma, _ = seconds
    inner = moved_linear(dy, x, np.ones_like(gamma), ref, spread, p)
    by_x = _moved_by_x(dy, ddx, gamma, ref, spread, p) + np.abs(ddgamma) * inner
    by_gamma = (np.abs(ddx) * inner).sum(axis=0, keepdims=True)
    ddx_, ddgamma_, dy_, x_, gamma_, mean, rstd = _balls(
        p, ddx, ddgamma, dy, x, gamma, ref.mean, ref.rstd
    )
    local_x = forms.second_by_x(ddx_, ddgamma_, dy_, x_, gamma_, mean, rstd).radius
    local_gamma = forms.second_by_gamma(ddx_, dy_, x_, mean, rstd).radius
    return {
        "ddx_x": p.stored(ref.ddx_x, by_x + local_x),
        "ddx_gamma": by_gamma + local_gamma,
        "ddx_dy": p.stored(ref.ddx_dy, tangent_radius(x, seconds, ref, gamma, spread, p)),
    }


def _moved_by_x(
    dy: Array, ddx: Array, gamma: Array, ref: Reference, spread: Spread, precision: Precision
) -> Array:
    """Return how far the statistics move (24), by its derivatives.

    With its rstd^2, xhat a is of degree 3 in rstd and xhat p q of degree 5, hence 3 and 3 * 5 = 15;
    q v and p g are of degree 3. What moves with the mean is of degree 1 and 3 in it.
    """
    mean_v, mean_g = _mean(ddx), _mean(dy)
    v, g, xhat = ddx - mean_v, dy - mean_g, ref.xhat
    p, q, a = _mean(v * xhat), _mean(g * xhat), _mean(v * g)
    t = spread.mean * ref.rstd
    size = np.abs(xhat) + t
    by_rstd = np.abs(3 * xhat * a) + np.abs(15 * xhat * p * q) + 3 * (np.abs(v * q) + np.abs(g * p))
    slack = precision.terms(len(dy)) + 8 * precision.u  # s + 8 u, as beside (45)
    along_v = np.abs(mean_v) + slack * _mean(np.abs(ddx))
    along_g = np.abs(mean_g) + slack * _mean(np.abs(dy))
    by_mean = np.abs(a - 3 * p * q) + 3 * size * (along_v * np.abs(q) + along_g * np.abs(p))
    by_mean = by_mean + along_g * np.abs(v) + along_v * np.abs(g) + 3 * size * t * along_v * along_g
    growth = (1 + spread.rstd) ** 5 * (1 + slack)
    moved = growth * (spread.rstd * by_rstd + t * by_mean)
    return np.asarray(np.abs(gamma) * ref.rstd**2 * moved)


def folding_radii(
    weight: Array,
    bias: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    p: Precision,
) -> tuple[Array, Array, Array, Array]:
    """Return weight, its radius, bias and its radius after folding, outputs last.  # (27)

    Args:
        weight: (k, out), all that belongs to one output in a column.
        bias, gamma, beta, mean, var: (1, out).
    """
    rstd = 1 / np.sqrt(var + eps)
    scale = Ball(gamma, None, p) * Ball(rstd, rstd * (rstd_spread(var, 0.0, eps, p) + p.u), p)
    new_weight = Ball(weight, None, p) * scale
    bias_, mean_, beta_ = _balls(p, bias, mean, beta)
    direct = (bias_ - mean_) * scale + beta_
    late = bias_ * scale + (beta_ - mean_ * scale)
    return new_weight.value, new_weight.radius, direct.value, np.maximum(direct.radius, late.radius)


def merged_radii(
    counts: Array, means: Array, variances: Array, p: Precision
) -> tuple[Array, Array, Array, Array]:
    """Return mean, its radius, biased variance and its radius of a union of shards.  # (25)

    Args:
        counts: (k, 1), all positive; means, variances: (k, c).
    """
    k, share = counts.shape[0], counts / counts.sum()
    mean = (share * means).sum(axis=0, keepdims=True)
    off = means - mean
    var = (share * (variances + off * off)).sum(axis=0, keepdims=True)
    order = p.terms(k) + 6 * p.u  # s, and at most six roundings of a shard in (25)
    size = (share * np.abs(means)).sum(axis=0, keepdims=True)
    around = (share * np.abs(off)).sum(axis=0, keepdims=True)
    # shard after shard, m + (m_i - m) n_i / n moves by differences of up to around + furthest
    furthest = np.abs(off).max(axis=0, keepdims=True)
    steps = np.maximum(k * around, around + furthest)
    mean_radius = (order + p.sum_u) * size + 4 * p.u * steps
    chain = 2 * np.minimum(k * around, furthest)
    var_radius = (order + 3 * p.u) * var + 4 * mean_radius * chain + mean_radius**2
    var_radius = var_radius + (2 * k + 1) * p.eta  # each square and each share of it may vanish
    # two shards are merged by the square of the distance of their means
    reach = (2 * furthest) ** 2 + var
    return mean, mean_radius + (k + 1) * p.eta, var, np.where(reach > p.largest, np.inf, var_radius)

"""Finite differences of batch norm along a line, with a proven bound on their error.

Along x + t v one channel is y(t) = gamma (xc + t vc) / sqrt(V + 2 C t + W t^2) + beta with
V = var + eps, W = mean(vc^2). By Cauchy and Schwarz both roots of the quadratic have the modulus
sqrt(V / W), so y is analytic up to there. With v scaled to make that 1, |root| >= sqrt(V) / 2 for
|t| <= 1/2, and Cauchy's estimate bounds every Taylor coefficient: the truncation error of
Richardson's extrapolation follows, and with the noise of the values the best step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .double import Array

_U = 2.0**-53  # the unit roundoff of float64


@dataclass(frozen=True)
class Derivative:
    """The derivative of <dy, y> along a direction, per channel (1, c), and its error bound."""

    direction: Array
    value: Array
    bound: Array


def scaled_direction(v: Array, var: Array, eps: float) -> Array:
    """Return v scaled per channel to sqrt((var + eps) / mean(vc^2)) times itself, (n, c)."""
    vc = v - v.mean(axis=0, keepdims=True)
    w = (vc * vc).mean(axis=0, keepdims=True)
    return np.asarray(v * np.where(w > 0, np.sqrt((var + eps) / np.where(w > 0, w, 1.0)), 0.0))


def derivative_along(
    output: Callable[[Array], tuple[Array, Array]],
    x: Array,
    v: Array,
    dy: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    eps: float,
    noise: Array,
) -> Derivative:
    """Return d/dt <dy, output(x + t v)> at 0 by central differences, extrapolated once.

    Args:
        output: from x (n, c) to y (n, c), in float64, and how far y may lie from the exact one.
        x, v, dy: (n, c); v as drawn, it is scaled here.
        gamma, mean, var: (1, c).
        noise: that of x itself, (n, c); it chooses the step, the points bring their own.
    """
    v = scaled_direction(v, var, eps)
    xc, vc = np.abs(x - mean), np.abs(v - v.mean(axis=0, keepdims=True))
    root = np.sqrt(var + eps)
    weight = np.abs(dy)
    size = (weight * np.abs(gamma) * (xc + vc / 2)).sum(axis=0, keepdims=True) * 2 / root
    grown = 8 / 7 / root  # rstd at |t| <= 1/8 is at most this
    slope = np.abs(gamma) * grown * (2 + (xc + vc / 8) * grown)  # rows of the Jacobian, summed
    moved = _U * (np.abs(x) + np.abs(v)).max(axis=0, keepdims=True)  # x + t v is rounded
    rounding = (weight * slope * moved).sum(axis=0, keepdims=True)
    shaking = (weight * noise).sum(axis=0, keepdims=True) + rounding
    best = (9 * shaking.max() / (128 * max(float(size.max()), 1e-300))) ** 0.2
    h = 2.0 ** min(int(np.round(np.log2(max(best, 1e-12)))), -3)
    wide, wide_noise = _central(output, x, v, dy, h)
    narrow, narrow_noise = _central(output, x, v, dy, h / 2)
    truncation = size * 2 / 3 * (2 * h) ** 4 / (1 - (2 * h) ** 2)
    bound = truncation + (4 * narrow_noise + wide_noise) / 3 + 3 * rounding / h
    return Derivative(v, (4 * narrow - wide) / 3, bound)


def _central(
    output: Callable[[Array], tuple[Array, Array]], x: Array, v: Array, dy: Array, h: float
) -> tuple[Array, Array]:
    """Return the difference quotient of <dy, output> and what the values' noise makes of it."""
    (after, after_noise), (before, before_noise) = output(x + h * v), output(x - h * v)
    quotient = (dy * (after - before)).sum(axis=0, keepdims=True) / (2 * h)
    size = np.abs(dy) * (after_noise + before_noise + 2 * _U * (np.abs(after) + np.abs(before)))
    return quotient, size.sum(axis=0, keepdims=True) / (2 * h) * (1 + len(x) * 2 * _U)

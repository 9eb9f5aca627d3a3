"""The roundings of the named forms in closed form: what running each over `Ball` comes to.

Over `Ball` an operation of a form takes six calls of NumPy. Here the roundings of a whole form are
added up by hand, equations (46) to (48), enlarged by 32 u for products of two roundings. The two
agree to that (a test holds them together) as long as nothing overflows or vanishes on the way;
where something may, there is None, and the form itself has to run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ball import Precision
from .double import Array
from .float64 import Reference

_NEGLIGIBLE = 2.0**-20  # of a radius
_DOUBLED = 2.0**7  # a form adds at most seven times in a row, each time at most doubling
_SECOND_ORDER = 32  # u of the whole: products of two roundings, below (48)


def mean_rows(a: Array) -> Array:
    """Return the mean over the rows, (1, c)."""
    return np.asarray(np.add.reduce(a, axis=0, keepdims=True) / a.shape[0])


def size_of(a: Array, _: None = None) -> Array:
    """Return |a|."""
    return np.asarray(np.abs(a))


def largest_of(a: Array, _: None = None) -> Array:
    """Return the largest |a| of each column, (1, c)."""
    return np.asarray(np.maximum.reduce(np.abs(a), axis=0, keepdims=True))


@dataclass(frozen=True)
class Flow:
    """What radii need of dy, or of a tangent in its place.

    size is |dy|, centred |dy - mean|, both (n, c); mean and along are mean(dy) and mean(dy xhat),
    mean_size and mean_along the means of |dy| and |dy xhat|, all (1, c).
    """

    value: Array
    size: Array
    centred: Array
    mean: Array
    along: Array
    mean_size: Array
    mean_along: Array


def flow_of(dy: Array, xhat: Array) -> Flow:
    """Return what radii need of dy (n, c)."""
    size, mean, product = np.abs(dy), mean_rows(dy), dy * xhat
    means = mean_rows(product), mean_rows(size), mean_rows(np.abs(product))
    return Flow(dy, size, np.abs(dy - mean), mean, *means)


def _negligible(reach: Array, least: Array, p: Precision) -> Array | None:
    """Return what may vanish of a result, (1, c), or None where that or an overflow may count.

    Args:
        reach: bounds each intermediate, and what multiplies any of them on its way to the result.
        least: what the radius is at least.
    """
    lost = p.eta * reach
    calm = (reach <= p.largest) & (lost <= _NEGLIGIBLE * least)
    return lost if calm.all() else None


def output(x: Array, gamma: Array, beta: Array, ref: Reference, p: Precision) -> Array | None:
    """Return the roundings of the widest form of y, (n, c), or None.  # (46)"""
    u, largest, center = p.u, ref.memo(largest_of, x, None), np.abs(ref.mean)
    size, a, offset = np.abs(gamma), np.abs(gamma) * ref.rstd, np.abs(beta)  # (1, c)
    reach = _DOUBLED * (1 + size + offset) * (1 + ref.rstd) ** 2 * (1 + largest + center)
    lost = _negligible(reach, u * (a * largest + offset), p)
    if lost is None:
        return None
    b = np.abs(beta - gamma * ref.rstd * ref.mean)  # (1, c)
    direct = ref.memo(size_of, ref.xc, None) * (3 * u * a)  # (n, c)
    folded = ref.memo(size_of, x, None) * (2 * u * a) + u * (2 * a * center + b)  # (n, c)
    widest = np.maximum(direct, folded) + u * np.abs(ref.y)
    return np.asarray(widest * (1 + _SECOND_ORDER * u) + lost)


def gradients(
    x: Array, dy: Flow, gamma: Array, ref: Reference, p: Precision
) -> tuple[Array, Array] | None:
    """Return the roundings of the widest forms of dx (n, c) and dgamma (1, c), or None."""
    n, s, size = x.shape[0], p.terms(x.shape[0]), np.abs(gamma)
    numbers = (1 + ref.memo(largest_of, x, None)) ** 2 * (1 + n * dy.mean_size)
    reach = _DOUBLED * n * (1 + s) ** 2 * (1 + size) * (1 + ref.rstd) ** 3 * numbers  # (1, c)
    least = s * np.minimum(size * ref.rstd * dy.mean_size, dy.mean_along)  # (1, c)
    lost = _negligible(reach, least, p)
    if lost is None:
        return None
    more = 1 + _SECOND_ORDER * p.u
    return _input_gradient(x, dy, gamma, ref, p) * more + lost, _gamma(n, dy, p) * more + lost


def _gamma(n: int, dy: Flow, p: Precision) -> Array:
    """Return the roundings of the two forms of dgamma, the larger, (1, c).  # (47)"""
    s, u, q = p.terms(n), p.u, np.abs(dy.along)
    e = s * dy.mean_along + p.store * q
    v = u * (1 + s) * dy.mean_along
    return np.asarray(n * (e + np.maximum(3 * v, 2 * v + u * q)))


def _input_gradient(x: Array, dy: Flow, gamma: Array, ref: Reference, p: Precision) -> Array:
    """Return the roundings of the four forms of dx, the largest, (n, c), in the letters of (48)."""
    u, s, m, q = p.u, p.terms(x.shape[0]), np.abs(dy.mean), np.abs(dy.along)  # (1, c)
    a = np.abs(gamma) * ref.rstd  # (1, c)
    ua, size, xhat = u * a, dy.size, ref.memo(size_of, ref.xhat, None)
    d = a * (s * dy.mean_size + p.store * m)  # (1, c), times a, as all that follows
    e = a * (s * dy.mean_along + p.store * q)  # (1, c)
    v = ua * (1 + s) * dy.mean_along  # (1, c)

    means = dy.centred * ua + xhat * (e + 3 * v + 5 * ua * q) + 2 * ua * m
    sums = (dy.centred + size) * ua + xhat * (e + 3 * v + 3 * ua * q)
    last = u * np.abs(ref.dx)
    first = np.maximum(means + 2 * last, sums + 4 * last) + d

    slope = dy.along * ref.rstd  # (1, c)
    c0 = np.abs(slope * ref.mean - dy.mean)  # (1, c)
    by_slope = (e + 2 * v + 7 * ua * q) * ref.rstd  # (1, c)
    twice = size + size
    linear = (twice + np.abs(dy.value - x * slope)) * ua + ref.memo(size_of, x, None) * by_slope
    linear = linear + (np.abs(ref.mean) * by_slope + ua * (c0 + 4 * m) + d)

    dxc = np.abs(dy.value - ref.xhat * dy.along)  # (n, c), but for a
    w = (twice + dxc) * ua + xhat * (e + 3 * v + 10 * ua * q)
    of_sum = (1 + s) * mean_rows(w) + s * a * mean_rows(dxc) + a * p.store * m  # (1, c)
    nodes = w + (of_sum + 2 * ua * m)
    return np.asarray(np.maximum(np.maximum(first, linear), nodes) + last)

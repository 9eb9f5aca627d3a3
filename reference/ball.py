"""A value with its radius: running error analysis (Wilkinson; Higham 2002, chapter 3).

Each operation adds u * |result| and carries the radii of its operands on; sums add (n - 1) * u
times the sum of magnitudes (Jeannerod and Rump 2013), or ceil(log2 n) * u when they are pairwise;
roots, reciprocals and divisions add 2 u. What passes the largest finite number gets an infinite
radius, and what may vanish gets the smallest number as its absolute error.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np

from .double import Array

_FLOAT64_MAX = sys.float_info.max
_REMEMBERED = 1 << 16  # numbers up to which what was computed is remembered: 512 KiB each

# name: unit roundoff, smallest subnormal, smallest normal, largest
_FORMATS = {
    "float16": (2.0**-11, 2.0**-24, 2.0**-14, 65504.0),
    "bfloat16": (2.0**-8, 2.0**-133, 2.0**-126, (2.0 - 2.0**-7) * 2.0**127),
    "float32": (2.0**-24, 2.0**-149, 2.0**-126, (2.0 - 2.0**-23) * 2.0**127),
    "float64": (2.0**-53, 2.0**-1074, 2.0**-1022, _FLOAT64_MAX),
}


@dataclass(frozen=True)
class Precision:
    """The roundings of one arithmetic, and of what its results are stored in.

    u is the unit roundoff of single operations, sum_u of sums, eta the absolute error near zero,
    largest the largest finite number; out_u, out_eta, out_largest those of stored results.
    """

    u: float
    sum_u: float
    eta: float
    largest: float
    out_u: float
    out_eta: float
    out_largest: float
    pairwise: bool = False

    def terms(self, n: int) -> float:
        """Return the relative radius of a sum of n terms by its order: any, or pairwise."""
        if n < 2:
            return 0.0
        return (math.ceil(math.log2(n)) if self.pairwise else n - 1) * self.sum_u

    @property
    def store(self) -> float:
        """The relative radius of storing a sum that was held in more bits than the rest."""
        return self.u if self.sum_u < self.u else 0.0

    def magnitude(self, value: Any) -> Any:
        """Return u * |value|, infinite beyond the largest finite number."""
        return self.of_size(np.abs(value))

    def of_size(self, size: Any) -> Any:
        """Return u * size, infinite beyond the largest finite number."""
        if self.largest == _FLOAT64_MAX:
            return size * self.constants[1]
        return size * self.constants[0] * self.constants[1]

    @cached_property
    def constants(self) -> tuple[Array, Array, Array]:
        """The factors of `of_size`, and eta, as arrays, which NumPy takes faster than floats."""
        big = _FLOAT64_MAX / self.largest
        return np.array(big), np.array(self.u / big), np.array(self.eta)

    def stored(self, value: Any, radius: Any) -> Any:
        """Return the radius after the result is rounded to what it is stored in."""
        if self.out_u > self.u:
            reach = np.abs(value) + radius
            radius = radius + self.out_u * reach + self.out_eta
            radius = np.where(reach > self.out_largest, np.inf, radius)
        return radius


@cache
def precision(
    dtype: str,
    accumulator: str = "same",
    subnormals: str = "kept",
    pairwise: bool = False,
    halves: str = "float32",
) -> Precision:
    """Return the precision of a dtype; halves are computed in float32 unless in their own.

    Args:
        dtype: float16, bfloat16, float32 or float64.
        accumulator: same, float32 or float64, what sums are held in.
        subnormals: kept or flushed.
        pairwise: whether sums are taken to be pairwise or better.
        halves: float32 or own, what float16 and bfloat16 are computed in.
    """
    inner = "float32" if dtype in ("float16", "bfloat16") and halves == "float32" else dtype
    u, subnormal, normal, largest = _FORMATS[inner]
    sum_u = u if accumulator == "same" else min(u, _FORMATS[accumulator][0])
    out_u, out_subnormal, out_normal, out_largest = _FORMATS[dtype]
    kept = subnormals == "kept"
    return Precision(
        u,
        sum_u,
        subnormal if kept else normal,
        largest,
        out_u,
        out_subnormal if kept else out_normal,
        out_largest,
        pairwise,
    )


Binary: TypeAlias = "Callable[[Ball, Any], Ball]"


def _once(operation: Binary) -> Binary:
    """Do an operation once per pair of operands: the named forms have many in common."""

    def done(self: Ball, other: Any) -> Ball:
        if self.value.size > _REMEMBERED:
            return operation(self, other)
        key = operation, other  # a Ball is itself alone, a number its value
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = operation(self, other)
        return found

    return done


class Ball:
    """Values, the radius around each (None when exact), and the precision they are computed in.

    made holds what was computed from it, so that it is computed once.
    """

    __slots__ = ("_size", "made", "precision", "radius", "value")
    __array_ufunc__ = None

    def __init__(self, value: Array, radius: Any, precision: Precision) -> None:
        self.value, self.radius, self.precision = value, radius, precision
        self.made: dict[Any, Ball] = {}
        self._size: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def size(self) -> Array:
        """The magnitude of each value."""
        if self._size is None:
            self._size = np.abs(self.value)
        return self._size

    def _rounded(self, value: Array) -> Ball:
        """Return value as rounded once, but for what is lost near zero."""
        ball = Ball(value, None, self.precision)
        ball.radius = self.precision.of_size(ball.size)
        return ball

    def _sum(self, value: Array, other_radius: Any) -> Ball:
        ball = self._rounded(value)
        for carried in (self.radius, other_radius):
            if carried is not None:
                ball.radius = ball.radius + carried
        ball.radius = ball.radius + self.precision.constants[2]
        return ball

    @_once
    def __add__(self, other: Any) -> Ball:
        v, r = _parts(other)
        return self._sum(self.value + v, r)

    @_once
    def __sub__(self, other: Any) -> Ball:
        v, r = _parts(other)
        return self._sum(self.value - v, r)

    @_once
    def __rsub__(self, other: Any) -> Ball:
        return self._sum(other - self.value, None)

    @_once
    def __mul__(self, other: Any) -> Ball:
        v, r = _parts(other)
        ball = self._rounded(self.value * v)
        radius = ball.radius + self.precision.constants[2]
        if self.radius is not None:
            size = other.size if isinstance(other, Ball) else np.abs(v)
            radius = radius + self.radius * (size if r is None else size + r)
        if r is not None:
            radius = radius + self.size * r
        ball.radius = radius
        return ball

    @_once
    def __truediv__(self, other: Any) -> Ball:
        v, r = _parts(other)
        ball = self._rounded(self.value / v)
        radius = ball.radius + ball.radius + self.precision.constants[2]
        carried = 0.0 if self.radius is None else self.radius
        if r is not None:
            least = np.abs(v) - r
            carried = np.where(least > 0, carried + ball.size * r, np.inf)
            radius = radius + carried / np.where(least > 0, least, 1.0)
        elif self.radius is not None:
            radius = radius + carried / np.abs(v)
        ball.radius = radius
        return ball

    def root(self) -> Ball:
        ball = self._rounded(np.sqrt(self.value))
        radius = 2 * ball.radius
        if self.radius is not None:
            share = np.minimum(self.radius / self.value, 1.0)
            radius = radius + ball.value * (1 - np.sqrt(1 - share))
        return Ball(ball.value, radius, self.precision)

    def repeat_rows(self, n: int) -> Ball:
        shape = (n, self.value.shape[1])
        radius = None if self.radius is None else np.broadcast_to(self.radius, shape)
        return Ball(np.broadcast_to(self.value, shape), radius, self.precision)

    def sum(self, axis: int = 0, keepdims: bool = True) -> Ball:
        """Return the sum over the rows, (1, c)."""
        if self.value.size > _REMEMBERED:
            return self._total()
        found = self.made.get("sum")
        if found is None:
            found = self.made["sum"] = self._total()
        return found

    def _total(self) -> Ball:
        p, order = self.precision, self.precision.terms(self.value.shape[0])
        value, spread = _add_rows(self.value), _add_rows(self.size)
        radius = order * spread
        if p.sum_u < p.u:
            radius = radius + p.magnitude(value)
        if self.radius is not None:
            radius = radius + _add_rows(self.radius) * (1 + order)
        return Ball(value, np.where(spread > p.largest, np.inf, radius), p)


def _parts(other: Any) -> tuple[Array, Any]:
    if isinstance(other, Ball):
        return other.value, other.radius
    return np.array(other, dtype=np.float64), None


def _add_rows(a: Array) -> Array:
    return np.asarray(np.add.reduce(a, axis=0, keepdims=True))  # (1, c)

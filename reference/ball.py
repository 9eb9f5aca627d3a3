"""A value with its radius: running error analysis (Wilkinson; Higham 2002, chapter 3).

Each operation adds u * |result| and carries the radii of its operands on; sums add (n - 1) * u
times the sum of magnitudes (Jeannerod and Rump 2013), or ceil(log2 n) * u when they are pairwise;
roots, reciprocals and divisions add 2 u. What passes the largest finite number gets an infinite
radius, and what may vanish gets the smallest number as its absolute error.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .double import Array

_FLOAT64_MAX = sys.float_info.max

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

    def magnitude(self, value: Any) -> Any:
        """Return u * |value|, infinite beyond the largest finite number."""
        big = _FLOAT64_MAX / self.largest
        return np.abs(value * big) * (self.u / big)

    def stored(self, value: Any, radius: Any) -> Any:
        """Return the radius after the result is rounded to what it is stored in."""
        if self.out_u > self.u:
            reach = np.abs(value) + radius
            radius = radius + self.out_u * reach + self.out_eta
            radius = np.where(reach > self.out_largest, np.inf, radius)
        return radius


@cache
def precision(
    dtype: str, accumulator: str = "same", subnormals: str = "kept", pairwise: bool = False
) -> Precision:
    """Return the precision of a dtype; halves are computed in float32.

    Args:
        dtype: float16, bfloat16, float32 or float64.
        accumulator: same, float32 or float64, what sums are held in.
        subnormals: kept or flushed.
        pairwise: whether sums are taken to be pairwise or better.
    """
    inner = "float32" if dtype in ("float16", "bfloat16") else dtype
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


@dataclass(frozen=True)
class Ball:
    """Values, the radius around each (None when exact), and the precision they are computed in."""

    value: Array
    radius: Any
    precision: Precision

    __array_ufunc__ = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def _of(self, other: Any) -> tuple[Any, Any]:
        return (other.value, other.radius) if isinstance(other, Ball) else (other, None)

    def _sum(self, value: Array, other_radius: Any) -> Ball:
        radius = self.precision.magnitude(value)
        for carried in (self.radius, other_radius):
            if carried is not None:
                radius = radius + carried
        return Ball(value, radius + self.precision.eta, self.precision)

    def __add__(self, other: Any) -> Ball:
        v, r = self._of(other)
        return self._sum(self.value + v, r)

    def __sub__(self, other: Any) -> Ball:
        v, r = self._of(other)
        return self._sum(self.value - v, r)

    def __rsub__(self, other: Any) -> Ball:
        return self._sum(other - self.value, None)

    def __mul__(self, other: Any) -> Ball:
        v, r = self._of(other)
        value = self.value * v
        radius = self.precision.magnitude(value) + self.precision.eta
        if self.radius is not None:
            radius = radius + self.radius * (np.abs(v) if r is None else np.abs(v) + r)
        if r is not None:
            radius = radius + np.abs(self.value) * r
        return Ball(value, radius, self.precision)

    def __truediv__(self, other: Any) -> Ball:
        v, r = self._of(other)
        value = self.value / v
        radius = 2 * self.precision.magnitude(value) + self.precision.eta
        carried = 0.0 if self.radius is None else self.radius
        if r is not None:
            least = np.abs(v) - r
            carried = np.where(least > 0, carried + np.abs(value) * r, np.inf)
            radius = radius + carried / np.where(least > 0, least, 1.0)
        elif self.radius is not None:
            radius = radius + carried / np.abs(v)
        return Ball(value, radius, self.precision)

    def root(self) -> Ball:
        value = np.sqrt(self.value)
        radius = 2 * self.precision.magnitude(value)
        if self.radius is not None:
            share = np.minimum(self.radius / self.value, 1.0)
            radius = radius + value * (1 - np.sqrt(1 - share))
        return Ball(value, radius, self.precision)

    def repeat_rows(self, n: int) -> Ball:
        shape = (n, self.value.shape[1])
        radius = None if self.radius is None else np.broadcast_to(self.radius, shape)
        return Ball(np.broadcast_to(self.value, shape), radius, self.precision)

    def sum(self, axis: int = 0, keepdims: bool = True) -> Ball:
        """Return the sum over the rows, (1, c)."""
        n = self.value.shape[0]
        value = self.value.sum(axis=0, keepdims=True)
        spread = np.abs(self.value).sum(axis=0, keepdims=True)
        radius = self.precision.terms(n) * spread
        if self.precision.sum_u < self.precision.u:
            radius = radius + self.precision.magnitude(value)
        if self.radius is not None:
            radius = radius + self.radius.sum(axis=0, keepdims=True) * (1 + self.precision.terms(n))
        radius = np.where(spread > self.precision.largest, np.inf, radius)
        return Ball(value, radius, self.precision)

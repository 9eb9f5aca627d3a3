"""Double-double arithmetic: a number as the unevaluated sum of two float64, some 106 bits.

Error-free transformations by Dekker (1971) and Knuth; the algorithms for pairs follow Joldes,
Muller and Popescu, "Tight and rigorous error bounds for basic building blocks of double-word
arithmetic" (2017). Sums are exact (`math.fsum`) and rounded once to a pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

_SPLITTER = 134217729.0  # 2**27 + 1


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    return s, b - (s - a)


def _split(a: Any) -> tuple[Any, Any]:
    c = _SPLITTER * a
    high = c - (c - a)
    return high, a - high


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    p = a * b
    ah, al = _split(a)
    bh, bl = _split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


@dataclass(frozen=True)
class DoubleDouble:
    """An array hi + lo with |lo| at most half an ulp of hi; magnitudes between 1e-140 and 1e140."""

    hi: Array
    lo: Array

    __array_ufunc__ = None

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(self.hi.shape, self.lo.shape)

    def __add__(self, other: DoubleDouble) -> DoubleDouble:
        s, e = _two_sum(self.hi, other.hi)
        t, f = _two_sum(self.lo, other.lo)
        s, e = _fast_two_sum(s, e + t)
        return DoubleDouble(*_fast_two_sum(s, e + f))

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(-self.hi, -self.lo)

    def __sub__(self, other: DoubleDouble) -> DoubleDouble:
        return self + (-other)

    def __rsub__(self, other: int) -> DoubleDouble:
        return pair(np.float64(other)) + (-self)

    def __mul__(self, other: DoubleDouble) -> DoubleDouble:
        p, e = _two_product(self.hi, other.hi)
        return DoubleDouble(*_fast_two_sum(p, e + (self.hi * other.lo + self.lo * other.hi)))

    def __truediv__(self, other: DoubleDouble | int) -> DoubleDouble:
        if isinstance(other, int):
            other = pair(np.float64(other))
        q = self.hi / other.hi
        p, e = _two_product(q, other.hi)
        rest = ((self.hi - p) - e) + (self.lo - q * other.lo)
        return DoubleDouble(*_fast_two_sum(q, rest / other.hi))

    def root(self) -> DoubleDouble:
        s = np.sqrt(self.hi)
        p, e = _two_product(s, s)
        rest = ((self.hi - p) - e) + self.lo
        return DoubleDouble(*_fast_two_sum(s, rest / np.where(s > 0, s + s, 1.0)))

    def repeat_rows(self, n: int) -> DoubleDouble:
        shape = (n, self.shape[1])
        return DoubleDouble(np.broadcast_to(self.hi, shape), np.broadcast_to(self.lo, shape))

    def sum(self, axis: int = 0, keepdims: bool = True) -> DoubleDouble:
        """Return the sum over the rows, (1, c), rounded once to a pair."""
        columns = np.concatenate([self.hi, self.lo]).T.tolist()
        high = [math.fsum(column) for column in columns]
        low = [math.fsum([*column, -s]) for column, s in zip(columns, high, strict=True)]
        return DoubleDouble(np.array([high]), np.array([low]))


def pair(value: Any) -> DoubleDouble:
    """Return a float64 array as a double-double."""
    value = np.asarray(value, dtype=np.float64)
    return DoubleDouble(value, np.zeros_like(value))

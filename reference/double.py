"""Double-double arithmetic: a number as the unevaluated sum of two float64, some 106 bits.

Error-free transformations by Dekker (1971) and Knuth; the algorithms for pairs follow Joldes,
Muller and Popescu, "Tight and rigorous error bounds for basic building blocks of double-word
arithmetic" (2017). Sums are taken in slices that add without rounding (Rump, Ogita and Oishi,
"Accurate floating-point summation", 2008), and what remains is below the pair's own last bit.

Most of the time goes into NumPy's calls, not into their numbers: a pair that is one float64 says so
and is spared the work on its empty half, and the two halves of a factor are split off once.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

_SPLITTER = np.array(2.0**27 + 1)  # as arrays: NumPy takes them faster than floats
_ZERO = np.array(0.0)
_FEW = 256  # numbers up to which Python adds them faster than NumPy slices them


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    return s, b - (s - a)


class DoubleDouble:
    """An array hi + lo with |lo| at most half an ulp of hi; magnitudes between 1e-140 and 1e140.

    rest is lo, or None where the number is hi alone.
    """

    __slots__ = ("_halves", "hi", "rest")
    __array_ufunc__ = None

    def __init__(self, hi: Array, lo: Array | None = None) -> None:
        self.hi, self.rest = hi, lo
        self._halves: tuple[Array, Array] | None = None

    @property
    def lo(self) -> Array:
        return np.zeros_like(self.hi) if self.rest is None else self.rest

    @property
    def shape(self) -> tuple[int, ...]:
        return self.hi.shape

    @property
    def halves(self) -> tuple[Array, Array]:
        """hi as the sum of two numbers of 26 bits, whose products are exact."""
        if self._halves is None:
            c = _SPLITTER * self.hi
            high = c - (c - self.hi)
            self._halves = high, self.hi - high
        return self._halves

    def __add__(self, other: DoubleDouble) -> DoubleDouble:
        """Return the sum, right to 2**-104 of the larger term: in a bound the terms count."""
        if self is other:
            rest = self.rest
            return DoubleDouble(self.hi + self.hi, None if rest is None else rest + rest)
        s, e = _two_sum(self.hi, other.hi)
        if self.rest is None or other.rest is None:
            lo = other.rest if self.rest is None else self.rest
            return DoubleDouble(s, e) if lo is None else DoubleDouble(*_fast_two_sum(s, e + lo))
        return DoubleDouble(*_fast_two_sum(s, e + (self.rest + other.rest)))

    def __neg__(self) -> DoubleDouble:
        return DoubleDouble(_ZERO - self.hi, None if self.rest is None else _ZERO - self.rest)

    def __sub__(self, other: DoubleDouble) -> DoubleDouble:
        return self + (-other)

    def __rsub__(self, other: int) -> DoubleDouble:
        return -self if other == 0 else pair(np.float64(other)) + (-self)

    def _product(self, q: Any, halves: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return hi * q and what its rounding took away."""
        p, (ah, al), (bh, bl) = q * self.hi, halves, self.halves
        return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl

    def __mul__(self, other: DoubleDouble) -> DoubleDouble:
        p, e = other._product(self.hi, self.halves)
        if self.rest is None and other.rest is None:
            return DoubleDouble(p, e)
        cross = None if other.rest is None else self.hi * other.rest
        if self.rest is not None:
            late = self.rest * other.hi
            cross = late if cross is None else cross + late
        return DoubleDouble(*_fast_two_sum(p, e + cross))

    def __truediv__(self, other: DoubleDouble | int) -> DoubleDouble:
        if isinstance(other, int):
            other = pair(np.float64(other))
        q = DoubleDouble(self.hi / other.hi)
        p, e = other._product(q.hi, q.halves)
        rest = (self.hi - p) - e
        if other.rest is not None:
            lo = 0.0 if self.rest is None else self.rest
            rest = rest + (lo - q.hi * other.rest)
        elif self.rest is not None:
            rest = rest + self.rest
        return DoubleDouble(*_fast_two_sum(q.hi, rest / other.hi))

    def root(self) -> DoubleDouble:
        s = DoubleDouble(np.sqrt(self.hi))
        p, e = s._product(s.hi, s.halves)
        rest = (self.hi - p) - e
        if self.rest is not None:
            rest = rest + self.rest
        return DoubleDouble(*_fast_two_sum(s.hi, rest / np.where(s.hi > 0, s.hi + s.hi, 1.0)))

    def repeat_rows(self, n: int) -> DoubleDouble:
        return DoubleDouble(
            _repeated(self.hi, n), None if self.rest is None else _repeated(self.rest, n)
        )

    def sum(self, axis: int = 0, keepdims: bool = True) -> DoubleDouble:
        """Return the sum over the rows, (1, c), to 2**-104 of its largest term, and often exactly.

        What a number keeps when a power of two sigma is added and taken away is a slice. Sigma is
        so large that m slices add without rounding, and what is left of each is below
        2**-53 * sigma; only the sum of what no slice holds is rounded.
        """
        left = self.hi if self.rest is None else np.concatenate([self.hi, self.rest])  # (m, c)
        if left.size <= _FEW:
            return _exact_sum(left)
        bits = left.shape[0].bit_length()  # m < 2**bits
        top = np.maximum.reduce(np.abs(self.hi), axis=0, keepdims=True, initial=0.0)  # (1, c)
        sigma = np.ldexp(1.0, np.frexp(top)[1] + bits)  # (1, c), more than m * top
        slices = []
        for _ in range(2 if bits <= 13 else 3):  # then m * m * 2**-53 * sigma < 2**-104 * top
            part = (left + sigma) - sigma  # (m, c)
            left = left - part
            slices.append(np.add.reduce(part, axis=0, keepdims=True))  # (1, c)
            sigma = sigma * 2.0 ** (bits - 53)
        high, low = slices[0], np.add.reduce(left, axis=0, keepdims=True)  # (1, c)
        for part in slices[1:]:
            high, e = _two_sum(high, part)
            low = low + e
        return DoubleDouble(*_two_sum(high, low))


def _exact_sum(a: Array) -> DoubleDouble:
    """Return the sum over the rows, exact but for one rounding to a pair: the faster for few."""
    columns = a.T.tolist()
    high = [math.fsum(column) for column in columns]
    low = [math.fsum([*column, -s]) for column, s in zip(columns, high, strict=True)]
    return DoubleDouble(np.array([high]), np.array([low]))


def _repeated(row: Array, n: int) -> Array:
    """Return n copies of a row (1, c), column by column in memory."""
    rows = np.empty((row.shape[1], n)).T
    rows[...] = row
    return rows


def pair(value: Any) -> DoubleDouble:
    """Return a float64 array as a double-double."""
    return DoubleDouble(np.asarray(value, dtype=np.float64))

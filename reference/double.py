"""Double-double arithmetic: a number as the unevaluated sum of two float64, some 106 bits.

Error-free transformations by Dekker (1971) and Knuth; the algorithms for pairs follow Joldes,
Muller and Popescu, "Tight and rigorous error bounds for basic building blocks of double-word
arithmetic" (2017). Sums are taken in slices that add without rounding (Rump, Ogita and Oishi,
"Accurate floating-point summation", 2008), and what remains is below the pair's own last bit.

Most of the time goes into NumPy's calls, not into their numbers: a pair that is one float64 says so
and is spared the work on its empty half, what a number is split into is kept with it, and only sums
that may cancel bring a pair back to where its first number is the nearest float64.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

_SPLITTER = np.array(2.0**27 + 1)  # as arrays: NumPy takes them faster than floats
_ZERO = np.array(0.0)
_FEW = 1 << 12  # rows up to which what two slices leave of a float64 may be added with rounding


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    s = a + b
    return s, b - (s - a)


class DoubleDouble:
    """An array hi + lo with |lo| at most some ulp of hi; magnitudes between 1e-140 and 1e140.

    rest is lo, or None where the number is hi alone.
    """

    __slots__ = ("_halves", "_quotient", "_top", "hi", "rest")
    __array_ufunc__ = None

    def __init__(self, hi: Array, lo: Array | None = None) -> None:
        self.hi, self.rest = hi, lo
        self._halves: tuple[Array, Array] | None = None
        self._top: Array | None = None
        self._quotient: tuple[DoubleDouble, DoubleDouble] | None = None

    @property
    def lo(self) -> Array:
        return np.zeros_like(self.hi) if self.rest is None else self.rest

    @property
    def shape(self) -> tuple[int, ...]:
        return self.hi.shape

    @property
    def rounded(self) -> Array:
        """The nearest float64."""
        return self.hi if self.rest is None else np.asarray(self.hi + self.rest)

    @property
    def top(self) -> Array:
        """The largest magnitude of each column of hi, (1, c)."""
        if self._top is None:
            size = np.abs(self.hi)
            self._top = np.maximum.reduce(size, axis=0, keepdims=True, initial=0.0)
        return self._top

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
        if other.rest is not None:
            e = e + self.hi * other.rest
        if self.rest is not None:
            e = e + self.rest * other.hi
        return DoubleDouble(p, e)

    def __truediv__(self, other: DoubleDouble | int) -> DoubleDouble:
        if isinstance(other, int):
            return self._share(other)
        if self._quotient is None or self._quotient[0] is not other:
            self._quotient = other, self._divided(other)
        return self._quotient[1]

    def _divided(self, other: DoubleDouble) -> DoubleDouble:
        q = DoubleDouble(self.hi / other.hi)
        p, e = other._product(q.hi, q.halves)
        left = (self.hi - p) - e
        if other.rest is not None:
            left = left - q.hi * other.rest
        return self._corrected(q, left, other.hi)

    def _share(self, n: int) -> DoubleDouble:
        """Return the n-th part: the halves of a quotient times n, below 2**27, are exact."""
        q = DoubleDouble(self.hi / n)
        high, low = q.halves
        return self._corrected(q, (self.hi - high * n) - low * n, n)

    def _corrected(self, q: DoubleDouble, left: Any, divisor: Any) -> DoubleDouble:
        """Return q with what it left of hi, and with rest, divided too."""
        if self.rest is not None:
            left = left + self.rest
        return DoubleDouble(q.hi, left / divisor)

    def root(self) -> DoubleDouble:
        s = DoubleDouble(np.sqrt(self.hi))
        p, e = s._product(s.hi, s.halves)
        left = (self.hi - p) - e
        return self._corrected(s, left, np.where(s.hi > 0, s.hi + s.hi, 1.0))

    def repeat_rows(self, n: int) -> DoubleDouble:
        return DoubleDouble(
            _repeated(self.hi, n), None if self.rest is None else _repeated(self.rest, n)
        )

    def sum(self, axis: int = 0, keepdims: bool = True) -> DoubleDouble:
        """Return the sum over the rows, (1, c), to n**2 * 2**-106 of the largest, often exactly.

        What a number keeps when a large sigma is added and taken away is a slice. Sigma is so large
        that n slices add without rounding, and what is left of each is below 2**-52 * sigma; only
        the sum of what no slice holds is rounded.
        """
        left, late, few = self.hi, self.rest, self.shape[0] < _FEW
        if late is not None and not few:
            left, late = np.concatenate([left, late]), None
        bits = left.shape[0].bit_length()  # n < 2**bits
        sigma = _repeated(self.top * 2.0 ** (bits + 1), len(left))  # (n, c), over twice n * top
        slices = []
        for _ in range(2 if few else 3):
            part = (left + sigma) - sigma  # (n, c)
            left = left - part
            slices.append(_add_rows(part))
            sigma = sigma * 2.0 ** (bits - 51)
        high, low = slices[0], _add_rows(left)  # (1, c)
        if late is not None:
            low = low + _add_rows(late)
        for part in slices[1:]:  # high is a multiple of part's last bit: a fast sum is exact
            high, e = _fast_two_sum(high, part)
            low = low + e
        return DoubleDouble(*_fast_two_sum(high, low))


def _add_rows(a: Array) -> Array:
    return np.asarray(np.add.reduce(a, axis=0, keepdims=True))  # (1, c)


def _repeated(row: Array, n: int) -> Array:
    """Return n copies of a row (1, c), column by column in memory."""
    rows = np.empty((row.shape[1], n)).T
    rows[...] = row
    return rows


def pair(value: Any) -> DoubleDouble:
    """Return a float64 array as a double-double."""
    return DoubleDouble(np.asarray(value, dtype=np.float64))

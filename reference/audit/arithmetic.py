"""The arithmetics beside rationals: intervals around irrational roots, and degrees."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..exact import enclose

ROOT_BITS = 512
ROOT_STEP = Fraction(1, 1 << ROOT_BITS)
NEAR = Fraction(1, 1 << 120)  # how well a root of 256 bits must agree; no verdict rests on it


class TurnedFloat(TypeError):
    """A value under audit was turned into a float, so no exact verdict is possible."""


class NegativeRoot(ArithmeticError):
    """The formula takes the root of a negative number."""


@dataclass(frozen=True)
class Interval:
    """A real number that lies between two rationals.

    Where it is known to be factor * sqrt(root), these are kept, so that a root that is multiplied
    or divided by itself gives a rational again.
    """

    lower: Fraction
    upper: Fraction
    factor: Fraction | None = None
    root: Fraction = Fraction(1)

    @property
    def middle(self) -> Fraction:
        return (self.lower + self.upper) / 2

    def __add__(self, other: Interval) -> Interval | Fraction:
        factor = None
        if self.factor is not None and other.factor is not None and self.root == other.root:
            factor = self.factor + other.factor
            if factor == 0:
                return factor
        return Interval(self.lower + other.lower, self.upper + other.upper, factor, self.root)

    def __sub__(self, other: Interval) -> Interval | Fraction:
        return self + -other

    def __mul__(self, other: Interval) -> Interval | Fraction:
        factor = None
        if self.factor is not None and other.factor is not None:
            factor = self.factor * other.factor
            if self.root == other.root:
                return factor * self.root
            if 1 not in (self.root, other.root):
                factor = None
        products = [a * b for a in (self.lower, self.upper) for b in (other.lower, other.upper)]
        return Interval(min(products), max(products), factor, self.root * other.root)

    def __truediv__(self, other: Interval) -> Interval | Fraction:
        if other.lower <= 0 <= other.upper:
            raise TurnedFloat("a divisor with roots in it that may be zero")
        factor = None if other.factor is None else 1 / (other.factor * other.root)
        return self * Interval(1 / other.upper, 1 / other.lower, factor, other.root)

    def __neg__(self) -> Interval:
        factor = None if self.factor is None else -self.factor
        return Interval(-self.upper, -self.lower, factor, self.root)

    def sqrt(self) -> Interval:
        if self.upper < 0:
            raise NegativeRoot("the root of a negative number")
        return Interval(enclose(max(self.lower, Fraction(0)))[0], enclose(self.upper)[1])

    def order(self) -> Fraction:
        return self.middle


@dataclass(frozen=True, eq=False)
class Atom:
    """A polynomial that occurs as a denominator, known by identity; only its degree matters."""

    degree: int


@dataclass(eq=False)
class Degree:
    """A rational function of the drawn numbers: numerator's degree, denominators, size in bits."""

    num: int
    den: dict[Atom, int] = field(default_factory=dict)
    bits: int = 64
    value: Fraction | None = None
    atom: Atom | None = None

    @property
    def below(self) -> int:
        return sum(atom.degree * power for atom, power in self.den.items())

    def __add__(self, other: Degree) -> Degree:
        if self.den == other.den:  # the usual case, first for speed
            value = _both(self, other, operator.add)
            return Degree(max(self.num, other.num), self.den, self.bits + other.bits, value)
        den = {a: max(self.den.get(a, 0), other.den.get(a, 0)) for a in {**self.den, **other.den}}
        common = sum(atom.degree * power for atom, power in den.items())
        num = max(self.num + common - self.below, other.num + common - other.below)
        return Degree(num, den, self.bits + other.bits, _both(self, other, lambda a, b: a + b))

    def __mul__(self, other: Degree) -> Degree:
        den = {a: self.den.get(a, 0) + other.den.get(a, 0) for a in {**self.den, **other.den}}
        bits = self.bits + other.bits
        return Degree(self.num + other.num, den, bits, _both(self, other, lambda a, b: a * b))

    def __truediv__(self, other: Degree) -> Degree:
        if other.atom is None:
            other.atom = Atom(other.num)
        den = dict(self.den)
        if other.num:
            den[other.atom] = den.get(other.atom, 0) + 1
        value = _both(self, other, lambda a, b: a / b)
        return Degree(self.num + other.below, den, self.bits + other.bits, value)

    def __sub__(self, other: Degree) -> Degree:
        return self + -other

    def __neg__(self) -> Degree:
        return Degree(self.num, self.den, self.bits, None if self.value is None else -self.value)

    def sqrt(self) -> Degree:
        odd = sum(atom.degree for atom, power in self.den.items() if power % 2)
        den = {atom: (power + 1) // 2 for atom, power in self.den.items()}
        value = None if self.value is None or self.value < 0 else enclose(self.value)[0]
        return Degree((self.num + odd + 1) // 2, den, self.bits, value)

    def order(self) -> Fraction:
        if self.value is None:
            raise TurnedFloat("a comparison of values whose degree alone is known")
        return self.value


def _both(a: Degree, b: Degree, operation: Callable[[Any, Any], Any]) -> Fraction | None:
    if a.value is None or b.value is None:
        return None
    return Fraction(operation(a.value, b.value))


def integer_root(value: Interval, degree: int) -> Interval:
    """Return an interval around the root of a degree, of an interval that is not negative."""
    return Interval(_floor(value.lower, degree), _floor(value.upper, degree) + ROOT_STEP)


def _floor(value: Fraction, degree: int) -> Fraction:
    """Return the root rounded down to a multiple of ROOT_STEP, by bisection."""
    scaled = (value.numerator << ROOT_BITS * degree) // value.denominator
    low, high = 0, 1 << (scaled.bit_length() // degree + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= scaled else (low, middle)
    return Fraction(low, 1 << ROOT_BITS)

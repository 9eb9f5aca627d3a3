"""The numbers a formula under audit runs on: exact, or enclosed, or only their degree.

A `Number` looks like a scalar to NumPy's object arrays (``np.sqrt`` calls its ``sqrt``). It refuses
to turn into a float, so that a rounded value can never be taken for an exact one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from .exact import enclose, exact_root

PLAIN_BITS = 20  # a float of at most so many bits (0.5, 3.0) is what its author meant
LARGEST_EXPONENT = 64


class TurnedFloat(TypeError):
    """A value under audit was turned into a float, so no exact verdict is possible."""


class NegativeRoot(ArithmeticError):
    """The formula takes the root of a negative number."""


@dataclass
class Events:
    """What happened while a formula ran: absorbed floats, comparisons, sums that were zero."""

    absorbed: set[float] = field(default_factory=set)
    compared: bool = False
    sums: dict[str, bool] = field(default_factory=dict)  # text of a sum: was it always zero?
    lines: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)  # name: its assignments


_events: ContextVar[Events | None] = ContextVar("events", default=None)


def events() -> Events:
    """Return the record of the present run."""
    found = _events.get()
    if found is None:
        found = Events()
        _events.set(found)
    return found


def record_into(log: Events) -> None:
    """Send what happens from now on to this record."""
    _events.set(log)


@dataclass(frozen=True)
class Interval:
    """A real number that is only known to lie between two rationals."""

    lower: Fraction
    upper: Fraction

    @property
    def middle(self) -> Fraction:
        return (self.lower + self.upper) / 2

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.lower + other.lower, self.upper + other.upper)

    def __mul__(self, other: Interval) -> Interval:
        products = [a * b for a in (self.lower, self.upper) for b in (other.lower, other.upper)]
        return Interval(min(products), max(products))

    def __truediv__(self, other: Interval) -> Interval:
        if other.lower <= 0 <= other.upper:
            raise ZeroDivisionError("division by an interval around zero")
        return self * Interval(1 / other.upper, 1 / other.lower)

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __neg__(self) -> Interval:
        return Interval(-self.upper, -self.lower)

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
        return Degree((self.num + odd) // 2, den, self.bits, value)

    def order(self) -> Fraction:
        if self.value is None:
            raise TurnedFloat("a comparison of values whose degree alone is known")
        return self.value


def _both(a: Degree, b: Degree, operation: Callable[[Any, Any], Any]) -> Fraction | None:
    if a.value is None or b.value is None:
        return None
    return Fraction(operation(a.value, b.value))


Value = Fraction | Interval | Degree


def _lift(value: Value, like: Value) -> Value:
    """Return a rational constant in the other operand's arithmetic."""
    if isinstance(value, Fraction) and isinstance(like, Interval):
        return Interval(value, value)
    if isinstance(value, Fraction) and isinstance(like, Degree):
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        return Degree(0, {}, bits, value)
    return value


def plain_fraction(value: float) -> Fraction:
    """Return a float of few bits as the rational it is, and note that one was met.

    Raises:
        TurnedFloat: the float has more bits, so it was rounded somewhere.
    """
    if not np.isfinite(value):
        raise TurnedFloat(f"value={value}: expected a finite number")
    exact = Fraction(value)
    if exact.numerator.bit_length() + exact.denominator.bit_length() - 1 > PLAIN_BITS:
        raise TurnedFloat(f"value={value!r}: a rounded float met an exact value")
    events().absorbed.add(float(value))
    return exact


def value_of(other: Any) -> Value | None:
    """Return what a Number, an integer, a rational or a plain float stands for, else None."""
    if isinstance(other, Number):
        return other.value
    if isinstance(other, (int, np.integer)):
        return Fraction(int(other))
    if isinstance(other, Fraction):
        return other
    if isinstance(other, (float, np.floating)):
        return plain_fraction(float(other))
    return None


def _binary(operation: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Number, other: Any) -> Any:
        if type(other) is Number and type(self.value) is type(other.value) is Fraction:
            return Number(operation(self.value, other.value))  # the usual case, first for speed
        value = value_of(other)
        if value is None:
            return NotImplemented
        left, right = _lift(self.value, value), _lift(value, self.value)
        return Number(operation(left, right))

    def backward(self: Number, other: Any) -> Any:
        value = value_of(other)
        if value is None:
            return NotImplemented
        return Number(operation(_lift(value, self.value), _lift(self.value, value)))

    return forward, backward


def _comparison(operation: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    def compare(self: Number, other: Any) -> Any:
        value = value_of(other)
        if value is None:
            return NotImplemented
        events().compared = True
        return operation(_order(self.value), _order(value))

    return compare


def _order(value: Value) -> Fraction:
    return value if isinstance(value, Fraction) else value.order()


class Number:
    """One scalar under audit; see the module's first lines."""

    __slots__ = ("value",)

    def __init__(self, value: Value | int) -> None:
        self.value: Value = Fraction(value) if isinstance(value, int) else value

    __add__, __radd__ = _binary(operator.add)
    __sub__, __rsub__ = _binary(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul)
    __truediv__, __rtruediv__ = _binary(operator.truediv)
    __lt__, __le__ = _comparison(lambda a, b: a < b), _comparison(lambda a, b: a <= b)
    __gt__, __ge__ = _comparison(lambda a, b: a > b), _comparison(lambda a, b: a >= b)

    def __eq__(self, other: object) -> Any:
        return _comparison(lambda a, b: a == b)(self, other)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __neg__(self) -> Number:
        return Number(-self.value)

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return -self if self < 0 else self

    def __pow__(self, exponent: Any) -> Number:
        power = value_of(exponent)
        if not isinstance(power, Fraction) or power.denominator > 2:
            raise TurnedFloat(f"exponent={exponent}: expected a multiple of 1/2")
        if abs(power) > LARGEST_EXPONENT:
            raise TurnedFloat(f"exponent={exponent}: expected at most {LARGEST_EXPONENT}")
        base = self.sqrt() if power.denominator == 2 else self
        return _integer_power(base, power.numerator)

    def __rpow__(self, base: Any) -> Any:
        value = value_of(base)
        return NotImplemented if value is None else Number(value) ** self

    def sqrt(self) -> Number:
        """Return the root: rational where it is rational, else an interval around it."""
        if not isinstance(self.value, Fraction):
            return Number(self.value.sqrt())
        if self.value < 0:
            raise NegativeRoot("the root of a negative number")
        try:
            return Number(exact_root(self.value))
        except ValueError:
            return Number(Interval(*enclose(self.value)))

    def conjugate(self) -> Number:
        return self

    @property
    def real(self) -> Number:
        return self

    def _refuse(self) -> Any:
        raise TurnedFloat("an exact value was asked to become a float or an integer")

    __float__ = __int__ = __index__ = __complex__ = _refuse

    def __repr__(self) -> str:
        return f"Number({self.value})"


def _integer_power(base: Number, power: int) -> Number:
    result = Number(1)
    for _ in range(abs(power)):
        result = result * base
    return result if power >= 0 else 1 / result


def numbers(values: Any) -> Any:
    """Return an object array of Numbers from Fractions (any shape, the same shape)."""
    return np.frompyfunc(Number, 1, 1)(np.asarray(values, dtype=object))

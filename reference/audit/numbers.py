"""The numbers a formula under audit runs on: exact, or enclosed, or only their degree.

A `Number` looks like a scalar to NumPy's object arrays (``np.sqrt`` calls its ``sqrt``). It refuses
to turn into a float, so that a rounded value can never be taken for an exact one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from ..exact import enclose, exact_root
from .arithmetic import Degree, Interval, NegativeRoot, TurnedFloat, integer_root

PLAIN_BITS = 20  # a float of at most so many bits (0.5, 3.0) is what its author meant
LARGEST_EXPONENT = 64
LARGEST_ROOT = 8
Value = Fraction | Interval | Degree


@dataclass
class Events:
    """What happened while a formula ran: absorbed floats, comparisons, sums that were zero."""

    absorbed: set[float] = field(default_factory=set)
    compared: bool = False
    roots: set[Fraction] = field(default_factory=set)  # squares whose root was taken
    sums: dict[str, bool] = field(default_factory=dict)  # text of a sum: was it always zero?
    assigned: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)  # name: (text, value)


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


def _lift(value: Value, like: Value) -> Value:
    """Return a rational constant in the other operand's arithmetic."""
    if isinstance(value, Fraction) and isinstance(like, Interval):
        return Interval(value, value, value)
    if isinstance(value, Fraction) and isinstance(like, Degree):
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        return Degree(0, {}, bits, value)
    if isinstance(value, Interval) and isinstance(like, Degree):
        return Degree(0, {}, value.middle.denominator.bit_length(), value.middle)
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
        if not isinstance(power, Fraction) or power.denominator > LARGEST_ROOT:
            raise TurnedFloat(f"exponent={exponent}: expected a small quotient such as -3/2")
        if abs(power) > LARGEST_EXPONENT:
            raise TurnedFloat(f"exponent={exponent}: expected at most {LARGEST_EXPONENT}")
        base = self.root(power.denominator)
        return _integer_power(base, power.numerator)

    def __rpow__(self, base: Any) -> Any:
        value = value_of(base)
        return NotImplemented if value is None else Number(value) ** self

    def sqrt(self) -> Number:
        """Return the square root: rational where it is rational, else an interval around it."""
        if not isinstance(self.value, Fraction):
            return Number(self.value.sqrt())
        if self.value < 0:
            raise NegativeRoot("the root of a negative number")
        try:
            root = Number(exact_root(self.value))
            events().roots.add(self.value)
            return root
        except ValueError:
            return Number(Interval(*enclose(self.value), Fraction(1), self.value))

    def root(self, degree: int) -> Number:
        """Return the root of this degree, an interval unless it is 1 or 2."""
        if degree == 1:
            return self
        if degree == 2:
            return self.sqrt()
        if isinstance(self.value, Degree):
            raise TurnedFloat(f"a root of degree {degree}")
        value = self.value if isinstance(self.value, Interval) else Interval(self.value, self.value)
        if value.lower < 0:
            raise NegativeRoot("the root of a negative number")
        return Number(integer_root(value, degree))

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
    if power == 0:
        return Number(1)
    result = base if power % 2 else base * base  # in pairs: a root times itself is rational
    for _ in range((abs(power) - 1) // 2):
        result = result * (base * base)
    return result if power > 0 else 1 / result


def numbers(values: Any) -> Any:
    """Return an object array of Numbers from Fractions (any shape, the same shape)."""
    return np.frompyfunc(Number, 1, 1)(np.asarray(values, dtype=object))


def rational(cell: Any) -> tuple[Fraction, bool]:
    """Return a cell's value (the middle of an interval) and whether it is exact."""
    value = value_of(cell)
    if isinstance(value, Interval):
        return value.middle, False
    assert isinstance(value, Fraction)
    return value, True


def about(value: Fraction) -> str:
    """Return a number of any size to six digits."""
    return f"{Decimal(value.numerator) / Decimal(value.denominator):.6g}"


def note_sum(text: str, result: Any) -> None:
    """Remember whether this sum or mean was zero wherever it was tried."""
    cells = [cell.value for cell in np.ravel(result) if isinstance(cell, Number)]
    if cells and all(isinstance(cell, Fraction) for cell in cells):
        zero = all(cell == 0 for cell in cells)
        events().sums[text] = events().sums.get(text, True) and zero

"""A formula under audit, whatever way it was handed in: names in, quantities out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .arithmetic import TurnedFloat
from .language import NotAFormula, Text, parse
from .names import QUANTITIES, ROWS
from .numbers import Number

Values = Mapping[str, Any]
Run = Callable[[Values], Mapping[str, Any]]


class CannotRun(Exception):
    """The formula does not run over exact numbers; the message says why."""


class WrongShape(Exception):
    """The formula's value has a shape that the quantity cannot have."""


@dataclass(frozen=True)
class Formula:
    """One or several quantities as functions of the documented names.

    Attributes:
        label: how it is named in answers.
        exact: runs it over Numbers; None for code that cannot be run so.
        floating: runs it over float64 arrays; None for text.
        typed_eps: literals that were read as eps.
        notes: what the reader should know about how it was run.
        takes_eps: False for code with an eps of its own, which float64 must be told.
        eps: the one that the code states as its own.
        stated: momentum and running_var, where the code states its conventions.
    """

    label: str
    exact: Run | None
    floating: Run | None = None
    typed_eps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mode: str = "train"
    text: Text | None = None
    takes_eps: bool = True
    eps: float | None = None
    stated: Mapping[str, str] = field(default_factory=dict)


def from_text(quantity: str, text: str, mode: str = "train") -> Formula:
    """Return the formula that a line of text states.

    Args:
        quantity: what it computes, such as "dx"; one of QUANTITIES[mode].
        text: see `reference.audit.text`.

    Raises:
        NotAFormula: the text is no formula, or the quantity is unknown.
    """
    if quantity not in QUANTITIES[mode]:
        known = " ".join(QUANTITIES[mode])
        raise NotAFormula(f"quantity={quantity!r}: expected one of {known} in mode {mode}")
    parsed = parse(text, quantity)
    shown = " ".join(text.split())
    label = f"{quantity} = {shown}" if len(parsed.statements) == 1 and "=" not in text else shown
    return Formula(label, lambda given: {quantity: parsed.run(given)}, mode=mode, text=parsed)


def shaped(quantity: str, value: Any, n: int, c: int) -> Any:
    """Return the value as (n, c) or (1, c), what the quantity is.

    Raises:
        WrongShape: it has another shape; the message says what is probably missing.
    """
    rows = quantity in ROWS
    if isinstance(value, (Number, int)) and not rows and c == 1:
        return np.array([[value]], dtype=object)
    array = np.asarray(value)
    if rows and array.shape == (n, c):
        return array
    if not rows and array.shape in ((1, c), (c,)):
        return array.reshape(1, c)
    if not rows and array.shape == () and c == 1:
        return array.reshape(1, 1)
    wanted = f"(n, c) = ({n}, {c})" if rows else f"(c,) = ({c},)"
    shape = tuple(int(size) for size in array.shape)
    raise WrongShape(f"{quantity}: shape={shape}, expected {wanted}{_cause(rows, shape, n, c)}")


def _cause(rows: bool, shape: tuple[int, ...], n: int, c: int) -> str:
    if not rows and shape == (n, c):
        return "; a sum over the rows is missing"
    if not rows and shape == (n,):
        return "; summed over the wrong axis"
    if rows and shape in ((1, c), (c,)):
        return "; a value per row is missing"
    return ""


def as_quantity(formula: Formula, quantity: str, value: Any, n: int, c: int) -> Any:
    """As `shaped`, but in a text one row stands for n equal rows, as in the text's own algebra."""
    if formula.text and quantity in ROWS:
        return np.broadcast_to(np.asarray(value, dtype=object), (n, c))
    return shaped(quantity, value, n, c)


def run_at(formula: Formula, given: Values) -> Mapping[str, Any]:
    """Run the formula over Numbers.

    Raises:
        CannotRun: it needs floats, or raises.
        ArithmeticError: it divides by zero at this trial, or takes the root of a negative number.
    """
    if formula.exact is None:
        raise CannotRun("its source cannot be made exact")
    try:
        with np.errstate(all="ignore"):
            return formula.exact(given)
    except (ArithmeticError, NotAFormula):
        raise
    except TurnedFloat as error:
        raise CannotRun(str(error)) from None
    except Exception as error:
        raise CannotRun(f"{type(error).__name__}: {error}") from None


def raises_on_floats(formula: Formula, given: Values) -> str:
    """Return what the code raises on plain floats of this shape, "" if it does not."""
    if formula.floating is None:
        return ""
    n, c = given["x"].shape
    random = np.random.default_rng(n)
    floats = {name: random.random(np.shape(value)) + 0.5 for name, value in given.items()}
    try:
        formula.floating({**floats, "n": n, "eps": 0.25, "momentum": 0.75})
    except Exception as error:
        return f"it raises {type(error).__name__} at (n, c) = ({n}, {c}): {error}"
    return ""

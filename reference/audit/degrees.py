"""The degree of a formula in what was drawn: the other half of a stated probability."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import Degree
from .events import Events, record_into
from .formula import Formula
from .literals import NotAFormula
from .numbers import Number, value_of
from .points import Question
from .run import CannotRun, degrees_at, run_at

MAX_DEGREE = 1 << 20


MAX_BITS = 1 << 22


def guard(formula: Formula, question: Question, seed: int) -> None:
    """Refuse text whose value would be of monstrous size, by running it on degrees alone.

    Raises:
        NotAFormula: its degree or its number of digits is beyond all measure.
    """
    if formula.text is None:
        return
    point, _ = degrees_at(seed, question, 2, 1, False)
    try:
        outputs = run_at(formula, point.given)
    except ArithmeticError:  # of constants alone: the first point will tell
        return
    for name, value in outputs.items():
        for cell in np.ravel(np.asarray(value, dtype=object)):
            size = cell.value if isinstance(cell, Number) else None
            if isinstance(size, Degree) and (size.num > MAX_DEGREE or size.bits > MAX_BITS):
                raise NotAFormula(
                    f"formula={name}: its value has degree {size.num}, expected at most "
                    f"{MAX_DEGREE}; use smaller powers"
                )


def degrees_of(formula: Formula, question: Question, seed: int, n: int, c: int) -> dict[str, int]:
    """Return for each quantity a bound of the degree of (formula - truth)'s numerator.

    Code that compares numbers needs their values beside the degrees; the rest is faster without.
    Nothing is returned for code that has no degree, such as one with a cube root.
    """
    for values in (False, True):
        record_into(Events())  # what happens here is no part of the audit's record
        point, truths = degrees_at(seed, question, n, c, values)
        try:
            outputs = run_at(formula, point.given)
        except (CannotRun, ArithmeticError):
            continue
        for quantity in outputs:
            if quantity not in truths:
                truths[quantity] = _largest(point.truth(quantity))
        return {name: _largest(value) + truths[name] for name, value in outputs.items()}
    return {}


def _largest(value: Any) -> int:
    """Return the largest of numerator and denominator degrees over all cells.

    The numerator of p/q - r/s is p s - r q: its degree is at most the sum of the two.
    """
    cells = [value_of(cell) for cell in np.ravel(np.asarray(value, dtype=object))]
    return max((max(d.num, d.below) for d in cells if isinstance(d, Degree)), default=0)

"""Running a formula at a random point, over Numbers or over plain floats."""

from __future__ import annotations

import random as _random
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from .arithmetic import TurnedFloat
from .formula import Formula, Values
from .literals import NotAFormula
from .points import Point, Question, as_numbers, degree_point, draw_point

BITS = 64


class CannotRun(Exception):
    """The formula does not run over exact numbers; the message says why."""


@lru_cache(maxsize=512)
def point_at(seed: int, question: Question, n: int, c: int, index: int) -> tuple[Point, Point]:
    """Return a random point over Fractions, and the same over Numbers."""
    random = _random.Random(f"{seed}-{question}-{n}-{c}-{index}")
    point = draw_point(random, question, n, c, BITS)
    return point, as_numbers(point)


@lru_cache(maxsize=512)
def degrees_at(
    seed: int, question: Question, n: int, c: int, values: bool
) -> tuple[Point, dict[str, int]]:
    return degree_point(point_at(seed, question, n, c, 0)[0], values=values), {}


def run_at(formula: Formula, given: Values) -> Mapping[str, Any]:
    """Run the formula over Numbers.

    Raises:
        CannotRun: it needs floats, or raises.
        ArithmeticError: it divides by zero at this point, or takes the root of a negative number.
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


def raises_on_floats(formula: Formula, over_numbers: Point) -> str:
    """Return what the code raises on plain floats of this shape, "" if it does not."""
    if formula.floating is None:
        return ""
    n, c = over_numbers.shape
    random = np.random.default_rng(n)
    given: dict[str, Any] = {
        name: random.random(np.shape(value)) + 0.5 for name, value in over_numbers.given.items()
    }
    try:
        formula.floating({**given, "n": n, "eps": 0.25, "momentum": 0.75})
    except Exception as error:
        return f"it raises {type(error).__name__} at (n, c) = ({n}, {c}): {error}"
    return ""

"""The coefficients of a formula's terms at several n: values, equations, factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from . import solve
from .formula import Formula, repeated, shaped
from .points import ROWS, Point, Question
from .recognise import Factor, Sample, recognise
from .run import point_at, run_at
from .terms import parsed

SIZES = (5, 6, 7, 8)


@dataclass(frozen=True)
class Tried:
    """The formula's values at one n: points with one x and several dy, and the values there."""

    n: int
    points: list[tuple[Point, Point]]
    values: list[Any]
    is_exact: bool


def try_at(
    formula: Formula, quantity: str, question: Question, seed: int, n: int, terms: int
) -> Tried:
    """Run the formula at one n, with as many dy as its terms need equations.

    Raises:
        WrongShape, CannotRun, ArithmeticError: it has no value of the quantity's shape there.
    """
    count = 4 if quantity in ROWS else terms + 4
    points = solve.fresh(point_at(seed, question, n, 1, 0)[0], count, seed)
    as_quantity = repeated if formula.text else shaped
    values = [as_quantity(quantity, run_at(formula, p.given)[quantity], n, 1) for _, p in points]
    cells = [solve.rational(cell) for value in values for cell in value.flat]
    return Tried(n, points, values, all(is_exact for _, is_exact in cells))


def fit(tried: Tried, texts: Sequence[str], quantity: str) -> list[Fraction] | None:
    """Solve for the coefficients of these terms at one n, over all points."""
    matrix: list[list[Fraction]] = []
    right: list[Fraction] = []
    for (_, over_numbers), value in zip(tried.points, tried.values, strict=True):
        columns = solve.columns(texts, over_numbers, quantity in ROWS)
        matrix += [list(row) for row in zip(*columns, strict=True)]
        right += [solve.rational(cell)[0] for cell in value.flat]
    return solve.solve(matrix, right, tried.is_exact)


def factors_of(
    tries: Sequence[Tried], texts: Sequence[str], rights: Sequence[str], quantity: str
) -> list[Factor] | None:
    """Return coefficient/right of every term, None where they do not fit."""
    solved = [fit(tried, texts, quantity) for tried in tries]
    if any(found is None for found in solved):
        return None
    factors = []
    for k, right in enumerate(rights):
        samples = [
            _sample(tried, found[k], right)
            for tried, found in zip(tries, solved, strict=True)
            if found is not None
        ]
        factors.append(recognise(samples) or Factor(_by_size(samples)))
    return factors


def _sample(tried: Tried, coefficient: Fraction, right: str) -> Sample:
    over_numbers = tried.points[0][1]
    expected = Fraction(0)
    if right != "0":
        cell = np.ravel(np.asarray(parsed(right).run(over_numbers.given), dtype=object))[0]
        expected = solve.rational(cell)[0]
    return Sample(tried.n, coefficient / expected if expected else coefficient, tried.is_exact,
                  over_numbers)  # fmt: skip


def _by_size(samples: Sequence[Sample]) -> str:
    numbers = {solve.about(sample.value) for sample in samples}
    return f"? ({', '.join(sorted(numbers))} where tried)"

"""The coefficients of a formula's terms at several n, solved for, and what factor each is."""

from __future__ import annotations

import random as _random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from .. import exact
from .arithmetic import NEAR
from .factors import Sample, recognise, value_in
from .formula import Formula, as_quantity, run_at
from .names import ROWS
from .numbers import about, rational
from .terms import parsed
from .trials import Question, Trial, trial_at

SIZES = (5, 6, 7, 8)


@dataclass(frozen=True)
class Values:
    """The formula's values at one n, in trials with one x and several dy."""

    n: int
    trials: list[Trial]
    values: list[Any]
    is_exact: bool


def values_at(
    formula: Formula, quantity: str, question: Question, seed: int, n: int, terms: int
) -> Values:
    """Run the formula at one n, with as many dy as its terms need equations.

    Raises:
        WrongShape, CannotRun, ArithmeticError: it has no value of the quantity's shape there.
    """
    count = 4 if quantity in ROWS else terms + 4
    first = trial_at(seed, question, n, 1, 0)
    trials = [first, *(vary(first, seed + i) for i in range(1, count))]
    outputs = [run_at(formula, trial.as_numbers)[quantity] for trial in trials]
    values = [as_quantity(formula, quantity, value, n, 1) for value in outputs]
    cells = [rational(cell) for value in values for cell in value.flat]
    return Values(n, trials, values, all(is_exact for _, is_exact in cells))


def fit(at: Values, texts: Sequence[str], quantity: str) -> list[Fraction] | None:
    """Solve for the coefficients of these terms at one n, over all trials."""
    matrix: list[list[Fraction]] = []
    right: list[Fraction] = []
    for trial, value in zip(at.trials, at.values, strict=True):
        of_terms = columns(texts, trial, quantity in ROWS)
        matrix += [list(row) for row in zip(*of_terms, strict=True)]
        right += [rational(cell)[0] for cell in value.flat]
    return solve(matrix, right, at.is_exact)


def factors_of(
    tries: Sequence[Values], texts: Sequence[str], rights: Sequence[str], quantity: str
) -> list[str] | None:
    """Return coefficient/right of every term, None where they do not fit."""
    solved = [fit(at, texts, quantity) for at in tries]
    if any(found is None for found in solved):
        return None
    factors = []
    for k, right in enumerate(rights):
        samples = [
            _sample(at, found[k], right)
            for at, found in zip(tries, solved, strict=True)
            if found is not None
        ]
        factors.append(recognise(samples) or _by_size(samples))
    return factors


def _sample(at: Values, coefficient: Fraction, right: str) -> Sample:
    trial = at.trials[0]
    if right != "0" and (expected := value_in(trial, right)):
        coefficient /= expected
    return Sample(at.n, coefficient, at.is_exact, trial)


def _by_size(samples: Sequence[Sample]) -> str:
    numbers = {about(sample.value) for sample in samples}
    return f"? ({', '.join(sorted(numbers))} where tried)"


REDRAWN = ("ddx", "ddgamma", "ddbeta", "tx", "tgamma", "tbeta")


def vary(trial: Trial, seed: int) -> Trial:
    """Return the trial with the same x, gamma, beta, eps and momentum, the rest drawn anew."""
    random = _random.Random(seed)
    batch, extras = trial.batch, dict(trial.extras)
    for name in REDRAWN:
        extras[name] = exact.integers(random, extras[name].shape, 24)
    if trial.question.mode == "train":
        for name in ("running_mean", "running_var"):
            extras[name] = exact.integers(random, extras[name].shape, 24)
    dy = exact.integers(random, batch.dy.shape, 24)
    return replace(trial, batch=replace(batch, dy=dy), extras=extras)


def columns(texts: Sequence[str], trial: Trial, rows: bool) -> list[list[Fraction]]:
    """Evaluate terms at a trial: one column each, one entry per cell."""
    shape = trial.shape if rows else (1, 1)
    values = [np.asarray(parsed(text).run(trial.as_numbers), dtype=object) for text in texts]
    return [[rational(cell)[0] for cell in np.broadcast_to(value, shape).flat] for value in values]


def solve(
    matrix: Sequence[Sequence[Fraction]], right: Sequence[Fraction], is_exact: bool
) -> list[Fraction] | None:
    """Return c with matrix c = right, all equations fulfilled, or None.

    Args:
        matrix: one row per equation, more of them than unknowns.
        is_exact: demand equality; else agreement to 120 bits.
    """
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    unknowns = len(matrix[0])
    for column in range(unknowns):
        pivot = next((i for i in range(column, len(rows)) if rows[i][column] != 0), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        _eliminate(rows, column)
    found = [row[unknowns] for row in rows[:unknowns]]
    pairs = zip(matrix, right, strict=True)
    return found if all(_fulfilled(row, found, value, is_exact) for row, value in pairs) else None


def _eliminate(rows: list[list[Fraction]], column: int) -> None:
    rows[column] = [value / rows[column][column] for value in rows[column]]
    for i in range(len(rows)):
        if i != column and rows[i][column]:
            factor = rows[i][column]
            pairs = zip(rows[i], rows[column], strict=True)
            rows[i] = [value - factor * base for value, base in pairs]


def _fulfilled(
    row: Sequence[Fraction], found: Sequence[Fraction], value: Fraction, is_exact: bool
) -> bool:
    terms = [a * b for a, b in zip(row, found, strict=True)]
    off = abs(sum(terms) - value)
    return off == 0 if is_exact else off <= NEAR * max(map(abs, [*terms, value]))

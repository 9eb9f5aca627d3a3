"""Solving for the coefficients of a formula's terms, and recognising them as n/(n - 1), 1/std, …"""

from __future__ import annotations

import random as _random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from .. import exact
from .arithmetic import Interval
from .numbers import value_of
from .points import Point, as_numbers
from .terms import parsed

NEAR = Fraction(1, 1 << 120)  # how well a root of 256 bits must agree; no verdict rests on it
REDRAWN = ("ddx", "ddgamma", "ddbeta", "tx", "tgamma", "tbeta")


def vary(point: Point, seed: int) -> Point:
    """Return the point with the same x, gamma, beta, eps and momentum, the rest drawn anew."""
    random = _random.Random(seed)
    batch, extras = point.batch, dict(point.extras)
    for name in REDRAWN:
        extras[name] = exact.integers(random, extras[name].shape, 24)
    if point.question.mode == "train":
        for name in ("running_mean", "running_var"):
            extras[name] = exact.integers(random, extras[name].shape, 24)
    dy = exact.integers(random, batch.dy.shape, 24)
    return replace(point, batch=replace(batch, dy=dy), extras=extras)


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


def columns(texts: Sequence[str], over_numbers: Point, rows: bool) -> list[list[Fraction]]:
    """Evaluate terms at a point: one column each, one entry per cell."""
    shape = over_numbers.shape if rows else (1, 1)
    given = over_numbers.given
    values = [np.asarray(parsed(text).run(given), dtype=object) for text in texts]
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


def fresh(point: Point, count: int, seed: int) -> list[tuple[Point, Point]]:
    """Return the point and variations of it, each also over Numbers."""
    points = [point, *(vary(point, seed + i) for i in range(1, count))]
    return [(each, as_numbers(each)) for each in points]

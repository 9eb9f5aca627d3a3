"""The first line of a wrong derivation that is not what its name says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from . import solve
from .causes import cause
from .events import Events, record_into
from .formula import Formula
from .names import ALIASES, GRADIENTS
from .numbers import Number
from .points import QUANTITIES, ROWS, Point, Question
from .recognise import Sample, recognise
from .run import CannotRun, point_at, run_at

SIZES = (5, 6, 7)
FORWARD = ("y", "xhat", "xc", "mean", "var", "std", "rstd", "new_running_mean", "new_running_var")
STATISTICS = {
    alias: name
    for alias, name in ALIASES.items()
    if name in ("mean", "var", "std", "rstd", "xhat", "xc")
}


@dataclass(frozen=True)
class Line:
    """A named intermediate that is off, as written, and its factor."""

    name: str
    text: str
    factor: str
    words: str


def first_wrong_line(formula: Formula, quantity: str, question: Question, seed: int) -> Line | None:
    """Return the first named intermediate on the way to a quantity that is off, if any is."""
    names = STATISTICS if quantity in FORWARD else {**STATISTICS, **GRADIENTS}
    runs = []
    for n in SIZES:
        log = Events()
        record_into(log)
        over_numbers = point_at(seed, question, n, 1, 0)[1]
        try:
            run_at(formula, over_numbers.given)
        except (CannotRun, ArithmeticError):
            return None
        runs.append((over_numbers, log))
    for name, assigned in runs[0][1].lines.items():
        meant = names.get(name, "")
        if meant in QUANTITIES[question.mode] and meant != quantity:
            for position in range(len(assigned)):
                found = _check(name, meant, position, runs)
                if found:
                    return found
    return None


def _check(
    name: str, quantity: str, position: int, runs: Sequence[tuple[Point, Events]]
) -> Line | None:
    samples = []
    for over_numbers, log in runs:
        text, value = log.lines[name][position]
        cells, point = _cells(value, over_numbers, quantity), over_numbers
        if cells is None or any(_same(cells, wanted) for wanted in _meanings(quantity, point)):
            return None
        wanted = [solve.rational(cell)[0] for cell in np.ravel(point.truth(quantity))]
        ratios = {got / want for got, want in zip(cells, wanted, strict=True) if want}
        if len(ratios) == 1:
            samples.append(Sample(over_numbers.shape[0], ratios.pop(), True, over_numbers))
    found = recognise(samples) if len(samples) == len(runs) else None
    factor = found.text if found else "?"
    why = cause(quantity, factor)
    off = f"is {factor} times what it should be" if found else "is not what its name says"
    words = f"the first line that is off: {text} {off}" + (f": {why}" if why else "")
    return Line(name, text, factor, words)


def _meanings(quantity: str, point: Point) -> list[list[Fraction]]:
    """What the name may rightly stand for: dxc before its second path, dmu with either sign."""
    truth = [solve.rational(cell)[0] for cell in np.ravel(point.truth(quantity))]
    meanings = [truth]
    if quantity == "dmean":
        meanings += [[-value for value in truth]]
        meanings += [[sign * value / point.shape[0] for value in truth] for sign in (1, -1)]
    if quantity == "dxc":
        given = point.given
        direct = given["gamma"] * given["dy"] * given["rstd"]
        meanings.append([solve.rational(cell)[0] for cell in np.ravel(direct)])
    return meanings


def _same(cells: list[Fraction], wanted: list[Fraction]) -> bool:
    return cells == wanted


def _cells(value: Any, point: Point, quantity: str) -> list[Fraction] | None:
    """The values of a recorded line, None where its shape or kind is another."""
    flat = np.ravel(np.asarray(value, dtype=object))
    size = point.shape[0] if quantity in ROWS else 1
    if len(flat) != size or not all(isinstance(cell, Number) for cell in flat):
        return None
    return [solve.rational(cell)[0] for cell in flat]

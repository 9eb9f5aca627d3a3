"""The smallest counterexample: integers with a rational root, to be checked by hand."""

from __future__ import annotations

import itertools
import random as _random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np

from .. import exact
from .arithmetic import Interval
from .formula import CannotRun, Formula, WrongShape, run_at
from .judge import compare
from .numbers import about, value_of
from .trials import Question, Trial

LARGEST = 3
TRIES = 1500
LONGEST = 40  # characters of a value that is shown in full


@dataclass(frozen=True)
class Counterexample:
    """Inputs by name, and the value wanted and got, all exact and flat."""

    inputs: dict[str, list[Fraction]]
    n: int
    wanted: list[Fraction]
    got: list[str]

    def lines(self, quantity: str) -> list[str]:
        """Return it as lines of text."""
        shown = [f"{name} = {_shown(values)}" for name, values in self.inputs.items()]
        return [
            ", ".join(shown),
            f"{quantity} should be {_shown(self.wanted)}",
            f"the formula gives {', '.join(self.got)}",
        ]


def _shown(values: list[Fraction]) -> str:
    text = ", ".join(map(str, values))
    return text if len(values) == 1 else f"({text})"


def smallest(formula: Formula, quantity: str, question: Question) -> Counterexample | None:
    """Return the first wrong trial in order of size, None where none of those tried is wrong."""
    for trial in itertools.islice(_trials(question), TRIES):
        try:
            value = run_at(formula, trial.as_numbers)[quantity]
            outcome, array = compare(formula, quantity, value, trial)
        except (ArithmeticError, CannotRun, WrongShape, KeyError):
            continue
        if outcome == "wrong":
            return _described(trial, quantity, array)
    return None


def _trials(question: Question) -> Iterator[Trial]:
    """Trials by size: n, whether mean and var are integers, the sum of |x| + |dy|, gamma."""
    for n in (2, 3, 4):
        pairs = sorted(itertools.product(_vectors(n), _vectors(n, first=None)), key=_size)
        useful = [pair for pair in pairs if any(pair[0]) and any(pair[1])][: TRIES // 6]
        for (x, dy), (gamma, beta) in itertools.product(useful, ((1, 0), (2, 1))):
            yield _trial(question, x, dy, gamma, beta)


def _vectors(n: int, first: int | None = 0) -> list[tuple[int, ...]]:
    largest = LARGEST if n < 4 else 2
    values = range(-1, largest + 1) if n < 4 else range(largest + 1)
    start = [values if first is None else [first]]
    return list(itertools.product(*start, *[values] * (n - 1)))


def _size(pair: tuple[tuple[int, ...], ...]) -> tuple[bool, int, int]:
    x, values = pair[0], [value for vector in pair for value in vector]
    n, total, squares = len(x), sum(x), sum(value * value for value in x)
    awkward = total % n > 0 or (n * squares - total * total) % (n * n) > 0
    return awkward, sum(map(abs, values)), sum(value < 0 for value in values)


def _column(values: tuple[int, ...]) -> Any:
    return exact.rationals([[value] for value in values])


def _trial(
    question: Question, x: tuple[int, ...], dy: tuple[int, ...], gamma: int, beta: int
) -> Trial:
    rows = _column(x)
    mean = rows.sum(axis=0, keepdims=True) / len(x)
    var = ((rows - mean) ** 2).sum(axis=0, keepdims=True) / len(x)
    root = isqrt(int(var[0, 0])) + 1
    eps = root * root - var[0, 0]
    if question.mode == "eval":
        mean, var, eps = exact.rationals([[1]]), exact.rationals([[3]]), Fraction(1)
    row = exact.rationals
    batch = exact.Batch(rows, _column(dy), row([[gamma]]), row([[beta]]), eps, mean, var)
    return Trial(question, batch, _extras(question, batch, len(x), beta))


def _extras(question: Question, batch: exact.Batch, n: int, row: int) -> dict[str, Any]:
    """Small values for the names that only second derivatives and running statistics use."""
    random = _random.Random(n)
    extras: dict[str, Any] = {}
    for name in ("ddx", "tx"):
        extras[name] = exact.rationals([[random.randint(0, 2)] for _ in range(n)])
    for name in ("ddgamma", "ddbeta", "tgamma", "tbeta", "running_mean", "running_var"):
        extras[name] = exact.rationals([[1 if name.startswith("running") else row]])
    if question.mode == "eval":
        extras |= {"running_mean": batch.running_mean, "running_var": batch.running_var}
    return extras | {"momentum": Fraction(3, 4)}


_USED = {
    "ty": ("tx", "tgamma", "tbeta"),
    "grad_x": ("ddx", "ddgamma", "ddbeta"),
    "grad_gamma": ("ddx", "ddgamma", "ddbeta"),
    "grad_dy": ("ddx", "ddgamma", "ddbeta"),
    "new_running_mean": ("running_mean", "momentum"),
    "new_running_var": ("running_var", "momentum"),
}


def _described(trial: Trial, quantity: str, array: Any) -> Counterexample:
    names = ["x", "dy", "gamma", "beta", "eps", "mean", "var", "std", *_USED.get(quantity, ())]
    inputs = {name: _flat(trial.given[name]) for name in names}
    wanted = _flat(trial.truth(quantity))
    got = [_text(value_of(cell)) for cell in np.ravel(array)]
    return Counterexample(inputs, trial.shape[0], wanted, got)


def _flat(value: Any) -> list[Fraction]:
    return [Fraction(cell) for cell in np.ravel(np.asarray(value, dtype=object))]


def _text(value: Any) -> str:
    text = str(value)
    if isinstance(value, Fraction) and len(text) <= LONGEST:
        return text
    middle = value.middle if isinstance(value, Interval) else value
    return f"about {about(middle)}"

"""The degree of a formula in what was drawn: the other half of a stated probability."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import exact
from .arithmetic import Atom, Degree
from .formula import CannotRun, Formula, run_at
from .language import NotAFormula
from .numbers import Events, Number, record_into, value_of
from .trials import Question, Trial, trial_at

MAX_DEGREE = 1 << 20
MAX_BITS = 1 << 22


def guard(formula: Formula, question: Question, seed: int) -> None:
    """Refuse text whose value would be of monstrous size, by running it on degrees alone.

    Raises:
        NotAFormula: its degree or its number of digits is beyond all measure.
    """
    if formula.text is None:
        return
    trial = degrees_at(seed, question, 2, 1, False)
    try:
        outputs = run_at(formula, trial.given)
    except ArithmeticError:  # of constants alone: the first trial will tell
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
        trial = degrees_at(seed, question, n, c, values)
        try:
            outputs = run_at(formula, trial.given)
        except (CannotRun, ArithmeticError):
            continue
        return {name: _largest(v) + _largest(trial.truth(name)) for name, v in outputs.items()}
    return {}


def _largest(value: Any) -> int:
    """Return the largest of numerator and denominator degrees over all cells.

    The numerator of p/q - r/s is p s - r q: its degree is at most the sum of the two.
    """
    cells = [value_of(cell) for cell in np.ravel(np.asarray(value, dtype=object))]
    return max((max(d.num, d.below) for d in cells if isinstance(d, Degree)), default=0)


@lru_cache(maxsize=512)
def degrees_at(seed: int, question: Question, n: int, c: int, values: bool) -> Trial:
    return trial_of_degrees(trial_at(seed, question, n, c, 0), values=values)


def trial_of_degrees(trial: Trial, *, values: bool) -> Trial:
    """Return the trial's numbers as degrees in what was drawn (x, r, e, t, …).

    One channel: x, dy, gamma, beta and the root r have degree 1, eps = r**2 - var has 2. Several:
    x = 2 e t u / (var(u) - t**2) has degree 3 over 2. Inference: eps has degree 1, running_var 2.

    Args:
        values: also carry the trial's values, for code that compares numbers.
    """
    shared = _shared(trial)

    def degrees(array: Any, num: int, dens: list[dict[Atom, int]] | None = None) -> Any:
        result = np.empty(array.shape, dtype=object)
        for index, value in np.ndenumerate(array):
            den = dens[index[-1]] if dens else {}
            result[index] = Number(Degree(num, dict(den), 64, value if values else None))
        return result

    batch, extras = trial.batch, trial.extras
    training = trial.question.mode == "train"
    eps = degrees(np.array([batch.eps], dtype=object), 2 if training else 1)[0]
    new = exact.Batch(
        x=degrees(batch.x, 3 if shared else 1, shared), dy=degrees(batch.dy, 1),
        gamma=degrees(batch.gamma, 1), beta=degrees(batch.beta, 1), eps=eps,
        running_mean=degrees(batch.running_mean, 1), running_var=degrees(batch.running_var, 2),
    )  # fmt: skip
    more = {name: degrees(np.array(value, dtype=object), 1) for name, value in extras.items()}
    more["momentum"] = more["momentum"].item()
    if not training:
        more |= {"running_mean": new.running_mean, "running_var": new.running_var}
    return Trial(trial.question, new, more)


def _shared(trial: Trial) -> list[dict[Atom, int]] | None:
    """The denominators of x, one per channel, where several channels share one eps."""
    channels = trial.shape[1]
    if trial.question.mode == "eval" or channels == 1:
        return None
    return [{Atom(2): 1} for _ in range(channels)]

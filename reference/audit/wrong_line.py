"""The first line of a wrong derivation that is not what its name says."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .factors import Sample, recognise
from .formula import CannotRun, Formula, run_at
from .names import ALIASES, GRADIENTS, QUANTITIES, ROWS
from .numbers import Events, Number, rational, record_into
from .terms import cause
from .trials import Question, Trial, trial_at

SIZES = (5, 6, 7)
FORWARD = ("y", "xhat", "xc", "mean", "var", "std", "rstd", "new_running_mean", "new_running_var")
STATISTICS = {
    alias: name
    for alias, name in ALIASES.items()
    if name in ("mean", "var", "std", "rstd", "xhat", "xc")
}


def first_wrong_line(formula: Formula, quantity: str, question: Question, seed: int) -> str:
    """Return a sentence on the first named intermediate that is off, "" if none is."""
    names = STATISTICS if quantity in FORWARD else {**STATISTICS, **GRADIENTS}
    runs = []
    for n in SIZES:
        log = Events()
        record_into(log)
        trial = trial_at(seed, question, n, 1, 0)
        try:
            run_at(formula, trial.as_numbers)
        except (CannotRun, ArithmeticError):
            return ""
        runs.append((trial, log))
    for name, assigned in runs[0][1].assigned.items():
        meant = names.get(name, "")
        if meant in QUANTITIES[question.mode] and meant != quantity:
            for position in range(len(assigned)):
                found = _check(name, meant, position, runs)
                if found:
                    return found
    return ""


def _check(name: str, quantity: str, position: int, runs: Sequence[tuple[Trial, Events]]) -> str:
    samples = []
    for trial, log in runs:
        text, value = log.assigned[name][position]
        cells = _cells(value, trial, quantity)
        if cells is None or cells in _meanings(quantity, trial):
            return ""
        wanted = [rational(cell)[0] for cell in np.ravel(trial.truth(quantity))]
        ratios = {got / want for got, want in zip(cells, wanted, strict=True) if want}
        if len(ratios) == 1:
            samples.append(Sample(trial.shape[0], ratios.pop(), True, trial))
    found = recognise(samples) if len(samples) == len(runs) else None
    why = cause(quantity, found or "?")
    off = f"is {found} times what it should be" if found else "is not what its name says"
    return f"the first line that is off: {text} {off}" + (f": {why}" if why else "")


def _meanings(quantity: str, trial: Trial) -> list[list[Fraction]]:
    """What the name may rightly stand for: dxc before its second path, dmu with either sign."""
    truth = [rational(cell)[0] for cell in np.ravel(trial.truth(quantity))]
    meanings = [truth]
    if quantity == "dmean":
        meanings += [[-value for value in truth]]
        meanings += [[sign * value / trial.shape[0] for value in truth] for sign in (1, -1)]
    if quantity == "dxc":
        given = trial.given
        direct = given["gamma"] * given["dy"] * given["rstd"]
        meanings.append([rational(cell)[0] for cell in np.ravel(direct)])
    return meanings


def _cells(value: Any, trial: Trial, quantity: str) -> list[Fraction] | None:
    """The values of a recorded line, None where its shape or kind is another."""
    flat = np.ravel(np.asarray(value, dtype=object))
    size = trial.shape[0] if quantity in ROWS else 1
    if len(flat) != size or not all(isinstance(cell, Number) for cell in flat):
        return None
    return [rational(cell)[0] for cell in flat]

"""Equal or not, over rationals at random points, with the probability of a wrong "equal".

Two rational functions that agree at a random point of S x S x ... are the same, but with a
probability of at most degree / |S| (Schwartz 1980, Zippel 1979), when the code does not branch on
the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import log2
from typing import Any

import numpy as np

from .arithmetic import Interval, NegativeRoot
from .degrees import degrees_of, guard
from .formula import CannotRun, Formula, WrongShape, as_quantity, raises_on_floats, run_at
from .numbers import Events, record_into, value_of
from .trials import BITS, Question, Trial, trial_at

SIZES = tuple(range(2, 17))
CHANNEL_COUNTS = (1, 2)
POINTS = 2
SMALL = 1 << 40  # squares below are constants such as sqrt(4), not drawn numbers


@dataclass(frozen=True)
class Mismatch:
    """Where a quantity was found wrong: the trial, and a sentence if values do not tell."""

    trial: Trial
    message: str = ""


@dataclass
class Finding:
    """What is known of one quantity so far."""

    quantity: str
    mismatch: Mismatch | None = None
    undecided: str = ""  # why no verdict is possible
    log2_probability: float = -float("inf")  # of the worst n
    degree: int = 0


@dataclass
class Verdict:
    """All quantities of one formula, what was tried, and what was met on the way."""

    formula: Formula
    question: Question
    seed: int
    brief: bool = False
    findings: dict[str, Finding] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()
    log: Events = field(default_factory=Events)

    @property
    def is_settled(self) -> bool:
        """Whether no more points are needed: everything is wrong, or, if brief, anything is."""
        wrong = [finding.mismatch is not None for finding in self.findings.values()]
        return any(wrong) if self.brief else all(wrong)


def compare(formula: Formula, quantity: str, value: Any, trial: Trial) -> tuple[str, Any]:
    """Return ("equal" | "wrong" | "near", the formula's value).

    Raises:
        WrongShape: the value has not the quantity's shape.
        CannotRun: the value holds floats.
    """
    n, c = trial.shape
    array = as_quantity(formula, quantity, value, n, c)
    outcomes = {_cell(got, want) for got, want in zip(array.flat, trial.truth(quantity).flat,
                                                     strict=True)}  # fmt: skip
    for outcome in ("wrong", "near"):
        if outcome in outcomes:
            return outcome, array
    return "equal", array


def _cell(got: Any, wanted: Fraction) -> str:
    if isinstance(got, (float, np.floating)):
        raise CannotRun("its result is a float")
    value = value_of(got)
    if value is None:
        raise CannotRun(f"its result holds {type(got).__name__}")
    if isinstance(value, Interval):
        return "near" if value.lower <= wanted <= value.upper else "wrong"
    return "equal" if value == wanted else "wrong"


def judge(
    formula: Formula,
    question: Question,
    seed: int,
    sizes: Sequence[int] = SIZES,
    brief: bool = False,
) -> Verdict:
    """Try the formula at every size until each quantity is wrong or all points are used.

    Args:
        brief: stop at the first wrong quantity.

    Raises:
        CannotRun: it cannot be run over exact numbers.
        NotAFormula: it grows beyond all measure.
    """
    verdict = Verdict(formula, question, seed, brief)
    record_into(verdict.log)
    guard(formula, question, seed)
    for n in sizes:
        for c in CHANNEL_COUNTS:
            _try_size(verdict, n, c)
            if verdict.is_settled:
                return verdict
        verdict.sizes += (n,)
    return verdict


def _try_size(verdict: Verdict, n: int, c: int) -> None:
    for index in range(POINTS):
        _try(verdict, trial_at(verdict.seed, verdict.question, n, c, index))
        if verdict.is_settled:
            return
    open_ones = [f for f in verdict.findings.values() if not f.mismatch]
    _bound(verdict, open_ones, n, c)


def _try(verdict: Verdict, trial: Trial) -> None:
    try:
        outputs = run_at(verdict.formula, trial.as_numbers)
    except ArithmeticError as error:
        negative = isinstance(error, NegativeRoot)
        what = "it takes the root of a negative number" if negative else "it divides by zero"
        return _all_wrong(verdict, trial, what)
    except CannotRun:
        reason = raises_on_floats(verdict.formula, trial.as_numbers) if verdict.findings else ""
        if not reason:
            raise
        return _all_wrong(verdict, trial, reason)
    _note_roots(verdict.log, trial)
    for quantity, value in outputs.items():
        finding = verdict.findings.setdefault(quantity, Finding(quantity))
        if finding.mismatch is None:
            _note(verdict, finding, value, trial)


def _note_roots(log: Events, trial: Trial) -> None:
    """A root of a square other than var + eps is a branch: sqrt(dy**2) is |dy|."""
    given = trial.as_numbers
    known = {(cell + given["eps"]).value for cell in np.ravel(given["var"])}
    if any(square > SMALL for square in log.roots - known):
        log.compared = True
    log.roots.clear()


def _all_wrong(verdict: Verdict, trial: Trial, message: str) -> None:
    expected = [verdict.formula.text.statements[-1][0]] if verdict.formula.text else ["dx"]
    for quantity in list(verdict.findings) or expected:
        finding = verdict.findings.setdefault(quantity, Finding(quantity))
        finding.mismatch = finding.mismatch or Mismatch(trial, message)


def _note(verdict: Verdict, finding: Finding, value: Any, trial: Trial) -> None:
    try:
        outcome, _ = compare(verdict.formula, finding.quantity, value, trial)
    except WrongShape as error:
        finding.mismatch = Mismatch(trial, str(error))
        return
    if outcome == "near":
        finding.undecided = "a root in it is not rational; it agrees to 2**-200"
    if outcome == "wrong":
        finding.mismatch = Mismatch(trial)
        if verdict.log.absorbed:  # a float of few bits may have been rounded to it
            floats = ", ".join(map(str, sorted(verdict.log.absorbed)))
            raise CannotRun(f"floats ({floats}) took part and the values differ")


def _bound(verdict: Verdict, findings: list[Finding], n: int, c: int) -> None:
    """Bound the probability that these findings are wrong at this n, from degrees."""
    degrees = degrees_of(verdict.formula, verdict.question, verdict.seed, n, c)
    record_into(verdict.log)
    # the root e + t s of reference.exact may be negative: each pattern of signs counts once
    signs = c if c > 1 and verdict.question.mode == "train" else 0
    for finding in findings:
        degree = degrees.get(finding.quantity)
        if degree is None:
            finding.undecided = "its degree could not be found, so no probability can be stated"
            continue
        finding.degree = max(finding.degree, degree)
        logarithm = POINTS * (log2(max(degree, 1)) + signs - BITS)
        finding.log2_probability = max(finding.log2_probability, logarithm)

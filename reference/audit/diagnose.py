"""Which term of a wrong formula is wrong, by what factor, and what the usual cause is.

The formula's values are solved for the coefficients of the derivation's own terms, exactly, at
several n. A formula outside that span is tried with strangers such as x*mean(dy*xhat) added.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from .arithmetic import NEAR
from .coefficients import SIZES, Values, factors_of, fit, values_at
from .factors import Sample, recognise
from .formula import CannotRun, Formula, WrongShape
from .names import ROWS
from .numbers import rational
from .terms import Span, Term, cause, span_of
from .trials import Question


@dataclass(frozen=True)
class Diagnosis:
    """One wrong term: its name, its factor ("0" is missing, "?" unknown) and a sentence."""

    term: str
    factor: str
    words: str


def diagnose(
    formula: Formula, quantity: str, question: Question, seed: int, shape: tuple[int, int]
) -> tuple[list[Diagnosis], str]:
    """Return what is wrong with a quantity, and the right line.

    Args:
        shape: the (n, c) at which it was found wrong.

    The list is empty where no diagnosis fits; the line is "" for a quantity without one.
    """
    span = span_of(quantity, question.mode, question.momentum, question.running_var)
    if span is None:
        return [], ""
    line = span.line if "=" in span.line else f"{quantity} = {span.line}"
    try:
        tries = [values_at(formula, quantity, question, seed, n, len(span.terms)) for n in SIZES]
    except WrongShape as error:
        return [Diagnosis(quantity, "?", str(error))], line
    except (CannotRun, ArithmeticError):
        return [], line
    if not _any_differs(quantity, tries):
        return [_right_here(quantity, shape)], line
    for step in (_another_quantity, _single_rows, _same_terms, _strangers):
        found = step(quantity, span, tries)
        if found:
            return found, line
    return [_outside(quantity, span)], line


def _differs(got: Any, wanted: Fraction, is_exact: bool) -> bool:
    value = rational(got)[0]
    return value != wanted if is_exact else abs(value - wanted) > NEAR * abs(wanted)


def _any_differs(quantity: str, tries: Sequence[Values]) -> bool:
    return any(
        _differs(got, wanted, at.is_exact)
        for at in tries
        for trial, value in zip(at.trials, at.values, strict=True)
        for got, wanted in zip(value.flat, trial.truth(quantity).flat, strict=True)
    )


def _right_here(quantity: str, shape: tuple[int, int]) -> Diagnosis:
    """Right for one channel at n = 5 to 8, where the terms are looked for."""
    n, c = shape
    if c > 1:
        words = "right for one channel, wrong for several: a sum or mean runs over the wrong axis"
    else:
        words = f"right at n = 5 to 8, wrong at n = {n}: a size in the code is not n"
    return Diagnosis(quantity, "?", words)


def _another_quantity(quantity: str, span: Span, tries: Sequence[Values]) -> list[Diagnosis]:
    """The formula of dbeta handed in as dgamma, and the like."""
    names = ["dgamma", "dbeta"] if quantity not in ROWS else ["dx", "dxhat", "y", "xhat", "dy"]
    for other in names:
        if other != quantity and not _any_differs(other, tries):
            return [Diagnosis(quantity, "?", f"this is {other}, not {quantity}")]
    return []


def _single_rows(quantity: str, span: Span, tries: Sequence[Values]) -> list[Diagnosis]:
    """Some rows right at every try and others wrong: an index, not a formula."""
    if quantity not in ROWS:
        return []
    wrong: list[set[int]] = []
    for at in tries:
        rows = {
            i
            for trial, value in zip(at.trials, at.values, strict=True)
            for i in range(at.n)
            if _differs(value[i, 0], trial.truth(quantity)[i, 0], at.is_exact)
        }
        wrong.append(rows)
    if not all(0 < len(rows) < at.n - 1 for rows, at in zip(wrong, tries, strict=True)):
        return []
    first = sorted(wrong[0])
    rows_text = f"row {first[0]}" if len(first) == 1 else "rows " + ", ".join(map(str, first))
    factor = _row_factor(quantity, tries, [min(rows) for rows in wrong])
    words = f"only {rows_text} of {tries[0].n} is wrong"
    return [Diagnosis(rows_text, factor, words + (f", by {factor}" if factor != "?" else ""))]


def _row_factor(quantity: str, tries: Sequence[Values], rows: Sequence[int]) -> str:
    samples = []
    for at, row in zip(tries, rows, strict=True):
        trial = at.trials[0]
        value = rational(at.values[0][row, 0])[0] / trial.truth(quantity)[row, 0]
        samples.append(Sample(at.n, value, at.is_exact, trial))
    return recognise(samples) or "?"


def _same_terms(quantity: str, span: Span, tries: Sequence[Values]) -> list[Diagnosis]:
    texts = [term.text for term in span.terms]
    factors = factors_of(tries, texts, [term.right for term in span.terms], quantity)
    if factors is None:
        return []
    common = _common(quantity, span, factors)
    if common:
        return common
    if factors == ["1", "0", "0"] and quantity in ("dx", "ty", "grad_dy"):
        words = "the mean path and the variance path are missing: this is inference, equation (17)"
        return [Diagnosis("mean and variance", "0", words)]
    if factors == ["(1 - momentum)/momentum", "momentum/(1 - momentum)"]:
        words = "momentum stands for 1 - momentum: the other convention of (18)"
        return [Diagnosis("momentum", "1 - momentum", words)]
    pairs = zip(span.terms, factors, strict=True)
    return [_wrong(term, f) for term, f in pairs if f != ("0" if term.right == "0" else "1")]


def _common(quantity: str, span: Span, factors: Sequence[str]) -> list[Diagnosis]:
    """All terms off by one and the same factor."""
    texts = {f for f, term in zip(factors, span.terms, strict=True) if term.right != "0"}
    if len(texts) != 1 or texts & {"1", "0"}:
        return [Diagnosis(quantity, "0", f"{quantity} is zero")] if texts == {"0"} else []
    text = texts.pop()
    why = cause(quantity, text)
    words = f"the whole of {quantity} is {_times(text)}" + (f": {why}" if why else "")
    return [Diagnosis(quantity, text, words)]


def _times(factor: str) -> str:
    if factor.startswith("?"):
        return f"off by a factor that is not recognised {factor[2:]}"
    return f"{factor} times what it should be"


def _wrong(term: Term, factor: str) -> Diagnosis:
    if term.right == "0":
        words = f"a term {term.name} that does not belong there (times {factor})"
        return Diagnosis(term.name, factor, words)
    why = cause(term.name, factor)
    what = "is missing" if factor == "0" else f"is {_times(factor)}"
    return Diagnosis(
        term.name, factor, f"the term {term.name} {what}" + (f": {why}" if why else "")
    )


def _strangers(quantity: str, span: Span, tries: Sequence[Values]) -> list[Diagnosis]:
    """One term exchanged for a foreign one, then one foreign term more, then two."""
    for own, chosen in _mixtures(quantity, span):
        texts = [*(term.text for term in own), *(f"{span.scale}*{text}" for text in chosen)]
        if fit(tries[0], texts, quantity) is None:
            continue
        rights = [*(term.right for term in own), *["1"] * len(chosen)]
        factors = factors_of(tries, texts, rights, quantity)
        if factors is not None:
            found = _exchanged(span, own, chosen, factors)
            if found:
                return found
    return []


def _mixtures(quantity: str, span: Span) -> Iterator[tuple[Sequence[Term], Sequence[str]]]:
    for left_out, text in itertools.product(span.terms, span.strangers):
        yield [term for term in span.terms if term is not left_out], [text]
    for count in (1, 2) if quantity in ROWS else (1,):
        for chosen in itertools.combinations(span.strangers, count):
            yield span.terms, chosen


def _exchanged(
    span: Span, own: Sequence[Term], chosen: Sequence[str], factors: Sequence[str]
) -> list[Diagnosis]:
    pairs = list(zip(own, factors, strict=False))
    lost = [term for term in span.terms if term not in own and term.right != "0"]
    lost += [term for term, factor in pairs if factor == "0" and term.right != "0"]
    found = []
    for text, factor in zip(chosen, factors[len(own) :], strict=True):
        if factor == "0":
            continue
        signed = _signed(factor, text)
        if len(lost) == 1:
            words = f"where {lost[0].name} belongs stands {signed}"
            found.append(Diagnosis(lost[0].name, signed, words))
        else:
            found.append(Diagnosis(text, signed, f"a term {signed} that does not belong there"))
    known = {diagnosis.term for diagnosis in found}
    rest = [_wrong(t, f) for t, f in pairs if f != "1" and t.name not in known and t.right != "0"]
    return found + rest


def _signed(factor: str, text: str) -> str:
    """Write factor * text; the row-free term 1 is xhat**0 in the tables."""
    if factor in ("1", "-1") and text != "xhat**0":
        return factor.removesuffix("1") + text
    shown = "an unknown factor" if factor.startswith("?") else factor
    return shown if text == "xhat**0" else f"{shown}*{text}"


def _outside(quantity: str, span: Span) -> Diagnosis:
    names = ", ".join(term.name for term in span.terms)
    words = (
        f"{quantity} lies outside the span of {names}, also with "
        f"{', '.join(span.strangers[:4])}, … added: its structure is wrong, not a factor"
    )
    return Diagnosis(quantity, "?", words)

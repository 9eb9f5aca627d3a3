"""The audit's diagnosis: which term is wrong, by what factor, and the smallest counterexample."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from audit_cases import MISTAKES, RIGHT, SEED, answer_to, in_file, with_mean

from reference.audit import Question, audit, factors, from_text, names, status, terms, trials
from reference.audit.counterexample import smallest


@pytest.mark.parametrize(
    ("quantity", "text", "term", "factor"),
    [mistake[1:] for mistake in MISTAKES],
    ids=[mistake[0] for mistake in MISTAKES],
)
@pytest.mark.slow(but_one_in=5)
def test_diagnosis_names_the_term_and_the_factor(
    quantity: str, text: str, term: str, factor: str
) -> None:
    """Each named mistake is not equal, and the right term and factor are named, and no other."""
    answer = answer_to(quantity, text)
    assert answer.verdict == "not equal", answer.text()
    assert status(answer) == 1, "a wrong formula has exit status 1"
    (result,) = answer.results
    found = [(diagnosis.term, diagnosis.factor) for diagnosis in result.diagnosis]
    assert found == [(term, factor)], f"diagnosed {found}, expected {term} times {factor}"
    assert result.corrected, "the corrected line is missing"
    assert result.counterexample is not None, "no counterexample"


def test_corrected_line_is_itself_equal() -> None:
    """What the answer prints as right is right, for every quantity that has a line."""
    for mode, quantities in names.QUANTITIES.items():
        for quantity in quantities:
            span = terms.span_of(quantity, mode, "keep", "biased")
            assert span is not None, f"{quantity}: no line"
            formula = from_text(quantity, span.line.removeprefix(f"{quantity} = "), mode)
            answer = audit(formula, seed=SEED, sizes=(3,))
            assert answer.verdict == "equal", f"{mode} {quantity}: {answer.text()}"


def test_terms_add_up_to_the_right_formula() -> None:
    """Each quantity is the sum of its terms with their right coefficients."""
    for quantity in names.QUANTITIES["train"]:
        span = terms.span_of(quantity, "train", "update", "unbiased")
        assert span is not None, f"{quantity}: no terms"
        text = " + ".join(f"({term.right})*{term.text}" for term in span.terms)
        question = Question("train", "update", "unbiased")
        answer = audit(from_text(quantity, text), question, seed=SEED, sizes=(4,), explain=False)
        assert answer.verdict == "equal", f"{quantity}: {text}"


ROW = "dx = gamma * rstd * (dy - dy.mean(0) - xhat * np.mean(dy * xhat, axis=0))"
TOLD = {
    "one wrong row": (
        f"def f(dy, gamma, xhat, rstd):\n    {ROW}\n    dx[0] = dx[0] * 1.1\n    return dx",
        "only row 0 of 5 is wrong, by 11/10"),
    "a mean over all channels": (with_mean("dy.mean()"), "runs over the wrong axis"),
    "a size that is not n": (with_mean("dy[:8].sum(0) / len(dy)"),
                             "right at n = 5 to 8, wrong at n = 9"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "words"), TOLD.values(), ids=TOLD)
def test_an_index_is_told_from_a_formula(source: str, words: str, tmp_path: Path) -> None:
    """One wrong row, a wrong axis and a wrong size are said to be that, and nothing else."""
    (result,) = in_file(tmp_path, source).results
    (diagnosis,) = result.diagnosis
    assert words in diagnosis.words


def test_dbeta_handed_in_as_dgamma_is_told() -> None:
    """A formula of another quantity is recognised as that."""
    (result,) = answer_to("dgamma", "sum(dy)").results
    assert result.diagnosis[0].words == "this is dbeta, not dgamma"


def test_structure_outside_every_span_is_told() -> None:
    """A formula that is no combination of known terms is said to be so, with a counterexample."""
    (result,) = answer_to("dx", f"{RIGHT} + dy**2*dy").results
    assert "lies outside the span" in result.diagnosis[0].words
    assert result.counterexample is not None, "no counterexample"


def by_hand(
    x: list[Fraction], dy: list[Fraction], gamma: Fraction, eps: Fraction
) -> list[Fraction]:
    """dx from the definition's closed form, in plain Python."""
    n = len(x)
    mean = sum(x, Fraction(0)) / n
    var = sum(((v - mean) ** 2 for v in x), Fraction(0)) / n
    root = next(Fraction(r) for r in range(100) if r * r == var + eps)
    xhat = [(v - mean) / root for v in x]
    q = sum((g * h for g, h in zip(dy, xhat, strict=True)), Fraction(0)) / n
    m = sum(dy, Fraction(0)) / n
    return [gamma / root * (g - m - h * q) for g, h in zip(dy, xhat, strict=True)]


@pytest.mark.parametrize("text", [m[2] for m in MISTAKES if m[1] == "dx"][:12])
def test_counterexample_is_small_and_right(text: str) -> None:
    """Integers of at most 3 with an integer root, and the wanted value is checked by hand."""
    example = smallest(from_text("dx", text), "dx", Question())
    assert example is not None, f"{text}: none"
    inputs = example.inputs
    sizes = [abs(v) for name in ("x", "dy", "gamma", "beta") for v in inputs[name]]
    assert max(sizes) <= 3, f"{inputs}"
    assert example.n <= 3, f"n={example.n}"
    assert all(v.denominator == 1 for values in inputs.values() for v in values), f"{inputs}"
    wanted = by_hand(inputs["x"], inputs["dy"], inputs["gamma"][0], inputs["eps"][0])
    assert example.wanted == wanted, f"wanted {example.wanted}, by hand {wanted}"
    assert example.got != list(map(str, wanted)), "the counterexample does not differ"


def test_recognition_is_not_fooled_by_large_numbers() -> None:
    """A coefficient that is no simple function is called unknown, not given a wild name."""
    trial = trials.trial_at(SEED, Question(), 5, 1, 0)
    samples = [factors.Sample(5, Fraction(10**30 + 57, 10**29 + 3), True, trial)]
    assert factors.recognise(samples) is None

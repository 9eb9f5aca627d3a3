"""The audit's verdict: equal or not in exact arithmetic, with what probability."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from audit_cases import EQUAL, RIGHT, SEED, UNDECIDED, answer_to

from reference.audit import Question, arithmetic, degrees, numbers, status, trials
from reference.audit.language import parse


@pytest.mark.parametrize("text", EQUAL.values(), ids=EQUAL)
def test_right_text_is_equal(text: str) -> None:
    """Right formulas, however they are written, are equal at every n with 2**-100 or less."""
    answer = answer_to("dx", text)
    assert answer.verdict == "equal", answer.text()
    assert status(answer) == 0, "a right formula has exit status 0"
    assert answer.log2_probability is not None, "no probability"
    assert answer.log2_probability <= -100, f"2**{answer.log2_probability}"


def test_roots_that_cancel_are_never_called_wrong() -> None:
    """Where different irrational roots cancel the audit says unknown, neither equal nor wrong."""
    answer = answer_to("dx", UNDECIDED)
    assert answer.verdict == "unknown", answer.text()
    assert status(answer) == 3, "unknown has exit status 3"
    assert "a root in it is not rational" in answer.text()


def test_root_of_a_square_is_a_branch() -> None:
    """sqrt(dy**2) is |dy|: the answer says that a branch was taken, and sqrt(var + eps) is none."""
    answer = answer_to("dbeta", "sum(sqrt(dy**2))*sum(dy)/sum(sqrt(dy**2))")
    assert answer.verdict == "equal", answer.text()
    assert "only the branches taken are covered" in answer.text()
    assert answer_to("dx", "gamma*dy/sqrt(var + eps)", mode="eval").notes == ()


def test_eval_mode_has_no_mean_path() -> None:
    """With frozen statistics dx = gamma*dy/std is right and the training formula is wrong."""
    assert answer_to("dx", "gamma*dy/std", mode="eval").verdict == "equal"
    answer = answer_to("dx", "gamma*rstd*(dy - mean(dy))", mode="eval")
    assert answer.verdict == "not equal", answer.text()
    assert "a term mean(dy) that does not belong there" in answer.text()


def test_division_by_zero_and_negative_roots_are_not_equal() -> None:
    """A formula that is undefined at a random point is wrong there."""
    for text, words in (("dy/(n - n)", "divides by zero"), ("sqrt(-var)*dy", "negative number")):
        answer = answer_to("dx", text)
        assert answer.verdict == "not equal", answer.text()
        assert words in answer.text(), answer.text()


def test_zero_term_is_named_only_where_it_is() -> None:
    """The debated term is explained where it stands; no other sum is called zero."""
    with_term = EQUAL["node by node"] + " + mean(-2*xc)*dvar/n"
    assert "mean(-2 * xc) is exactly zero" in answer_to("dx", with_term).text()
    assert answer_to("dx", RIGHT).zero_terms == ()


# The degree of a formula, by hand: of numerator or denominator in x, dy, gamma and r = std.
DEGREES = {"x**5": 5, "dy*x": 2, "1/std**3": 3, "gamma*dy/std": 2, "eps": 2, "mean(x*x)/x": 2}


@pytest.mark.parametrize(("text", "degree"), DEGREES.items())
def test_degree_is_found(text: str, degree: int) -> None:
    """Running a formula on degrees gives at least its degree, and here exactly that."""
    trial = trials.trial_at(SEED, Question(), 3, 1, 0)
    given = degrees.trial_of_degrees(trial, values=False).given
    value = np.ravel(parse(text).run(given))[0].value
    assert max(value.num, value.below) == degree, f"{text}: {value}"


def test_degree_bounds_how_often_a_wrong_formula_passes() -> None:
    """Drawn from 8 values each, two unequal polynomials of degree 2 agree in at most 2/8 of the
    draws (and a margin of as much again for chance): Schwartz and Zippel hold for these draws."""
    passed, bits, tries = 0, 3, 400
    for seed in range(tries):
        point = trials.draw_trial(random.Random(seed), Question(), 2, 1, bits)
        dy = point.batch.dy[:, 0]
        passed += (dy[0] - dy[1]) * (dy[0] + dy[1]) == 0  # degree 2, of 8 values each
    assert passed / tries <= 2 * 2 / 2**bits, f"{passed} of {tries} passed"


def test_numbers_refuse_to_become_floats() -> None:
    """A Number raises where NumPy or math would round it."""
    value = numbers.Number(3)
    for convert in (float, int, np.float64, lambda v: np.asarray([v], dtype=np.float32)):
        with pytest.raises(arithmetic.TurnedFloat):
            convert(value)  # type: ignore[operator]
    with pytest.raises(arithmetic.TurnedFloat, match=r"value=0.1: a rounded float met"):
        value * 0.1


def test_intervals_hold_what_they_enclose() -> None:
    """Roots of any degree lie within their interval, and arithmetic keeps them there."""
    for base, power in ((2, Fraction(1, 2)), (5, Fraction(1, 3)), (7, Fraction(-3, 2))):
        value = (numbers.Number(base) ** power).value
        assert isinstance(value, arithmetic.Interval), f"{base}**{power}: {value}"
        ends = [end**power.denominator for end in (value.lower, value.upper)]
        assert min(ends) <= Fraction(base) ** power.numerator <= max(ends), f"{base}**{power}"
        assert value.upper - value.lower < Fraction(1, 2**200), f"{base}**{power}: too wide"


def test_a_root_times_itself_is_rational_again() -> None:
    """q sqrt(s) keeps q and s through products, quotients and sums, and nothing else does."""
    two, three = (numbers.Number(k).sqrt() for k in (2, 3))
    for value, wanted in ((5 * two * two, 10), (two / (3 * two), Fraction(1, 3)),
                          (two - two, 0), ((two + two) * two, 4), (6 / two / two, 3)):  # fmt: skip
        assert value.value == wanted, f"{value}: expected {wanted}"
    for value in (two * three, two + three, two + 1):
        assert isinstance(value.value, arithmetic.Interval), f"{value}"
        squared = value.value.middle
        assert value.value.lower < squared < value.value.upper, f"{value}: a point"

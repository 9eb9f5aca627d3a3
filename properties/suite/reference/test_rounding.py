"""The radius: right forms stay within it, and it is no wider than the forms need."""

import numpy as np
import pytest
from agreements import drawn, everything

from properties.benchmarks.right import one_pass
from properties.model.cases import Recipe, build
from properties.model.contract import Conventions
from properties.model.verdict import judge
from properties.plants.forms import RIGHT_FORMS
from properties.plants.textbook import Pieces, implementation
from reference.ball import Ball, precision
from reference.float64 import reference_train
from reference.rounding import output_radius, statistics_spread

CONVENTIONS = Conventions(dtypes=("float32", "float64"))


def worst_of(pieces, dtype, batches=60):
    """Return the largest error as a multiple of its radius over some batches."""
    target = implementation(pieces, CONVENTIONS, "form")
    rng = np.random.default_rng(11)
    outcomes = [
        judge(everything(target, build(drawn(rng, dtype), CONVENTIONS))) for _ in range(batches)
    ]
    return max(outcome.worst for outcome in outcomes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", RIGHT_FORMS)
@pytest.mark.slow(but_one_in=5)
def test_right_forms_stay_within_the_radius(form, dtype):
    """No form of the named list is accused; properties.benchmarks.right judges millions."""
    assert worst_of(RIGHT_FORMS[form], dtype) <= 1.0


FOUND = {  # batches on which an earlier radius accused a right form
    "Welford among subnormals": ("welford", Recipe(
        "magnitude", 36, 3, (3,), "float32", 16, 3, 1563182004, "zero", "ones_and_generic", 0.001)),
    "gradients that sum to zero on a constant channel": ("two_pass", Recipe(
        "constant_channel", 7, 4, (3,), "float32", 18, 706, 3607503001, "zero", "along_xhat",
        1e-7)),
    "a zero sum beside a large mean among subnormals": ("welford", Recipe(
        "magnitude", 14, 4, (3, 2), "float32", 13, 5, 1276293602, "zero", "constant", 1e-5)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_earlier_false_alarms_stay_silent(name):
    """Batches on which a right form was once accused are within the radius."""
    form, recipe = FOUND[name]
    target = implementation(RIGHT_FORMS[form], CONVENTIONS, form)
    assert judge(everything(target, build(recipe, CONVENTIONS))).worst <= 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_pass_variance_leaves_the_radius(dtype):
    """The one-pass variance, which is no right form, is far outside."""
    assert worst_of(Pieces(variance=one_pass), dtype) > 2.0


def test_radius_is_tight():
    """A radius of an eighth accuses right forms: the counted roundings are not loose by more."""
    worst = max(worst_of(pieces, "float32", 20) for pieces in RIGHT_FORMS.values())
    assert worst > 1 / 8, worst


def test_pairwise_radius_grows_with_the_logarithm():
    """The pairwise radius of a long sum is that of some log2(n) roundings, the other of n - 1."""
    any_order, pairwise = precision("float32"), precision("float32", pairwise=True)
    assert any_order.terms(1024) == 1023 * 2.0**-24
    assert pairwise.terms(1024) == 10 * 2.0**-24
    assert precision("float32", "float64").terms(1024) == 1023 * 2.0**-53


def test_overflow_of_an_intermediate_is_undecided():
    """Where squares overflow in float32 the radius is infinite, and finite in float64."""
    x = np.array([[1e30], [-1e30]])
    for dtype, decided in (("float32", False), ("float64", True)):
        p = precision(dtype)
        ref = reference_train(x, None, [1.0], [0.0], 1e-5)
        with np.errstate(all="ignore"):
            spread = statistics_spread(x, ref, 1e-5, p)
            one = np.ones((1, 1))
            radius = output_radius(x, ref, one, 0 * one, spread, p)
        assert np.isfinite(radius).all() == decided, dtype


def test_half_is_computed_in_float32_and_stored_in_half():
    """A float16 result may be off by one rounding to float16, not by sums in float16."""
    p = precision("float16")
    assert (p.u, p.sum_u, p.out_u) == (2.0**-24, 2.0**-24, 2.0**-11)
    assert p.stored(np.array([7e4]), np.array([0.0]))[0] == np.inf
    assert p.stored(np.array([1.0]), np.array([0.0]))[0] == 2.0**-11 + 2.0**-24


@pytest.mark.parametrize("operation", ["+", "-", "*", "/", "root", "sum"])
def test_ball_encloses_float32_arithmetic(operation):
    """The radius of an operation encloses what float32 makes of it; a tenth of it does not."""
    rng = np.random.default_rng(5)
    a, b = ((rng.random((64, 50)) * s + s / 2).astype(np.float32) for s in (1.0, 0.03))
    p = precision("float32")
    balls = [Ball(v.astype(np.float64), None, p) for v in (a, b)]
    ball, got = {
        "+": lambda: (balls[0] + balls[1], a + b),
        "-": lambda: (balls[0] - balls[1], a - b),
        "*": lambda: (balls[0] * balls[1], a * b),
        "/": lambda: (balls[0] / balls[1], a / b),
        "root": lambda: (balls[0].root(), np.sqrt(a)),
        "sum": lambda: (balls[0].sum(), np.add.accumulate(a, axis=0)[-1:]),
    }[operation]()
    ratio = np.abs(got - ball.value) / ball.radius
    assert ratio.max() <= 1.0
    assert ratio.max() > 0.1 if operation != "sum" else ratio.max() > 0

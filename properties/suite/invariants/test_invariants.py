"""Each invariant holds for right implementations, and alone catches a wrong one."""

import numpy as np
import pytest

from properties.engine.exercise import count_numbers, planted_error, run_invariant
from properties.invariants import INVARIANTS
from properties.model.contract import Conventions
from properties.plants.forms import RIGHT_FORMS
from properties.plants.layers import Layer
from properties.plants.masked import Masking
from properties.plants.planted import PLANTED
from properties.plants.textbook import Pieces, implementation, root_of_sum
from properties.targets.open import loaded

DTYPES = ("float32", "float64")
RIGHT = Pieces(masking=Masking(), layer=Layer)
BUILT_IN = {spec: loaded(spec) for spec in ("bn", "bn:per_activation")}
MASKS = {"mask", "empty mask"}
PER_CHANNEL = {"fold", *MASKS}
STATED = {
    "keep, biased": Conventions(dtypes=DTYPES),
    "update, unbiased": Conventions(momentum="update", running_var="unbiased", dtypes=DTYPES),
    "per activation": Conventions(statistics="per_activation", dtypes=DTYPES),
}


@pytest.mark.parametrize("invariant", INVARIANTS.values(), ids=lambda i: f"{i.name}-{i.plant}")
def test_alone_it_catches_its_planted_error(invariant):
    """With all others switched off, the invariant fails for the wrong implementation it names."""
    right = implementation(RIGHT, STATED["keep, biased"], "right")
    wrong = planted_error(invariant, right, exact=False)
    result = run_invariant(wrong, invariant, examples=100, seed_number=1, shrink=False)
    assert result.verdict == "fail", f"{invariant.plant} passed: {result}"


@pytest.mark.parametrize("stated", STATED)
@pytest.mark.parametrize("invariant", INVARIANTS.values(), ids=lambda i: i.name)
@pytest.mark.slow(but_one_in=24)
def test_it_holds_for_the_textbook(invariant, stated):
    """A right implementation passes with decisive examples, whatever its conventions."""
    right = implementation(RIGHT, STATED[stated], "right")
    result = run_invariant(right, invariant, examples=25, seed_number=2)
    if stated == "per activation" and MASKS & set(invariant.needs):
        assert result.verdict == "not offered"
    else:
        assert result.verdict == "pass", f"{result.message} {result.failure} {result.case}"


def test_every_planted_error_is_named_by_an_invariant():
    """No planted error lies about unused."""
    assert {invariant.plant for invariant in INVARIANTS.values()} == set(PLANTED)


def one_pass(x, mean):
    """Return mean(x * x) - mean * mean."""
    return np.maximum((x * x).sum(axis=0, keepdims=True) / x.dtype.type(len(x)) - mean * mean, 0)


WRONG = {
    "one-pass variance": (Pieces(variance=one_pass), "output_is_invariant_to_shift"),
    "eps outside the root": (PLANTED["eps_outside_root"], "output_follows_scale"),
    "eps ignored": (
        Pieces(rstd=lambda var, eps: root_of_sum(var, 0 * eps)),
        "normalized_output_has_variance_var_over_var_plus_eps",
    ),
    "n - 1 in the output": (
        PLANTED["variance_divides_by_n_minus_1"],
        "output_agrees_with_reference",
    ),
    "momentum swapped": (PLANTED["momentum_swapped"], "running_statistics_follow_the_closed_form"),
    "mean path missing": (PLANTED["mean_path_missing"], "input_gradient_sums_to_zero"),
    "variance path missing": (
        PLANTED["variance_path_missing"],
        "input_gradient_along_xhat_is_damped_by_eps",
    ),
    "gamma missing in dx": (
        PLANTED["gamma_missing_in_dx"],
        "input_gradient_is_proportional_to_gamma",
    ),
    "statistics changed in eval": (
        PLANTED["eval_updates_running_statistics"],
        "inference_changes_nothing",
    ),
    "backward changes what it saved": (
        PLANTED["backward_overwrites_saved"],
        "backward_twice_gives_the_same",
    ),
    "0.1 % too large dx": (
        PLANTED["dx_is_0.1_percent_too_large"],
        "input_gradient_agrees_with_reference",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_counterexample_is_small(name):
    """A wrong implementation fails with a counterexample of at most 8 numbers."""
    pieces, invariant = WRONG[name]
    wrong = implementation(pieces, STATED["keep, biased"], name)
    result = run_invariant(wrong, INVARIANTS[invariant], seed_number=3)
    assert result.verdict == "fail"
    assert 0 < count_numbers(result) <= 8, result.case


@pytest.mark.parametrize("spec", BUILT_IN)
@pytest.mark.parametrize("name", INVARIANTS)
@pytest.mark.slow(but_one_in=14)
def test_it_holds_for_the_built_in(name, spec):
    """The built-in passes with decisive examples, but for what it does not offer."""
    result = run_invariant(BUILT_IN[spec], INVARIANTS[name], examples=30, seed_number=6)
    lacks = {"bn": {"new_layer"}, "bn:per_activation": {"new_layer", *PER_CHANNEL}}
    if lacks[spec] & set(INVARIANTS[name].needs):
        assert result.verdict == "not offered"
    else:
        assert result.verdict == "pass", f"{result.message} {result.failure} {result.case}"


def test_forms_are_all_right_in_second_order():
    """Forward mode of every form passes where the statistics are well-conditioned."""
    invariant = INVARIANTS["forward_mode_agrees_with_reference"]
    for name, pieces in RIGHT_FORMS.items():
        target = implementation(pieces, STATED["keep, biased"], name)
        result = run_invariant(target, invariant, examples=30, seed_number=5)
        assert result.verdict == "pass", (name, result.failure)

"""The known bugs: every entry accounted for, each mutant runnable, the conventions stated."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from properties.bugs.by_name import named
from properties.bugs.catalogue import BODIES, KNOWN, NOT_RUNNABLE, TORCH, built, known_bugs
from properties.bugs.controls import controls
from properties.bugs.elsewhere import ELSEWHERE, all_mutants
from properties.bugs.wrong_precision import to_bfloat16
from properties.engine.exercise import run_invariant
from properties.invariants import INVARIANTS
from properties.kills.matrix import subjects, twins
from properties.model.contract import Target, TargetError
from properties.run.causes import OF_MASKS_AND_RANKS, SENTENCES
from properties.run.diagnosis import causes
from properties.targets.load import load
from properties.targets.open import loaded


def test_every_known_bug_is_accounted_for_once() -> None:
    """Each of the 112 bugs and 5 variants is a mutant, a control or listed with what it lacks."""
    bugs = set(known_bugs())
    assert len(bugs) == 117, f"{len(bugs)} entries in known_bugs.json, expected 117"
    right = set(controls()) & bugs
    groups = [set(KNOWN), set(NOT_RUNNABLE), right]
    counts = [sum(name in group for group in groups) for name in bugs]
    assert counts == [1] * 117, sorted(n for n, k in zip(bugs, counts, strict=True) if k != 1)


def test_every_body_is_used_and_every_mutant_has_one() -> None:
    """No wrong body lies about unused, and no mutant names a body that is not there."""
    used = {mutant.body for mutant in all_mutants().values()}
    assert used == set(BODIES), used ^ set(BODIES)


def test_mutants_of_one_body_and_conventions_are_run_once() -> None:
    """Twins share a subject, and each subject stands for itself."""
    everyone = twins()
    assert set(everyone.values()) == set(subjects())
    assert all(everyone[name] == name for name in subjects())


def test_bugs_from_elsewhere_are_five_from_five_trackers() -> None:
    """At least five bugs that known_bugs.json does not hold, each from another tracker."""
    trackers = {mutant.source.split("#")[0] for mutant in ELSEWHERE.values()}
    assert len(trackers) >= 15, trackers
    assert len({mutant.source for mutant in ELSEWHERE.values()}) == len(ELSEWHERE)
    assert not set(ELSEWHERE) & set(known_bugs())


@pytest.mark.parametrize("name", sorted(all_mutants()))
def test_a_mutant_answers_or_raises_as_its_bug_does(name: str) -> None:
    """The plain call of each mutant gives four results, whatever is wrong with them."""
    target, stated = named(name)
    assert stated
    x = np.arange(36, dtype=target.conventions.dtypes[0]).reshape(4, 3, 3)
    row = np.ones(target.conventions.columns(x.shape), np.float32)
    result = target.functions["forward_train"](x, row, row, row, row, eps=1e-3, momentum=0.5)
    assert len(result) == 4
    assert result[0].shape == x.shape


def test_a_spec_resolves_to_functions_and_stated_conventions() -> None:
    """mutants:NAME gives what load gives for any other target."""
    functions, stated = load("mutants:flux-n1-nan")
    assert "forward_train" in functions
    assert stated["momentum"] == "update"
    assert stated["running_var"] == "unbiased"


def test_a_convention_alone_is_left_to_the_probe() -> None:
    """What is only another convention states nothing, and the probe finds it out."""
    assert load("mutants:cma-note")[1] == {}
    found = loaded("mutants:cma-note").conventions
    assert found.momentum == "update", asdict(found)


BY = {  # the bugs of masks and ranks, each with an invariant that kills it
    "tf-mask-ignored": "masked_output_is_that_of_the_kept_places",
    "keras-fused-mask": "masked_output_is_that_of_the_kept_places",
    "tts-padding-counted": "masked_output_is_that_of_the_kept_places",
    "deepspeech-zero-padding": "masked_running_statistics_are_those_of_the_kept_places",
    "nnabla-sync-sums-twice": "ranks_add_up_the_parameter_gradients",
}


@pytest.mark.parametrize("name", BY)
@pytest.mark.slow(but_one_in=3)
def test_a_bug_of_masks_or_ranks_dies_by_its_invariant(name: str) -> None:
    """Its invariant fails, nothing without a mask or ranks does, and the cause is its own."""
    target = named(name)[0]
    killed = run_invariant(target, INVARIANTS[BY[name]], seed_number=1)
    assert killed.verdict == "fail"
    for plain in ("output_agrees_with_reference", "input_gradient_agrees_with_reference"):
        assert run_invariant(target, INVARIANTS[plain], examples=20).verdict == "pass"
    (cause,) = causes(target)
    assert cause.names == (all_mutants()[name].body,)


@pytest.mark.parametrize("name", OF_MASKS_AND_RANKS)
@pytest.mark.slow(but_one_in=6)
def test_what_nobody_reported_is_told_by_its_name(name: str) -> None:
    """Each further error of masks and ranks is caught, and its sentence is what a run would say."""
    target = built(name, OF_MASKS_AND_RANKS[name], TORCH)
    own = [i for i in INVARIANTS.values() if {"mask", "sync_forward_train"} & set(i.needs)]
    own += [INVARIANTS["ranks_give_the_input_gradient_of_the_whole_batch"]]
    own += [INVARIANTS["ranks_add_up_the_parameter_gradients"]]
    offered = [i for i in own if set(i.needs) <= target.offers]
    assert any(run_invariant(target, i, seed_number=1).verdict == "fail" for i in offered)
    assert SENTENCES[name] in [cause.sentence for cause in causes(target)]


@pytest.mark.parametrize(
    ("name", "text"),
    [("vbn-reset", "it needs reference batches"), ("welfrod", "did you mean welford")],
)
def test_what_cannot_be_run_says_why(name: str, text: str) -> None:
    """A bug that the contract lacks a feature for, and a wrong name, get one clear line."""
    with pytest.raises(TargetError, match=text):
        load(f"mutants:{name}")


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    """The emulated bfloat16 keeps 8 bits and rounds ties to the even neighbour."""
    given = np.array([1.0, 1.00390625, 1.01171875, -3.14159], np.float32)
    wanted = np.array([1.0, 1.0, 1.015625, -3.140625], np.float32)
    np.testing.assert_array_equal(to_bfloat16(given), wanted)


def _train(target: Target, x: Any) -> Any:
    row = np.ones(x.shape[1], np.float32)
    return target.functions["forward_train"](x, row, row, row, row, eps=1e-3, momentum=0.5)


def test_a_branch_is_taken_where_its_condition_holds() -> None:
    """Pieces with a condition differ from the right ones there and nowhere else."""
    wrong, right = named("tf-fused-vs-nonfused")[0], named("two_pass")[0]
    flat = np.arange(6, dtype=np.float32).reshape(3, 2)
    deep = flat.reshape(3, 2, 1, 1)
    np.testing.assert_array_equal(_train(wrong, flat)[2], _train(right, flat)[2])
    assert not np.array_equal(_train(wrong, deep)[2], _train(right, deep)[2])

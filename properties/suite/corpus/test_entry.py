"""A counterexample as an entry: every number in full, every call as it was made."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bn
from properties.corpus.entries import encode_array
from properties.corpus.failures import entry
from properties.corpus.files import decode_array
from properties.corpus.numbers import decode_float, encode_float
from properties.invariants import INVARIANTS
from properties.model.cases import Case, Recipe, build
from properties.model.contract import ARGUMENTS, FUNCTIONS, Conventions, Target
from properties.model.layouts import LAYOUTS, arrange
from properties.plants.planted import PLANTED
from properties.plants.textbook import Pieces, implementation
from properties.targets.open import loaded

DTYPES = ("float16", "float32", "float64")
CASE = Recipe(n=3, channels=2, spatial=(2,), bits=9, seed=11, regime="unit_scale", gamma="ordinary")


def case_of(**changes: Any) -> Case:
    return build(replace(CASE, **changes), Conventions())


def same(a: Any, b: Any) -> bool:
    """Return whether two arrays are equal to the bit, NaN of any payload aside."""
    return bool(a.shape == b.shape and np.array_equal(a, b, equal_nan=True)) and bool(
        (np.signbit(a) == np.signbit(b))[~np.isnan(a)].all()
    )


@given(st.floats(width=64))
def test_a_float_survives(value: float) -> None:
    """float.fromhex, or the word nan, inf or -inf, gives back the very number, -0.0 among them."""
    text = encode_float(value)
    back = float.fromhex(text)
    assert back == value or (math.isnan(back) and math.isnan(value))
    assert math.isnan(value) or math.copysign(1, back) == math.copysign(1, value)
    assert same(np.array([decode_float(text)]), np.array([value]))


def test_what_is_not_finite_is_a_word() -> None:
    """NaN and the infinities are written as nan, inf and -inf, and 1.5 as C99 has it."""
    words = [encode_float(v) for v in (math.nan, math.inf, -math.inf, 1.5, -0.0)]
    assert words[:3] == ["nan", "inf", "-inf"]
    assert float.fromhex(words[3]) == 1.5
    assert words[4].startswith("-0x0")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_survives_in_every_layout(dtype: str, layout: str) -> None:
    """Numbers, dtype, shape and layout come back from JSON as they went."""
    a = np.array([1 / 3, -0.0, np.nan, np.inf, -np.inf, 6e-8, 0.1, 2, 3, 4, 5, 6], dtype)
    a = arrange(a.reshape(2, 3, 2), layout)
    written = json.loads(json.dumps(encode_array(a), allow_nan=False))
    assert written["dtype"] == dtype
    assert written["shape"] == [2, 3, 2]
    numbers = [float.fromhex(word) for word in written["data"]]
    assert same(np.array(numbers).reshape(2, 3, 2), np.ascontiguousarray(a).astype(np.float64))
    back = decode_array(written)
    assert same(back.astype(np.float64), a.astype(np.float64))
    assert back.strides == a.strides
    assert back.dtype == a.dtype
    assert back.flags.aligned == a.flags.aligned


def test_integers_and_empty_arrays_survive() -> None:
    """Counts stay whole numbers, and an array of no values keeps its shape."""
    counts = encode_array(np.array([0, 3, 2**40]))
    assert counts["data"] == [0, 3, 2**40]
    assert decode_array(counts).tolist() == [0, 3, 2**40]
    assert decode_array(encode_array(np.zeros((0, 3), "float32"))).shape == (0, 3)


def test_a_long_repetition_is_written_once() -> None:
    """A large array of a repeated pattern is short on paper and the same when read."""
    a = np.tile(np.array([1.5, 2.5, -1.0], "float32"), 100)
    written = encode_array(a)
    assert len(written["data"]) == 3
    assert same(decode_array(written), a)


def test_the_names_of_arguments_are_the_contract_s() -> None:
    """The table of arguments names every function of the contract, as bn's own signatures do."""
    import inspect

    assert ARGUMENTS.keys() == set(FUNCTIONS)
    for name, names in ARGUMENTS.items():
        parameters = inspect.signature(getattr(bn, name)).parameters.values()
        positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        assert positional == list(names), name


def replayed(calls: list[dict[str, Any]], target: Target) -> list[Any]:
    """Make the calls of an entry by hand, without the suite's reader, and return their results."""
    results: list[Any] = []
    for call in calls:
        given: dict[str, Any] = {}
        for key, value in call.items():
            if isinstance(value, dict) and "data" in value:
                given[key] = decode_array(value)
            elif key == "saved":
                given[key] = results[value][-1]
            elif isinstance(value, str) and key in ("eps", "momentum"):
                given[key] = float.fromhex(value)
            elif key not in ("call", "expected"):
                given[key] = value
        args = [given.pop(name) for name in ARGUMENTS[call["call"]]]
        results.append(target.functions[call["call"]](*args, **given))
    return results


EXERCISED = ["input_gradient_agrees_with_reference", "saved_outlives_other_forwards",
             "inference_gradients_agree_with_reference", "folding_preserves_inference",
             "merged_statistics_are_those_of_the_whole", "fresh_state_is_zero_and_one",
             "double_backward_agrees_with_reference", "memory_layout_does_not_matter"]  # fmt: skip


@pytest.mark.parametrize("name", EXERCISED)
def test_an_entry_holds_the_calls_that_were_made(name: str) -> None:
    """Made again from the JSON alone, the calls get the same answers from the target."""
    target, answers = loaded("bn"), []

    def noting(function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            answers.append(function(*args, **options))
            return answers[-1]

        return call

    functions = {key: noting(function) for key, function in target.functions.items()}
    case = case_of(option=5)
    written = entry(replace(target, functions=functions), INVARIANTS[name], case)
    calls = json.loads(json.dumps(written, allow_nan=False))["calls"]
    assert len(calls) == len(answers) > 0
    for mine, theirs in zip(replayed(calls, target), answers, strict=True):
        mine, theirs = (a if isinstance(a, tuple) else (a,) for a in (mine, theirs))
        for one, two in zip(mine, theirs, strict=True):
            if isinstance(one, np.ndarray):
                assert same(one.astype(np.float64), two.astype(np.float64))


def test_an_entry_says_what_it_is() -> None:
    """Its sentence is the invariant's with the kind of case; its source is the command."""
    written = entry(loaded("bn"), INVARIANTS["output_agrees_with_reference"], case_of())
    assert written["sentence"] == (
        "The output agrees with the float64 reference: unit scale, float32 [3, 2, 2]"
    )
    assert written["source"] == "found by bncheck run bn --only output_agrees_with_reference"


def test_an_entry_shows_the_input_and_not_what_became_of_it() -> None:
    """A target that writes into x is recorded with the x that it was given."""
    target = implementation(PLANTED["writes_into_x"], Conventions(), "writes_into_x")
    case = case_of()
    written = entry(target, INVARIANTS["training_leaves_its_inputs_unchanged"], case)
    assert same(decode_array(written["calls"][0]["x"]), case.x)


def test_calls_before_an_exception_are_kept() -> None:
    """A target that raises in the backward leaves an entry with both calls."""

    def backward_train(dy: Any, saved: Any) -> Any:
        raise RuntimeError("no")

    whole = implementation(Pieces(), Conventions(), "textbook")
    target = replace(whole, functions={**whole.functions, "backward_train": backward_train})
    written = entry(target, INVARIANTS["input_gradient_agrees_with_reference"], case_of())
    assert [call["call"] for call in written["calls"]] == ["forward_train", "backward_train"]


def test_an_entry_of_a_nan_is_json() -> None:
    """A case with NaN in one channel is written without a bare NaN."""
    invariant = INVARIANTS["nan_stays_visible_in_its_channel"]
    case = case_of(regime="not_finite", level=0)
    written = entry(loaded("bn"), invariant, case)
    json.dumps(written, allow_nan=False)
    assert "nan" in written["calls"][0]["x"]["data"]

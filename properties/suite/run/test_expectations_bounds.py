"""The size up to which a failure is expected, and which entries a target has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bn
from properties.engine.exercise import Result
from properties.model.cases import Recipe, build
from properties.model.contract import Conventions, Target, TargetError
from properties.run.expectations import Expectation, entries_for, read, results_of
from properties.targets.offers import probed

REFERENCE = "output_agrees_with_reference"
LINK = "https://example.org/issue/1"


def off_by(ulps: float) -> Target:
    """Return bn in float64 with an output that is off by so many units in the last place."""

    def forward_train(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> Any:
        y, *rest = bn.forward_train(x, gamma, beta, mean, var, **options)
        return (y * (1 + ulps * 2.0**-53)).astype(y.dtype), *rest

    stated = {**bn.CONVENTIONS, "dtypes": ["float64"], "ndim": [2]}
    return probed("theirs", {"forward_train": forward_train}, stated)


def result(target: Target, **bounds: Any) -> Result:
    """Return what comes of the target, of which this failure is expected."""
    entry = Expectation("theirs", REFERENCE, "it adds something", LINK, **bounds)
    (found,) = results_of(target, REFERENCE, [entry], examples=30, seed_number=1)
    return found


def test_a_failure_within_its_bound_is_expected() -> None:
    """What exceeds the allowed error, and the bound nowhere, is an expected failure."""
    found = result(off_by(1e4), up_to=1e6)
    assert found.verdict == "expected failure"
    assert 1 < found.worst <= 1e6
    assert LINK in found.message


def test_a_worse_failure_fails() -> None:
    """What exceeds the bound fails, with its counterexample, and says what was expected."""
    found = result(off_by(1e9), up_to=1e6)
    assert found.verdict == "fail"
    assert found.case is not None
    assert found.worst > 1e6
    assert found.message.startswith("worse than the 1e+06 times the allowed error")


def test_a_bounded_failure_that_passes_is_unexpected() -> None:
    """Where nothing exceeds the allowed error, the entry is to be taken out, unless it is rare."""
    assert result(off_by(0), up_to=100).verdict == "unexpected pass"
    assert result(off_by(0), up_to=100, rare=True).verdict == "pass"


def test_a_rare_failure_has_its_bound_too() -> None:
    """A rare entry excuses what is within its bound, and no more."""
    assert result(off_by(1e4), up_to=1e6, rare=True).verdict == "expected failure"
    assert result(off_by(1e9), up_to=1e6, rare=True).verdict == "fail"


def test_a_bound_may_grow_with_the_condition() -> None:
    """With per = "condition" the bound is times 1 + mean**2 / var, the largest of the channels."""
    entry = Expectation("t", REFERENCE, "reason", LINK, up_to=3.0, per="condition")
    case = build(Recipe(n=2, channels=2), Conventions())
    x = np.array([[1.0, 4.0], [3.0, 6.0]])  # means 2 and 5, variances 1
    assert entry.allowed(replace(case, x=x)) == 3.0 * 26.0
    assert replace(entry, per="").allowed(replace(case, x=x)) == 3.0
    assert entry.allowed(replace(case, x=np.ones((2, 2)))) == np.inf
    assert entry.allowed(replace(case, x=x[:0])) == 3.0


def one_pass(target: Target) -> Target:
    """Return the target with the mean of the squares less the square of the mean for a variance."""

    def forward_train(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> Any:
        axes = (0, *range(2, x.ndim))
        m = x.mean(axis=axes, keepdims=True)
        v = np.maximum((x * x).mean(axis=axes, keepdims=True) - m * m, 0)
        y = (x - m) / np.sqrt(v + options["eps"])
        c = (1, -1, *(1,) * (x.ndim - 2))
        y = y if gamma is None else gamma.reshape(c) * y + beta.reshape(c)
        _, *rest = bn.forward_train(x, gamma, beta, mean, var, **options)
        return y.astype(x.dtype), *rest

    return replace(target, functions={"forward_train": forward_train})


def test_a_one_pass_variance_is_within_its_condition() -> None:
    """Its error grows with 1 + mean**2 / var: bounded by that it is expected, by a number it fails.

    Times 100 the same error is no longer that of a one-pass variance.
    """
    target = one_pass(off_by(0))
    entry = Expectation("theirs", REFERENCE, "one pass", LINK, up_to=100.0)
    options: dict[str, Any] = {"examples": 200, "seed_number": 3}
    (plain,) = results_of(target, REFERENCE, [entry], **options)
    (grown,) = results_of(target, REFERENCE, [replace(entry, per="condition")], **options)
    assert (plain.verdict, grown.verdict) == ("fail", "expected failure")


def test_an_order_of_modes_has_the_entries_of_its_target() -> None:
    """NAME:ORDER takes over NAME's entries, unless it has its own for that invariant."""
    base = Expectation("torch", REFERENCE, "reason", LINK)
    own = replace(base, target="torch:forward_over_reverse")
    other = replace(base, target="torch:layer")
    spec = "torch:forward_over_reverse"
    assert entries_for([base, other], spec, REFERENCE) == [base]
    assert entries_for([base, own, other], spec, REFERENCE) == [own]
    assert entries_for([base, own], "torch:layer", REFERENCE) == []
    assert entries_for([base], spec, "jacobian_is_symmetric") == []


# --- the file ------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path: Path) -> Callable[[str], Path]:
    """Write a registry of one table with these lines besides reason and link."""

    def write(lines: str) -> Path:
        path = tmp_path / "expected.toml"
        path.write_text(f"[[expected]]\nreason = 'known'\nlink = '{LINK}'\n{lines}\n")
        return path

    return write


def test_a_table_may_be_of_several(registry: Callable[[str], Path]) -> None:
    """Lists of targets and of invariants stand for an entry of each pair."""
    lines = f"target = ['torch', 'mlx']\ninvariant = ['{REFERENCE}', 'jacobian_is_symmetric']"
    found = [(e.target, e.invariant) for e in read(registry(lines + "\nup_to = 40"))]
    assert found == [
        ("torch", REFERENCE), ("torch", "jacobian_is_symmetric"),
        ("mlx", REFERENCE), ("mlx", "jacobian_is_symmetric"),
    ]  # fmt: skip


PAIR = f"target = 'torch'\ninvariant = '{REFERENCE}'\n"
WRONG = {
    "a target that no built-in is": (
        f"target = 'torhc'\ninvariant = '{REFERENCE}'",
        "target='torhc' does not exist: expected one that bncheck targets lists, or a file.py",
    ),
    "an order that a target has not": (
        f"target = 'onnx:forward_over_forward'\ninvariant = '{REFERENCE}'",
        "target='onnx:forward_over_forward' does not exist",
    ),
    "no target": (f"target = []\ninvariant = '{REFERENCE}'", "target=[]: expected a text"),
    "a bound that is none": (PAIR + "up_to = 1", "up_to=1: expected a number above 1"),
    "a bound that is a text": (PAIR + "up_to = 'few'", "up_to='few': expected a number above 1"),
    "a bound that is a truth": (PAIR + "up_to = true", "up_to=True: expected a number above 1"),
    "an unknown growth": (PAIR + "up_to = 2\nper = 'n'", "per='n': expected one of"),
    "a growth of nothing": (PAIR + "per = 'condition'", "beside up_to"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_bound_or_target_is_one_line(registry: Callable[[str], Path], case: str) -> None:
    """A target that no built-in has, or a bound that bounds nothing: which entry, what, wanted."""
    lines, text = WRONG[case]
    with pytest.raises(TargetError, match=re.escape(text)) as caught:
        read(registry(lines))
    assert "entry 1" in str(caught.value)
    assert "\n" not in str(caught.value)

"""The suite from Python: what `import properties` offers."""

from __future__ import annotations

import doctest
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import bn
import properties
from properties.model.contract import Conventions
from properties.run import api

REFERENCE = "output_agrees_with_reference"


def test_the_examples_run() -> None:
    """Each example in a docstring gives what stands below it."""
    done = doctest.testmod(api)
    assert done.attempted >= 12 and done.failed == 0


def eps_outside(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> Any:
    y, *rest = bn.forward_train(x, gamma, beta, mean, var, **options)
    axes = (0, *range(2, x.ndim))
    factor = np.sqrt(x.var(axis=axes, keepdims=True) + options["eps"])
    centred = x - x.mean(axis=axes, keepdims=True)
    row = (1, -1) + (1,) * (x.ndim - 2)
    scale = 1 if gamma is None else gamma.reshape(row)
    shift = 0 if beta is None else beta.reshape(row)
    wrong = centred / (factor + options["eps"]) * scale + shift
    return (wrong.astype(x.dtype) if x.size else y), *rest


WRONG = SimpleNamespace(forward_train=eps_outside)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_check_gives_the_results_of_a_run() -> None:
    """An object is checked as a file is: the wrong one fails with its case, bn passes."""
    (wrong,) = properties.check(WRONG, only=[REFERENCE], examples=10)
    assert wrong.verdict == "fail" and wrong.case is not None and wrong.failure is not None
    (right,) = properties.check(bn, only=[REFERENCE], examples=10)
    assert (right.verdict, right.examples) == ("pass", 10) and right.decisive > 0


def test_a_program_module_or_file_is_a_target_too(saved: Any) -> None:
    """What `bncheck run` takes is taken, in a process of its own."""
    path = saved("from bn import *\n")
    found = properties.check(str(path), only=[REFERENCE], examples=3)
    assert [result.verdict for result in found] == ["pass"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_assert_batch_norm_raises_the_failure_text() -> None:
    """The error is what a run prints: the fact, the place, got and wanted."""
    properties.assert_batch_norm(bn, only=[REFERENCE], examples=5)
    with pytest.raises(AssertionError) as raised:
        properties.assert_batch_norm(WRONG, only=[REFERENCE], examples=10)
    for part in ("The output agrees with the float64 reference", "got ", "wanted ", "again "):
        assert part in str(raised.value)


def test_an_unknown_invariant_is_named() -> None:
    """A name that is no invariant is an error with its name, not a run of nothing."""
    with pytest.raises(ValueError, match="only='output'"):
        properties.check(bn, only=["output"])


@settings(max_examples=30, derandomize=True)
@given(properties.batches("well", dtypes=["float32"], ndim=[2, 4]))
def test_batches_are_valid(case: Any) -> None:
    """A batch has the dtypes and shapes asked for, and its parameters fit it."""
    assert case.x.dtype == np.float32 and case.x.ndim in (2, 4)
    assert case.x.shape == case.dy.shape
    assert case.running_mean is None or case.running_mean.shape == (case.x.shape[1],)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"kind": "nice"}, "kind='nice'"), ({"dtypes": ["int8"]}, "int8"), ({"ndim": [1]}, "ndim")],
)
def test_batches_that_cannot_be_are_errors(arguments: dict[str, Any], text: str) -> None:
    """A kind, dtype or rank that is not there is named."""
    with pytest.raises(ValueError, match=text):
        properties.batches(**arguments)


@settings(max_examples=30, derandomize=True)
@given(properties.batches("well_affine", dtypes=["float32"], ndim=[2, 3]))
def test_the_radius_holds_bn(case: Any) -> None:
    """bn lies within the radius of the float64 result."""
    given = {"gamma": case.gamma, "beta": case.beta, "dy": case.dy, "eps": case.eps}
    allowed = properties.radius(case.x, **given)
    exact = bn.forward_train(
        *(np.asarray(a, np.float64) for a in (case.x, case.gamma, case.beta)),
        None, None, eps=case.eps, momentum=0.0,
    )  # fmt: skip
    y, _, _, saved = bn.forward_train(
        case.x, case.gamma, case.beta, None, None, eps=case.eps, momentum=0.0
    )
    back = zip(
        ("dx", "dgamma", "dbeta"),
        bn.backward_train(case.dy, saved),
        bn.backward_train(case.dy.astype(np.float64), exact[3]),
        strict=True,
    )
    for name, got, want in (("y", y, exact[0]), *back):
        assert allowed[name].shape == got.shape
        assert (np.abs(got - want) <= allowed[name]).all(), name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"x": np.zeros(3)}, "2 to 5 dimensions"),
        ({"x": np.zeros((3, 2), int)}, "floating dtype"),
        ({"x": np.zeros((3, 2)), "gamma": np.ones(3)}, r"gamma.shape=\(3,\): expected \(2,\)"),
    ],
)
def test_arrays_without_a_radius_are_errors(arguments: dict[str, Any], text: str) -> None:
    """A shape or dtype that the contract does not have is named."""
    with pytest.raises(ValueError, match=text):
        properties.radius(**arguments)


def test_a_target_is_open_inside_with(saved: Any) -> None:
    """open_target gives the conventions it found, and functions that can be called."""
    with properties.open_target(str(saved("from bn import *\n"))) as target:
        assert isinstance(target.conventions, Conventions)
        x = np.ones((2, 1), np.float32)
        given = x, *(np.ones(1, np.float32) for _ in range(4))
        y, *_ = target.functions["forward_train"](*given, eps=1.0, momentum=0.5)
        assert y.tolist() == [[1.0], [1.0]]


def test_the_radius_does_not_hold_an_error() -> None:
    """On plain batches a change of 1 % is outside of the radius, of y and of each gradient."""
    random = np.random.default_rng(2)
    x, dy = (random.standard_normal((8, 3, 4)).astype(np.float32) for _ in range(2))
    gamma, beta = np.array([1, -2, 3], np.float32), np.array([0.5, 0, -1], np.float32)
    allowed = properties.radius(x, gamma=gamma, beta=beta, dy=dy, eps=1e-3)
    y, _, _, saved = bn.forward_train(x, gamma, beta, None, None, eps=1e-3, momentum=0.0)
    results = (y, *bn.backward_train(dy, saved))
    for name, got in zip(("y", "dx", "dgamma", "dbeta"), results, strict=True):
        assert (allowed[name] < 0.01 * np.abs(got).max()).all(), name

"""The closed forms of the roundings: what running the named forms over `Ball` comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from agreements import drawn

from properties.model import expected
from properties.model.cases import build
from properties.model.contract import Array, Conventions
from reference import forms
from reference.ball import Ball, Precision, precision
from reference.float64 import Reference, reference_train, with_gradients
from reference.form_roundings import flow_of, gradients, output

CONVENTIONS = Conventions(dtypes=("float16", "float32", "float64"))
PRECISIONS = [
    precision("float32"),
    precision("float16"),
    precision("float32", pairwise=True),
    precision("float32", accumulator="float64"),
    precision("float32", subnormals="flushed"),
]


@dataclass(frozen=True)
class Drawn:
    """A batch with its reference."""

    x: Array
    dy: Array
    gamma: Array
    beta: Array
    ref: Reference


def batches(count: int, seed: int = 1) -> Iterator[Drawn]:
    """Yield batches as the benchmark of right forms draws them, in float32."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        case = build(drawn(rng, "float32"), CONVENTIONS)
        x, dy = expected.rows(case, case.x), expected.rows(case, case.dy)
        gamma, beta = expected.row(case.gamma, x, 1.0), expected.row(case.beta, x, 0.0)
        ref = with_gradients(reference_train(x, None, gamma, beta, case.eps), dy)
        yield Drawn(x, dy, gamma, beta, ref)


def widest(of: tuple[forms.Form, ...], p: Precision, *values: Array) -> Any:
    """Run the forms over balls and return the largest radius."""
    return np.maximum.reduce([form(*(Ball(v, None, p) for v in values)).radius for form in of])


def closed_and_run(b: Drawn, p: Precision) -> Iterator[tuple[str, Any, Any]]:
    """Yield the closed form and what running comes to, of each result that has a closed form."""
    with np.errstate(all="ignore"):
        y = output(b.x, b.gamma, b.beta, b.ref, p)
        both = gradients(b.x, flow_of(b.dy, b.ref.xhat), b.gamma, b.ref, p)
        statistics = b.ref.mean, b.ref.rstd
        if y is not None:
            yield "y", y, widest(forms.OUTPUT, p, b.x, b.gamma, b.beta, *statistics)
        if both is not None:
            run = widest(forms.INPUT_GRADIENT, p, b.dy, b.x, b.gamma, *statistics)
            yield "dx", both[0], run
            run = widest(forms.GAMMA_GRADIENT, p, b.dy, b.x, *statistics)
            yield "dgamma", both[1], run


def too_small(p: Precision, count: int = 200) -> list[str]:
    """Return which closed forms are below what running comes to, and where."""
    return [
        f"{name} of batch {k}: {(closed / run).min()}"
        for k, b in enumerate(batches(count))
        for name, closed, run in closed_and_run(b, p)
        if not np.all(closed >= run * (1 - 2.0**-40))
    ]


@pytest.mark.parametrize("p", PRECISIONS)
def test_closed_forms_are_no_smaller_than_running_the_forms(p: Precision) -> None:
    """Wherever there is a closed form it encloses the roundings of all named forms."""
    assert too_small(p) == []


@pytest.mark.parametrize("p", PRECISIONS)
def test_closed_forms_are_larger_by_forty_roundings_at_most(p: Precision) -> None:
    """But for what vanishes a closed form is what running comes to, up to 40 u of it."""
    p, seen = replace(p, eta=0.0), 0
    for b in batches(200):
        for name, closed, run in closed_and_run(b, p):
            assert np.all(closed <= run * (1 + 40 * p.u)), name
            seen += 1
    assert seen > 300, f"only {seen} of 600 results had a closed form"


def one_more(form: forms.Form) -> forms.Form:
    """The form with one rounding more at its end."""
    return lambda *arguments: form(*arguments) * 1.0


@pytest.mark.parametrize("name", ["OUTPUT", "GAMMA_GRADIENT", "INPUT_GRADIENT"])
@pytest.mark.parametrize("k", range(4))
def test_one_rounding_more_in_any_form_is_seen(
    name: str, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form that rounds once more than its closed form counts is no longer enclosed."""
    of = list(getattr(forms, name))
    if k >= len(of):
        pytest.skip("there are fewer forms")
    of[k] = one_more(of[k])
    monkeypatch.setattr(forms, name, tuple(of))
    assert too_small(precision("float32")), f"{name}[{k}] with one rounding more went unnoticed"


def at(scale: float, *, n: int = 4, dy_scale: float = 1.0) -> Drawn:
    """A batch of numbers of this size."""
    x = np.arange(n, dtype=np.float64).reshape(n, 1) * scale
    one, dy = np.ones((1, 1)), np.cos(x / scale) * dy_scale
    ref = with_gradients(reference_train(x, None, one, one, 1e-5), dy)
    return Drawn(x, dy, one, one, ref)


@pytest.mark.parametrize(
    ("batch", "has"),
    [
        (lambda: at(1.0), True),
        (lambda: at(1e-20), True),
        (lambda: at(1.0, dy_scale=1e-38), False),
        (lambda: at(1e30), False),
        (lambda: at(1.0, n=1), False),
    ],
    ids=["one", "small", "vanishing", "overflowing", "one row"],
)
def test_there_is_none_where_something_may_overflow_or_vanish(
    batch: Callable[[], Drawn], has: bool
) -> None:
    """Out of range, and where nothing rounds but what vanishes, the forms themselves must run."""
    b, p = batch(), precision("float32")
    found = gradients(b.x, flow_of(b.dy, b.ref.xhat), b.gamma, b.ref, p)
    assert (found is not None) == has

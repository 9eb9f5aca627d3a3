"""Drawing batches with rational roots, and enclosing the roots that are not rational."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import exact
from reference.graph import exact_root

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32)
bits = st.sampled_from([2, 3, 64])


@few
@given(seeds, st.integers(1, 9), bits, st.booleans())
def test_one_channel_has_a_rational_root(seed: int, n: int, bits: int, constant: bool) -> None:
    """Any n and a constant channel too: eps is positive and var + eps is a square."""
    batch = exact.draw_channel(random.Random(seed), n, bits=bits, constant=constant)
    out = exact.train(batch)
    assert batch.eps > 0, f"eps={batch.eps}: expected a positive number"
    assert exact_root(out.var[0, 0] + batch.eps) == out.std[0, 0], "the root is not std"
    assert (out.var[0, 0] == 0) or not constant, f"var={out.var}: expected 0"


@few
@given(seeds, st.integers(1, 6), st.integers(1, 4), bits)
def test_several_channels_have_rational_roots_under_one_eps(
    seed: int, n: int, c: int, bits: int
) -> None:
    """Each channel's root is rational though eps is one scalar, constant channels included."""
    batch = exact.draw_channels(random.Random(seed), n, c, bits=bits, constant=(1,))
    out = exact.train(batch)
    assert isinstance(batch.eps, Fraction), f"eps={batch.eps!r}: expected one scalar"
    assert np.all(out.std**2 == out.var + batch.eps), "a root is not exact"
    assert c == 1 or out.var[0, 1] == 0, f"var={out.var}: channel 1 should be constant"
    assert exact.double_backward(batch, batch.dy, batch.gamma, batch.beta)[0].shape == (n, c)


@few
@given(seeds, st.integers(1, 6), bits)
def test_inference_has_a_rational_root(seed: int, n: int, bits: int) -> None:
    """running_var is r**2 - eps, so the root is r, and it is never negative at 64 bits."""
    batch = exact.draw_eval(random.Random(seed), n, 2, bits=bits)
    out = exact.evaluate(batch)
    assert np.all(out.std**2 == batch.running_var + batch.eps), "a root is not exact"


def test_draws_reach_variances_on_both_sides_of_eps() -> None:
    """Over some draws eps is larger than var in one channel and smaller in another."""
    draw, above = random.Random(0), set()
    for _ in range(20):
        batch = exact.draw_channels(draw, 8, 2)
        above |= {bool(var > batch.eps) for var in exact.train(batch).var[0]}
    assert above == {True, False}, f"var > eps: {above}"


@few
@given(st.fractions(0, 10**30), st.integers(2, 300))
def test_enclosure_holds_the_root_and_is_narrow(value: Fraction, bits: int) -> None:
    """lower <= root <= upper, and the two are within a factor of 1 + 2**(1 - bits)."""
    lower, upper = exact.enclose(value, bits)
    assert lower**2 <= value <= upper**2, f"{lower}, {upper}: the root of {value} lies outside"
    assert upper - lower <= lower * Fraction(2, 1 << bits), f"{value}: wider than {bits} bits"


def test_enclosure_of_a_square_is_a_point() -> None:
    """A rational square has its exact root on both sides; a negative number is refused."""
    assert exact.enclose(Fraction(9, 4)) == (Fraction(3, 2), Fraction(3, 2))
    with pytest.raises(ValueError, match=r"value=-1: expected value >= 0"):
        exact.enclose(Fraction(-1))


FLOATS = np.array([[1e8 + 1, 5e-324], [1e8, 1e300], [1e8 + 0.1, -3.0]])


def test_given_floats_are_taken_as_they_are() -> None:
    """mean, var and dbeta of any floats are exact, at mean/sd = 1e8 and over 600 decades."""
    dy = np.array([[0.1, 1.0], [0.2, 0.0], [-0.3, 7.0]])
    out = exact.forward_backward(FLOATS, dy, [1.5, 2.0], [0.0, -1.0], 1e-5)
    columns = [[Fraction(float(v)) for v in column] for column in FLOATS.T]
    means = [sum(column) / 3 for column in columns]
    assert list(out.mean) == means, f"mean={out.mean}"
    for channel, column in enumerate(columns):
        var = sum(v * v for v in column) / 3 - means[channel] ** 2
        assert out.var[channel] == var, f"var[{channel}] is not exact"
    assert list(out.dbeta) == [sum(Fraction(float(v)) for v in column) for column in dy.T]


def test_given_floats_agree_with_an_exact_batch() -> None:
    """Where the root is rational the result is the exact one, in every field."""
    x, dy = [[0.0], [2.0], [1.0], [1.0]], [[1.0], [0.5], [0.0], [-4.0]]
    got = exact.forward_backward(x, dy, [3.0], [1.0], 1.75)  # var 0.5, root 1.5
    batch = exact.Batch(
        exact.rationals(x), exact.rationals(dy), exact.rationals([[3]]), exact.rationals([[1]]),
        Fraction(7, 4), None, None,
    )  # fmt: skip
    wanted = exact.train(batch)
    for name in ("mean", "var", "xhat", "y", "dx", "dgamma", "dbeta"):
        same = getattr(got, name).reshape(-1) == getattr(wanted, name).reshape(-1)
        assert np.all(same), f"{name}: got {getattr(got, name)}, wanted {getattr(wanted, name)}"


def test_error_from_the_root_is_below_its_bound() -> None:
    """With 200 bits and with 900, results differ by less than 2**-190 of the largest term."""
    dy = np.array([[0.1, 1.0], [0.2, 0.0], [-0.3, 7.0]])
    runs = [exact.forward_backward(FLOATS, dy, [1, 2], [0, 1], 1e-5, bits=b) for b in (200, 900)]
    for name, terms in {"xhat": 1, "dgamma": 30, "y": 3}.items():
        left, right = (getattr(run, name) for run in runs)
        assert np.all(abs(left - right) < terms * Fraction(1, 2**190)), f"{name} is less precise"
    scale = abs(runs[1].rstd) * 30
    assert np.all(abs(runs[0].dx - runs[1].dx) < scale * Fraction(1, 2**190)), "dx"


def test_a_zero_root_is_an_error() -> None:
    """A constant channel with eps = 0 has no inverse deviation."""
    with pytest.raises(ZeroDivisionError):
        exact.forward_backward([[1.0], [1.0]], [[1.0], [0.0]], [1.0], [0.0], 0.0)

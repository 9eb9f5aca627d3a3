"""Where bn changes its way, and its last bits in float64: what no test of a tolerance sees."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import bn
from bn import statistics
from bn.blocks import FLOAT32

Array = Any
RNG = np.random.default_rng
U = 2.0**-53


def near(got: Array, wanted: Array, roundings: float, scale: Array) -> None:
    """Assert an error of at most so many roundings of scale, in float64."""
    worst = np.max(np.abs(np.asarray(got) - wanted) / (U * np.asarray(scale)))
    assert worst <= roundings, f"{worst:.2f} roundings, {roundings} are allowed: {got}, {wanted}"


def exactly(function: Any, *arrays: Array) -> Array:
    """Apply a function to all values as fractions, and round its results once."""
    results = [function(*map(Fraction, values)) for values in zip(*arrays, strict=True)]
    return np.array([float(result) for result in results])


# Mean and deviation in each channel: 1 and 1, 4001 and 4000, 4000 and 4001.
EDGE = np.array([[0, 1, -1], [2, 8001, 8001]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("repeats", [1, 4096])
def test_only_beyond_one_deviation_a_mean_is_taken_out_first(repeats: int, dtype: str) -> None:
    """The pivot is the mean where that exceeds the standard deviation, and else zero."""
    x = np.tile(EDGE, (repeats, 1)).astype(dtype)
    trained = bn.forward_train(x, None, None, None, None, eps=0, momentum=0)[3]
    mean, deviation = np.array([[1, 4001, 4000], [1, 4000, 4001]], dtype)
    used = bn.forward_eval(x, None, None, mean, deviation**2, eps=0)[1]
    for name, saved in {"batch": trained, "running": used}.items():
        pivot = saved.statistics.pivot
        assert pivot.tolist() == [0, 4001, 0], f"{name}: pivot={pivot}"
        assert saved.statistics.mean.tolist() == mean.tolist(), f"{name}: {saved.statistics}"


def test_a_pivot_is_the_nearest_to_the_mean() -> None:
    """What a pivot leaves of the mean is at most half a last place of float32."""
    low = np.repeat([2.0**23, 2.0**23 + 1], [1002, 1001])  # a mean just below the middle
    channels = [RNG(seed).permutation(a) for seed in range(16) for a in (low, 2.0**24 + 1 - low)]
    x = np.array(channels).T.astype("float32")
    found = bn.forward_train(x, None, None, None, None, eps=0, momentum=0)[3].statistics
    assert np.abs(found.rest).max() <= 0.5, f"not the nearest: pivot + {found.rest}"
    assert found.mean.tolist() == [2.0**23 + k / 2003 for k in (1001, 1002)] * 16, f"{found.mean}"


def test_a_variance_that_rounding_makes_negative_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should sums be so rounded that the squares are less than they can be, var is 0."""
    rounded = np.array([[4.0], [8 * (1 - U)]])  # of two values of 2
    monkeypatch.setattr(statistics, "paired_sums", lambda *_: rounded)
    var = statistics.batch_statistics(np.full((2, 1, 1), 2, "float32"), FLOAT32).var
    assert var.tolist() == [0.0], f"var={var}"


def test_inference_keeps_the_bits_of_float64() -> None:
    """In float64 y is right to a few roundings of its largest term."""
    x, beta = RNG(1).normal(0, 1, (2, 500))
    mean, var, gamma = RNG(2).uniform(0.5, 2, (3, 500))
    y = bn.forward_eval(x[None], gamma, beta, mean, var, eps=0)[0][0]
    factor = gamma / np.sqrt(var)  # of three roundings
    wanted = exactly(lambda v, m, f, b: (v - m) * f + b, x, mean, factor, beta)
    near(y, wanted, 9, (np.abs(x) + mean) * factor + np.abs(beta))


def test_minus_zero_is_kept_in_inference() -> None:
    """A running mean of zero takes nothing from -0.0, not even its sign."""
    x = np.array([[-0.0, 0.0]])
    y = bn.forward_eval(x, None, None, np.zeros(2), np.ones(2), eps=0)[0]
    assert np.signbit(y).tolist() == [[True, False]], f"y={y}"


def test_forward_mode_keeps_the_bits_of_float64() -> None:
    """Along gamma jvp_train gives xhat to a few roundings, along beta ones to the bit."""
    x = np.array([[0.0] * 500, [2.0] * 500])
    direction = RNG(3).normal(0, 1, 500)
    saved = bn.forward_train(x, None, None, None, None, eps=3.0, momentum=0)[3]  # xhat = -.5, .5
    ty = bn.jvp_train(None, None, direction, saved)
    assert np.array_equal(ty, np.tile(direction, (2, 1))), f"along beta: {ty}, not {direction}"
    ty = bn.jvp_train(None, direction, None, saved)
    assert np.array_equal(2 * ty, [-direction, direction]), f"along gamma: {ty}, not {direction}"


@pytest.mark.parametrize("size", [1.0, 1e200])
def test_one_value_has_no_second_derivative(size: float) -> None:
    """One value per channel: by x and by gamma are 0 exactly, where squares of dy overflow too."""
    x, dy, ddx = RNG(5).uniform(0.5, 2, (3, 1, 100))
    saved = bn.forward_train(x, np.ones(100), None, None, None, eps=1e-3, momentum=0)[3]
    by_x, by_gamma, _ = bn.double_backward_train(ddx, None, None, size * dy, saved)
    assert not by_gamma.any(), f"by gamma: {by_gamma}"
    assert size > 1 or not by_x.any(), f"by x: {by_x}"


def test_merging_keeps_the_bits_of_float64() -> None:
    """In float64 merged statistics and gradients are right to a few roundings."""
    counts = np.array([3, 5, 9])
    a, b = RNG(4).uniform(0.5, 2, (2, 3, 100))
    n, worst = int(counts.sum()), np.maximum(a, b).max(0) ** 2
    shares = [Fraction(int(count), n) for count in counts]

    def mean(*values: Fraction) -> Fraction:
        return sum(map(Fraction.__mul__, shares, values), Fraction(0))

    def var(*values: Fraction) -> Fraction:
        centre = mean(*values[:3])
        return mean(*(v + (m - centre) ** 2 for m, v in zip(values[:3], values[3:], strict=True)))

    merged = bn.merge_statistics(counts, a, b)
    near(merged[1], exactly(mean, *a), 4, a.max(0))
    near(merged[2], exactly(var, *a, *b), 10, worst)
    for got, sums in zip(bn.merge_gradients(counts, a, b)[1:], (a, b), strict=True):
        near(got, exactly(lambda *v: sum(v) / n, *sums), 4, sums.max(0))

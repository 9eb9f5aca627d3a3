"""Finite differences agree with the reference within their own bound, and see a wrong gradient."""

import numpy as np
import pytest
from scipy.differentiate import derivative

from reference.differences import derivative_along, scaled_direction
from reference.float64 import reference_train

REGIMES = {"plain": (1.0, 0.0, 1e-5), "offset": (1.0, 1e4, 1e-5), "var near eps": (0.03, 0.0, 1e-3)}


def problem(name: str):
    """Return x, v, dy, gamma and eps of three channels."""
    scale, offset, eps = REGIMES[name]
    rng = np.random.default_rng(2)
    x = rng.standard_normal((7, 3)) * scale + offset
    return (
        x,
        rng.standard_normal((7, 3)),
        rng.standard_normal((7, 3)),
        np.array([[2.0, -1.0, 0.5]]),
        eps,
    )


def noisy(at: np.ndarray, gamma: np.ndarray, eps: float):
    """Return the reference's output there and its bound."""
    ref = reference_train(at, None, gamma, None, eps)
    return ref.y, ref.bound["y"]


def difference(name: str, noise: float = 1.0):
    """Return the derivative along v with its bound, and the reference's gradient."""
    x, v, dy, gamma, eps = problem(name)
    ref = reference_train(x, dy, gamma, None, eps)
    found = derivative_along(
        lambda at: noisy(at, gamma, eps),
        x, v, dy, gamma, ref.mean, ref.var, eps, ref.bound["y"] * noise,
    )  # fmt: skip
    return found, ref


@pytest.mark.parametrize("name", REGIMES)
def test_difference_quotient_meets_the_gradient(name):
    """The extrapolated quotient lies within its bound of the analytic derivative."""
    found, ref = difference(name)
    want = (ref.dx * found.direction).sum(axis=0, keepdims=True)
    slack = (ref.bound["dx"] * np.abs(found.direction)).sum(axis=0, keepdims=True) * 8
    assert (np.abs(found.value - want) <= found.bound + slack).all()


@pytest.mark.parametrize("name", REGIMES)
def test_a_gradient_off_by_a_millionth_is_seen(name):
    """The bound is narrow enough to tell a gradient from one that is 1e-6 larger."""
    found, ref = difference(name)
    want = (1.000001 * ref.dx * found.direction).sum(axis=0, keepdims=True)
    assert (np.abs(found.value - want) > found.bound).any()


def test_truncation_bound_holds_where_it_dominates():
    """With much noise allowed the step is long, and the error still lies within the bound."""
    found, ref = difference("plain", noise=1e12)
    want = (ref.dx * found.direction).sum(axis=0, keepdims=True)
    assert (np.abs(found.value - want) <= found.bound).all()


def test_scipy_agrees():
    """scipy's adaptive derivative of the same line gives the same within its own error estimate."""
    x, v, dy, gamma, eps = problem("plain")
    ref = reference_train(x, dy, gamma, None, eps)
    direction = scaled_direction(v, ref.var, eps)

    def line(t):
        flat = np.ravel(t)
        values = [
            (dy * reference_train(x + k * direction, None, gamma, None, eps).y).sum() for k in flat
        ]
        return np.reshape(values, np.shape(t))

    found = derivative(line, 0.0, initial_step=0.1)
    assert found.success
    want = float((ref.dx * direction).sum())
    assert abs(float(found.df) - want) <= 8 * float(found.error), (found.df, want, found.error)

"""The double-double reference is within its bound of exact rationals, and says so honestly."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from reference import graph
from reference.double import DoubleDouble, pair
from reference.float64 import reference_eval, reference_train

SCALE = 2**260
X_THAT_CANCELS = (3, 1, 3, 0, -2, 2, 0)  # with a mean that is none of them, and sums of zero:
DY_THAT_CANCELS = (1, 0, -1, -1, 0, 1, 0)


def root(value: Fraction) -> Fraction:
    """Return a square root to 256 bits."""
    return Fraction(
        isqrt(value.numerator * value.denominator * SCALE**2), value.denominator * SCALE
    )


def exact(a: np.ndarray) -> np.ndarray:
    """Return floats as rationals."""
    return np.array([[Fraction(float(v)) for v in row] for row in np.atleast_2d(a)], dtype=object)


def truth(x, dy, gamma, beta, eps, mean=None, var=None):
    """Return mean, var, y, dx, dgamma, dbeta of floats in rationals, by the closed form."""
    x, dy, gamma, beta = exact(x), exact(dy), exact(gamma), exact(beta)
    n = x.shape[0]
    training = mean is None
    mean = x.sum(axis=0, keepdims=True) / n if training else exact(mean)
    var = ((x - mean) ** 2).sum(axis=0, keepdims=True) / n if training else exact(var)
    rstd = 1 / np.frompyfunc(root, 1, 1)(var + Fraction(eps))
    xhat = (x - mean) * rstd
    inner = dy
    if training:
        inner = dy - dy.sum(axis=0) / n - xhat * ((dy * xhat).sum(axis=0) / n)
    return {
        "mean": mean,
        "var": var,
        "xhat": xhat,
        "y": gamma * xhat + beta,
        "dx": gamma * rstd * inner,
        "dgamma": (dy * xhat).sum(axis=0, keepdims=True),
        "dbeta": dy.sum(axis=0, keepdims=True),
    }


BATCHES = {
    "plain": (1.0, 0.0, 1e-5),
    "mean/sd = 1e8": (1.0, 1e8, 1e-5),
    "mean/sd = 1e8 and tiny": (1e-8, 1.0, 1e-12),
    "tiny variance": (1e-9, 0.0, 1e-3),
    "huge": (1e200, 0.0, 1e-5),
    "near overflow": (1e307, 0.0, 1.0),
    "subnormal": (1e-310, 0.0, 1e-12),
}


def batch(name: str, n: int = 9, c: int = 2):
    """Return x, dy, gamma, beta and eps of a named batch."""
    scale, offset, eps = BATCHES[name]
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n, c)) * scale + offset
    return x, rng.standard_normal((n, c)), rng.standard_normal(c), rng.standard_normal(c), eps


@pytest.mark.parametrize("name", BATCHES)
def test_training_reference_is_within_its_bound(name):
    """Every training result lies within the bound that is returned with it."""
    x, dy, gamma, beta, eps = batch(name)
    ref, want = reference_train(x, dy, gamma, beta, eps), truth(x, dy, gamma, beta, eps)
    compare(ref, want)


@pytest.mark.parametrize("name", ["plain", "mean/sd = 1e8", "tiny variance"])
def test_inference_reference_is_within_its_bound(name):
    """Every inference result lies within the bound that is returned with it."""
    x, dy, gamma, beta, eps = batch(name)
    mean, var = x[0] + 1, np.abs(x[1]) + 1
    ref = reference_eval(x, dy, gamma, beta, mean, var, eps)
    compare(ref, truth(x, dy, gamma, beta, eps, mean, var))


def compare(ref, want):
    """Hold each value to its bound, in rationals."""
    for name, exact_value in want.items():
        value, bound = ref.value[name], np.broadcast_to(ref.bound[name], ref.value[name].shape)
        for index in np.ndindex(value.shape):
            if not np.isfinite(value[index]):
                assert abs(exact_value[index]) > Fraction(np.finfo(float).max), name
                continue
            error = abs(Fraction(float(value[index])) - exact_value[index])
            allowed = Fraction(float(bound[index])) + Fraction(5e-324)
            assert error <= allowed, f"{name}{index}: off by {float(error)}, bound {bound[index]}"


@pytest.mark.parametrize("seed", range(8))
def test_sums_that_vanish_leave_no_more_than_their_bound(seed):
    """Where all terms of an element are zero, what the column's sums leave is within the bound."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(7)
    x = 0.1 * np.array(X_THAT_CANCELS)[rows, None]
    dy = 0.3 * np.array(DY_THAT_CANCELS)[rows, None]
    gamma, beta = np.array([[0.7]]), np.zeros((1, 1))
    ref = reference_train(x, dy, gamma, beta, 1e-3)
    compare(ref, truth(x, dy, gamma, beta, 1e-3))
    assert np.min(ref.bound["dx"] / np.max(ref.bound["dx"])) < 2.0**-30


def test_eps_below_what_can_be_told_leaves_nothing_known():
    """Beside a constant of 9e144 an eps of 0.01 is lost: what hangs on it has no finite bound."""
    x, dy = np.full((2, 1), 9e144), np.array([[-1.0], [4.0]])
    ref = reference_train(x, dy, np.ones(1), np.zeros(1), 0.01)
    assert all(np.isinf(ref.bound[name]).all() for name in ("rstd", "xhat", "y", "dx", "dgamma"))
    assert all(np.isfinite(ref.bound[name]).all() for name in ("mean", "var", "xc", "dbeta"))


def test_bound_catches_a_wrong_reference():
    """A reference that is 4 ulp off in dx leaves its bound: the comparison can fail."""
    x, dy, gamma, beta, eps = batch("plain")
    ref = reference_train(x, dy, gamma, beta, eps)
    largest = ref.bound["dx"] * 2.0**52
    ref.value["dx"] = ref.value["dx"] + 2.0**-50 * largest
    with pytest.raises(AssertionError, match="dx"):
        compare(ref, {"dx": truth(x, dy, gamma, beta, eps)["dx"]})


def test_second_order_is_within_its_bound():
    """Forward mode and double backward lie within their bounds of the same graph over rationals."""
    x, dy, gamma, beta, _ = batch("plain", n=5, c=1)
    x = np.round(x * 8) / 8
    exact_x = exact(x)
    mean = exact_x.sum() / 5
    var = ((exact_x - mean) ** 2).sum() / 5
    r = Fraction(3)
    eps = r * r - var
    rounded = float(eps)  # its rounding moves the results by far less than the bound's slack
    forward = graph.forward_train(exact_x, exact(gamma), exact(beta), eps)
    ddx, ddgamma, ddbeta = dy[::-1].copy(), np.array([0.5]), np.array([-2.0])
    nodes = [graph.Node(exact(a)) for a in (dy, ddx, ddgamma, ddbeta)]
    by_x, by_gamma, by_dy = graph.double_backward(forward, *nodes)
    ty = graph.forward_mode(forward, *(graph.Node(exact(a)) for a in (ddx, ddgamma, ddbeta)))
    given = (ddx, ddgamma, ddbeta)
    ref = reference_train(x, dy, gamma, beta, rounded, tangents=given, seconds=given)
    want = {"ddx_x": by_x, "ddx_gamma": by_gamma, "ddx_dy": by_dy, "ty": ty}
    for bound in want:
        ref.bound[bound] = ref.bound[bound] * 2  # eps was rounded once
    compare(ref, {name: node.value for name, node in want.items()})


@pytest.mark.parametrize("operation", ["+", "-", "*", "/", "root", "sum"])
def test_double_double_keeps_a_hundred_bits(operation):
    """Each operation on pairs is right to 2**-100 of its operands' size."""
    rng = np.random.default_rng(1)
    a, b = (DoubleDouble(rng.random((8, 2)) + 1, rng.random((8, 2)) * 2.0**-54) for _ in "ab")
    value = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: a / b,
        "root": lambda: a.root(),
        "sum": lambda: a.sum(),
    }[operation]()
    ea, eb = exact(a.hi) + exact(a.lo), exact(b.hi) + exact(b.lo)
    want = {
        "+": lambda: ea + eb,
        "-": lambda: ea - eb,
        "*": lambda: ea * eb,
        "/": lambda: ea / eb,
        "root": lambda: np.frompyfunc(root, 1, 1)(ea),
        "sum": lambda: ea.sum(axis=0, keepdims=True),
    }[operation]()
    error = np.abs(exact(value.hi) + exact(value.lo) - want)
    assert max(error.ravel()) < Fraction(1, 2**98), float(max(error.ravel()))
    assert max(np.abs(exact(value.hi) - want).ravel()) > Fraction(1, 2**98), "lo carries nothing"


def test_pair_of_a_scalar_is_exact():
    """A float becomes a pair with nothing in lo."""
    assert pair(1.5).hi == 1.5
    assert pair(1.5).lo == 0.0

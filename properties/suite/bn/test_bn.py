"""What bn does: by exact data, to the bit, and its accuracy against exact sums of integers."""

import copy
import dataclasses
import io
import itertools
import math
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bn
from bn.blocks import SMALL
from bn.functional import summing_dtype

Array = Any
RNG = np.random.default_rng
DTYPES = ("float16", "float32", "float64")
SHAPES = ((8, 3), (4, 3, 2), (2, 3, 2, 2), (2, 3, 1, 2, 2))  # 8 values per channel


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Let every warning fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def kept(dtype: Any) -> str:
    """Return the dtype of gamma and of the statistics."""
    return "float32" if np.dtype(dtype).itemsize == 2 else np.dtype(dtype).newbyteorder("=").name


def batch(shape: tuple[int, ...], dtype: Any = "float32", seed: int = 0) -> list[Array]:
    """Return x, dy, gamma, beta, running_mean, running_var with numbers of no special kind."""
    rng, c = RNG(seed), shape[1]
    rows = [rng.normal(0.7, 1.5, shape).astype(dtype), rng.normal(0.3, 1, shape).astype(dtype)]
    return rows + [rng.uniform(0.5, 2, c).astype(kept(dtype)) for _ in range(4)]


def everything(
    x: Array, dy: Array, gamma: Array, beta: Array, mean: Array, var: Array, module: Any = bn
) -> list[Array]:
    """Return all results of the four functions."""
    y, *state, saved = module.forward_train(x, gamma, beta, mean, var, eps=1e-3, momentum=0.75)
    z, other = module.forward_eval(x, gamma, beta, mean, var, eps=1e-3)
    return [y, *state, *module.backward_train(dy, saved), z, *module.backward_eval(dy, other)]


NAMES = [
    "y",
    "running_mean",
    "running_var",
    "dx",
    "dgamma",
    "dbeta",
    "y_eval",
    "dx_eval",
    "dgamma_eval",
    "dbeta_eval",
]


def assert_same_bits(got: list[Array], wanted: list[Array], names: list[str] = NAMES) -> None:
    """Compare dtype, shape and every bit."""
    for name, one, other in zip(names, got, wanted, strict=True):
        assert one.dtype == other.dtype, f"{name}.dtype={one.dtype}, wanted {other.dtype}"
        assert one.shape == other.shape, f"{name}.shape={one.shape}, wanted {other.shape}"
        differ = one != other
        differ &= ~(np.isnan(one) & np.isnan(other))
        assert not differ.any(), f"{name}: {one[differ][:3]}, wanted {other[differ][:3]}"
        signs = np.signbit(one) != np.signbit(other)
        assert not (signs & ~np.isnan(one)).any(), f"{name}: zeros of another sign"


# Exact data: the root is a power of two and every intermediate a short binary fraction.

EXACT_X = np.array([-6, -2, -2, 2, 2, 2, 2, 2])  # mean 0, var 8: with eps = 8 the root is 4
EXACT_DY = np.array([1, -2, 3, 0, 4, -1, 2, 1])


def exact_columns(shape: tuple[int, ...], column: Array, dtype: str) -> Array:
    """Return (n, c, *spatial) with `column` times 1, 2, 3 in its channels."""
    rows = np.multiply.outer(np.arange(1, shape[1] + 1), column).astype(dtype)
    return np.moveaxis(rows.reshape(shape[1], shape[0], *shape[2:]), 0, 1)


def exact_case(shape: tuple[int, ...], dtype: str) -> list[Array]:
    """Return x, dy, gamma, beta; the root is 4 in every channel."""
    x = exact_columns(shape, EXACT_X, dtype) / exact_columns(shape, np.ones(8), dtype)
    dy = exact_columns(shape, EXACT_DY, dtype)
    gamma = np.array([2, -4, 0], kept(dtype))
    return [(x + 5).astype(dtype), dy, gamma, np.array([1, 0, -3], kept(dtype))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_is_the_formula_on_exact_data(shape: tuple[int, ...], dtype: str) -> None:
    """y, the running statistics, dx, dgamma and dbeta are the rationals of (1) to (19)."""
    x, dy, gamma, beta = exact_case(shape, dtype)
    state = np.array([1, 2, 3], kept(dtype)), np.array([4, 0, 16], kept(dtype))
    y, mean, var, saved = bn.forward_train(x, gamma, beta, *state, eps=8.0, momentum=0.75)
    dx, dgamma, dbeta = bn.backward_train(dy, saved)
    for channel in range(3):
        xs = [Fraction(float(v)) for v in x[:, channel].ravel()]
        dys = [Fraction(float(v)) for v in dy[:, channel].ravel()]
        g, b = Fraction(float(gamma[channel])), Fraction(float(beta[channel]))
        centre = sum(xs) / 8
        xhat = [(v - centre) / 4 for v in xs]
        assert sum((v - centre) ** 2 for v in xs) / 8 + 8 == 16, "the root is not 4"
        mean_dy, q = sum(dys) / 8, sum(d * h for d, h in zip(dys, xhat, strict=True)) / 8
        wanted = {
            "y": (y[:, channel], [g * h + b for h in xhat]),
            "dx": (
                dx[:, channel],
                [g / 4 * (d - mean_dy - h * q) for d, h in zip(dys, xhat, strict=False)],
            ),
            "dgamma": (dgamma[channel], [8 * q]),
            "dbeta": (dbeta[channel], [8 * mean_dy]),
            "running_mean": (mean[channel], [Fraction(3, 4) * int(state[0][channel]) + centre / 4]),
            "running_var": (var[channel], [Fraction(3, 4) * int(state[1][channel]) + 2]),
        }
        for name, (got, exact) in wanted.items():
            rounded = np.array([float(v) for v in exact]).astype(got.dtype)
            assert np.array_equal(np.ravel(got), rounded), f"{name}: {got}, wanted {rounded}"
    results = {"y": y, "dx": dx}
    for name, value in results.items():
        assert (value.dtype, value.shape) == (dtype, shape), f"{name}: {value.dtype}, {value.shape}"
    for name, value in {"dgamma": dgamma, "dbeta": dbeta, "mean": mean, "var": var}.items():
        assert value.dtype == kept(dtype), f"{name}.dtype={value.dtype}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_inference_is_the_formula_on_exact_data(dtype: str) -> None:
    """y, dx, dgamma and dbeta in inference are the rationals of (16) and (17)."""
    x, dy, gamma, beta = exact_case((4, 3, 2), dtype)
    mean, var = np.array([1, 2, 3], kept(dtype)), np.array([3, 15, 0], kept(dtype))
    y, saved = bn.forward_eval(x, gamma, beta, mean, var, eps=1.0)
    dx, dgamma, dbeta = bn.backward_eval(dy, saved)
    root = np.array([2, 4, 1.0])[:, None]  # (c, 1)
    xhat = (x.astype(float) - mean[:, None]) / root  # exact
    wanted = {
        "y": (y, xhat * gamma[:, None] + beta[:, None]),
        "dx": (dx, dy * gamma[:, None].astype(float) / root),
        "dgamma": (dgamma, (dy * xhat).sum((0, 2))),
        "dbeta": (dbeta, dy.astype(float).sum((0, 2))),
    }
    for name, (got, exact) in wanted.items():
        assert np.array_equal(got, exact.astype(got.dtype)), f"{name}: {got}, wanted {exact}"


def inner(*pairs: tuple[Array, Array]) -> Fraction:
    """Return the exact sum of the inner products."""
    return sum(
        (
            Fraction(float(a)) * Fraction(float(b))
            for one, other in pairs
            for a, b in zip(np.ravel(one), np.ravel(other), strict=True)
        ),
        Fraction(0),
    )


def direction(shape: tuple[int, ...], seed: int) -> list[Array]:
    """Return small integers like (x, gamma, beta)."""
    rng = RNG(seed)
    return [rng.integers(-3, 4, s).astype(float) for s in (shape, shape[1:2], shape[1:2])]


@pytest.mark.parametrize("module", [bn, bn.per_activation], ids=["channel", "activation"])
def test_forward_mode_is_the_transpose_of_backward(module: Any) -> None:
    """<jvp(t), dy> equals <t, backward(dy)>, exactly on exact data."""
    x, dy, gamma, beta = exact_case((8, 3), "float64")
    saved = module.forward_train(x, gamma, beta, None, None, eps=8.0, momentum=0.5)[3]
    tangent = direction(x.shape, 1)
    back = module.backward_train(dy, saved)
    for index in range(3):
        only = [t if i == index else None for i, t in enumerate(tangent)]
        got = inner((module.jvp_train(*only, saved), dy))
        assert got == inner((tangent[index], back[index])), f"argument {index}: {got}"
    got = inner((module.jvp_train(*tangent, saved), dy))
    assert got == inner(*zip(tangent, back, strict=True)), f"all: {got}"
    nothing = module.jvp_train(None, None, None, saved)
    assert not nothing.any(), f"jvp of nothing: {nothing}"


def test_double_backward_is_linear_as_backward_is() -> None:
    """L is linear in dy and, with ddx alone, in gamma: <by_dy, dy> = L, <by_gamma, gamma> = L."""
    x, dy, gamma, beta = exact_case((8, 3), "float64")
    saved = bn.forward_train(x, gamma, beta, None, None, eps=8.0, momentum=0.5)[3]
    dd = direction(x.shape, 2)
    back = bn.backward_train(dy, saved)
    by_dy = bn.double_backward_train(*dd, dy, saved)[2]
    assert inner((by_dy, dy)) == inner(*zip(dd, back, strict=True)), "by dy"
    by_gamma = bn.double_backward_train(dd[0], None, None, dy, saved)[1]
    assert inner((by_gamma, gamma)) == inner((dd[0], back[0])), "by gamma"


@pytest.mark.parametrize("module", [bn, bn.per_activation], ids=["channel", "activation"])
def test_double_backward_agrees_with_differences(module: Any) -> None:
    """By x and by gamma it is the derivative of L, by Richardson's differences."""
    shape = (6, 2, 2)
    c = 2 if module is bn else 4
    rng = RNG(3)
    x, dy, ddx, t = rng.normal(0.5, 1, (4, *shape))
    gamma, beta, ddgamma, ddbeta, tgamma = rng.normal(0.5, 1, (5, c))

    def value(h: float) -> float:
        saved = module.forward_train(
            x + h * t, gamma + h * tgamma, beta, None, None, eps=0.1, momentum=0.5
        )[3]
        back = module.backward_train(dy, saved)
        return sum(float((a * b).sum()) for a, b in zip((ddx, ddgamma, ddbeta), back, strict=True))

    saved = module.forward_train(x, gamma, beta, None, None, eps=0.1, momentum=0.5)[3]
    by_x, by_gamma, _ = module.double_backward_train(ddx, ddgamma, ddbeta, dy, saved)
    got = float((by_x * t).sum() + (by_gamma * tgamma).sum())
    steps = [2.0**-k for k in range(4, 12)]
    table = [[(value(h) - value(-h)) / (2 * h) for h in steps]]
    for power in (4, 16, 64):
        last = table[-1]
        table.append([(power * b - a) / (power - 1) for a, b in itertools.pairwise(last)])
    error = min(abs(b - a) for a, b in zip(table[-1], table[-1][1:], strict=False))
    best = min(range(len(table[-1]) - 1), key=lambda k: abs(table[-1][k + 1] - table[-1][k]))
    noise = 2.0**-53 * x.size * 8 * abs(value(0.0)) / steps[-1]
    off = abs(got - table[-1][best + 1])
    assert off <= error + noise, f"{got}, differences give {table[-1][best + 1]} within {error}"


# Layouts, dtypes, who owns what.


def swapped(a: Array) -> Array:
    """Return the other byte order."""
    return a.astype(a.dtype.newbyteorder())


def misaligned(a: Array) -> Array:
    """Return a copy one byte off its alignment."""
    raw = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    raw[...] = a
    assert not raw.flags.aligned, "not misaligned"
    return raw


def strided(a: Array) -> Array:
    """Return every second element of every axis of something larger."""
    out = np.empty([2 * k for k in a.shape], a.dtype)[(slice(None, None, 2),) * a.ndim]
    out[...] = a
    return out


def reversed_(a: Array) -> Array:
    """Return a view with negative strides."""
    return np.ascontiguousarray(a[(slice(None, None, -1),) * a.ndim])[
        (slice(None, None, -1),) * a.ndim
    ]


def channels_last(a: Array) -> Array:
    """Return a view of memory in which the channel runs fastest."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def read_only(a: Array) -> Array:
    """Return a copy that refuses to be written to."""
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "negative": reversed_,
    "channels last": lambda a: channels_last(a) if a.ndim > 1 else a,
    "misaligned": misaligned,
    "byte-swapped": swapped,
    "read-only": read_only,
}


@pytest.mark.parametrize("shape", [*SHAPES, (70, 3, 64), (9000, 2)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_no_bit(layout: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Every memory layout and byte order gives the bits of C order, in native byte order."""
    arrays = batch(shape, dtype)
    changed = [LAYOUTS[layout](a) for a in arrays]
    before = [a.tobytes() for a in changed]
    assert_same_bits(everything(*changed), everything(*arrays))
    after = [a.tobytes() for a in changed]
    assert before == after, "an input was changed"


def test_broadcast_memory_changes_no_bit() -> None:
    """One row shown n times by a stride of zero is n rows."""
    x, dy, *rest = batch((64, 3, 50))
    x, dy = (np.broadcast_to(a[:1], a.shape) for a in (x, dy))
    assert_same_bits(everything(x, dy, *rest), everything(x.copy(), dy.copy(), *rest))


@pytest.mark.parametrize("shape", [(8, 3), (300, 40)], ids=str)
def test_calls_do_not_disturb_each_other(shape: tuple[int, ...]) -> None:
    """saved outlives other forwards, backward twice and the same call twice give the same bits."""
    x, dy, *rest = batch(shape)
    first = bn.forward_train(x, *rest, eps=1e-3, momentum=0.75)
    other = batch(shape, seed=5)
    everything(*other)
    once, twice = bn.backward_train(dy, first[3]), bn.backward_train(dy, first[3])
    wanted = everything(x, dy, *rest)
    assert_same_bits([*first[:3], *once], wanted[:6], NAMES[:6])
    assert_same_bits(list(twice), list(once), NAMES[3:6])


def test_gamma_may_change_before_backward() -> None:
    """saved holds a copy of gamma: only x and dy must stay as they are."""
    x, dy, gamma, *rest = batch((8, 3))
    wanted = everything(x, dy, gamma, *rest)[3]
    saved = bn.forward_train(x, gamma, *rest, eps=1e-3, momentum=0.75)[3]
    gamma *= 2
    assert np.array_equal(bn.backward_train(dy, saved)[0], wanted), "dx uses the new gamma"


def test_results_are_new_memory() -> None:
    """No result shares memory with an argument, with momentum 0 and 1 too."""
    x, dy, *rest = batch((8, 3))
    for momentum in (0.0, 0.5, 1.0):
        results = bn.forward_train(x, *rest, eps=1e-3, momentum=momentum)
        for result in (*results[:3], *bn.backward_train(dy, results[3])):
            shared = [np.shares_memory(result, a) for a in (x, dy, *rest)]
            assert not any(shared), f"momentum={momentum}: memory is shared"


@pytest.mark.parametrize("shape", [(16, 3), (8, 3, 2)], ids=str)
def test_without_gamma_beta_and_state(shape: tuple[int, ...]) -> None:
    """gamma = beta = None are 1 and 0 with no gradients; running statistics None stay None."""
    x, dy, gamma, beta, mean, var = batch(shape)
    gamma[:], beta[:] = 1, 0
    y, *state, saved = bn.forward_train(x, None, None, None, None, eps=1e-3, momentum=0.75)
    dx, *gradients = bn.backward_train(dy, saved)
    assert [*state, *gradients] == [None] * 4, f"{state}, {gradients}"
    z, other = bn.forward_eval(x, None, None, mean, var, eps=1e-3)
    wanted = everything(x, dy, gamma, beta, mean, var)
    same = [y, dx, z, bn.backward_eval(dy, other)[0]]
    assert_same_bits(same, [wanted[i] for i in (0, 3, 6, 7)], [NAMES[i] for i in (0, 3, 6, 7)])


@pytest.mark.parametrize("missing", ["gamma", "beta"])
def test_gamma_or_beta_may_be_missing_alone(missing: str) -> None:
    """Without gamma, or without beta, it alone has no gradient, and the rest is the same."""
    x, dy, *rest = batch((8, 3))
    rest[:2] = np.ones(3, "float32"), np.zeros(3, "float32")
    wanted = everything(x, dy, *rest)
    rest[("gamma", "beta").index(missing)] = None
    got = everything(x, dy, *rest)
    for name, one, other in zip(NAMES, got, wanted, strict=True):
        if missing in name:
            assert one is None, f"{name}={one}"
        else:
            assert_same_bits([one], [other], [name])


def test_a_missing_direction_is_zero() -> None:
    """None for any argument of jvp_train and of double_backward_train is zero, to the bit."""
    x, dy, gamma, beta, *_ = batch((8, 3), "float64")
    saved = bn.forward_train(x, gamma, beta, None, None, eps=1e-3, momentum=0.5)[3]
    for present in itertools.product([True, False], repeat=3):
        given = [
            d if here else 0 * d for d, here in zip(direction(x.shape, 4), present, strict=True)
        ]
        some = [d if here else None for d, here in zip(given, present, strict=True)]
        got = [bn.jvp_train(*some, saved), *bn.double_backward_train(*some, dy, saved)]
        wanted = [bn.jvp_train(*given, saved), *bn.double_backward_train(*given, dy, saved)]
        got, wanted = ([a + 0.0 for a in results] for results in (got, wanted))  # no -0
        assert_same_bits(got, wanted, ["jvp", "by x", "by gamma", "by dy"])


# Channels.

INTRUDERS = {
    "NaN": np.nan,
    "Inf": np.inf,
    "a huge value": 1e38,
    "a tiny value": 1e-38,
    "a mean of 1e6": "shift",
    "zeros": "zero",
}


@pytest.mark.parametrize("shape", [(8, 3), (40, 3, 5, 4), (6000, 5), (3, 4, 9000)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("intruder", INTRUDERS)
def test_channels_never_meet(intruder: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Whatever stands in one channel, the others keep every bit, forward and backward."""
    arrays = batch(shape, dtype)
    changed = [a.copy() for a in arrays]
    for a in changed[:2]:
        if intruder == "zeros":
            a[:, 1] = 0
        elif intruder == "a mean of 1e6":
            a[:, 1] += 1e6
        else:
            a[0, 1] = INTRUDERS[intruder]
    rest = [i for i in range(shape[1]) if i != 1]
    got, wanted = everything(*changed), everything(*arrays)
    got, wanted = ([a.take(rest, axis=min(1, a.ndim - 1)) for a in r] for r in (got, wanted))
    assert_same_bits(got, wanted)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(8, 3), (6000, 5)], ids=str)
def test_nan_and_inf_make_their_channel_nan(shape: tuple[int, ...], bad: float) -> None:
    """NaN or Inf in x: NaN in all of its channel's y, dx, dgamma and new statistics, silently."""
    x, dy, *rest = batch(shape)
    x[2, 1] = bad
    for name, a in zip(NAMES[:5], everything(x, dy, *rest)[:5], strict=True):
        nan = np.isnan(a).all(0) if a.ndim > 1 else np.isnan(a)
        assert nan.tolist() == [i == 1 for i in range(shape[1])], f"{name}: {a}"


def test_the_state_after_a_nan_can_be_used() -> None:
    """After a NaN batch the other channels train on, and momentum = 0 brings the channel back."""
    x, _, gamma, beta, *state = batch((8, 3))
    bad = x.copy()
    bad[0, 1] = np.nan
    state = bn.forward_train(bad, gamma, beta, *state, eps=1e-3, momentum=0.75)[1:3]
    new = bn.forward_train(x, gamma, beta, *state, eps=1e-3, momentum=0.75)[1]
    assert np.isnan(new).tolist() == [False, True, False], f"running_mean={new}"
    new = bn.forward_train(x, gamma, beta, *state, eps=1e-3, momentum=0.0)[1]
    assert np.isfinite(new).all(), f"running_mean={new}"


# Edges.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (1, 9000)], ids=str)
def test_one_value_per_channel(shape: tuple[int, ...], dtype: str) -> None:
    """One value per channel: var = 0, so y = beta and dx = 0, and the statistics stay finite."""
    x, dy, gamma, beta, mean, var = batch(shape, dtype)
    y, mean, new, dx, dgamma, dbeta = everything(x, dy, gamma, beta, mean, var)[:6]
    assert np.array_equal(y.ravel(), beta.astype(dtype)), f"y={y}, beta={beta}"
    assert not dx.any(), f"dx={dx}"
    assert not dgamma.any(), f"dgamma={dgamma}"
    assert np.array_equal(dbeta, dy.ravel().astype(kept(dtype))), f"dbeta={dbeta}, dy={dy}"
    assert np.array_equal(new, (var * new.dtype.type(0.75))), f"running_var={new}, was {var}"
    assert np.isfinite(mean).all(), f"running_mean={mean}"


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (4, 3, 0), (0, 3, 0, 2)], ids=str)
def test_empty_batch(shape: tuple[int, ...]) -> None:
    """No values: y and dx are empty, dgamma and dbeta zero, the running statistics copies."""
    arrays = batch(shape)
    results = dict(zip(NAMES, everything(*arrays), strict=True))
    for name in ("y", "dx", "y_eval", "dx_eval"):
        assert results[name].shape == shape, f"{name}.shape={results[name].shape}"
    for name in ("dgamma", "dbeta", "dgamma_eval", "dbeta_eval"):
        assert results[name].tobytes() == bytes(12), f"{name}={results[name]}"
    for name, old in zip(NAMES[1:3], arrays[4:], strict=True):
        assert np.array_equal(results[name], old), f"{name}={results[name]}"
        assert not np.shares_memory(results[name], old), f"{name} is no copy"
    saved = bn.forward_train(arrays[0], *arrays[2:], eps=1e-3, momentum=0.75)[3]
    second = bn.double_backward_train(arrays[0], None, None, arrays[1], saved)
    assert [a.shape for a in second] == [shape, (3,), shape], "double backward"
    assert not second[1].any(), f"by gamma: {second[1]}"


def test_zero_channels() -> None:
    """No channels: everything is empty."""
    sizes = [a.size for a in everything(*batch((5, 0)))]
    assert sizes == [0] * 10, f"sizes={sizes}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 3, 100, 12345])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 6e4, 1e-7])
def test_constant_channel(value: float, n: int, dtype: str) -> None:
    """A constant channel gives its value as mean, var = 0, y = beta to the bit and finite dx."""
    _, dy, gamma, beta, mean, var = batch((n, 3), dtype)
    x = np.full((n, 3), value, dtype)
    y, _, _, saved = bn.forward_train(x, gamma, beta, mean, var, eps=1e-5, momentum=0.5)
    assert (y == beta.astype(dtype)).all(), f"y={y[0]}, beta={beta}"
    mean, var = bn.forward_train(x, gamma, beta, mean, var, eps=1e-5, momentum=0.0)[1:3]
    assert np.array_equal(mean, x[0].astype(kept(dtype))), f"mean={mean}, x={x[0]}"
    assert not var.any(), f"var={var}"
    dx, dgamma, _ = bn.backward_train(dy, saved)
    assert np.isfinite(dx).all(), f"dx={dx}"
    assert not dgamma.any(), f"dgamma={dgamma}"


def test_eps_zero() -> None:
    """eps = 0 is allowed; where var is 0 as well, y = beta and dx = 0."""
    x = np.array([[1.0, 1], [1, 3]])
    y, _, _, saved = bn.forward_train(x, None, np.ones(2), None, None, eps=0, momentum=0.5)
    assert y.tolist() == [[1, 0], [1, 2]], f"y={y}"
    dx = bn.backward_train(np.array([[1.0, 1], [2, 3]]), saved)[0]
    assert not dx.any(), f"dx={dx}"


def test_momentum_at_its_ends() -> None:
    """momentum = 1 leaves the state to the bit, -0.0 and after NaN too; 0 copies the batch."""
    x, _, gamma, beta, mean, var = batch((8, 3))
    mean[0], x[0, 1] = -0.0, np.nan
    new = bn.forward_train(x, gamma, beta, mean, var, eps=1e-3, momentum=1.0)[1:3]
    assert [a.tobytes() for a in new] == [mean.tobytes(), var.tobytes()], f"{new}"
    exact = np.array([[1.0], [3.0]])
    state = np.array([np.nan]), np.array([np.inf])
    new = bn.forward_train(exact, None, None, *state, eps=1, momentum=0)[1:3]
    assert [float(a[0]) for a in new] == [2.0, 1.0], f"{new}"


def test_initial_state() -> None:
    """The running statistics start at 0 and 1, float32 for float16 x."""
    for dtype in DTYPES:
        mean, var = bn.initial_state(3, dtype)
        assert (mean.dtype, var.dtype) == (kept(dtype), kept(dtype)), f"{mean.dtype}, {var.dtype}"
        assert (mean.tolist(), var.tolist()) == ([0] * 3, [1] * 3), f"{mean}, {var}"


def test_a_sample_in_inference_is_alone() -> None:
    """In inference a sample's y and dx do not depend on the size or content of its batch."""
    x, dy, *rest = batch((3000, 4))
    y, saved = bn.forward_eval(x, *rest, eps=1e-3)
    dx = bn.backward_eval(dy, saved)[0]
    one, saved = bn.forward_eval(x[7:8], *rest, eps=1e-3)
    assert np.array_equal(one, y[7:8]), f"y={one}, in the batch {y[7]}"
    assert np.array_equal(bn.backward_eval(dy[7:8], saved)[0], dx[7:8]), "dx differs"


def test_per_activation_is_per_channel_of_the_flattened() -> None:
    """bn.per_activation is bn on (n, c * s)."""
    x, dy, *_ = batch((6, 3, 4, 5))
    flat, flat_dy, *rest = batch((6, 60))
    flat[:], flat_dy[:] = x.reshape(6, 60), dy.reshape(6, 60)
    got = everything(x, dy, *rest, module=bn.per_activation)
    shapes = [got[i].shape for i in (0, 3, 6, 7)]
    assert shapes == [x.shape] * 4, f"{shapes}"
    got = [a.reshape(6, 60) if a.ndim > 1 else a for a in got]
    assert_same_bits(got, everything(flat, flat_dy, *rest))


# Accuracy.


def near(got: Array, wanted: Array, roundings: float, scale: Array, u: float) -> None:
    """Assert an error of at most so many roundings of scale."""
    worst = np.max(np.abs(np.asarray(got, float) - wanted) / (u * np.asarray(scale)))
    assert worst <= roundings, f"{worst:.2f} roundings, {roundings} are allowed: {got}, {wanted}"


class Channel:
    """A channel of integers times 2**-q: exact sums, and the radius of pairwise summation.

    The radius counts one u for every operation and log2(n) for a sum, for two passes, (1) to (15).
    """

    def __init__(self, k: Array, kdy: Array, q: int, gamma: float, beta: float, u: float) -> None:
        n, unit, xs, ds = len(k), Fraction(1, 2**q), k.tolist(), kdy.tolist()
        sums = sum(xs), sum(v * v for v in xs), sum(ds), sum(map(int.__mul__, xs, ds))
        self.k, self.dy, self.n = k, np.ldexp(kdy.astype(float), -q), n
        mean, var = unit * sums[0] / n, unit**2 * (Fraction(sums[1], n) - Fraction(sums[0], n) ** 2)
        sum_dy, sum_dy_xc = unit * sums[2], unit**2 * sums[3] - mean * unit * sums[2]
        self.x, depth, eps = np.ldexp(k.astype(float), -q), math.ceil(math.log2(n)), 2.0**-17
        rstd = 1 / math.sqrt(var + Fraction(eps))
        xc = self.x - float(mean) - float(mean - Fraction(float(mean)))
        xhat, dgamma = xc * rstd, float(sum_dy_xc) * rstd
        mean_dy, part = float(sum_dy) / n, dgamma / n
        inner = self.dy - mean_dy - xhat * part
        self.true = {"mean": float(mean), "var": float(var), "y": gamma * xhat + beta}
        self.true |= {"dgamma": dgamma, "dbeta": float(sum_dy), "dx": gamma * rstd * inner}
        off = (depth + 1) * u * np.abs(self.x).mean()
        off_var = (depth + 4) * u * float(var) + off**2
        off_rstd = off_var / (2 * float(var + Fraction(eps))) + 2.5 * u
        off_xhat = rstd * (u * np.abs(xc) + off) + np.abs(xhat) * (off_rstd + u)
        off_dbeta = depth * u * np.abs(self.dy).sum() + u * abs(float(sum_dy))
        off_dgamma = (depth + 1) * u * np.abs(self.dy * xhat).sum() + np.abs(self.dy) @ off_xhat
        off_part = off_dgamma / n + u * abs(part)
        off_inner = 2 * u * (np.abs(self.dy) + abs(mean_dy) + np.abs(xhat * part))
        off_inner += off_dbeta / n + off_xhat * abs(part) + np.abs(xhat) * off_part
        self.radius = {"mean": off, "var": off_var, "dgamma": off_dgamma, "dbeta": off_dbeta}
        self.radius["y"] = abs(gamma) * (off_xhat + u * np.abs(xhat)) + u * np.abs(self.true["y"])
        self.radius["dx"] = abs(gamma) * rstd * (off_inner + (off_rstd + 2 * u) * np.abs(inner))


def channel_data(kind: str, n: int, dtype: str, seed: int) -> tuple[Array, Array, int]:
    """Return x and dy as integers that fit the dtype, and the power of two they are divided by."""
    rng, bits = RNG(seed), 20 if dtype == "float32" else 44
    normal = rng.normal(0, 2.0**bits / 8, (2, n)).astype(np.int64)
    if kind == "positive":
        normal = abs(normal)
    elif kind == "far":  # mean/sd of about 1e5 in float32, 1e12 in float64
        normal[0] = normal[0] // 2 ** (bits - 7) + 2 ** (bits + 2)
    elif kind == "constant dy":
        normal[1] = 2 ** (23 if dtype == "float32" else 52) // 10  # as many bits as fit
    return normal[0], normal[1], bits


FORMS: dict[str, Callable[[int, int], tuple[tuple[int, ...], Callable[[Array], Array]]]] = {
    "rows": lambda n, c: ((n, c), np.ascontiguousarray),
    "fortran rows": lambda n, c: ((n, c), np.asfortranarray),
    "places": lambda n, c: ((1, c, n), np.ascontiguousarray),
    "image": lambda n, c: ((1, c, math.isqrt(n), n // math.isqrt(n)), np.ascontiguousarray),
    "images": lambda n, c: ((n // 64, c, 8, 8), np.ascontiguousarray),
    "small images": lambda n, c: ((n // 4, c, 2, 2), np.ascontiguousarray),
    "channels last": lambda n, c: ((n // 64, c, 64), channels_last),
    "strided": lambda n, c: ((n // 16, c, 4, 4), strided),
}


def worst_multiples(form: str, channels: list[Channel], dtype: str) -> dict[str, float]:
    """Return the largest error of each quantity as a multiple of its pairwise radius."""
    c, n = len(channels), channels[0].n
    shape, layout = FORMS[form](n, c)

    def arrange(rows: list[Array]) -> Array:
        together = np.array(rows).reshape(c, shape[0], *shape[2:])
        return layout(np.moveaxis(together, 0, 1).astype(dtype))

    gamma, beta = np.full(c, 1.5, dtype), np.full(c, 0.25, dtype)
    x, dy = arrange([ch.x for ch in channels]), arrange([ch.dy for ch in channels])
    y, mean, var, saved = bn.forward_train(
        x, gamma, beta, *bn.initial_state(c, dtype), eps=2.0**-17, momentum=0
    )
    dx, dgamma, dbeta = bn.backward_train(dy, saved)
    got = {"mean": mean, "var": var, "dgamma": dgamma, "dbeta": dbeta}
    got |= {name: np.moveaxis(a, 1, 0).reshape(c, n) for name, a in (("y", y), ("dx", dx))}
    return {
        name: max(
            float(np.max(np.abs(got[name][i].astype(float) - ch.true[name]) / ch.radius[name]))
            for i, ch in enumerate(channels)
        )
        for name in got
    }


def make_channels(n: int, dtype: str, kinds: tuple[str, ...]) -> list[Channel]:
    """Return one channel of each kind."""
    u = 2.0**-24 if dtype == "float32" else 2.0**-53
    data = [channel_data(kind, n, dtype, seed) for seed, kind in enumerate(kinds)]
    return [Channel(k, kdy, q, 1.5, 0.25, u) for k, kdy, q in data]


KINDS = ("plain", "positive", "far", "constant dy")


@pytest.fixture(scope="module")
def million() -> list[Channel]:
    """Return channels of 2**20 values in float32."""
    return make_channels(2**20, "float32", ("positive", "far"))


@pytest.mark.parametrize("form", FORMS)
def test_class_a_at_a_million_values(form: str, million: list[Channel]) -> None:
    """With 2**20 values per channel every error stays within the pairwise radius, in any layout."""
    worst = worst_multiples(form, million, "float32")
    assert max(worst.values()) <= 1, f"multiples of the pairwise radius: {worst}"


@pytest.mark.parametrize("n", [64, 256, 4096, 65536])
@pytest.mark.parametrize("form", ["rows", "places", "images", "channels last"])
def test_class_a_at_all_sizes(form: str, n: int) -> None:
    """From 64 values on every error stays within the pairwise radius, and constant dy too."""
    worst = worst_multiples(form, make_channels(n, "float32", KINDS), "float32")
    assert max(worst.values()) <= 1, f"multiples of the pairwise radius: {worst}"


@pytest.mark.parametrize("form", ["rows", "places", "images"])
def test_class_a_of_float64_statistics(form: str) -> None:
    """In float64 the statistics and parameter gradients stay within the pairwise radius."""
    worst = worst_multiples(form, make_channels(65536, "float64", KINDS), "float64")
    sums = {name: worst[name] for name in ("mean", "var", "dgamma", "dbeta")}
    assert max(sums.values()) <= 1, f"multiples of the pairwise radius: {sums}"


def test_class_a_however_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding thousands of blocks costs no accuracy: what rounding takes away is carried along."""
    monkeypatch.setattr("bn.blocks.BLOCK", 64)
    monkeypatch.setattr("bn.blocks.ROW", 16)
    worst = worst_multiples("rows", make_channels(65536, "float64", KINDS), "float64")
    sums = {name: worst[name] for name in ("mean", "var", "dgamma", "dbeta")}
    assert max(sums.values()) <= 1, f"multiples of the pairwise radius: {sums}"


def test_small_batches_are_summed_in_float64() -> None:
    """Up to SMALL elements float32 is worked on in float64, beyond that in float32."""
    for size, wanted in ((SMALL - 1, "float64"), (SMALL, "float64"), (SMALL + 1, "float32")):
        got = summing_dtype(np.empty((size, 1, 1), "float32"))
        assert got == wanted, f"{size} elements are summed in {got}"
    arrays = batch((SMALL // 4, 4))
    wide = everything(*(a.astype(float) for a in arrays))
    assert_same_bits(everything(*arrays)[:6], [a.astype("float32") for a in wide[:6]], NAMES[:6])


def test_double_backward_in_float32_blocks() -> None:
    """A large float32 batch with dy far from 0 has the double backward of float64."""
    rng, n = RNG(11), 16384
    x, dy, ddx = (rng.normal(m, 1, (n, 1)).astype("float32") for m in (0.0, 1e4, 1.0))
    x[n // 2 :], ddx[n // 2 :] = -x[: n // 2], ddx[: n // 2]  # so that mean(ddx * xhat) is 0
    results = []
    for dtype in ("float32", "float64"):
        a, gamma = [v.astype(dtype) for v in (x, dy, ddx)], np.ones(1, dtype)
        saved = bn.forward_train(a[0], gamma, None, None, None, eps=1e-3, momentum=0)[3]
        results.append(bn.double_backward_train(a[2], None, None, a[1], saved))
    got, exact = results
    scale = np.abs(ddx).mean() * np.abs(dy - 1e4).mean()  # of one summand, rstd being 1
    near(got[1], exact[1], 8 + math.log2(n), n * scale, 2.0**-24)
    near(got[2], exact[2], 8 + math.log2(n), np.abs(ddx).mean(), 2.0**-24)


@pytest.mark.parametrize(
    ("dtype", "bits", "ratio"), [("float32", 24, 2**20), ("float64", 53, 2**27)]
)
@pytest.mark.parametrize("n", [64, 16384])
def test_variance_survives_a_far_mean(n: int, dtype: str, bits: int, ratio: int) -> None:
    """At mean/sd of 1e6 in float32 and 1e8 in float64 the variance is right to its last bits."""
    step = 2 ** (bits - 1) // ratio  # the sd, in units of the last place of the mean
    k = 2 ** (bits - 1) + RNG(4).integers(-2 * step, 2 * step + 1, n)
    x = k.astype(dtype)[:, None]
    assert (x[:, 0].astype(object) == k.astype(object)).all(), "x is not exact"
    var = bn.forward_train(x, None, None, *bn.initial_state(1, dtype), eps=1.0, momentum=0)[2]
    values = k.tolist()
    exact = Fraction(sum(v * v for v in values), n) - Fraction(sum(values), n) ** 2
    near(var[0], float(exact), 4 + math.log2(n), float(exact), 2.0**-bits)


@pytest.mark.parametrize("n", [100, 9000, 2**18])
@pytest.mark.parametrize("size", [3e38, 1e20, 3e-20, 1e-20, 1e-22, 1e-30, 1e-42])
def test_float32_to_its_edges(size: float, n: int) -> None:
    """From subnormals to overflow float32 has the y and dx of the same data in float64."""
    rng, gamma = RNG(6), np.array([1, 1, 1e-8, 1e8], "float32")
    x, dy = size * rng.uniform(-1, 1, (n, 4)), rng.normal(0, 1, (n, 4)).astype("float32")
    x[:, 0] = size * (-1.0) ** np.arange(n)  # mean 0, and rounding errors do not average out
    x, eps = x.astype("float32"), size**2 / 8 if size < 1e-5 else 1e-5
    results = []
    for a, b, g in ((x, dy, gamma), (x.astype(float), dy.astype(float), gamma.astype(float))):
        y, _, _, saved = bn.forward_train(a, g, None, None, None, eps=eps, momentum=0)
        results.append((y, bn.backward_train(b, saved)[0]))
    for channel in range(4):
        (y, dx), (y_exact, dx_exact) = ([a[:, channel] for a in result[:2]] for result in results)
        near(y, y_exact, 6, np.abs(y_exact).max(), 2.0**-24)
        largest = np.abs(dx_exact).max()
        if largest < 3e38:
            least = 2.0**-149 / largest  # half of it is lost to the subnormals' spacing
            near(dx, dx_exact, 8 + least * 2.0**24, largest, 2.0**-24)


@pytest.mark.parametrize("mean", [-1234567.0, 0.0, 1234567.0, 3 * 2.0**-70])
@pytest.mark.parametrize("var", [3.0, 0.375, 3 * 2.0**-140])
def test_inference_survives_a_far_mean(mean: float, var: float) -> None:
    """In inference y is right to its last bits at any mean/sd and at any size, in float32."""
    sd = math.sqrt(var)
    x = (mean + sd * RNG(12).normal(0, 2, (4, 50))).astype("float32")
    state = (np.full(50, v, "float32") for v in (mean, var))
    y = bn.forward_eval(x, None, None, *state, eps=0)[0]
    wanted = (x.astype(float) - mean) / sd
    scale = np.abs(wanted) + (abs(mean) / sd if abs(mean) <= sd else 0.0)
    off = np.abs(y - wanted) / 2.0**-24
    assert (off <= 6 * scale).all(), f"{y[off > 6 * scale]}, wanted {wanted[off > 6 * scale]}"


def test_what_a_backward_needs_is_frozen() -> None:
    """No field of saved, or of the statistics in it, can be set."""
    saved = bn.forward_train(*batch((4, 3))[:1], *[None] * 4, eps=1e-3, momentum=0.5)[3]
    for holder in (saved, saved.statistics):
        for field in dataclasses.fields(holder):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(holder, field.name, None)


@pytest.mark.parametrize("power", [-16, 16])
def test_the_bounds_of_float32_have_slack(power: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where float32 gives way to float64 matters to nobody, by a factor of 2**16 either way."""
    monkeypatch.setattr("bn.blocks.TINY", bn.blocks.TINY * 2.0**power)
    monkeypatch.setattr("bn.blocks.HUGE", bn.blocks.HUGE / 2.0**power)
    for size in (3e38, 1e20, 1e-20, 1e-30, 1e-42, *10.0 ** np.arange(-20, -11, 0.5)):
        test_float32_to_its_edges(size, 9000)


def test_no_wrong_finite_number_beyond_float64() -> None:
    """float64 whose squares overflow keeps its mean, has var = Inf, and NaN in y and dx."""
    x = np.array([[1.0, 2.0**541 + 2.0**501, 1.0], [3.0, 0.0, 3.0]])  # the mean has 41 bits
    y, mean, var, saved = bn.forward_train(
        x, None, None, *bn.initial_state(3, float), eps=1e-5, momentum=0.5
    )
    for name, a in {"y": y[0], "dx": bn.backward_train(x, saved)[0][0]}.items():
        assert np.isnan(a).tolist() == [False, True, False], f"{name}={a}"
    assert mean is not None and mean.tolist() == [1.0, 2.0**539 + 2.0**499, 1.0], f"mean={mean}"
    assert var is not None and var.tolist() == [1.0, np.inf, 1.0], f"var={var}"


# Merging and folding.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_merged_statistics_are_those_of_the_whole(dtype: str) -> None:
    """Shards of unequal size, empty ones with NaN too, merge to mean and variance of the whole."""
    x = RNG(7).integers(-8, 9, (64, 3)) + np.array([0, 1000, -8])
    parts = [x[:32], x[32:32], x[32:48], x[48:56], x[56:]]
    means = np.array([p.sum(0) / max(1, len(p)) for p in parts])  # exact: powers of two
    variances = np.array(
        [((p - m) ** 2).sum(0) / max(1, len(p)) for p, m in zip(parts, means, strict=False)]
    )
    means[1] = variances[1] = np.nan
    counts = np.array([len(p) for p in parts])
    got = bn.merge_statistics(counts, means.astype(dtype), variances.astype(dtype))
    centre = x.sum(0) / 64
    wanted = [centre.astype(dtype), (((x - centre) ** 2).sum(0) / 64).astype(dtype)]
    assert got[0] == 64, f"count={got[0]}"
    assert_same_bits(list(got[1:]), wanted, ["mean", "var"])


def test_one_value_merges_to_itself() -> None:
    """A single value is its own mean, with empty shards beside it; 300 values have one mean too."""
    one, rest = np.array([1, 0]), np.array([[0.5, -3.0], [np.nan, np.nan]])
    count, mean, var = bn.merge_statistics(one, rest, np.zeros((2, 2)))
    assert (count, mean.tolist(), var.tolist()) == (1, [0.5, -3.0], [0, 0]), f"{mean}, {var}"
    means = bn.merge_gradients(one, rest, 2 * rest)[1:]
    assert [a.tolist() for a in means] == [[0.5, -3.0], [1.0, -6.0]], f"{means}"
    many = np.arange(300.0)[:, None]
    count, mean, var = bn.merge_statistics(np.ones(300, int), many, np.zeros((300, 1)))
    assert (count, mean[0]) == (300, 149.5), f"{count}, {mean}"
    near(var, 89999 / 12, 2, 89999 / 12, 2.0**-53)


def test_merged_gradients_are_those_of_the_whole() -> None:
    """Sums of shards merge to the mean of dy and of dy * xhat; nothing merges to zero."""
    sums = np.array([[1.0, 2], [np.nan, np.nan], [3, -4]])
    count, mean_dy, mean_dy_xhat = bn.merge_gradients(np.array([3, 0, 5]), sums, 2 * sums)
    assert (count, mean_dy.tolist()) == (8, [0.5, -0.25]), f"{count}, {mean_dy}"
    assert mean_dy_xhat.tolist() == [1.0, -0.5], f"{mean_dy_xhat}"
    nothing = np.full((2, 3), np.nan)
    for merge in (bn.merge_gradients, bn.merge_statistics):
        count, *rest = merge(np.array([0, 0]), nothing, nothing)
        assert (count, [a.tolist() for a in rest]) == (0, [[0, 0, 0]] * 2), f"{count}, {rest}"


def linear(x: Array, weight: Array, bias: Array, transposed: bool, groups: int) -> Array:
    """Return a convolution of kernel 1 with groups, from its definition."""
    inputs = x.shape[1] // groups
    outputs = len(bias) // groups
    out = np.zeros((len(x), len(bias))) + bias
    for o in range(len(bias)):
        for i in range(inputs):
            group = o // outputs
            factor = weight[group * inputs + i, o % outputs] if transposed else weight[o, i]
            out[:, o] += np.ravel(factor)[0] * x[:, group * inputs + i]
    return out


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("kernel", [(), (1,), (1, 1, 1)], ids=str)
@pytest.mark.parametrize(("transposed", "groups"), [(False, 1), (True, 1), (False, 2), (True, 2)])
def test_folding(transposed: bool, groups: int, kernel: tuple[int, ...], affine: bool) -> None:
    """The folded layer is the layer with batch norm after it: exactly, on exact data."""
    rng = RNG(8)
    shape = (4, 6 // groups) if transposed else (6, 4 // groups)
    weight = rng.integers(-4, 5, (*shape, *kernel)).astype(float)
    x = rng.integers(-4, 5, (5, 4)).astype(float)
    bias, gamma, beta, mean = rng.integers(-4, 5, (4, 6)).astype(float)
    var = 4.0 ** np.arange(6) - 0.5
    vectors = (bias, gamma, beta) if affine else (None, None, None)
    folded = bn.fold(weight, *vectors, mean, var, eps=0.5, transposed=transposed, groups=groups)
    got = linear(x, *folded, transposed, groups)
    z = linear(x, weight, bias if affine else np.zeros(6), transposed, groups)
    wanted = bn.forward_eval(z, *vectors[1:], mean, var, eps=0.5)[0]
    assert_same_bits([got + 0.0], [wanted + 0.0], ["y"])
    assert folded[0].shape == weight.shape, f"weight.shape={folded[0].shape}"


def test_folding_keeps_the_bits_of_float64() -> None:
    """In float64 weight and bias are right to a few roundings, each from its largest term."""
    weight = RNG(13).normal(0, 1, (6, 4))
    bias, gamma, beta, mean = RNG(14).normal(0, 1, (4, 6))
    var = RNG(15).uniform(0.5, 2, 6)
    got, moved = bn.fold(weight, bias, gamma, beta, mean, var, eps=2.0**-10)
    for o in range(6):
        factor = Fraction(gamma[o]) / Fraction(math.sqrt(Fraction(var[o]) + Fraction(2) ** -10))
        exact = [float(Fraction(w) * factor) for w in weight[o]]
        near(got[o], exact, 5, np.abs(exact), 2.0**-53)
        part = (Fraction(bias[o]) - Fraction(mean[o])) * factor
        terms = (abs(bias[o]) + abs(mean[o])) * abs(float(factor)) + abs(beta[o])
        near(moved[o], float(part + Fraction(beta[o])), 6, terms, 2.0**-53)


# The layer.


def new_layer(seed: int = 0) -> bn.BatchNormalization:
    """Return a layer with all its state."""
    _, _, gamma, beta, mean, var = batch((1, 3), seed=seed)
    return bn.BatchNormalization(gamma, beta, 0.75, mean, var, eps=1e-3)


def test_the_layer_is_the_functions() -> None:
    """forward and backward of the layer have the bits of the functions in both modes."""
    x, dy, gamma, beta, mean, var = batch((16, 3, 2))
    layer = bn.BatchNormalization(gamma, beta, 0.75, mean, var, eps=1e-3)
    z = layer.forward(x, train_flg=False)
    back = [layer.backward(dy), layer.dgamma, layer.dbeta]
    y = layer.forward(x)
    state = [layer.running_mean, layer.running_var]
    got = [y, *state, layer.backward(dy), layer.dgamma, layer.dbeta, z, *back]
    assert_same_bits(got, everything(x, dy, gamma, beta, mean, var))


def test_the_layer_starts_as_the_seed_does() -> None:
    """Without running statistics they start at 0 and 1 with the first forward; momentum is 0.9."""
    x, _, gamma, beta, *_ = batch((16, 3))
    layer = bn.BatchNormalization(gamma, beta)
    y = layer.forward(x)
    got = [y, layer.running_mean, layer.running_var]
    start = bn.initial_state(3, "float32")
    wanted = bn.forward_train(x, gamma, beta, *start, eps=1e-5, momentum=0.9)[:3]
    assert_same_bits(got, list(wanted), NAMES[:3])
    fresh = bn.BatchNormalization(None, None).forward(x, train_flg=False)
    assert_same_bits([fresh], [bn.forward_eval(x, None, None, *start, eps=1e-5)[0]], NAMES[:1])


def test_a_saved_layer_goes_on_as_before() -> None:
    """state_dict, written and read by NumPy, brings another layer to the same bits."""
    x = batch((16, 3))[0]
    layer, other = new_layer(), new_layer(seed=9)
    layer.forward(x)
    file = io.BytesIO()
    np.savez(file, **layer.state_dict())
    file.seek(0)
    other.load_state_dict(dict(np.load(file)))
    results = [[a.forward(x), a.running_mean, a.running_var] for a in (layer, other)]
    assert_same_bits(*results, NAMES[:3])
    state = other.state_dict()
    state["gamma"][:] = 0
    assert other.gamma is not None, "gamma is gone"
    assert other.gamma.all(), "state_dict is no copy"


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_a_copied_layer_goes_on_alone(duplicate: Callable[[Any], Any]) -> None:
    """Copies and pickles of a layer have its state and no part in its later life."""
    x = batch((16, 3))[0]
    layer = new_layer()
    other = duplicate(layer)
    before = other.state_dict()
    layer.forward(x)
    assert_same_bits(list(other.state_dict().values()), list(before.values()), list(before))
    assert_same_bits([other.forward(x)], [layer.forward(x)], NAMES[:1])


def test_threads_share_a_layer() -> None:
    """Each thread gets the gradients of its own forward, and every forward moves the state once."""
    layer, rounds = new_layer(), 25
    inputs = [batch((64, 3), seed=seed)[:2] for seed in range(4)]
    results: dict[int, list[list[Array]]] = {}
    barrier = threading.Barrier(len(inputs))

    def work(index: int) -> None:
        x, dy = inputs[index]
        barrier.wait()
        results[index] = []
        for _ in range(rounds):
            y = layer.forward(x)
            results[index].append([y, layer.backward(dy), layer.dgamma, layer.dbeta])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, (x, dy) in enumerate(inputs):
        alone = new_layer()
        wanted = [alone.forward(x), alone.backward(dy), alone.dgamma, alone.dbeta]
        for got in results[index]:
            assert_same_bits(got, wanted, ["y", "dx", "dgamma", "dbeta"])
    steps = rounds * len(inputs)
    hull = [new_layer().running_mean, *(x.mean(0) for x, _ in inputs)]
    means = np.array(hull[1:])
    mean = layer.running_mean
    least, most = means.min(0), means.max(0)
    share = 0.75**steps * np.abs(np.array(hull)).max() + 2.0**-20
    assert (mean >= least - share).all(), f"running_mean={mean}, below {least}"
    assert (mean <= most + share).all(), f"running_mean={mean}, above {most}"


def test_every_threads_forward_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards that all started from the same state move it one after the other, none is lost."""
    x = batch((64, 3))[0]
    layer, alone, barrier = new_layer(), new_layer(), threading.Barrier(6)
    train = bn.forward_train

    def together(*args: Any, **kwargs: Any) -> Any:
        result = train(*args, **kwargs)
        barrier.wait()
        return result

    monkeypatch.setattr("bn.functional.forward_train", together)
    threads = [threading.Thread(target=layer.forward, args=(x,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    for _ in threads:
        alone.forward(x)
    got, wanted = layer.state_dict(), alone.state_dict()
    assert_same_bits(list(got.values()), list(wanted.values()), list(got))


def test_public_names() -> None:
    """bn is a target of the contract: its functions, its conventions, the layer, per_activation."""
    functions = {
        *("forward_train", "backward_train", "forward_eval", "backward_eval", "initial_state"),
        *("double_backward_train", "jvp_train", "merge_statistics", "merge_gradients", "fold"),
        *("sync_forward_train", "sync_backward_train"),
    }
    rooms = {path.stem for path in Path(bn.__file__).parent.glob("*.py")}
    names = {name for name in vars(bn) if name[0].isalpha()} - (rooms - {"per_activation"})
    wanted = functions | {"CONVENTIONS", "BatchNormalization", "per_activation"}
    assert names == wanted, f"{names ^ wanted}"
    kinds = bn.CONVENTIONS["statistics"], bn.per_activation.CONVENTIONS["statistics"]
    assert kinds == ("per_channel", "per_activation"), f"{kinds}"
    others = [{**c, "statistics": ""} for c in (bn.CONVENTIONS, bn.per_activation.CONVENTIONS)]
    assert others[0] == others[1], f"the conventions differ in more than that: {others}"
    assert functions - {"fold"} <= set(vars(bn.per_activation)), "per_activation lacks functions"


def test_inference_takes_the_mean_away_before_it_sums() -> None:
    """dgamma keeps its last bits where x is close to a mean within one running deviation of 0."""
    x, dy = np.full((3, 1), 0.5059644), np.array([[-34.0], [4.0], [54.0]])
    mean, var = np.array([0.5]), np.array([2.0**24])
    _, saved = bn.forward_eval(x, np.ones(1), np.zeros(1), mean, var, eps=0.0)
    wanted = 24.0 * (x[0, 0] - 0.5) * 2.0**-12
    assert abs(bn.backward_eval(dy, saved)[1][0] - wanted) <= 2.0**-50 * abs(wanted) * 4


def test_squares_that_vanish_do_not_cancel() -> None:
    """dgamma is that of the values scaled up, where the squares of x are below float64."""
    x, dy = np.array([[2.61], [2.6101], [2.6099]]), np.array([[23.4], [40.6], [-64.0]])

    def gradient(scale: float) -> float:
        *_, saved = bn.forward_train(
            x * scale, np.ones(1), np.zeros(1), None, None, eps=1.0, momentum=0.9
        )
        return float(bn.backward_train(dy, saved)[1][0] / scale)

    centred = float((dy * (x - x.mean())).sum())
    assert abs(gradient(2.0**-930) - centred) <= 2.0**-50 * np.abs(dy * (x - x.mean())).sum()


def test_squares_that_overflow_leave_a_finite_variance() -> None:
    """Where the squares of x exceed float64 and its variance does not, y is that of x / 2**500."""
    x = np.array([[-1.676], [-1.173], [-1.006]]) * 2.0**512
    given = (np.ones(1), np.zeros(1), np.zeros(1), np.ones(1))
    y, _, var, _ = bn.forward_train(x, *given, eps=1e-6, momentum=0.0)
    small, _, of_small, _ = bn.forward_train(x * 2.0**-500, *given, eps=0.0, momentum=0.0)
    assert np.isfinite(y).all() and np.abs(y - small).max() < 1e-14
    assert abs(var[0] * 2.0**-1000 / of_small[0] - 1) < 1e-14

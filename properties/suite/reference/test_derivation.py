"""Every numbered equation of derivation.md by a test of its number, most in exact rationals.

Three oracles of different origin stand here: the graph (`reference.exact`), the closed forms typed
below, and dual numbers (`Dual`) pushed through the definition of batch norm in plain loops. They
share no code but Python's fractions.
"""

from __future__ import annotations

import inspect
import random
import re
import shlex
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
from reference import drawing, exact, forms, graph

SIZES = [2, 3, 5, 8]


@dataclass(frozen=True)
class Dual:
    """a + b t with t**2 = 0: the second part is the derivative. Parts may be Duals themselves."""

    a: Any
    b: Any = 0

    def __add__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.a + other.a, self.b + other.b)

    def __mul__(self, other: Any) -> Dual:
        other = dual(other)
        return Dual(self.a * other.a, self.a * other.b + self.b * other.a)

    def __truediv__(self, other: Any) -> Dual:
        other = dual(other)
        value = self.a / other.a
        return Dual(value, (self.b - value * other.b) / other.a)

    def __sub__(self, other: Any) -> Dual:
        return self + dual(other) * -1

    def __rsub__(self, other: Any) -> Dual:
        return dual(other) - self

    def sqrt(self) -> Dual:
        value = self.a.sqrt() if isinstance(self.a, Dual) else graph.exact_root(self.a)
        return Dual(value, self.b / (value * 2))

    __radd__, __rmul__ = __add__, __mul__


def dual(value: Any) -> Dual:
    return value if isinstance(value, Dual) else Dual(value)


def definition(x: list[Any], gamma: Any, beta: Any, eps: Any) -> list[Any]:
    """Batch norm of one channel as a loop over its rows."""
    mean = sum(x, start=dual(0)) / len(x)
    var = sum(((value - mean) * (value - mean) for value in x), start=dual(0)) / len(x)
    std = (var + eps).sqrt()
    return [gamma * ((value - mean) / std) + beta for value in x]


def slope(function: Any, at: list[Any], along: list[Any]) -> Any:
    """The derivative of function(list) at a point along a direction, by dual numbers."""
    return function([Dual(value, step) for value, step in zip(at, along, strict=True)])


def gradient(function: Any, at: list[Any]) -> list[Any]:
    """The gradient of a scalar function(list), one dual run per entry."""
    steps = [[int(i == j) for j in range(len(at))] for i in range(len(at))]
    return [slope(function, at, step).b for step in steps]


def inner(left: Any, right: Any) -> Any:
    return sum((a * b for a, b in zip(left, right, strict=True)), start=dual(0))


def loss(batch: exact.Batch) -> Any:
    """<dy, y> of one channel as a function of [x..., gamma, beta, dy...]."""
    n, eps = batch.x.shape[0], batch.eps
    return lambda v: inner(v[n + 2 :], definition(v[:n], v[n], v[n + 1], eps))


def point(batch: exact.Batch) -> list[Any]:
    one = [batch.gamma[0, 0], batch.beta[0, 0]]
    return [*batch.x[:, 0], *one, *batch.dy[:, 0]]


def draw(n: int, seed: int = 7) -> tuple[exact.Batch, exact.Gradients]:
    batch = exact.draw_channel(random.Random(seed), n)
    return batch, exact.train(batch)


def draw_many(n: int, c: int = 3) -> tuple[exact.Batch, exact.Gradients]:
    batch = exact.draw_channels(random.Random(n), n, c, bits=32)
    return batch, exact.train(batch)


def mean(a: Any) -> Any:
    return a.sum(axis=0, keepdims=True) / a.shape[0]


def same(got: Any, wanted: Any, what: str) -> None:
    """Exact equality with a message of its own; an approximate value has no place here."""
    got, wanted = np.asarray(got, dtype=object), np.asarray(wanted, dtype=object)
    if got.shape != wanted.shape or not np.all(got == wanted):
        raise AssertionError(f"{what}: got {got}, wanted {wanted}")


sizes = pytest.mark.parametrize("n", SIZES)


@sizes
def test_equation_01_mean(n: int) -> None:
    """(1) The graph's mean times n is the sum of the rows."""
    batch, out = draw_many(n)
    same(out.mean * n, [[sum(column) for column in batch.x.T]], "mean")


@sizes
def test_equation_02_deviations(n: int) -> None:
    """(2) The deviations sum to zero and differ from x by the mean."""
    batch, out = draw_many(n)
    nodes = graph.forward_train(batch.x, batch.gamma, batch.beta, batch.eps)
    same(nodes.xc.value, batch.x - out.mean, "xc")
    same(mean(nodes.xc.value), np.zeros((1, 3), dtype=int), "mean of xc")


@sizes
def test_equation_03_variance(n: int) -> None:
    """(3) The variance is the mean of x squared less the mean squared, and half the mean square
    distance of pairs."""
    batch, out = draw_many(n)
    same(out.var, mean(batch.x**2) - out.mean**2, "var")
    pairs = batch.x[:, None, :] - batch.x[None, :, :]  # (n, n, c)
    same(out.var[0], (pairs**2).sum(axis=(0, 1)) / (2 * n * n), "var from pairs")


@sizes
def test_equation_04_root(n: int) -> None:
    """(4) std squared is var + eps, and std is positive."""
    batch, out = draw_many(n)
    same(out.std**2, out.var + batch.eps, "std squared")
    assert np.all(out.std > 0), f"std={out.std}: expected a positive root"


@sizes
def test_equation_05_xhat(n: int) -> None:
    """(5) xhat times std plus mean gives x back."""
    batch, out = draw_many(n)
    same(out.xhat * out.std + out.mean, batch.x, "x")


@sizes
def test_equation_06_output(n: int) -> None:
    """(6) The graph's y is the definition in plain loops."""
    batch, out = draw(n)
    wanted = definition(
        list(map(dual, batch.x[:, 0])), batch.gamma[0, 0], batch.beta[0, 0], batch.eps
    )
    same(out.y[:, 0], [value.a for value in wanted], "y")


@sizes
def test_equation_07_repeat_and_sum(n: int) -> None:
    """(7) <repeat(a), b> = <a, sum(b)>: the two nodes are each other's transpose."""
    batch, _ = draw_many(n)
    a, b = graph.Node(batch.gamma), graph.Node(batch.dy)
    repeated, summed = graph.repeat(a, n), graph.total(b)
    same((repeated.value * b.value).sum(), (a.value * summed.value).sum(), "<repeat a, b>")
    same(repeated.pullbacks[0](b).value, summed.value, "the backward of Repeat")
    same(summed.pullbacks[0](a).value, repeated.value, "the backward of Sum")


@sizes
def test_equation_08_dbeta(n: int) -> None:
    """(8) dbeta is the sum of dy: graph, closed form and dual numbers."""
    batch, out = draw(n)
    same(out.dbeta, batch.dy.sum(axis=0, keepdims=True), "dbeta")
    same(out.dbeta[0, 0], gradient(loss(batch), point(batch))[n + 1], "dbeta by duals")


@sizes
def test_equation_09_dgamma(n: int) -> None:
    """(9) dgamma is the sum of dy times xhat: graph, closed form and dual numbers."""
    batch, out = draw(n)
    same(out.dgamma, (batch.dy * out.xhat).sum(axis=0, keepdims=True), "dgamma")
    same(out.dgamma[0, 0], gradient(loss(batch), point(batch))[n], "dgamma by duals")


def intermediates(batch: exact.Batch) -> dict[str, Any]:
    """The graph's own gradients by xhat, std, var, xc and mean."""
    nodes = graph.forward_train(batch.x, batch.gamma, batch.beta, batch.eps)
    inputs = [nodes.xhat, nodes.std, nodes.var, nodes.xc, nodes.mean]
    found = graph.gradients([(nodes.y, graph.Node(batch.dy))], inputs)
    values = [node.value for node in found if node is not None]
    return dict(zip(["dxhat", "dstd", "dvar", "dxc", "dmean"], values, strict=True))


def after(name: str, batch: exact.Batch) -> list[Any]:
    """The gradient of <dy, y> by an intermediate, by dual numbers through the rest of the way."""
    out = exact.train(batch)
    gamma, beta, dy = batch.gamma[0, 0], batch.beta[0, 0], list(batch.dy[:, 0])
    xc = list((batch.x - out.mean)[:, 0])

    def rest(xhat: list[Any]) -> Any:
        return inner(dy, [gamma * value + beta for value in xhat])

    def from_xc(values: list[Any]) -> Any:
        root = (inner(values, values) / len(values) + batch.eps).sqrt()
        return rest([value / root for value in values])

    routes: dict[str, tuple[Any, list[Any]]] = {
        "dxhat": (rest, list(out.xhat[:, 0])),
        "dstd": (lambda v: rest([value / v[0] for value in map(dual, xc)]), [out.std[0, 0]]),
        "dvar": (
            lambda v: rest([value / (v[0] + batch.eps).sqrt() for value in map(dual, xc)]),
            [out.var[0, 0]],
        ),
        "dxc": (from_xc, xc),
        "dmean": (lambda v: from_xc([value - v[0] for value in map(dual, batch.x[:, 0])]),
                  [out.mean[0, 0]]),
    }  # fmt: skip
    return gradient(*routes[name])


@sizes
def test_equation_10_dxhat(n: int) -> None:
    """(10) dxhat is gamma times dy."""
    batch, _ = draw(n)
    same(intermediates(batch)["dxhat"], batch.gamma * batch.dy, "dxhat")
    same(intermediates(batch)["dxhat"][:, 0], after("dxhat", batch), "dxhat by duals")


@sizes
def test_equation_11_dstd(n: int) -> None:
    """(11) dstd is minus the sum of dxhat xc over std squared."""
    batch, out = draw(n)
    dxhat, xc = batch.gamma * batch.dy, batch.x - out.mean
    wanted = -(dxhat * xc).sum(axis=0, keepdims=True) / out.std**2
    same(intermediates(batch)["dstd"], wanted, "dstd")
    same(intermediates(batch)["dstd"][0], after("dstd", batch), "dstd by duals")


@sizes
def test_equation_12_dvar(n: int) -> None:
    """(12) dvar is dstd over twice std."""
    batch, out = draw(n)
    found = intermediates(batch)
    same(found["dvar"], found["dstd"] / (2 * out.std), "dvar")
    same(found["dvar"][0], after("dvar", batch), "dvar by duals")


@sizes
def test_equation_13_dxc(n: int) -> None:
    """(13) dxc adds the direct path and the variance path."""
    batch, out = draw(n)
    found = intermediates(batch)
    wanted = found["dxhat"] / out.std + (batch.x - out.mean) * found["dvar"] * Fraction(2, n)
    same(found["dxc"], wanted, "dxc")
    same(found["dxc"][:, 0], after("dxc", batch), "dxc by duals")


@sizes
def test_equation_14_dx_node_by_node(n: int) -> None:
    """(14) dx is dxc without its mean; the printed term dvar mean(-2 xc) is exactly zero."""
    batch, out = draw(n)
    found = intermediates(batch)
    same(out.dx, found["dxc"] - mean(found["dxc"]), "dx")
    same(found["dmean"], -found["dxc"].sum(axis=0, keepdims=True), "dmean")
    same(found["dmean"][0], after("dmean", batch), "dmean by duals")
    same(found["dvar"] * mean(-2 * (batch.x - out.mean)), [[0]], "the debated term")


def closed_form(batch: exact.Batch, out: exact.Gradients, v: Any) -> Any:
    """Equation (15) as typed in derivation.md, with v for dy."""
    return batch.gamma / out.std * (v - mean(v) - out.xhat * mean(v * out.xhat))


@sizes
def test_equation_15_closed_form(n: int) -> None:
    """(15) The closed form of dx is the graph's and that of dual numbers."""
    batch, out = draw(n)
    same(closed_form(batch, out, batch.dy), out.dx, "dx")
    same(out.dx[:, 0], gradient(loss(batch), point(batch))[:n], "dx by duals")
    batch, out = draw_many(n)
    same(closed_form(batch, out, batch.dy), out.dx, "dx of several channels")


def draw_eval(n: int) -> tuple[exact.Batch, exact.Gradients]:
    batch = exact.draw_eval(random.Random(n), n, 3)
    return batch, exact.evaluate(batch)


@sizes
def test_equation_16_inference(n: int) -> None:
    """(16) Inference is one affine map per channel with the given statistics."""
    batch, out = draw_eval(n)
    same(out.std**2, batch.running_var + batch.eps, "std squared")
    wanted = batch.gamma * (batch.x - batch.running_mean) / out.std + batch.beta
    same(out.y, wanted, "y")


@sizes
def test_equation_17_inference_backward(n: int) -> None:
    """(17) With frozen statistics only the direct path is left."""
    batch, out = draw_eval(n)
    same(out.dx, batch.gamma * batch.dy / out.std, "dx")
    same(out.dgamma, (batch.dy * out.xhat).sum(axis=0, keepdims=True), "dgamma")
    same(out.dbeta, batch.dy.sum(axis=0, keepdims=True), "dbeta")


def update(running: Any, batch: Any, momentum: Any) -> Any:
    return momentum * running + (1 - momentum) * batch


def test_equation_18_running_mean() -> None:
    """(18) The two conventions are one with 1 - momentum, and the result lies between the two."""
    old, new, momentum = Fraction(3, 7), Fraction(-5, 3), Fraction(9, 10)
    keep, renew = update(old, new, momentum), (1 - momentum) * old + momentum * new
    same(renew, update(old, new, 1 - momentum), "update for keep")
    assert new < keep < old, f"running_mean={keep}: expected a value between {new} and {old}"
    same([update(old, new, 1), update(old, new, 0)], [old, new], "momentum 1 and 0")


@pytest.mark.parametrize("n", [2, 3])
def test_equation_19_running_var(n: int) -> None:
    """(19) n/(n-1) var is what n - 1 divides, and it estimates without bias: over all batches
    drawn with repetition its mean is the population's variance."""
    population = np.array([Fraction(v) for v in (1, 4, 6)])
    grid = np.meshgrid(*[population] * n, indexing="ij")
    batches = np.array([axis.ravel() for axis in grid], dtype=object)  # (n, 3**n)
    var = mean((batches - mean(batches)) ** 2)
    wanted = mean((population - population.sum() / 3) ** 2)
    same((var * n / (n - 1)).sum() / var.size, wanted[0], "the mean unbiased variance")


def test_equation_20_initial_state() -> None:
    """(20) With mean 0 and variance 1, inference scales by 1/sqrt(1 + eps) alone."""
    x = exact.rationals([[3], [-7]])
    one, zero = exact.rationals([[1]]), exact.rationals([[0]])
    out = graph.forward_eval(x, one, zero, zero, one, Fraction(9, 16))
    same(out.y.value, x * Fraction(4, 5), "y")


def tangents(batch: exact.Batch) -> tuple[Any, Any, Any]:
    draw = random.Random(11)
    return (exact.integers(draw, batch.x.shape), exact.integers(draw, batch.gamma.shape),
            exact.integers(draw, batch.beta.shape))  # fmt: skip


@sizes
def test_equation_21_forward_mode(n: int) -> None:
    """(21) The tangent of y: graph, closed form and dual numbers."""
    batch, out = draw(n)
    tx, tgamma, tbeta = tangents(batch)
    ty = exact.forward_mode(batch, tx, tgamma, tbeta)
    same(ty, closed_form(batch, out, tx) + tgamma * out.xhat + tbeta, "ty")
    at, along = point(batch)[: n + 2], [*tx[:, 0], tgamma[0, 0], tbeta[0, 0]]
    y = slope(lambda v: definition(v[:n], v[n], v[n + 1], batch.eps), at, along)
    same(ty[:, 0], [value.b for value in y], "ty by duals")


def second(batch: exact.Batch) -> tuple[Any, Any, Any]:
    """Double backward by nested duals: the gradient of the slope of the loss along the seeds."""
    n = batch.x.shape[0]
    ddx, ddgamma, ddbeta = tangents(batch)
    along = [*ddx[:, 0], ddgamma[0, 0], ddbeta[0, 0], *[0] * n]
    total = gradient(lambda v: slope(loss(batch), v, along).b, point(batch))
    return total[:n], total[n], total[n + 2 :]


def parts(batch: exact.Batch, out: exact.Gradients) -> tuple[Any, Any, Any]:
    """p, q and a of derivation.md."""
    ddx, dy = tangents(batch)[0], batch.dy
    return mean(ddx * out.xhat), mean(dy * out.xhat), mean(ddx * dy) - mean(ddx) * mean(dy)


@sizes
def test_equation_22_double_backward_by_dy(n: int) -> None:
    """(22) By dy: graph, closed form and nested duals."""
    batch, out = draw(n)
    ddx, ddgamma, ddbeta = tangents(batch)
    got = exact.double_backward(batch, ddx, ddgamma, ddbeta)[2]
    same(got, closed_form(batch, out, ddx) + ddgamma * out.xhat + ddbeta, "by dy")
    same(got[:, 0], second(batch)[2], "by dy, duals")


@sizes
def test_equation_23_double_backward_by_gamma(n: int) -> None:
    """(23) By gamma: graph, closed form and nested duals."""
    batch, out = draw(n)
    p, q, a = parts(batch, out)
    got = exact.double_backward(batch, *tangents(batch))[1]
    same(got, n / out.std * (a - p * q), "by gamma")
    same(got[0, 0], second(batch)[1], "by gamma, duals")


@sizes
def test_equation_24_double_backward_by_x(n: int) -> None:
    """(24) By x: graph, closed form and nested duals."""
    batch, out = draw(n)
    (ddx, ddgamma, _), dy = tangents(batch), batch.dy
    p, q, a = parts(batch, out)
    wanted = -batch.gamma / out.std**2 * (
        out.xhat * (a - 3 * p * q) + q * (ddx - mean(ddx)) + p * (dy - mean(dy))
    ) + ddgamma / out.std * (dy - mean(dy) - out.xhat * q)  # fmt: skip
    got = exact.double_backward(batch, *tangents(batch))[0]
    same(got, wanted, "by x")
    same(got[:, 0], second(batch)[0], "by x, duals")


SHARDS = [(0, 1), (1, 1), (1, 6), (6, 8)]  # unequal, and one that is empty


def test_equation_25_merge_of_statistics() -> None:
    """(25) Shards of any size, empty ones too, merge to the whole batch's statistics."""
    batch, out = draw_many(8)
    shards = [batch.x[a:b] for a, b in SHARDS if b > a]
    counts = [len(shard) for shard in shards]
    means = [mean(shard) for shard in shards]
    variances = [mean((s - m) ** 2) for s, m in zip(shards, means, strict=True)]
    whole = sum(k * m for k, m in zip(counts, means, strict=True)) / sum(counts)
    spread = [v + (m - whole) ** 2 for v, m in zip(variances, means, strict=True)]
    same(whole, out.mean, "mean")
    same(sum(k * s for k, s in zip(counts, spread, strict=True)) / sum(counts), out.var, "var")


def test_equation_26_merge_of_gradients() -> None:
    """(26) Each shard needs the two merged means and its own rows, no more."""
    batch, out = draw_many(8)
    sums_dy = [batch.dy[a:b].sum(axis=0) for a, b in SHARDS]
    sums_dy_xhat = [(batch.dy * out.xhat)[a:b].sum(axis=0) for a, b in SHARDS]
    mean_dy, mean_dy_xhat = sum(sums_dy) / 8, sum(sums_dy_xhat) / 8
    for a, b in SHARDS:
        rest = batch.dy[a:b] - mean_dy - out.xhat[a:b] * mean_dy_xhat
        same(batch.gamma / out.std * rest, out.dx[a:b], f"dx of rows {a} to {b}")


def test_equation_27_folding() -> None:
    """(27) A dense layer with folded weights is the layer followed by inference batch norm."""
    draw = random.Random(3)
    z, weight = exact.integers(draw, (5, 4), 8), exact.integers(draw, (3, 4), 8)
    bias = exact.integers(draw, (1, 3), 8)
    drawn = exact.draw_eval(draw, 5, 3)
    batch = exact.Batch(z @ weight.T + bias, *list(vars(drawn).values())[1:])
    out = exact.evaluate(batch)
    scale = batch.gamma / out.std  # (1, c)
    folded = z @ (weight * scale.T).T + (bias - batch.running_mean) * scale + batch.beta
    same(folded, out.y, "y")


@sizes
def test_equation_28_mean_of_xhat(n: int) -> None:
    """(28) xhat has mean zero."""
    same(mean(draw_many(n)[1].xhat), [[0, 0, 0]], "mean of xhat")


@sizes
def test_equation_29_variance_of_xhat(n: int) -> None:
    """(29) The mean square of xhat is var/(var + eps)."""
    batch, out = draw_many(n)
    same(mean(out.xhat**2), out.var / (out.var + batch.eps), "mean of xhat squared")


@sizes
def test_equation_30_dx_sums_to_zero(n: int) -> None:
    """(30) dx sums to zero."""
    same(mean(draw_many(n)[1].dx), [[0, 0, 0]], "mean of dx")


@sizes
def test_equation_31_dx_along_xhat(n: int) -> None:
    """(31) The part of dx along xhat is of size eps/(var + eps)."""
    batch, out = draw_many(n)
    share = batch.eps / (out.var + batch.eps)
    wanted = batch.gamma / out.std * mean(batch.dy * out.xhat) * n * share
    same((out.dx * out.xhat).sum(axis=0, keepdims=True), wanted, "sum of dx xhat")


@sizes
def test_equation_32_symmetric_jacobian(n: int) -> None:
    """(32) The Jacobian by dual numbers is the symmetric matrix that is printed."""
    batch, out = draw(n)
    (gamma,), (std,), xhat = batch.gamma[0], out.std[0], out.xhat[:, 0]
    wanted = gamma / std * (np.eye(n, dtype=int) - Fraction(1, n) - np.outer(xhat, xhat) / n)
    x = list(batch.x[:, 0])
    steps = [[int(i == j) for j in range(n)] for i in range(n)]
    columns = [slope(lambda v: definition(v, gamma, 0, batch.eps), x, step) for step in steps]
    jacobian = np.array([[value.b for value in column] for column in columns], dtype=object)
    same(jacobian, wanted, "the Jacobian")
    same(jacobian, jacobian.T, "its transpose")


@pytest.mark.parametrize("a", [Fraction(3, 2), Fraction(-5)])
def test_equation_33_shift_and_scale(a: Fraction) -> None:
    """(33) A shift changes nothing; a scale, squared for eps, the sign of xhat and 1/|a| in dx."""
    batch, out = draw_many(5)
    rest = list(vars(batch).values())[1:]
    same(exact.train(exact.Batch(batch.x + 17, *rest)).y, out.y, "y of x + 17")
    rest[3] = a * a * batch.eps
    scaled = exact.train(exact.Batch(a * batch.x, *rest))
    same(scaled.xhat, out.xhat * (1 if a > 0 else -1), "xhat of a x")
    same(scaled.dx, out.dx / abs(a), "dx of a x")


@pytest.mark.parametrize("momentum", [Fraction(0), Fraction(9, 10), Fraction(1)])
def test_equation_34_equal_batches(momentum: Fraction) -> None:
    """(34) After k equal batches the start is left with weight momentum**k."""
    start, value = Fraction(1), Fraction(22, 7)
    running = start
    for k in range(1, 6):
        running = update(running, value, momentum)
        same(running, momentum**k * start + (1 - momentum**k) * value, f"running after {k}")


# --- rounding: (40) to (48) ----------------------------------------------------------------------

U = Fraction(1, 2**24)  # of float32
WIDE = pytest.mark.parametrize("centre", [0.0, 3.0, 1000.0])  # mean/sd of the batches below


def single(n: int, centre: float) -> tuple[Any, Any]:
    """A batch of float32 numbers and the same numbers as rationals, (n,)."""
    x = (np.random.default_rng(n).standard_normal(n) + centre).astype(np.float32)
    return x, np.array([Fraction(float(value)) for value in x], dtype=object)


def one_by_one(values: Any) -> Any:
    """The sum in order, each partial sum rounded to float32."""
    total = np.float32(0)
    for value in values:
        total = np.float32(total + value)
    return total


def two_passes(x: Any) -> tuple[Any, Any]:
    mean = one_by_one(x) / np.float32(len(x))
    return mean, one_by_one((x - mean) ** 2) / np.float32(len(x))


def shifted(x: Any) -> tuple[Any, Any]:
    d, n = x - x[0], np.float32(len(x))
    rest = one_by_one(d) / n
    return x[0] + rest, one_by_one(d * d) / n - rest * rest


def welford(x: Any) -> tuple[Any, Any]:
    mean = square = np.float32(0)
    for k, value in enumerate(x, 1):
        step = value - mean
        mean = mean + step / np.float32(k)
        square = square + step * (value - mean)
    return mean, square / np.float32(len(x))


def one_pass(x: Any) -> tuple[Any, Any]:
    n = np.float32(len(x))
    mean = one_by_one(x) / n
    return mean, one_by_one(x * x) / n - mean * mean


@dataclass(frozen=True)
class Widths:
    """What (40) to (42) allow the statistics of a batch to be off by."""

    two_pass: Fraction
    delta: Fraction
    var: Fraction
    mean: Fraction
    exact_var: Fraction


def widths(x: Any) -> Widths:
    """(40), (41) and (42) as typed in derivation.md."""
    n, s = len(x), (len(x) - 1) * U
    centre = x.sum() / n
    xc, d = x - centre, x - x[0]
    var, off = (xc**2).sum() / n, abs(xc).sum() / n
    w = off + min((1 + (n - 1).bit_length()) * off, abs(xc).max())
    two_pass = s * abs(x).sum() / n + 2 * U * abs(centre)
    to_first = (3 * U + s) * abs(d).sum() / n + U * abs(centre)
    delta = max(two_pass, to_first, (s + U) * abs(x).sum() / n + 4 * U * w)
    e, middle = (3 * U + s) * abs(d).sum() / n, d.sum() / n
    of_var = max(
        (s + 5 * U) * (var + delta**2) + delta**2,
        (s + 7 * U) * var + 4 * delta * w + delta**2,
        (s + 5 * U) * (d**2).sum() / n + (2 * abs(middle) + e) * e + U * (middle**2 + var),
    )
    return Widths(two_pass, delta, of_var + U * var, centre, var)


def off_by(got: Any, wanted: Fraction) -> Fraction:
    return abs(Fraction(float(got)) - wanted)


@WIDE
@sizes
def test_equation_40_mean_of_two_passes(n: int, centre: float) -> None:
    """(40) The mean of two passes is off by d at most; one that loses a row is off by more."""
    x, exactly = single(n, centre)
    allowed = widths(exactly)
    assert off_by(two_passes(x)[0], allowed.mean) <= allowed.two_pass
    assert off_by(one_by_one(x[1:]) / np.float32(n), allowed.mean) > allowed.two_pass


@WIDE
@sizes
@pytest.mark.parametrize("form", [two_passes, shifted, welford])
def test_equation_41_error_of_the_mean(form: Any, n: int, centre: float) -> None:
    """(41) Each form's mean is off by delta at most; with n - 1 for n it is off by more."""
    x, exactly = single(n, centre)
    allowed, got = widths(exactly), form(x)[0]
    assert off_by(got, allowed.mean) <= allowed.delta
    assert off_by(got * np.float32(n) / np.float32(n - 1), allowed.mean) > allowed.delta


@WIDE
@sizes
@pytest.mark.parametrize("form", [two_passes, shifted, welford])
def test_equation_42_error_of_the_variance(form: Any, n: int, centre: float) -> None:
    """(42) Each form's variance is off by that much at most."""
    x, exactly = single(n, centre)
    allowed = widths(exactly)
    assert off_by(form(x)[1], allowed.exact_var) <= allowed.var


def test_the_one_pass_variance_is_outside() -> None:
    """Far from zero the one-pass form is off by more than (42), at any n of many."""
    outside = 0
    for n in range(5, 25):
        x, exactly = single(n, 4000.0)
        allowed = widths(exactly)
        outside += off_by(one_pass(x)[1], allowed.exact_var) > allowed.var
    assert outside >= 10, f"outside {outside} times in 20"


@sizes
@pytest.mark.parametrize("side", [-1, 1])
def test_equation_43_error_of_rstd(n: int, side: int) -> None:
    """(43) The rounded root and reciprocal of a var + eps that is off by q are off by rho at most;
    q / 2 and the four roundings alone would not do where var + eps is too small."""
    inner, u = 1 + n / 7, float(U)
    given = np.float32(inner * (1 + side / 64))
    q = abs(float(given) - inner) / inner
    off = abs(float(np.float32(1) / np.sqrt(given)) * np.sqrt(inner) - 1)
    assert off <= 1 / np.sqrt(1 - q) - 1 + 4 * u
    assert side > 0 or off > q / 2 + 4 * u


MOVES = [(a, b) for a in (-1, 1) for b in (-1, 1)]
SHIFT, STRETCH = Fraction(1, 1000), Fraction(1, 300)  # of the mean, and of rstd relatively


def moved(batch: exact.Batch, out: exact.Gradients, signs: tuple[int, int]) -> tuple[Any, Any]:
    return out.mean + signs[0] * SHIFT, (1 + signs[1] * STRETCH) / out.std


@sizes
@pytest.mark.parametrize("form", forms.OUTPUT)
def test_equation_44_how_y_moves(form: Any, n: int) -> None:
    """(44) With the statistics moved, y moves by no more, whatever the form, and by just that
    where both errors go the same way."""
    batch, out = draw(n)
    wide = abs(batch.x - out.mean) * STRETCH + SHIFT * (1 + STRETCH)
    allowed = abs(batch.gamma) / out.std * wide
    largest = np.zeros_like(allowed)
    for signs in MOVES:
        y = form(batch.x, batch.gamma, batch.beta, *moved(batch, out, signs))
        assert np.all(abs(y - out.y) <= allowed)
        largest = np.maximum(largest, abs(y - out.y))
    same(largest, allowed, "the largest move of y")


@sizes
@pytest.mark.parametrize("form", forms.INPUT_GRADIENT)
def test_equation_45_how_dx_moves(form: Any, n: int) -> None:
    """(45) With the statistics moved, dx moves by no more, whatever the form; without the part of
    the variance path some dx moves by more."""
    exceeded = False
    for seed in range(8):
        batch, out = draw(n, seed)
        q, t, centre = mean(batch.dy * out.xhat), SHIFT / out.std, abs(mean(batch.dy))

        def allowed(factor: int, batch=batch, out=out, q=q, t=t, centre=centre) -> Any:  # type: ignore[no-untyped-def]
            by_rstd = STRETCH * (abs(batch.dy - mean(batch.dy)) + factor * abs(out.xhat * q))
            by_mean = t * (abs(q) + (abs(out.xhat) + t) * centre)
            return abs(batch.gamma) / out.std * (1 + STRETCH) ** 3 * (by_rstd + by_mean)

        for signs in MOVES:
            dx = form(batch.dy, batch.x, batch.gamma, *moved(batch, out, signs))
            assert np.all(abs(dx - out.dx) <= allowed(3))
            exceeded = exceeded or bool(np.any(abs(dx - out.dx) > allowed(0)))
    assert exceeded or n == 2, "the bound leaves more room than the variance path takes"


def at_exact_statistics(n: int, seed: int) -> dict[str, Any]:
    """A batch of float32 numbers, (n, 1), whose mean and rstd are float32 numbers too."""
    rng = np.random.default_rng([n, seed])
    centre, half = np.float32(rng.normal()), rng.normal(size=n // 2).astype(np.float32)
    half = (centre + half) - centre  # what is left of it in centre + half, and in centre - half
    x = np.concatenate([centre + half, centre - half, [centre] * (n % 2)]).reshape(n, 1)
    found = {"x": x, "dy": rng.normal(size=(n, 1)), "mean": centre, "rstd": rng.normal() ** 2}
    found |= {"gamma": rng.normal(), "beta": rng.normal()}
    return {name: np.atleast_2d(a).astype(np.float32) for name, a in found.items()}


def local_widths(b: dict[str, Any]) -> dict[str, Any]:
    """(46), (47) and (48) as typed in derivation.md, each form by its name, in rationals."""
    n, u, s = len(b["x"]), U, (len(b["x"]) - 1) * U
    x, dy, centre, rstd, gamma = b["x"], b["dy"], b["mean"], b["rstd"], b["gamma"]
    xc, a = x - centre, abs(gamma) * rstd
    xhat = xc * rstd
    m, q = mean(dy), mean(dy * xhat)
    dx, y = gamma * rstd * (dy - m - xhat * q), gamma * xhat + b["beta"]
    d, e, v = s * mean(abs(dy)), s * mean(abs(dy * xhat)), u * (1 + s) * mean(abs(dy * xhat))
    folded = 2 * u * a * (abs(x) + abs(centre)) + u * abs(b["beta"] - gamma * rstd * centre)
    means = u * abs(dy - m) + abs(xhat) * (e + 3 * v + 5 * u * abs(q)) + d + 2 * u * abs(m)
    sums = u * abs(dy - m) + u * abs(dy) + abs(xhat) * (e + 3 * v + 3 * u * abs(q)) + d
    linear = 2 * u * abs(dy) + u * abs(dy - x * rstd * q) + u * abs(centre * rstd * q - m) + d
    linear = linear + (abs(x) + abs(centre)) * rstd * (e + 2 * v + 7 * u * abs(q)) + 4 * u * abs(m)
    w = 2 * u * abs(dy) + u * abs(dy - xhat * q) + abs(xhat) * (e + 3 * v + 10 * u * abs(q))
    nodes = w + (1 + s) * mean(w) + s * mean(abs(dy - xhat * q)) + 2 * u * abs(m)
    return {
        "output_direct": u * abs(y) + 3 * u * a * abs(xc),
        "output_folded": u * abs(y) + folded,
        "gamma_gradient_direct": n * (e + 3 * v),
        "gamma_gradient_late": n * (e + 2 * v + u * abs(q)),
        "input_gradient_means": 3 * u * abs(dx) + a * means,
        "input_gradient_sums": 5 * u * abs(dx) + a * sums,
        "input_gradient_linear": u * abs(dx) + a * linear,
        "input_gradient_nodes": u * abs(dx) + a * nodes,
    }


def largest_share(form: Any, n: int) -> Fraction:
    """The largest error of a form in float32 at exact statistics, as a multiple of its width."""
    largest = Fraction(0)
    for seed in range(40):
        batch = at_exact_statistics(n, seed)
        exactly = {k: np.vectorize(Fraction, [object])(a.astype(float)) for k, a in batch.items()}
        names = inspect.signature(form).parameters
        got, wanted = (form(*(b[name] for name in names)) for b in (batch, exactly))
        assert got.dtype == np.float32
        error = abs(np.vectorize(Fraction, [object])(got.astype(float)) - wanted)
        largest = max(largest, (error / local_widths(exactly)[form.__name__]).max())
    return largest / (1 + 32 * U)


@sizes
@pytest.mark.parametrize("form", forms.OUTPUT)
def test_equation_46_roundings_of_y(form: Any, n: int) -> None:
    """(46) At exact statistics a form of y is off by that much at most; a quarter would not do."""
    assert Fraction(1, 4) < largest_share(form, n) <= 1


@sizes
@pytest.mark.parametrize("form", forms.GAMMA_GRADIENT)
def test_equation_47_roundings_of_dgamma(form: Any, n: int) -> None:
    """(47) At exact statistics a form of dgamma is off by that much at most, not by a tenth."""
    assert Fraction(1, 10) < largest_share(form, n) <= 1


@sizes
@pytest.mark.parametrize("form", forms.INPUT_GRADIENT)
def test_equation_48_roundings_of_dx(form: Any, n: int) -> None:
    """(48) At exact statistics a form of dx is off by that much at most; a tenth would not do."""
    assert Fraction(1, 10) < largest_share(form, n) <= 1


# --- the document ----------------------------------------------------------------------------

COURSE = Path(str(reference.__file__)).with_name("derivation.md").read_text(encoding="utf-8")


def test_every_numbered_equation_has_its_test() -> None:
    """The numbers printed in derivation.md are those of the tests above, in order."""
    printed = [int(number) for number in re.findall(r"^ {4}\((\d+)\)", COURSE, re.MULTILINE)]
    names = [name for name in globals() if name.startswith("test_equation_")]
    tested = [int(name.split("_")[2]) for name in names]
    assert printed == [*range(1, 35), *range(40, 49)], f"derivation.md numbers {printed}"
    assert tested == printed, f"tests for {tested}, equations {printed}"
    for name in names:
        docstring = globals()[name].__doc__
        number = f"({int(name.split('_')[2])})"
        assert docstring.startswith(number), f"{name}: its docstring should start with {number}"


def test_every_number_that_is_named_is_printed() -> None:
    """No sentence of derivation.md points to an equation that is not there."""
    prose = re.sub(r"^ {4}.*$", "", COURSE, flags=re.MULTILINE)
    named = {int(number) for number in re.findall(r"\((\d\d?)\)", prose)}
    printed = {int(number) for number in re.findall(r"^ {4}\((\d+)\)", COURSE, re.MULTILINE)}
    assert named and named <= printed, f"named but not printed: {sorted(named - printed)}"


def test_the_worked_example_is_right() -> None:
    """Each row of the example's table is what the graph and its way back give for that batch."""
    rows = re.findall(r"^\| `(\w+)` \| \((\d+)\) \| ([^|]*) \|", COURSE, re.MULTILINE)
    x, dy, gamma, beta = (exact.rationals(a) for a in ([[0], [2]], [[0], [1]], [[2]], [[1]]))
    nothing = exact.rationals([[0]])
    batch = exact.Batch(x, dy, gamma, beta, Fraction(3), nothing, nothing)
    nodes = graph.forward_train(x, gamma, beta, batch.eps)
    found = {name: getattr(nodes, name).value for name in ("mean", "xc", "var", "std", "xhat", "y")}
    found |= intermediates(batch)
    found |= {name: getattr(exact.train(batch), name) for name in ("dbeta", "dgamma", "dx")}
    assert [name for name, _, _ in rows] == [
        "mean", "xc", "var", "std", "xhat", "y",
        "dbeta", "dgamma", "dxhat", "dstd", "dvar", "dxc", "dmean", "dx",
    ]  # fmt: skip
    for name, number, told in rows:
        numbers = [Fraction(part) for part in told.strip().strip("()").split(", ")]
        same(np.array(found[name]).ravel(), numbers, name)
        printed = drawing.GRADIENTS if name.startswith("d") else drawing.EQUATIONS
        assert printed[name.removeprefix("d") if name.startswith("d") else name] == int(number)


def test_the_answers_of_the_exercises_are_right(
    bncheck: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command of the exercises gives the line that is printed below it."""
    asked = re.findall(r"```sh\n(bncheck .*)\n```\n\n```text\n([^`]*)```", COURSE)
    assert len(asked) >= 3
    for command, answer in asked:
        ran = bncheck(*shlex.split(command)[1:])
        for line in answer.strip().splitlines():
            assert line.strip() in ran.out, f"{command}: {ran.out}"


# --- the picture -----------------------------------------------------------------------------


def test_the_picture_is_the_one_of_the_graph() -> None:
    """graph.svg is what `python -m reference.drawing` writes, and derivation.md shows it."""
    assert drawing.FILE.read_text(encoding="utf-8") == drawing.svg(drawing.example())
    assert f"]({drawing.FILE.name})" in COURSE


def test_the_picture_has_every_node_and_edge() -> None:
    """Each operation of the forward is a box, each use of a value an arrow there and one back."""
    forward = drawing.example()
    places = drawing.placed(forward)
    signs = sorted(place.sign for place in places.values() if place.sign)
    assert signs.count("Repeat") == 4 and signs.count("Sum") == 2 and len(signs) == 15
    edges = sum(parent in places for node in places for parent in node.parents)
    text = drawing.svg(forward)
    assert text.count('class="way"') == text.count('class="return"') == edges
    spots = [place.middle for place in places.values()]
    assert len(set(spots)) == len(spots), "two boxes lie upon each other"


def test_a_changed_graph_changes_the_picture() -> None:
    """Without the shift by beta the picture is another one."""
    forward = drawing.example()
    (product, _) = forward.y.parents
    assert drawing.svg(replace(forward, y=product)) != drawing.svg(forward)


def test_the_numbers_in_the_picture_are_those_of_the_course() -> None:
    """A value or gradient in the picture carries the number of the equation that defines it."""
    for name, number in drawing.EQUATIONS.items():
        assert re.search(rf"^ {{4}}\({number}\) .*\b{name} = ", COURSE, re.MULTILINE), name
    for name, number in drawing.GRADIENTS.items():
        assert re.search(rf"^ {{4}}\({number}\) .*\bd{name} = ", COURSE, re.MULTILINE), name

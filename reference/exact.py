"""The derivation over rationals: batches whose roots are rational, and every result exact.

Nothing here rounds, but `forward_backward`, which takes any floats: there the root is a rational
that is off by a factor of at most 1 + 2**-bits, and everything behind it is exact again.
"""

from __future__ import annotations

import random as _random
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np

from . import graph
from .graph import Node, exact_root

Array = Any  # an object array of Fractions; NumPy has no narrower type for it

__all__ = [
    "Array",
    "Batch",
    "Evaluation",
    "Gradients",
    "double_backward",
    "draw_channel",
    "draw_channels",
    "draw_eval",
    "enclose",
    "evaluate",
    "exact_root",
    "forward_backward",
    "forward_mode",
    "integers",
    "rationals",
    "train",
]


@dataclass(frozen=True)
class Batch:
    """Inputs with a rational root: x and dy (n, c), gamma and beta (1, c), eps a scalar."""

    x: Array
    dy: Array
    gamma: Array
    beta: Array
    eps: Fraction
    running_mean: Array  # (1, c)
    running_var: Array  # (1, c)


@dataclass(frozen=True)
class Gradients:
    """One forward and backward pass: x-shaped fields are (n, c), the others (1, c)."""

    mean: Array
    var: Array
    std: Array
    xhat: Array
    y: Array
    dx: Array
    dgamma: Array
    dbeta: Array


@dataclass(frozen=True)
class Evaluation:
    """One pass over given floats: x-shaped fields are (n, c), the others (c,)."""

    mean: Array
    var: Array
    rstd: Array
    xhat: Array
    y: Array
    dx: Array
    dgamma: Array
    dbeta: Array


def rationals(values: Any) -> Array:
    """Return an object array of Fractions, each exactly the given int, float or Fraction."""
    array = np.asarray(values, dtype=object)
    return np.frompyfunc(Fraction, 1, 1)(array) if array.size else array


def integers(random: _random.Random, shape: tuple[int, ...], bits: int = 64) -> Array:
    """Draw Fractions that are integers, uniform in [-2**(bits-1), 2**(bits-1))."""
    half = 1 << (bits - 1)
    flat = [Fraction(random.getrandbits(bits) - half) for _ in range(int(np.prod(shape)))]
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _row(random: _random.Random, c: int, bits: int) -> Array:
    return integers(random, (1, c), bits)


def _positive(random: _random.Random, bits: int) -> Fraction:
    return Fraction((1 << (bits - 1)) + random.getrandbits(bits) + 1)


def _statistics(x: Array) -> tuple[Array, Array]:
    n = x.shape[0]
    mean = x.sum(axis=0, keepdims=True) / n  # (1)  (1, c)
    return mean, ((x - mean) ** 2).sum(axis=0, keepdims=True) / n  # (3)  (1, c)


def draw_channel(
    random: _random.Random, n: int, *, bits: int = 64, constant: bool = False
) -> Batch:
    """Draw one channel whose root is a drawn r: eps = r**2 - var, always positive.

    Args:
        n: rows, at least 1.
        bits: x, dy, gamma, beta are uniform integers of so many bits, r one of 2**bits.
        constant: draw all rows of x equal, so that var = 0.
    """
    x = integers(random, (n, 1), bits)
    if constant:
        x = np.broadcast_to(x[:1], (n, 1))
    mean, var = _statistics(x)
    root = _positive(random, bits)  # above every |x|, so r**2 > var
    return _batch(random, x, root**2 - var[0, 0], mean, var, bits)


def draw_channels(
    random: _random.Random, n: int, c: int, *, bits: int = 64, constant: tuple[int, ...] = ()
) -> Batch:
    """Draw several channels under one scalar eps, each with a rational root.

    eps = e**2 and each channel scaled by s = 2 e t / (var - t**2) give var s**2 + e**2 the root
    e + t s.

    Args:
        n: rows, at least 1; at n = 1 every channel is constant.
        constant: the channels with all rows equal, whose root is e.
    """
    columns = []
    e = _positive(random, bits)
    for channel in range(c):
        u = integers(random, (n, 1), bits)
        if channel in constant:
            u = np.broadcast_to(u[:1], (n, 1))
        columns.append(_scaled(random, u, e, bits))
    x = np.concatenate(columns, axis=1)  # (n, c)
    return _batch(random, x, e**2, *_statistics(x), bits)


def _scaled(random: _random.Random, u: Array, e: Fraction, bits: int) -> Array:
    var = _statistics(u)[1][0, 0]
    t = Fraction(random.getrandbits(bits) + 1)
    if var == 0:
        return u
    if var == t * t:
        t += 1
    return u * (2 * e * t / (var - t * t))


def _batch(
    random: _random.Random, x: Array, eps: Fraction, mean: Array, var: Array, bits: int
) -> Batch:
    n, c = x.shape
    dy, gamma, beta = integers(random, (n, c), bits), _row(random, c, bits), _row(random, c, bits)
    return Batch(x, dy, gamma, beta, eps, mean, var)


def draw_eval(random: _random.Random, n: int, c: int, *, bits: int = 64) -> Batch:
    """Draw a batch for inference: running_var = r**2 - eps, so that the root is r."""
    eps = Fraction(random.getrandbits(bits) + 1)
    root = np.array([[_positive(random, bits) for _ in range(c)]], dtype=object)  # (1, c)
    x, running_mean = integers(random, (n, c), bits), _row(random, c, bits)
    return _batch(random, x, eps, running_mean, root * root - eps, bits)


def _nodes(batch: Batch, training: bool) -> graph.Forward:
    if training:
        return graph.forward_train(batch.x, batch.gamma, batch.beta, batch.eps)
    statistics = batch.running_mean, batch.running_var
    return graph.forward_eval(batch.x, batch.gamma, batch.beta, *statistics, batch.eps)


def _run(batch: Batch, training: bool) -> Gradients:
    nodes = _nodes(batch, training)
    dx, dgamma, dbeta = graph.backward(nodes, Node(batch.dy))
    statistics = nodes.mean.value, nodes.var.value, nodes.std.value
    outputs = nodes.xhat.value, nodes.y.value, dx.value, dgamma.value, dbeta.value
    return Gradients(*statistics, *outputs)


def train(batch: Batch) -> Gradients:
    """Run the training graph forward and backward, equations (1) to (14)."""
    return _run(batch, training=True)


def evaluate(batch: Batch) -> Gradients:
    """Run the inference graph forward and backward, equations (16) and (17)."""
    return _run(batch, training=False)


def double_backward(
    batch: Batch, ddx: Array, ddgamma: Array, ddbeta: Array
) -> tuple[Array, Array, Array]:
    """Return the gradients of <(ddx, ddgamma, ddbeta), backward> by (x, gamma, dy): (22) to (24).

    Args:
        ddx: (n, c).
        ddgamma, ddbeta: (1, c).
    """
    seeds = Node(ddx), Node(ddgamma), Node(ddbeta)
    by = graph.double_backward(_nodes(batch, True), Node(batch.dy), *seeds)
    return by[0].value, by[1].value, by[2].value


def forward_mode(batch: Batch, tx: Array, tgamma: Array, tbeta: Array) -> Array:
    """Return the tangent ty (n, c) of y along (tx, tgamma, tbeta), equation (21)."""
    return graph.forward_mode(_nodes(batch, True), Node(tx), Node(tgamma), Node(tbeta)).value


def enclose(value: Fraction, bits: int = 256) -> tuple[Fraction, Fraction]:
    """Return rationals around the square root: lower <= root <= upper, lower > 0 for value > 0.

    They lie within a factor of 1 + 2**(1 - bits) of each other, and are equal for a square.

    Raises:
        ValueError: value is negative.
    """
    value = Fraction(value)
    if value < 0:
        raise ValueError(f"value={value}: expected value >= 0; a negative number has no real root")
    try:
        return exact_root(value), exact_root(value)
    except ValueError:
        pass
    size = value.numerator.bit_length() - value.denominator.bit_length()
    shift = max(0, bits - size // 2 + 1)
    floor = isqrt((value.numerator << 2 * shift) // value.denominator)
    return Fraction(floor, 1 << shift), Fraction(floor + 1, 1 << shift)


def forward_backward(
    x: Any, dy: Any, gamma: Any, beta: Any, eps: float, *, bits: int = 512
) -> Evaluation:
    """Return what batch norm of the given floats is, each taken as the rational that it is.

    mean and var are exact. The root s is a rational within 2**-bits of it; the rest is exact for
    eps = s**2 - var, so its error is 2**(2 - bits) of the largest term that is added in it.

    Args:
        x, dy: (n, c), finite.
        gamma, beta: (c,) or (1, c).
        eps: any finite float with var + eps > 0.

    Raises:
        ZeroDivisionError: var + eps is zero in a channel.
    """
    x, dy = rationals(x), rationals(dy)
    rows = (1, x.shape[1])
    gamma, beta = rationals(gamma).reshape(rows), rationals(beta).reshape(rows)
    mean, var = _statistics(x)
    root = np.frompyfunc(lambda value: enclose(value, bits)[0], 1, 1)(var + Fraction(eps))
    nodes = graph.forward_train(x, gamma, beta, root * root - var)
    dx, dgamma, dbeta = graph.backward(nodes, Node(dy))
    return Evaluation(
        mean[0], var[0], 1 / root[0], nodes.xhat.value, nodes.y.value,
        dx.value, dgamma.value[0], dbeta.value[0],
    )  # fmt: skip

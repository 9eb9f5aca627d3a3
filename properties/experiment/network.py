"""A fully connected net: dense layers, a norm or none before each ReLU, softmax at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import bn

from ..model.contract import Array

Norm = Callable[[int], Any]  # from a width to a layer like bn.BatchNormalization


@dataclass(frozen=True)
class Net:
    """Weights (inputs, outputs), biases (outputs,), and the norms, None where there is none."""

    weights: list[Array]
    biases: list[Array]
    norms: list[Any]


def batch_norm(width: int, eps: float = 1e-5) -> bn.BatchNormalization:
    """Return the built-in layer with gamma 1 and beta 0."""
    return bn.BatchNormalization(np.ones(width, np.float32), np.zeros(width, np.float32), eps=eps)


def build(widths: Sequence[int], scale: float, norm: Norm | None, rng: np.random.Generator) -> Net:
    """Return a net whose weights are normal with this standard deviation and whose biases are 0.

    Args:
        widths: of the input, of each hidden layer, of the output.
        scale: the standard deviation; the numbers drawn from rng do not depend on it.
        norm: makes the layer between a dense layer and its ReLU; None for none.
    """
    weights = [
        (scale * rng.standard_normal(shape)).astype(np.float32) for shape in pairwise(widths)
    ]
    biases = [np.zeros(width, np.float32) for width in widths[1:]]
    return Net(weights, biases, [norm(width) if norm else None for width in widths[1:-1]])


def forward(net: Net, x: Array, training: bool) -> list[tuple[Array, Array]]:
    """Return each layer's input and output, the output before ReLU; the last one is the logits."""
    passed = []
    for weight, bias, norm in zip(net.weights, net.biases, [*net.norms, None], strict=True):
        z = x @ weight + bias  # (n, outputs)
        if norm is not None:
            z = norm.forward(z, training)
        passed.append((x, z))
        x = np.maximum(z, 0)
    return passed


def softmax_gradient(logits: Array, t: Array) -> Array:
    """Return the gradient of the mean cross-entropy by the logits, (softmax - onehot(t)) / n."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(t)), t] -= 1
    return np.asarray(p / p.dtype.type(len(t)))


def step(net: Net, x: Array, t: Array, rate: float) -> None:
    """Move all parameters, in place, by one step of gradient descent on the batch (x, t)."""
    passed, by = forward(net, x, training=True), np.float32(rate)
    d = softmax_gradient(passed[-1][1], t)
    for i in reversed(range(len(passed))):
        given, z = passed[i]
        if i < len(net.norms):
            d = d * (z > 0)
            if (norm := net.norms[i]) is not None:
                d = norm.backward(d)
                norm.gamma = norm.gamma - by * norm.dgamma
                norm.beta = norm.beta - by * norm.dbeta
        by_weight, by_bias = given.T @ d, d.sum(axis=0)
        d = d @ net.weights[i].T
        net.weights[i] -= by * by_weight
        net.biases[i] -= by * by_bias


def accuracy(net: Net, x: Array, t: Array) -> float:
    """Return the share of images whose largest logit is that of their class, in inference."""
    logits = forward(net, x, training=False)[-1][1]
    return float((logits.argmax(axis=1) == t).mean())

"""A batch norm in TensorFlow as a target: tapes, forward accumulators, and every order of two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from .orders import orders


def _vjp(f: Any, leaves: Any, dy: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        y = f(*leaves)
    return y, tape.gradient(y, leaves, dy)


def _jvp(f: Any, leaves: Any, along: Any) -> Any:
    with tf.autodiff.ForwardAccumulator([*leaves], [*along]) as forward:
        y = f(*leaves)
    return y, tf.nest.map_structure(forward.jvp, y)


def _units(leaf: Any) -> Any:
    return tf.reshape(tf.eye(tf.size(leaf), dtype=leaf.dtype), (-1, *leaf.shape))


def _gathered(pairs: Any, leaf: Any) -> Any:
    wide = [(tf.cast(a, tf.float64), tf.cast(b, tf.float64)) for a, b in pairs]
    products = [tf.cast(tf.reduce_sum(a * b), leaf.dtype) for a, b in wide]
    return tf.reshape(tf.stack(products), leaf.shape)


ORDERS = orders(_vjp, _jvp, _units, _gathered)


def _tensors(arrays: Any) -> list[Any]:
    """Return copies as tensors, in the machine's byte order; None stays."""
    return [None if a is None else tf.constant(_native(a)) for a in arrays]


def _native(a: Any) -> Any:
    return np.array(a, dtype=a.dtype.newbyteorder("="))


def _array(t: Any) -> Any:
    if isinstance(t, tf.IndexedSlices):
        t = tf.convert_to_tensor(t)
    return None if t is None else t.numpy()


def target(run: Callable[..., Any], *, masks: bool = False, **more: Any) -> SimpleNamespace:
    """Return the contract's functions over one function on tensors.

    Args:
        run: (training, x, gamma, beta, mean, var, eps, momentum) -> y, mean, var.
        masks: whether it takes a mask of bool (n, *spatial) besides, behind momentum.
        more: further functions of the contract, and CONVENTIONS.
    """

    def ran(training: bool, given: Any, state: Any, *rest: Any) -> Any:
        leaves, kept = _tensors(given), _tensors(state)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([leaf for leaf in leaves if leaf is not None])
            y, mean, var = run(training, *leaves, *kept, *rest)
        return *map(_array, (y, mean, var)), (tape, leaves, y, (*kept, *rest))

    def forward_train(
        x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        return ran(True, (x, gamma, beta), (mean, var), eps, momentum)

    def with_mask(*given: Any, eps: float, momentum: float, mask: Any = None) -> Any:
        told = () if mask is None else (tf.constant(mask),)
        return ran(True, given[:3], given[3:], eps, momentum, *told)

    def forward_eval(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        y, _, _, saved = ran(False, (x, gamma, beta), (mean, var), eps, 0.5)
        return y, saved

    def backward(dy: Any, saved: Any) -> Any:
        tape, leaves, y, _ = saved
        given = [leaf for leaf in leaves if leaf is not None]
        found = iter(tape.gradient(y, given, _tensors([dy])[0]))
        return tuple(None if leaf is None else _array(next(found)) for leaf in leaves)

    def output(saved: Any) -> Callable[..., Any]:
        return lambda *leaves: run(True, *leaves, *saved[3])[0]

    def second_derivative_train(order: str, *given: Any) -> Any:
        *along, dy = _tensors(given[:4])
        return tuple(map(_array, ORDERS[order](output(given[4]), given[4][1], along, dy)))

    def jvp_train(tx: Any, tgamma: Any, tbeta: Any, saved: Any) -> Any:
        along = _tensors((tx, tgamma, tbeta))
        with tf.autodiff.ForwardAccumulator(saved[1], along) as forward:
            y = output(saved)(*saved[1])
        return _array(forward.jvp(y))

    return SimpleNamespace(
        forward_train=with_mask if masks else forward_train,
        forward_eval=forward_eval,
        backward_train=backward,
        backward_eval=backward,
        jvp_train=jvp_train,
        double_backward_train=partial(second_derivative_train, "reverse_over_reverse"),
        second_derivative_train=second_derivative_train,
        **more,
    )

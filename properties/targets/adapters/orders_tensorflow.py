"""The second derivative in TensorFlow through every composition of its two modes.

f maps (x, gamma, beta) to y; what is wanted, and why three of the orders give it by the symmetry
of the second derivative and because all is linear in dy, is said in `orders_jax`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Output = Callable[..., Any]


def reverse_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradients of the gradient."""
    with tf.GradientTape() as outer:
        outer.watch([*leaves, dy])
        with tf.GradientTape() as inner:
            inner.watch(leaves)
            y = f(*leaves)
        firsts = inner.gradient(y, leaves, dy)
    return outer.gradient(firsts, [leaves[0], leaves[1], dy], along)


def forward_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangents of y and of its gradient."""
    with tf.autodiff.ForwardAccumulator(leaves, along) as forward:
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            y = f(*leaves)
        firsts = tape.gradient(y, leaves, dy)
    return forward.jvp(firsts[0]), forward.jvp(firsts[1]), forward.jvp(y)


def reverse_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradient of the tangent."""
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        with tf.autodiff.ForwardAccumulator(leaves, along) as forward:
            y = f(*leaves)
        ty = forward.jvp(y)
    return *tape.gradient(ty, leaves[:2], dy), ty


def forward_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangent of the tangent along each input in turn, summed with dy in float64."""

    def second(i: int, j: int) -> Any:
        unit = [tf.zeros_like(t) for t in leaves]
        unit[i] = tf.reshape(tf.one_hot(j, tf.size(unit[i]), dtype=unit[i].dtype), unit[i].shape)
        with tf.autodiff.ForwardAccumulator(leaves, unit) as outer:
            with tf.autodiff.ForwardAccumulator(leaves, along) as inner:
                y = f(*leaves)
            ty = inner.jvp(y)
        ty2 = tf.cast(outer.jvp(ty), tf.float64)
        return tf.cast(tf.reduce_sum(ty2 * tf.cast(dy, tf.float64)), unit[i].dtype), ty

    columns = [[second(i, j) for j in range(tf.size(leaves[i]))] for i in (0, 1)]
    by = [
        tf.reshape(tf.stack([c for c, _ in column]), leaves[i].shape)
        for i, column in enumerate(columns)
    ]
    return by[0], by[1], columns[1][0][1]


ORDERS = {
    f.__name__: f
    for f in (
        reverse_over_reverse,
        forward_over_reverse,
        reverse_over_forward,
        forward_over_forward,
    )
}

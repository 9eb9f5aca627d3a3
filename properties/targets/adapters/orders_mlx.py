"""The second derivative in MLX through every composition of its two modes.

f maps (x, gamma, beta) to y; what is wanted, and why three of the orders give it by the symmetry
of the second derivative and because all is linear in dy, is said in `orders_jax`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np

Output = Callable[..., Any]


def _gradient(f: Output, dy: Any) -> Output:
    return lambda *p: mx.vjp(f, list(p), [dy])[1]


def _tangent(f: Output, along: Any) -> Output:
    return lambda *p: mx.jvp(f, list(p), list(along))[1][0]


def reverse_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradients of the gradient."""
    _, by = mx.vjp(lambda *p: _gradient(f, p[3])(*p[:3]), [*leaves, dy], along)
    return by[0], by[1], by[3]


def forward_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangents of y and of its gradient."""
    _, found = mx.jvp(lambda *p: [f(*p), *_gradient(f, dy)(*p)], leaves, along)
    return found[1], found[2], found[0]


def reverse_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradient of the tangent."""
    (ty,), by = mx.vjp(_tangent(f, along), leaves, [dy])
    return by[0], by[1], ty


def forward_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangent of the tangent along each input in turn, summed with dy in float64."""
    found = []
    for i in (0, 1):
        by = np.zeros(leaves[i].shape)
        for at in np.ndindex(by.shape):
            unit = [mx.zeros_like(leaf) for leaf in leaves]
            unit[i][at] = 1
            ty2 = mx.jvp(_tangent(f, along), leaves, unit)[1][0]
            by[at] = (ty2.astype(mx.float64) * dy.astype(mx.float64)).sum().item()
        found.append(mx.array(by, leaves[i].dtype))
    return found[0], found[1], _tangent(f, along)(*leaves)


ORDERS = {
    f.__name__: f
    for f in (
        reverse_over_reverse,
        forward_over_reverse,
        reverse_over_forward,
        forward_over_forward,
    )
}

"""The second derivative in JAX through every composition of its two modes.

f maps the leaves (x, gamma, beta) to y; wanted are the gradients of <along, f'(leaves)^T dy> by x,
gamma and dy. By symmetry the first two are the derivative of the gradient along `along`, and the
last, since all is linear in dy, is the tangent of y along `along`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

Output = Callable[[Any], Any]


def reverse_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradients of the gradient."""
    _, pull = jax.vjp(lambda p, d: jax.vjp(f, p)[1](d)[0], leaves, dy)
    by, by_dy = pull(along)
    return by[0], by[1], by_dy


def forward_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangents of y and of its gradient."""

    def both(p: Any) -> Any:
        y, pull = jax.vjp(f, p)
        return y, pull(dy)[0]

    _, (ty, by) = jax.jvp(both, (leaves,), (along,))
    return by[0], by[1], ty


def reverse_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradient of the tangent."""
    ty, pull = jax.vjp(lambda p: jax.jvp(f, (p,), (along,))[1], leaves)
    by = pull(dy)[0]
    return by[0], by[1], ty


def forward_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangent of the tangent along each input in turn, summed with dy in float64."""
    flat, shaped = ravel_pytree(leaves)

    def column(e: Any) -> Any:
        tangent = jax.jvp(f, (leaves,), (along,))[1]
        inner = lambda p: jax.jvp(f, (p,), (along,))[1]  # noqa: E731
        ty2 = jax.jvp(inner, (leaves,), (shaped(e),))[1]
        return tangent, jnp.vdot(ty2.astype(jnp.float64), dy.astype(jnp.float64))

    ty, by = jax.vmap(column, out_axes=(None, 0))(jnp.eye(flat.size, dtype=flat.dtype))
    by = shaped(by.astype(flat.dtype))
    return by[0], by[1], ty


ORDERS = {
    f.__name__: f
    for f in (
        reverse_over_reverse,
        forward_over_reverse,
        reverse_over_forward,
        forward_over_forward,
    )
}

"""A batch norm in JAX as a target: compiled for each shape, as its users do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .orders import orders

KEPT = 150  # shapes whose compiled functions are kept: some megabytes each, which JAX never frees


def _vjp(f: Any, leaves: Any, dy: Any) -> Any:
    y, pull = jax.vjp(f, *leaves)
    return y, pull(dy)


def _jvp(f: Any, leaves: Any, along: Any) -> Any:
    return jax.jvp(f, tuple(leaves), tuple(along))


def _at_once(f: Any, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangent of the tangent along all inputs at once, summed with dy in float64."""
    flat, shaped = ravel_pytree(leaves)

    def column(e: Any) -> Any:
        tangent = _jvp(f, leaves, along)[1]
        ty2 = _jvp(lambda *p: _jvp(f, p, along)[1], leaves, shaped(e))[1]
        return tangent, jnp.vdot(ty2.astype(jnp.float64), dy.astype(jnp.float64))

    ty, by = jax.vmap(column, out_axes=(None, 0))(jnp.eye(flat.size, dtype=flat.dtype))
    by = shaped(by.astype(flat.dtype))
    return by[0], by[1], ty


# compiled once for all places, in place of a loop over them
ORDERS = {**orders(_vjp, _jvp, iter, lambda pairs, leaf: leaf), "forward_over_forward": _at_once}


def _own(*arrays: Any) -> Any:
    """Return copies as JAX's own, in the machine's byte order; None and a plain int stay."""
    return jax.tree.map(
        lambda a: a if isinstance(a, int) else jax.device_put(a.astype(a.dtype.newbyteorder("="))),
        arrays,
    )


def _as_it_is(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return function


class _Shapes:
    """The shapes that were compiled for; all are forgotten when there are more than `KEPT`."""

    def __init__(self) -> None:
        self.known: set[Any] = set()

    def seen(self, x: Any, *rest: Any) -> None:
        """Note the shape of a call."""
        key = x.shape, x.dtype.name, *(a is None for a in rest)
        if key not in self.known and len(self.known) >= KEPT:
            self.known.clear()
            jax.clear_caches()
        self.known.add(key)


def target(
    train: Callable[..., Any],
    infer: Callable[..., Any],
    *,
    masks: bool = False,
    x64: bool = True,
    traced: bool = True,
    **more: Any,
) -> SimpleNamespace:
    """Return the contract's functions over two pure functions.

    Args:
        train: (x, gamma, beta, mean, var, eps, momentum) -> y, mean, var.
        infer: (x, gamma, beta, mean, var, eps) -> y.
        masks: whether train takes a mask of bool (n, *spatial) besides, behind momentum.
        x64: whether JAX is told that there is float64; else it stays as it is.
        traced: whether all is compiled; else eps and momentum stay numbers of Python.
        more: further functions of the contract, and CONVENTIONS.
    """
    if x64:
        jax.config.update("jax_enable_x64", True)
    jit: Any = jax.jit if traced else _as_it_is
    compiled = {
        "train": jit(lambda leaves, rest: train(*leaves, *rest)),
        "eval": jit(lambda leaves, rest: (infer(*leaves, *rest),)),
    }

    shapes = _Shapes()

    def output(mode: str, rest: Any) -> Callable[[Any], Any]:
        return lambda leaves: compiled[mode](leaves, rest)[0]

    def gradients_of(mode: str, leaves: Any, rest: Any, dy: Any) -> Any:
        return jax.vjp(output(mode, rest), leaves)[1](dy)[0]

    def tangent_of(mode: str, leaves: Any, rest: Any, along: Any) -> Any:
        return jax.jvp(output(mode, rest), (leaves,), (along,))[1]

    def second_of(order: str, mode: str, leaves: Any, rest: Any, along: Any, dy: Any) -> Any:
        return ORDERS[order](lambda *p: output(mode, rest)(p), leaves, along, dy)

    gradients = jit(gradients_of, static_argnums=0)
    tangent = jit(tangent_of, static_argnums=0)
    second = jit(second_of, static_argnums=(0, 1))

    def forward_train(
        x: Any, gamma: Any, beta: Any, *state: Any, eps: float, momentum: float
    ) -> Any:
        return with_mask(x, gamma, beta, *state, eps=eps, momentum=momentum)

    def with_mask(
        x: Any, gamma: Any, beta: Any, *state: Any, eps: float, momentum: float, mask: Any = None
    ) -> Any:
        shapes.seen(x, gamma, *state, mask)
        told = () if mask is None else (jax.device_put(mask),)
        saved = "train", _own(x, gamma, beta), (*_own(*state), eps, momentum, *told)
        return *compiled["train"](*saved[1:]), saved

    def forward_eval(x: Any, gamma: Any, beta: Any, *state: Any, eps: float) -> Any:
        shapes.seen(x, gamma, *state)
        saved = "eval", _own(x, gamma, beta), (*_own(*state), eps)
        return *compiled["eval"](*saved[1:]), saved

    def second_derivative_train(order: str, *along: Any) -> Any:
        return second(order, *along[-1], _own(*along[:3]), *_own(along[3]))

    return SimpleNamespace(
        forward_train=with_mask if masks else forward_train,
        forward_eval=forward_eval,
        backward_train=lambda dy, saved: gradients(*saved, *_own(dy)),
        backward_eval=lambda dy, saved: gradients(*saved, *_own(dy)),
        jvp_train=lambda *along: tangent(*along[3], _own(*along[:3])),
        double_backward_train=partial(second_derivative_train, "reverse_over_reverse"),
        second_derivative_train=second_derivative_train,
        **more,
    )

"""A batch norm in MLX as a target, with its vjp and jvp in every order of two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np

from .orders import orders

mx.set_default_device(mx.cpu)


def _vjp(f: Any, leaves: Any, dy: Any) -> Any:
    y, by = mx.vjp(f, list(leaves), list(dy) if isinstance(dy, list) else [dy])
    return (y[0] if len(y) == 1 else y), by


def _jvp(f: Any, leaves: Any, along: Any) -> Any:
    y, ty = mx.jvp(f, list(leaves), list(along))
    return (y[0], ty[0]) if len(ty) == 1 else (y, ty)


def _units(leaf: Any) -> Any:
    for at in np.ndindex(leaf.shape):
        unit = mx.zeros_like(leaf)
        unit[at] = 1
        yield unit


def _gathered(pairs: Any, leaf: Any) -> Any:
    products = [(a.astype(mx.float64) * b.astype(mx.float64)).sum().item() for a, b in pairs]
    return mx.array(np.reshape(products, leaf.shape), leaf.dtype)


ORDERS = orders(_vjp, _jvp, _units, _gathered)


def _own(*arrays: Any) -> list[Any]:
    """Return the arrays, but None, as MLX's own; it makes float32 of float64 unless told."""
    given = [np.ascontiguousarray(a, a.dtype.newbyteorder("=")) for a in arrays if a is not None]
    return [mx.array(a, dtype=getattr(mx, a.dtype.name)) for a in given]


def _array(a: Any) -> Any:
    if a.dtype != mx.bfloat16:
        return np.array(a)
    import ml_dtypes

    return np.array(a.astype(mx.float32)).astype(ml_dtypes.bfloat16)


def target(make: Callable[..., Any], **more: Any) -> SimpleNamespace:
    """Return the contract's functions over what makes a layer.

    Args:
        make: (training, channels, affine, state, eps, momentum) -> the layer as a function of
            (x, gamma, beta), or of x alone, and what gives its running statistics after that.
        more: further functions of the contract, and CONVENTIONS.
    """

    def forward(training: bool, x: Any, gamma: Any, beta: Any, *rest: Any) -> Any:
        leaves, state = _own(x, gamma, beta), _own(*rest[:2])
        output, new = make(training, x.shape[-1], gamma is not None, state, *rest[2:])
        y = _array(output(*leaves))
        return y, *(map(_array, new()) if state else (None, None)), (output, leaves)

    def backward(dy: Any, saved: Any) -> Any:
        output, leaves = saved
        found = list(map(_array, mx.vjp(output, leaves, _own(dy))[1]))
        return *found, *[None] * (3 - len(found))

    def second_derivative_train(order: str, *given: Any) -> Any:
        (*along, dy), (output, leaves) = _own(*given[:4]), given[4]
        return tuple(map(_array, ORDERS[order](output, leaves, along, dy)))

    def jvp_train(tx: Any, tgamma: Any, tbeta: Any, saved: Any) -> Any:
        return _array(mx.jvp(*saved, _own(tx, tgamma, tbeta))[1][0])

    return SimpleNamespace(
        forward_train=lambda *given, eps, momentum: forward(True, *given, eps, momentum),
        forward_eval=lambda *given, eps: forward(False, *given, eps, 0.5)[::3],
        backward_train=backward,
        backward_eval=backward,
        jvp_train=jvp_train,
        double_backward_train=partial(second_derivative_train, "reverse_over_reverse"),
        second_derivative_train=second_derivative_train,
        **more,
    )

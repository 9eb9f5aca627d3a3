"""A batch norm in tinygrad as a target, with its gradients; it has no forward mode."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from tinygrad import Device, Tensor, dtypes
from tinygrad.helpers import PARALLEL

PARALLEL.value = 0  # else it starts a process for every 16 kernels that it compiles
DEVICE = Device.DEFAULT  # asked for once, as the first question sets an environment variable


def _tensor(a: Any) -> Any:
    """Return an array as a tensor; bfloat16, which NumPy lacks, goes by float32."""
    if a is None:
        return None
    if a.dtype.name == "bfloat16":
        return Tensor(a.astype(np.float32)).cast(dtypes.bfloat16)
    return Tensor(np.ascontiguousarray(a, a.dtype.newbyteorder("=")))


def _array(t: Any) -> Any:
    if t is None or t.dtype != dtypes.bfloat16:
        return None if t is None else t.numpy()
    import ml_dtypes

    return t.cast(dtypes.float32).numpy().astype(ml_dtypes.bfloat16)


def target(run: Callable[..., Any], **more: Any) -> SimpleNamespace:
    """Return the contract's functions over one function on tensors.

    Args:
        run: (training, x, gamma, beta, mean, var, eps, momentum) -> y, mean, var.
        more: further functions of the contract, and CONVENTIONS.
    """

    def forward(training: bool, *given: Any) -> Any:
        tensors = [_tensor(a) for a in given[:5]]
        y, *state = run(training, *tensors, *given[5:])
        return _array(y), *map(_array, state), (y, tensors[:3])

    def backward(dy: Any, saved: Any) -> Any:
        y, leaves = saved
        given = [leaf for leaf in leaves if leaf is not None]
        found = iter(y.gradient(*given, gradient=_tensor(dy)))
        return tuple(None if leaf is None else _array(next(found)) for leaf in leaves)

    def double_backward_train(ddx: Any, ddgamma: Any, ddbeta: Any, dy: Any, saved: Any) -> Any:
        (y, leaves), given = saved, _tensor(dy)
        firsts = y.gradient(*leaves, gradient=given)
        pairs = zip(firsts, map(_tensor, (ddx, ddgamma, ddbeta)), strict=True)
        total = sum((first * seed).sum() for first, seed in pairs)
        return tuple(map(_array, total.gradient(leaves[0], leaves[1], given)))

    return SimpleNamespace(
        forward_train=lambda *given, eps, momentum: forward(True, *given, eps, momentum),
        forward_eval=lambda *given, eps: forward(False, *given, eps, 0.5)[::3],
        backward_train=backward,
        backward_eval=backward,
        double_backward_train=double_backward_train,
        **more,
    )

"""PyTorch: torch.nn.functional.batch_norm with its autograd, double backward and forward mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.autograd.forward_ad as forward_ad
from torch.nn.functional import batch_norm

CONVENTIONS = {"momentum": "update", "running_var": "unbiased", "statistics": "per_channel"}

_BFLOAT16 = "bfloat16"


def _tensor(a: Any, grad: bool = False) -> Any:
    """Return a tensor of the array's numbers and, where torch can hold them, its strides."""
    if a is None:
        return None
    if a.dtype.name == _BFLOAT16:
        return torch.from_numpy(a.astype(np.float32)).to(torch.bfloat16).requires_grad_(grad)
    a = a.astype(a.dtype.newbyteorder("="), copy=False)
    if (
        not a.flags.writeable
        or not a.flags.aligned
        or any(s < 0 or s % a.itemsize for s in a.strides)
    ):
        a = a.copy()
    return torch.from_numpy(a).requires_grad_(grad)


def _array(t: Any) -> Any:
    if t is None:
        return None
    t = t.detach()
    if t.dtype == torch.bfloat16:
        import ml_dtypes

        return t.float().numpy().astype(ml_dtypes.bfloat16)
    return t.numpy()


def _run(
    training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, m: float
) -> Any:
    leaves = [_tensor(x, True), _tensor(gamma, True), _tensor(beta, True)]
    state = [None if a is None else torch.from_numpy(a.copy()) for a in (mean, var)]
    y = batch_norm(leaves[0], *state, leaves[1], leaves[2], training, m, eps)
    return y, state, (leaves, y, (state, m, eps))


def forward_train(
    x: Any,
    gamma: Any,
    beta: Any,
    running_mean: Any,
    running_var: Any,
    *,
    eps: float,
    momentum: float,
) -> Any:
    """Train; PyTorch updates the running statistics in place, here copies of them."""
    y, state, saved = _run(True, x, gamma, beta, running_mean, running_var, eps, momentum)
    return _array(y), *(_array(t) for t in state), saved


def forward_eval(
    x: Any, gamma: Any, beta: Any, running_mean: Any, running_var: Any, *, eps: float
) -> Any:
    """Infer with the running statistics."""
    y, _, saved = _run(False, x, gamma, beta, running_mean, running_var, eps, 0.0)
    return _array(y), saved


def backward_train(dy: Any, saved: Any) -> Any:
    """Differentiate by what was given; the graph is kept."""
    leaves, y, _ = saved
    given = [leaf for leaf in leaves if leaf is not None]
    found = iter(torch.autograd.grad(y, given, _tensor(dy), retain_graph=True))
    return tuple(None if leaf is None else _array(next(found)) for leaf in leaves)


backward_eval = backward_train


def double_backward_train(ddx: Any, ddgamma: Any, ddbeta: Any, dy: Any, saved: Any) -> Any:
    """Differentiate the backward by x, gamma and dy (reverse over reverse)."""
    leaves, y, _ = saved
    dy_ = _tensor(dy, True)
    firsts = torch.autograd.grad(y, leaves, dy_, create_graph=True)
    seeds = [_tensor(a) for a in (ddx, ddgamma, ddbeta)]
    return tuple(_array(t) for t in torch.autograd.grad(firsts, [leaves[0], leaves[1], dy_], seeds))


def jvp_train(tx: Any, tgamma: Any, tbeta: Any, saved: Any) -> Any:
    """Push tangents forward (torch.autograd.forward_ad)."""
    leaves, _, (_, momentum, eps) = saved
    tangents = [_tensor(a) for a in (tx, tgamma, tbeta)]
    with forward_ad.dual_level():
        x, gamma, beta = map(forward_ad.make_dual, [leaf.detach() for leaf in leaves], tangents)
        y = batch_norm(x, None, None, gamma, beta, True, momentum, eps)
        return _array(forward_ad.unpack_dual(y).tangent)

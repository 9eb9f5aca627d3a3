"""A batch norm in PyTorch as a target: autograd, forward mode, and every order of the second."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import func

from .orders import orders
from .tensors import array, tensor


def _vjp(f: Any, leaves: Any, dy: Any) -> Any:
    y, pull = func.vjp(f, *leaves)
    return y, pull(dy)


def _jvp(f: Any, leaves: Any, along: Any) -> Any:
    return func.jvp(f, tuple(leaves), tuple(along))


def _units(leaf: Any) -> Any:
    return torch.eye(leaf.numel(), dtype=leaf.dtype).reshape(-1, *leaf.shape)


def _gathered(pairs: Any, leaf: Any) -> Any:
    products = [(a.double() * b.double()).sum() for a, b in pairs]
    return torch.stack(products).to(leaf.dtype).reshape(leaf.shape)


def _twice(f: Any, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradients of the gradient as PyTorch's users take them."""
    given = [t.detach().requires_grad_() for t in (*leaves, dy)]
    firsts = torch.autograd.grad(f(*given[:3]), given[:3], given[3], create_graph=True)
    return torch.autograd.grad(firsts, [given[0], given[1], given[3]], along)


ORDERS = {**orders(_vjp, _jvp, _units, _gathered), "reverse_over_reverse": _twice}


def target(
    run: Callable[..., Any],
    pure: Callable[..., Any] | None = None,
    *,
    masks: bool = False,
    **more: Any,
) -> SimpleNamespace:
    """Return the contract's functions over one function on tensors.

    Args:
        run: (training, x, gamma, beta, mean, var, eps, momentum) -> y, mean and var updated in
            place, as PyTorch does; or y and the new ones.
        pure: (x, gamma, beta, mean, var, eps, momentum) -> y in training, for forward mode and the
            second derivative; without it `run` is called with no running statistics.
        masks: whether both take a mask of bool (n, *spatial) besides, behind momentum.
        more: further functions of the contract, and CONVENTIONS.
    """

    def ran(training: bool, given: Any, mean: Any, var: Any, *others: Any) -> Any:
        leaves = [tensor(a, True) for a in given]
        state = [None if a is None else tensor(a.copy()) for a in (mean, var)]
        y = run(training, *leaves, *state, *others)
        y, *state = y if isinstance(y, tuple) else (y, *state)
        rest = (tensor(mean), tensor(var), *others)
        return array(y), *(array(t) for t in state), (leaves, y, rest)

    def forward_train(
        x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        return ran(True, (x, gamma, beta), mean, var, eps, momentum)

    def with_mask(*given: Any, eps: float, momentum: float, mask: Any = None) -> Any:
        told = () if mask is None else (torch.from_numpy(mask.copy()),)
        return ran(True, given[:3], *given[3:], eps, momentum, *told)

    def forward_eval(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        y, _, _, saved = ran(False, (x, gamma, beta), mean, var, eps, 0.0)
        return y, saved

    def backward(dy: Any, saved: Any) -> Any:
        leaves, y, _ = saved
        given = [leaf for leaf in leaves if leaf is not None]
        found = iter(torch.autograd.grad(y, given, tensor(dy), retain_graph=True))
        return tuple(None if leaf is None else array(next(found)) for leaf in leaves)

    def output(saved: Any) -> Callable[..., Any]:
        if pure is not None:
            return lambda *leaves: pure(*leaves, *saved[2])
        return lambda *leaves: run(True, *leaves, None, None, *saved[2][2:])

    def second_derivative_train(order: str, *given: Any) -> Any:
        *seeds, saved = given
        leaves, seeds = [leaf.detach() for leaf in saved[0]], [tensor(a) for a in seeds]
        return tuple(map(array, ORDERS[order](output(saved), leaves, seeds[:3], seeds[3])))

    def jvp_train(tx: Any, tgamma: Any, tbeta: Any, saved: Any) -> Any:
        with forward_ad.dual_level():
            leaves = [leaf.detach() for leaf in saved[0]]
            duals = map(forward_ad.make_dual, leaves, map(tensor, (tx, tgamma, tbeta)))
            ty = forward_ad.unpack_dual(output(saved)(*duals)).tangent
            if ty is None:
                raise RuntimeError("the tangent is lost: unpack_dual gives None")
            return array(ty)

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

"""The second derivative in PyTorch through every composition of its two modes.

f maps (x, gamma, beta) to y; what is wanted, and why three of the orders give it by the symmetry
of the second derivative and because all is linear in dy, is said in `orders_jax`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.func import jvp, vjp

Output = Callable[..., Any]


def reverse_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradients of the gradient, by torch.autograd.grad twice."""
    given = [t.detach().requires_grad_() for t in (*leaves, dy)]
    firsts = torch.autograd.grad(f(*given[:3]), given[:3], given[3], create_graph=True)
    return torch.autograd.grad(firsts, [given[0], given[1], given[3]], along)


def forward_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangents of y and of its gradient."""

    def both(*p: Any) -> Any:
        y, pull = vjp(f, *p)
        return y, pull(dy)

    _, (ty, by) = jvp(both, tuple(leaves), tuple(along))
    return by[0], by[1], ty


def reverse_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the gradient of the tangent."""
    ty, pull = vjp(lambda *p: jvp(f, p, tuple(along))[1], *leaves)
    by = pull(dy)
    return by[0], by[1], ty


def forward_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> Any:
    """Return the tangent of the tangent along each input in turn, summed with dy in float64."""
    ty = jvp(f, tuple(leaves), tuple(along))[1]
    found = []
    for i in (0, 1):
        by = torch.zeros_like(leaves[i])
        for j in range(by.numel()):
            unit = [torch.zeros_like(t) for t in leaves]
            unit[i].view(-1)[j] = 1
            ty2 = jvp(lambda *p: jvp(f, p, tuple(along))[1], tuple(leaves), tuple(unit))[1]
            by.view(-1)[j] = (ty2.double() * dy.double()).sum()
        found.append(by)
    return found[0], found[1], ty


ORDERS = {
    f.__name__: f
    for f in (
        reverse_over_reverse,
        forward_over_reverse,
        reverse_over_forward,
        forward_over_forward,
    )
}

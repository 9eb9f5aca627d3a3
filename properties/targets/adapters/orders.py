"""The second derivative through every composition of a framework's two modes.

f maps the leaves (x, gamma, beta) to y; wanted are the gradients of <along, f'(leaves)^T dy> by x,
gamma and dy. By symmetry the first two are the derivative of the gradient along `along`, and the
last, since all is linear in dy, is the tangent of y along `along`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Output = Callable[..., Any]
Order = Callable[[Output, Any, Any, Any], tuple[Any, Any, Any]]


def orders(
    vjp: Callable[[Output, Any, Any], tuple[Any, Any]],
    jvp: Callable[[Output, Any, Any], tuple[Any, Any]],
    units: Callable[[Any], Iterator[Any]],
    gathered: Callable[[Any, Any], Any],
) -> dict[str, Order]:
    """Return the orders by name, over what a framework calls its two modes.

    Args:
        vjp: of a function, its arguments, and a cotangent like its result: the result, gradients.
        jvp: of a function, its arguments, and tangents of them: the result, its tangent.
        units: from a leaf to the arrays like it that are 1 at one place and 0 elsewhere.
        gathered: from pairs of arrays, and a leaf, to an array like it: their inner products in
            float64, one for each place.
    """

    def reverse_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> tuple[Any, Any, Any]:
        """Return the gradients of the gradient."""
        by = vjp(lambda *p: vjp(f, p[:3], p[3])[1], (*leaves, dy), along)[1]
        return by[0], by[1], by[3]

    def forward_over_reverse(f: Output, leaves: Any, along: Any, dy: Any) -> tuple[Any, Any, Any]:
        """Return the tangents of y and of its gradient."""

        def both(*p: Any) -> Any:
            y, by = vjp(f, p, dy)
            return (y, *by)

        ty, by_x, by_gamma, *_ = jvp(both, leaves, along)[1]
        return by_x, by_gamma, ty

    def reverse_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> tuple[Any, Any, Any]:
        """Return the gradient of the tangent."""
        ty, by = vjp(lambda *p: jvp(f, p, along)[1], leaves, dy)
        return by[0], by[1], ty

    def forward_over_forward(f: Output, leaves: Any, along: Any, dy: Any) -> tuple[Any, Any, Any]:
        """Return the tangent of the tangent along each input in turn, summed with dy."""

        def tangent(*p: Any) -> Any:
            return jvp(f, p, along)[1]

        still = [leaf * 0 for leaf in leaves]
        found = []
        for i in (0, 1):
            moved = ([*still[:i], unit, *still[i + 1 :]] for unit in units(leaves[i]))
            found.append(gathered([(jvp(tangent, leaves, m)[1], dy) for m in moved], leaves[i]))
        return found[0], found[1], tangent(*leaves)

    made = (reverse_over_reverse, forward_over_reverse, reverse_over_forward, forward_over_forward)
    return {order.__name__: order for order in made}

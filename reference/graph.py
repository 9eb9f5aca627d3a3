"""The derivation, written once: batch norm as a graph of eight nodes.

Each node knows its value and, per parent, how a gradient flows back. The way back is made of the
same nodes, so it can be differentiated again. Values are two-dimensional, (n, c) or (1, c), over
any arithmetic with ``+ - * /``, ``sum`` and, where it is no plain array, ``root`` and ``repeat``:
object arrays of rationals, `DoubleDouble`, `Ball` or float arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt
from operator import attrgetter
from typing import Any

import numpy as np

_order = itertools.count()


@dataclass(eq=False, slots=True)  # frozen, it would take three times as long to make
class Node:
    """A value in the graph, its parents, and the gradient it hands to each of them."""

    value: Any
    parents: tuple[Node, ...] = ()
    pullbacks: tuple[Callable[[Node], Node], ...] = ()
    order: int = field(default_factory=_order.__next__)


def exact_root(value: Fraction) -> Fraction:
    """Return the rational square root of a rational square.

    Raises:
        ValueError: value is not the square of a rational.
    """
    value = Fraction(value)
    if value >= 0:
        root = Fraction(isqrt(value.numerator), isqrt(value.denominator))
        if root * root == value:
            return root
    raise ValueError(f"value={value}: expected the square of a rational; choose eps = r**2 - var")


def _element_root(value: Any) -> Any:
    return value.sqrt() if hasattr(value, "sqrt") else exact_root(value)


def _root_of(value: Any) -> Any:
    if hasattr(value, "root"):
        return value.root()
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return np.frompyfunc(_element_root, 1, 1)(value)
    return np.sqrt(value)


def _repeat_of(value: Any, n: int) -> Any:
    if hasattr(value, "repeat_rows"):
        return value.repeat_rows(n)
    return np.broadcast_to(value, (n, value.shape[1]))


def repeat(a: Node, n: int) -> Node:
    """Copy one row n times; the backward of Repeat is Sum.  # (7)"""
    return Node(_repeat_of(a.value, n), (a,), (lambda g: total(g),))  # (n, c)


def total(a: Node) -> Node:
    """Add the rows up; the backward of Sum is Repeat.  # (7)"""
    n = a.value.shape[0]
    return Node(a.value.sum(axis=0, keepdims=True), (a,), (lambda g: repeat(g, n),))  # (1, c)


def add(a: Node, b: Node) -> Node:
    """Return a + b; both parents get the gradient."""
    return Node(a.value + b.value, (a, b), (lambda g: g, lambda g: g))


def subtract(a: Node, b: Node) -> Node:
    """Return a - b; the second parent gets the negative gradient."""
    return Node(a.value - b.value, (a, b), (lambda g: g, lambda g: negative(g)))


def negative(a: Node) -> Node:
    """Return 0 - a."""
    return Node(0 - a.value, (a,), (lambda g: negative(g),))


def multiply(a: Node, b: Node) -> Node:
    """Return a * b; each parent gets the gradient times the other."""
    return Node(a.value * b.value, (a, b), (lambda g: multiply(g, b), lambda g: multiply(g, a)))


def divide(a: Node, b: Node) -> Node:
    """Return q = a / b; a gets g / b and b gets -(g / b) q."""
    return _divide(a.value / b.value, a, b)


def _divide(value: Any, a: Node, b: Node) -> Node:
    def pullback(g: Node) -> Node:
        q = _divide(value, a, b)  # made anew: a node that held itself would outlive its users
        return negative(multiply(divide(g, b), q))

    return Node(value, (a, b), (lambda g: divide(g, b), pullback))


def square(a: Node) -> Node:
    """Return a squared; the parent gets 2 g a."""
    return Node(a.value * a.value, (a,), (lambda g: multiply(add(g, g), a),))


def root(a: Node) -> Node:
    """Return s, the square root of a; the parent gets g / (2 s)."""
    return _root(_root_of(a.value), a)


def _root(value: Any, a: Node) -> Node:
    def pullback(g: Node) -> Node:
        s = _root(value, a)  # made anew, as above
        return divide(g, add(s, s))

    return Node(value, (a,), (pullback,))


def gradients(outputs: Sequence[tuple[Node, Node]], inputs: Sequence[Node]) -> list[Node | None]:
    """Return the gradient of sum <seed, output> by each input, None where nothing flows.

    Args:
        outputs: pairs (output, seed) of equal shape.
        inputs: the nodes to differentiate by.
    """
    reached = _between([output for output, _ in outputs], inputs)
    within = set(reached)
    arrived: dict[Node, Node] = {}
    for output, seed in outputs:
        arrived[output] = add(arrived[output], seed) if output in arrived else seed
    for node in reversed(reached):
        if node not in arrived:
            continue
        for parent, pullback in zip(node.parents, node.pullbacks, strict=True):
            if parent in within:
                flow = pullback(arrived[node])
                arrived[parent] = add(arrived[parent], flow) if parent in arrived else flow
    return [arrived.get(node) for node in inputs]


def _between(outputs: Sequence[Node], inputs: Sequence[Node]) -> list[Node]:
    """Return the nodes on a path from an input to an output, in the order they were made."""
    first = min(node.order for node in inputs)
    above: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in above and node.order >= first:
            above.add(node)
            stack.extend(node.parents)
    reached = above.intersection(inputs)
    ordered = sorted(above, key=attrgetter("order"))
    for node in ordered:
        if not reached.isdisjoint(node.parents):
            reached.add(node)
    return [node for node in ordered if node in reached]


@dataclass(frozen=True)
class Forward:
    """The nodes of one forward pass, named as in derivation.md."""

    x: Node
    gamma: Node
    beta: Node
    mean: Node
    xc: Node
    var: Node
    std: Node
    xhat: Node
    y: Node


def forward_train(x: Any, gamma: Any, beta: Any, eps: Any) -> Forward:
    """Build the training graph, equations (1) to (6).

    Args:
        x: (n, c), n at least 1.
        gamma, beta: (1, c).
        eps: a scalar or (1, c) of the same arithmetic.
    """
    x_, gamma_, beta_ = Node(x), Node(gamma), Node(beta)
    n = x.shape[0]
    count = Node(n)
    mean = divide(total(x_), count)  # (1)  (1, c)
    xc = subtract(x_, repeat(mean, n))  # (2)  (n, c)
    var = divide(total(square(xc)), count)  # (3)  (1, c)
    return _affine(x_, gamma_, beta_, mean, xc, var, eps)


def forward_eval(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Forward:
    """Build the inference graph, equation (16): the statistics are given, (1, c)."""
    x_, gamma_, beta_, mean_, var_ = Node(x), Node(gamma), Node(beta), Node(mean), Node(var)
    xc = subtract(x_, repeat(mean_, x.shape[0]))  # (n, c)
    return _affine(x_, gamma_, beta_, mean_, xc, var_, eps)


def _affine(x: Node, gamma: Node, beta: Node, mean: Node, xc: Node, var: Node, eps: Any) -> Forward:
    n = x.value.shape[0]
    std = root(add(var, Node(eps)))  # (4)  (1, c)
    xhat = divide(xc, repeat(std, n))  # (5)  (n, c)
    y = add(multiply(repeat(gamma, n), xhat), repeat(beta, n))  # (6)  (n, c)
    return Forward(x, gamma, beta, mean, xc, var, std, xhat, y)


def backward(forward: Forward, dy: Node) -> tuple[Node, Node, Node]:
    """Return dx (n, c), dgamma and dbeta (1, c), node by node: equations (8) to (14), (17)."""
    dx, dgamma, dbeta = gradients([(forward.y, dy)], [forward.x, forward.gamma, forward.beta])
    assert dx is not None and dgamma is not None and dbeta is not None
    return dx, dgamma, dbeta


def double_backward(
    forward: Forward, dy: Node, ddx: Node, ddgamma: Node, ddbeta: Node
) -> tuple[Node, Node, Node]:
    """Return the gradients of <(ddx, ddgamma, ddbeta), backward> by x, gamma, dy: (22) to (24)."""
    dx, dgamma, dbeta = backward(forward, dy)
    pairs = [(dx, ddx), (dgamma, ddgamma), (dbeta, ddbeta)]
    by_x, by_gamma, by_dy = gradients(pairs, [forward.x, forward.gamma, dy])
    assert by_x is not None and by_gamma is not None and by_dy is not None
    return by_x, by_gamma, by_dy


def forward_mode(forward: Forward, tx: Node, tgamma: Node, tbeta: Node) -> Node:
    """Return ty (n, c), equation (21): the transpose of the backward, which is linear in dy."""
    dy = Node(forward.y.value)
    pairs = list(zip(backward(forward, dy), (tx, tgamma, tbeta), strict=True))
    (ty,) = gradients(pairs, [dy])
    assert ty is not None
    return ty

"""The derivation graph: it agrees with the closed forms, and a planted wrong rule is noticed.

A checker is not trusted until a planted error has made it fail: each node's way back is replaced by
a wrong one, and the comparison in exact rationals must see every one of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from reference import exact, graph
from reference.graph import Node

Rule = Callable[[Node], Node]


def mean(a: Any) -> Any:
    return a.sum(axis=0, keepdims=True) / a.shape[0]


def closed_forms(batch: exact.Batch, seeds: tuple[Any, Any, Any]) -> dict[str, Any]:
    """Equations (15), (8), (9), (21) to (24) typed out, with statistics of their own."""
    x, dy, gamma = batch.x, batch.dy, batch.gamma
    (ddx, ddgamma, ddbeta), n = seeds, batch.x.shape[0]
    std = np.frompyfunc(graph.exact_root, 1, 1)(mean((x - mean(x)) ** 2) + batch.eps)
    xhat = (x - mean(x)) / std
    p, q = mean(ddx * xhat), mean(dy * xhat)
    a = mean(ddx * dy) - mean(ddx) * mean(dy)
    tangent = gamma / std * (ddx - mean(ddx) - xhat * p) + ddgamma * xhat + ddbeta
    bracket = xhat * (a - 3 * p * q) + q * (ddx - mean(ddx)) + p * (dy - mean(dy))
    return {
        "dx": gamma / std * (dy - mean(dy) - xhat * q),
        "dgamma": mean(dy * xhat) * n,
        "dbeta": mean(dy) * n,
        "ty": tangent,
        "by dy": tangent,
        "by gamma": n / std * (a - p * q),
        "by x": -gamma / std**2 * bracket + ddgamma / std * (dy - mean(dy) - xhat * q),
    }


def from_graph(batch: exact.Batch, seeds: tuple[Any, Any, Any]) -> dict[str, Any]:
    first, second = exact.train(batch), exact.double_backward(batch, *seeds)
    return {
        "dx": first.dx,
        "dgamma": first.dgamma,
        "dbeta": first.dbeta,
        "ty": exact.forward_mode(batch, *seeds),
        "by dy": second[2],
        "by gamma": second[1],
        "by x": second[0],
    }


def differences(n: int = 3) -> list[str]:
    """Return the names of the results in which graph and closed forms are not equal."""
    draw = random.Random(n)
    batch = exact.draw_channels(draw, n, 2, bits=16)
    shapes = batch.x.shape, batch.gamma.shape, batch.beta.shape
    seeds = tuple(exact.integers(draw, shape, 16) for shape in shapes)
    wanted, got = closed_forms(batch, seeds), from_graph(batch, seeds)  # type: ignore[arg-type]
    return [name for name in wanted if not np.all(wanted[name] == got[name])]


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_graph_equals_the_closed_forms(n: int) -> None:
    """Graph and closed forms are equal, at n = 1 too where dx is zero."""
    assert differences(n) == [], f"n={n}: {differences(n)} differ"


def scaled(node: Node, factor: Any) -> Node:
    return graph.multiply(node, Node(Fraction(factor)))


def with_rules(node: Node, *rules: Rule | None) -> Node:
    """The node with some of its pullbacks replaced."""
    all_rules = [new or old for new, old in zip(rules, node.pullbacks, strict=True)]
    return Node(node.value, node.parents, tuple(all_rules), node.order)


NAMES = ["repeat", "total", "add", "subtract", "negative", "multiply", "divide", "square", "root"]
right = {name: getattr(graph, name) for name in NAMES}

# the node, what is wrong in its way back, and the wrong node
WRONG: list[tuple[str, str, Callable[..., Node]]] = [
    ("repeat", "a mean instead of a sum",
     lambda a, n: with_rules(right["repeat"](a, n),
                             lambda g: scaled(graph.total(g), Fraction(1, n)))),
    ("repeat", "the first row's gradient alone",
     lambda a, n: with_rules(right["repeat"](a, n), lambda g: Node(g.value[:1]))),
    ("total", "the gradient divided by n",
     lambda a: with_rules(right["total"](a), lambda g: graph.repeat(
         scaled(g, Fraction(1, a.value.shape[0])), a.value.shape[0]))),
    ("total", "0.1 % too large",
     lambda a: with_rules(right["total"](a), lambda g: graph.repeat(
         scaled(g, Fraction(1001, 1000)), a.value.shape[0]))),
    ("add", "the second parent forgotten",
     lambda a, b: with_rules(right["add"](a, b), None, lambda g: scaled(g, 0))),
    ("add", "the first parent negated",
     lambda a, b: with_rules(right["add"](a, b), lambda g: scaled(g, -1), None)),
    ("subtract", "the sign lost",
     lambda a, b: with_rules(right["subtract"](a, b), None, lambda g: g)),
    ("subtract", "the first parent doubled",
     lambda a, b: with_rules(right["subtract"](a, b), lambda g: scaled(g, 2), None)),
    ("negative", "the sign lost", lambda a: with_rules(right["negative"](a), lambda g: g)),
    ("multiply", "the other factor lost, first",
     lambda a, b: with_rules(right["multiply"](a, b), lambda g: g, None)),
    ("multiply", "1 % too small, second",
     lambda a, b: with_rules(right["multiply"](a, b), None,
                             lambda g: scaled(right["multiply"](g, a), Fraction(99, 100)))),
    ("divide", "times the divisor", lambda a, b: with_rules(
        right["divide"](a, b), lambda g: graph.multiply(g, b), None)),
    ("divide", "the sign of the divisor's gradient lost", lambda a, b: with_rules(
        right["divide"](a, b), None,
        lambda g: graph.divide(graph.multiply(g, right["divide"](a, b)), b))),
    ("divide", "the divisor once", lambda a, b: with_rules(
        right["divide"](a, b), None,
        lambda g: graph.negative(graph.divide(graph.multiply(g, a), b)))),
    ("square", "the factor 2 lost",
     lambda a: with_rules(right["square"](a), lambda g: graph.multiply(g, a))),
    ("square", "2.001 for 2", lambda a: with_rules(
        right["square"](a), lambda g: scaled(graph.multiply(g, a), Fraction(2001, 1000)))),
    ("root", "the factor 1/2 lost",
     lambda a: with_rules(right["root"](a), lambda g: graph.divide(g, right["root"](a)))),
    ("root", "0.1 % too large", lambda a: with_rules(
        right["root"](a),
        lambda g: scaled(graph.divide(g, scaled(right["root"](a), 2)), Fraction(1001, 1000)))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what", "wrong"), WRONG, ids=[f"{w[0]}: {w[1]}" for w in WRONG])
def test_planted_wrong_pullback_is_seen(
    name: str, what: str, wrong: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose way back is wrong makes the comparison with the closed forms fail."""
    monkeypatch.setattr(graph, name, wrong)
    assert differences(), f"{name}: {what} went unnoticed"


def test_every_node_has_a_planted_error() -> None:
    """Each of the graph's operations occurs in the table of wrong rules."""
    assert {name for name, _, _ in WRONG} == set(right), "a node has no planted error"


def test_gradient_is_none_where_nothing_flows() -> None:
    """An input that the output does not depend on gets None, not zero."""
    a, b = Node(exact.rationals([[1]])), Node(exact.rationals([[2]]))
    flows = graph.gradients([(graph.square(a), Node(exact.rationals([[1]])))], [a, b])
    assert flows[0] is not None, "a: expected a gradient"
    assert flows[0].value[0, 0] == 2, f"a: got {flows[0].value}, wanted 2"
    assert flows[1] is None, f"b: got {flows[1]}, wanted None"


def test_gradients_of_one_node_by_two_paths_add_up() -> None:
    """A node that is used twice collects both gradients, also as an output named twice."""
    a, one = Node(exact.rationals([[3]])), Node(exact.rationals([[1]]))
    product = graph.multiply(a, a)
    (flow,) = graph.gradients([(product, one), (product, one)], [a])
    assert flow is not None, "expected a gradient"
    assert flow.value[0, 0] == 12, f"got {flow.value}, wanted 12"


def test_root_of_a_number_that_is_no_square_is_refused() -> None:
    """The rational root names the value and the remedy."""
    with pytest.raises(ValueError, match=r"value=2: expected the square of a rational; choose eps"):
        graph.exact_root(Fraction(2))
    with pytest.raises(ValueError, match=r"value=-4"):
        graph.exact_root(Fraction(-4))

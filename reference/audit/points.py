"""The points a formula is tried at, and what the derivation says each quantity is there.

A point holds every documented name. Names that the derivation computes (mean, xhat, …) come from
`reference.graph`, run over the same numbers as the formula.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from .. import exact, graph
from .arithmetic import Atom, Degree
from .numbers import Number, numbers

ROWS = {"x", "dy", "xc", "xhat", "y", "dxhat", "dxc", "dx", "ddx", "tx", "ty", "grad_x", "grad_dy"}
CHANNELS = {
    "gamma", "beta", "mean", "var", "std", "rstd", "running_mean", "running_var", "ddgamma",
    "ddbeta", "tgamma", "tbeta", "dgamma", "dbeta", "dstd", "dvar", "dmean", "grad_gamma",
    "new_running_mean", "new_running_var",
}  # fmt: skip
GIVEN = (
    "x", "xc", "xhat", "mean", "var", "std", "rstd", "y", "dy", "gamma", "beta", "eps", "n",
    "momentum", "running_mean", "running_var", "ddx", "ddgamma", "ddbeta", "tx", "tgamma", "tbeta",
)  # fmt: skip
QUANTITIES = {
    "train": (
        "dx", "dgamma", "dbeta", "dxhat", "dstd", "dvar", "dxc", "dmean", "y", "xhat", "xc", "mean",
        "var", "std", "rstd", "ty", "grad_x", "grad_gamma", "grad_dy", "new_running_mean",
        "new_running_var",
    ),
    "eval": ("dx", "dgamma", "dbeta", "dxhat", "y", "xhat", "xc", "std", "rstd"),
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is asked: the mode, and the conventions of the running statistics."""

    mode: str = "train"
    momentum: str = "keep"
    running_var: str = "biased"


@dataclass(frozen=True)
class Point:
    """One batch with all that a formula may name: rows are (n, c), channel values (1, c)."""

    question: Question
    batch: exact.Batch
    extras: Mapping[str, Any]  # momentum, old running statistics, ddx, tx, …

    @property
    def shape(self) -> tuple[int, int]:
        n, c = self.batch.x.shape
        return n, c

    @cached_property
    def forward(self) -> graph.Forward:
        batch = self.batch
        if self.question.mode == "train":
            return graph.forward_train(batch.x, batch.gamma, batch.beta, batch.eps)
        statistics = batch.running_mean, batch.running_var
        return graph.forward_eval(batch.x, batch.gamma, batch.beta, *statistics, batch.eps)

    @cached_property
    def given(self) -> dict[str, Any]:
        """Every documented name with its value."""
        nodes, batch = self.forward, self.batch
        values = {name: getattr(nodes, name).value for name in ("mean", "var", "std", "xc", "xhat")}
        values |= {"x": batch.x, "dy": batch.dy, "gamma": batch.gamma, "beta": batch.beta}
        values |= {"rstd": 1 / values["std"], "y": nodes.y.value, "n": batch.x.shape[0]}
        return values | {"eps": batch.eps} | dict(self.extras)

    @cached_property
    def _answers(self) -> dict[str, Any]:
        return {}

    def truth(self, quantity: str) -> Any:
        """Return what the derivation says the quantity is, computed once."""
        if quantity not in self._answers:
            self._answers.update(_answer(self, quantity))
        return self._answers[quantity]


def _answer(point: Point, quantity: str) -> dict[str, Any]:
    if quantity in point.given:
        return {quantity: point.given[quantity]}
    if quantity.startswith("new_running"):
        return _running(point)
    if quantity.startswith("grad_"):
        return _double(point)
    if quantity == "ty":
        return {"ty": _forward_mode(point)}
    return _first(point)


def _first(point: Point) -> dict[str, Any]:
    """The gradients by every node of the forward pass; a missing path leaves None out."""
    nodes, seed = point.forward, graph.Node(point.batch.dy)
    names = ["x", "gamma", "beta", "xhat", "std", "var", "xc", "mean"]
    flows = graph.gradients([(nodes.y, seed)], [getattr(nodes, name) for name in names])
    pairs = zip(names, flows, strict=True)
    return {f"d{name}": flow.value for name, flow in pairs if flow is not None}


def _seeds(point: Point, *names: str) -> list[graph.Node]:
    return [graph.Node(point.extras[name]) for name in names]


def _double(point: Point) -> dict[str, Any]:
    seeds = _seeds(point, "ddx", "ddgamma", "ddbeta")
    flows = graph.double_backward(point.forward, graph.Node(point.batch.dy), *seeds)
    names = ["grad_x", "grad_gamma", "grad_dy"]
    return {name: flow.value for name, flow in zip(names, flows, strict=True)}


def _forward_mode(point: Point) -> Any:
    return graph.forward_mode(point.forward, *_seeds(point, "tx", "tgamma", "tbeta")).value


def _running(point: Point) -> dict[str, Any]:
    """Equations (18) and (19) in the convention that is asked for."""
    n, momentum = point.shape[0], point.extras["momentum"]
    kept = momentum if point.question.momentum == "keep" else 1 - momentum
    var = point.given["var"]
    if point.question.running_var == "unbiased":
        var = var * n / (n - 1)
    old_mean, old_var = point.extras["running_mean"], point.extras["running_var"]
    return {
        "new_running_mean": kept * old_mean + (1 - kept) * point.given["mean"],  # (18)
        "new_running_var": kept * old_var + (1 - kept) * var,  # (19)
    }


def _extras(random: _random.Random, batch: exact.Batch, mode: str, bits: int) -> dict[str, Any]:
    shape, row = batch.x.shape, batch.gamma.shape
    extras: dict[str, Any] = {name: exact.integers(random, shape, bits) for name in ("ddx", "tx")}
    for name in ("ddgamma", "ddbeta", "tgamma", "tbeta", "running_mean", "running_var"):
        extras[name] = exact.integers(random, row, bits)
    extras["running_var"] = abs(extras["running_var"]) + 1
    extras["momentum"] = Fraction(random.getrandbits(bits), 1 << bits)
    if mode == "eval":
        extras["running_mean"], extras["running_var"] = batch.running_mean, batch.running_var
    return extras


def draw_point(random: _random.Random, question: Question, n: int, c: int, bits: int = 64) -> Point:
    """Draw a point whose roots are rational (reference.exact says how)."""
    if question.mode == "eval":
        batch = exact.draw_eval(random, n, c, bits=bits)
    elif c == 1:
        batch = exact.draw_channel(random, n, bits=bits)
    else:
        batch = exact.draw_channels(random, n, c, bits=bits)
    return Point(question, batch, _extras(random, batch, question.mode, bits))


def degree_point(point: Point, *, values: bool) -> Point:
    """Return the point's numbers as degrees in what was drawn (x, r, e, t, …).

    One channel: x, dy, gamma, beta and the root r have degree 1, eps = r**2 - var has 2. Several:
    x = 2 e t u / (var(u) - t**2) has degree 3 over 2. Inference: eps has degree 1, running_var 2.

    Args:
        values: also carry the point's values, for code that compares numbers.
    """
    shared = _shared(point)

    def degrees(array: Any, num: int, dens: list[dict[Atom, int]] | None = None) -> Any:
        result = np.empty(array.shape, dtype=object)
        for index, value in np.ndenumerate(array):
            den = dens[index[-1]] if dens else {}
            result[index] = Number(Degree(num, dict(den), 64, value if values else None))
        return result

    batch, extras = point.batch, point.extras
    training = point.question.mode == "train"
    eps = degrees(np.array([batch.eps], dtype=object), 2 if training else 1)[0]
    new = exact.Batch(
        x=degrees(batch.x, 3 if shared else 1, shared), dy=degrees(batch.dy, 1),
        gamma=degrees(batch.gamma, 1), beta=degrees(batch.beta, 1), eps=eps,
        running_mean=degrees(batch.running_mean, 1), running_var=degrees(batch.running_var, 2),
    )  # fmt: skip
    more = {name: degrees(np.array(value, dtype=object), 1) for name, value in extras.items()}
    more["momentum"] = more["momentum"].item()
    if not training:
        more |= {"running_mean": new.running_mean, "running_var": new.running_var}
    return Point(point.question, new, more)


def _shared(point: Point) -> list[dict[Atom, int]] | None:
    """The denominators of x, one per channel, where several channels share one eps."""
    channels = point.shape[1]
    if point.question.mode == "eval" or channels == 1:
        return None
    return [{Atom(2): 1} for _ in range(channels)]


def as_numbers(point: Point) -> Point:
    """Return the point with every Fraction wrapped as a Number, for running formulas on it."""
    extras = {name: numbers(value) for name, value in point.extras.items()}
    given = {name: value if name == "n" else numbers(value) for name, value in point.given.items()}
    new = replace(point, extras=extras)
    new.__dict__["given"] = given  # cached: no need to run the graph again over Numbers
    return new


Draw = Callable[[], Point]

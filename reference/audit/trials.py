"""The trials of a formula, and what the derivation says each quantity is there.

A trial holds every documented name. Names that the derivation computes (mean, xhat, …) come from
`reference.graph`, run over the same numbers as the formula.
"""

from __future__ import annotations

import random as _random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

from .. import exact, graph
from .numbers import numbers

BITS = 64


@dataclass(frozen=True)
class Question:
    """What is asked: the mode, and the conventions of the running statistics."""

    mode: str = "train"
    momentum: str = "keep"
    running_var: str = "biased"


@dataclass(frozen=True)
class Trial:
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
    def as_numbers(self) -> dict[str, Any]:
        """Every documented name with its value as Numbers, for formulas to run on."""
        return {name: v if name == "n" else numbers(v) for name, v in self.given.items()}

    @cached_property
    def _answers(self) -> dict[str, Any]:
        return {}

    def truth(self, quantity: str) -> Any:
        """Return what the derivation says the quantity is, computed once."""
        if quantity not in self._answers:
            self._answers.update(_answer(self, quantity))
        return self._answers[quantity]


def _answer(trial: Trial, quantity: str) -> dict[str, Any]:
    if quantity in trial.given:
        return {quantity: trial.given[quantity]}
    if quantity.startswith("new_running"):
        return _running(trial)
    if quantity.startswith("grad_"):
        return _double(trial)
    if quantity == "ty":
        return {"ty": _forward_mode(trial)}
    return _first(trial)


def _first(trial: Trial) -> dict[str, Any]:
    """The gradients by every node of the forward pass; a missing path leaves None out."""
    nodes, seed = trial.forward, graph.Node(trial.batch.dy)
    names = ["x", "gamma", "beta", "xhat", "std", "var", "xc", "mean"]
    flows = graph.gradients([(nodes.y, seed)], [getattr(nodes, name) for name in names])
    pairs = zip(names, flows, strict=True)
    return {f"d{name}": flow.value for name, flow in pairs if flow is not None}


def _seeds(trial: Trial, *names: str) -> list[graph.Node]:
    return [graph.Node(trial.extras[name]) for name in names]


def _double(trial: Trial) -> dict[str, Any]:
    seeds = _seeds(trial, "ddx", "ddgamma", "ddbeta")
    flows = graph.double_backward(trial.forward, graph.Node(trial.batch.dy), *seeds)
    names = ["grad_x", "grad_gamma", "grad_dy"]
    return {name: flow.value for name, flow in zip(names, flows, strict=True)}


def _forward_mode(trial: Trial) -> Any:
    return graph.forward_mode(trial.forward, *_seeds(trial, "tx", "tgamma", "tbeta")).value


def _running(trial: Trial) -> dict[str, Any]:
    """Equations (18) and (19) in the convention that is asked for."""
    n, momentum = trial.shape[0], trial.extras["momentum"]
    keep = momentum if trial.question.momentum == "keep" else 1 - momentum
    var = trial.given["var"]
    if trial.question.running_var == "unbiased":
        var = var * n / (n - 1)
    old_mean, old_var = trial.extras["running_mean"], trial.extras["running_var"]
    return {
        "new_running_mean": keep * old_mean + (1 - keep) * trial.given["mean"],  # (18)
        "new_running_var": keep * old_var + (1 - keep) * var,  # (19)
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


def draw_trial(
    random: _random.Random, question: Question, n: int, c: int, bits: int = BITS
) -> Trial:
    """Draw a trial whose roots are rational (reference.exact says how)."""
    if question.mode == "eval":
        batch = exact.draw_eval(random, n, c, bits=bits)
    elif c == 1:
        batch = exact.draw_channel(random, n, bits=bits)
    else:
        batch = exact.draw_channels(random, n, c, bits=bits)
    return Trial(question, batch, _extras(random, batch, question.mode, bits))


@lru_cache(maxsize=512)
def trial_at(seed: int, question: Question, n: int, c: int, index: int) -> Trial:
    """Return the random trial of this number."""
    return draw_trial(_random.Random(f"{seed}-{question}-{n}-{c}-{index}"), question, n, c)

"""The calls that the invariants make, and the small sums they are judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..model import contract
from ..model.cases import Case
from ..model.contract import Array, Gradients, Target, Trained
from ..model.expected import Wanted, rows
from ..model.verdict import Claim


def trained(
    target: Target, case: Case, keep_layout: bool = False, more: Mapping[str, Any] | None = None
) -> Trained:
    """Run forward_train on the case, with more arguments by name if there are such."""
    return contract.train(
        target,
        case.x,
        case.gamma,
        case.beta,
        case.running_mean,
        case.running_var,
        eps=case.eps,
        momentum=case.momentum,
        keep_layout=keep_layout,
        more=more,
    )


def trained_back(target: Target, case: Case) -> Gradients:
    """Run forward_train and backward_train on the case."""
    return contract.backward(target, case.dy, trained(target, case).saved, case.gamma)


def evaluated(target: Target, case: Case, mean: Any = None, var: Any = None) -> tuple[Array, Any]:
    """Run forward_eval on the case, at its running statistics unless others are given."""
    mean = case.running_mean if mean is None else mean
    var = case.running_var if var is None else var
    return contract.evaluate(target, case.x, case.gamma, case.beta, mean, var, eps=case.eps)


def plain(case: Case) -> Case:
    """Return the case with gamma one and beta zero, so that y is xhat."""

    def make() -> Case:
        if case.gamma is None:
            return case
        one, zero = np.ones_like(case.gamma), np.zeros_like(case.gamma)
        return replace(case, gamma=one, beta=zero)

    return case.memo("plain", make)


def with_x(case: Case, key: Any, x: Array, **changes: Any) -> Case:
    """Return the case with another x (and dy of its shape), made once per key."""
    return case.memo(("with_x", key), lambda: replace(case, x=x, **changes))


def agrees(quantity: str, case: Case, got: Array, wanted: Wanted, scale: Any = None) -> Claim:
    """Claim that an array of x's shape agrees with wanted rows."""
    return Claim(quantity, rows(case, got), wanted.value, wanted.radius, scale)


def own(case: Case, result: Array, right: Wanted) -> Wanted:
    """Return a target's own result in rows as what is wanted of it elsewhere."""
    return Wanted(rows(case, result), 2 * right.radius)


def parameter_agrees(quantity: str, got: Array | None, wanted: Wanted) -> list[Claim]:
    """Claim that a parameter's array (c,) agrees with a wanted row; nothing if there is none."""
    if got is None:
        return []
    got = got.astype(np.float64).reshape(1, -1)
    return [Claim(quantity, got, wanted.value, wanted.radius)]


def total(a: Array) -> Array:
    """Return the exactly rounded sum over the rows, (1, c); NaN where a term is not finite."""
    finite = np.isfinite(a).all(axis=0)
    columns = np.where(finite, a, 0.0).T.tolist()
    return np.where(finite, [[math.fsum(column) for column in columns]], np.nan)


def inner(a: Array, b: Array) -> tuple[Array, Array]:
    """Return sum(a * b) per column and the rounding of its products, each (1, c)."""
    products = a * b
    vanished = len(a) * 2.0**-1074  # what each product may lose among the subnormals
    return total(products), 2.0**-52 * np.abs(products).sum(axis=0, keepdims=True) + vanished

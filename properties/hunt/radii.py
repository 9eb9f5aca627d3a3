"""What a case must give, with the radius of sums in any order and of sums in pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reference import rounding
from reference.ball import Precision
from reference.float64 import Reference, reference_train
from reference.rounding_second import second_radii, tangent_radius

from ..invariants.second_order import tangent_rows
from ..model import expected
from ..model.cases import Case
from ..model.contract import Array
from ..model.expected import rows

_TERM = 2.0**52  # a reference's bound is 2**-52 of the largest term that is added


class Certified(NamedTuple):
    """A wanted value in rows, its two radii, and the largest term of each channel, (1, c)."""

    value: Array
    radius: Array
    pairwise: Array
    term: Array


def _largest(term: Array) -> Array:
    return np.asarray(np.abs(term).max(axis=0, keepdims=True))


def _orders(case: Case, *, state: bool = False) -> tuple[Precision, Precision]:
    """Return the precisions of sums in any order and in pairs."""
    return (
        expected.precision_of(case, state=state),
        expected.precision_of(case, state=state, pairwise=True),
    )


def _spread(case: Case, p: expected.Pass, pr: Precision) -> rounding.Spread:
    return case.memo(
        ("hunt spread", pr), lambda: rounding.statistics_spread(p.x, p.ref, case.eps, pr)
    )


def _certified(ref: Reference, name: str, radii: list[Array]) -> Certified:
    bound = ref.bound[name]
    any_order, pairwise = (radius + bound for radius in radii)
    return Certified(ref.value[name], any_order, pairwise, _largest(bound * _TERM))


def output(case: Case) -> Certified:
    """Return y in training, (n, c).  # (44)"""
    p = expected.training(case)
    radii = [
        rounding.output_radius(p.x, p.ref, p.gamma, p.beta, _spread(case, p, pr), pr)
        for pr in _orders(case)
    ]
    return _certified(p.ref, "y", radii)


def gradient(case: Case, name: str) -> Certified:
    """Return dx (n, c), dgamma or dbeta (1, c) in training.  # (45)"""
    p = expected.training(case, gradients=True)
    radii = [
        rounding.gradient_radii(p.x, p.dy, p.ref, p.gamma, _spread(case, p, pr), pr)[name]
        for pr in _orders(case)
    ]
    return _certified(p.ref, name, radii)


def running(case: Case, name: str) -> Certified:
    """Return running_mean or running_var after one batch, (1, c).  # (18), (19)"""
    p, n = expected.training(case), case.conventions.rows(case.x).shape[0]
    state, start = (case.running_mean, 0.0) if name == "running_mean" else (case.running_var, 1.0)
    old, keep = expected.row(state, p.x, start), expected.keep_of(case)
    unbiased = case.conventions.running_var == "unbiased" and n > 1
    factor = n / (n - 1) if unbiased and name == "running_var" else 1.0
    radii = []
    for pr in _orders(case, state=True):
        spread = _spread(case, p, expected.precision_of(case, pairwise=pr.pairwise))
        if name == "running_mean":
            batch, radius = p.ref.mean, spread.mean + p.ref.bound["mean"]
            size = np.abs(p.x).mean(axis=0, keepdims=True)
        else:
            batch, radius = p.ref.var * factor, spread.var * factor + p.ref.bound["var"] * 2
            radius = radius + (4 * pr.magnitude(batch) if unbiased else 0.0)
            size = batch
        value = old if keep == 1.0 else keep * old + (1.0 - keep) * batch
        own = rounding.running_radius(old, batch, radius, keep, case.momentum, pr)
        radii.append(own + 2.0**-51 * np.abs(value))
    term = keep * np.abs(old) + (1.0 - keep) * size
    return Certified(value, radii[0], radii[1], _largest(term))


def inference(case: Case, name: str) -> Certified:
    """Return y or dx in inference, (n, c); nothing is summed, so the two radii are one."""
    assert case.running_mean is not None and case.running_var is not None
    state = (case.running_mean, case.running_var)
    p, pr = expected.inference(case, *state), expected.precision_of(case)
    if name == "y":
        radius = rounding.output_radius(p.x, p.ref, p.gamma, p.beta, p.spread, pr)
    else:
        radius = rounding.eval_gradient_radius(p.dy, p.ref, p.gamma, p.spread, pr)
    return _certified(p.ref, name, [radius, radius])


def tangent(case: Case) -> Certified:
    """Return ty in forward mode, (n, c).  # (21)"""
    p, given = expected.training(case), tangent_rows(case)
    ref = reference_train(p.x, None, p.gamma, p.beta, case.eps, tangents=given)
    radii = [
        pr.stored(ref.ty, tangent_radius(p.x, given, p.ref, p.gamma, _spread(case, p, pr), pr))
        for pr in _orders(case)
    ]
    return _certified(ref, "ty", radii)


def second(case: Case, name: str) -> Certified:
    """Return a gradient of the backward: ddx_x, ddx_dy (n, c) or ddx_gamma (1, c).  # (22)"""
    x, dy, given = rows(case, case.x), rows(case, case.dy), tangent_rows(case)
    p = expected.training(case, gradients=True)
    ref = reference_train(x, dy, p.gamma, p.beta, case.eps, seconds=given)
    radii = [
        second_radii(x, dy, given, ref, p.gamma, _spread(case, p, pr), pr)[name]
        for pr in _orders(case)
    ]
    return _certified(ref, name, radii)

"""What holds of forward mode and of the double backward."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from reference.float64 import reference_train
from reference.rounding_second import second_radii, tangent_radius

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target
from ..model.expected import Wanted, row, rows
from ..model.verdict import Claim
from .calls import agrees, inner, parameter_agrees, trained, trained_back
from .registry import invariant


def tangents(case: Case) -> tuple[Array, Array, Array]:
    assert case.gamma is not None
    c, dtype = case.gamma.shape, case.gamma.dtype
    return case.like_x(8), case.like_x(9, c).astype(dtype), case.like_x(10, c).astype(dtype)


def tangent_rows(case: Case) -> tuple[Array, Array, Array]:
    tx, tgamma, tbeta = tangents(case)
    tx = rows(case, tx)
    return tx, row(tgamma, tx, 0.0), row(tbeta, tx, 0.0)


def _ty(case: Case) -> Wanted:
    p, given = expected.training(case), tangent_rows(case)
    with np.errstate(all="ignore"):
        ref = reference_train(p.x, None, p.gamma, p.beta, case.eps, tangents=given)
        pr = expected.precision_of(case)
        radius = pr.stored(ref.ty, tangent_radius(p.x, given, p.ref, p.gamma, p.spread, pr))
    return Wanted(ref.ty, radius + ref.bound["ty"])


@invariant("tangent_ignores_mean", "jvp_train", inputs="well_affine")
def forward_mode_agrees_with_reference(target: Target, case: Case) -> Iterable[Claim]:
    """The tangent of the output agrees with the reference.

    J is symmetric, so it is (15) with tx for dy, plus tgamma * xhat + tbeta, (21).
    """
    wanted = case.memo("ty", lambda: _ty(case))
    got = contract.forward_mode(target, *tangents(case), trained(target, case).saved)
    yield agrees("ty", case, got, wanted)


@invariant(
    "dx_is_0.1_percent_too_large", "jvp_train", "backward_train", inputs="well_affine", weight=0.6
)
def forward_mode_is_the_transpose_of_backward(target: Target, case: Case) -> Iterable[Claim]:
    """The tangent along dy is the gradient along the tangents: <Jt, dy> = <t, J'dy>.

    One linear map, read from both sides.
    """
    wanted, back = case.memo("ty", lambda: _ty(case)), expected.gradients(case)
    tx, tgamma, tbeta = tangent_rows(case)
    dy = rows(case, case.dy)
    ty = contract.forward_mode(target, *tangents(case), trained(target, case).saved)
    got = trained_back(target, case)
    assert got.dgamma is not None and got.dbeta is not None
    left, left_rounding = inner(rows(case, ty), dy)
    right, right_rounding = inner(rows(case, got.dx), tx)
    affine = tgamma * row(got.dgamma, tx, 0.0) + tbeta * row(got.dbeta, tx, 0.0)
    radius = (wanted.radius * np.abs(dy) + back["dx"].radius * np.abs(tx)).sum(0, keepdims=True)
    radius = radius + np.abs(tgamma) * back["dgamma"].radius + np.abs(tbeta) * back["dbeta"].radius
    radius = radius + left_rounding + right_rounding + 2.0**-50 * (np.abs(affine) + np.abs(right))
    scale = np.abs(wanted.value * dy).sum(axis=0, keepdims=True)
    yield Claim("<Jt, dy>", left, right + affine, radius, scale)


@invariant(
    "double_backward_ignores_variance",
    "double_backward_train",
    "backward_train",
    inputs="well_affine",
    weight=0.6,
)
def double_backward_agrees_with_reference(target: Target, case: Case) -> Iterable[Claim]:
    """The gradients of the backward agree with the derivation graph differentiated twice.

    (22) to (24), with ddx off the span of 1 and xhat.
    """

    def make() -> dict[str, Wanted]:
        p, given = expected.training(case, gradients=True), tangent_rows(case)
        with np.errstate(all="ignore"):
            ref = reference_train(p.x, p.dy, p.gamma, p.beta, case.eps, seconds=given)
            radii = second_radii(
                p.x, p.dy, given, ref, p.gamma, p.spread, expected.precision_of(case)
            )
        return {name: Wanted(ref.value[name], r + ref.bound[name]) for name, r in radii.items()}

    wanted = case.memo("double backward", make)
    result = trained(target, case)
    if target.functions.get("backward_train"):
        contract.backward(target, case.dy, result.saved, case.gamma)
    by_x, by_gamma, by_dy = contract.double_backward(target, *tangents(case), case.dy, result.saved)
    yield agrees("the gradient by x", case, by_x, wanted["ddx_x"])
    yield from parameter_agrees("the gradient by gamma", by_gamma, wanted["ddx_gamma"])
    yield agrees("the gradient by dy", case, by_dy, wanted["ddx_dy"])

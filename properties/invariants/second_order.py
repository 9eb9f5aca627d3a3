"""What holds of forward mode and of the double backward."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Target
from ..model.expected import row, rows
from ..model.further import tangent_rows, tangents
from ..model.verdict import Claim
from ..model.wanted import wanted
from .calls import agrees, inner, parameter_agrees, trained, trained_back
from .registry import invariant


@invariant("tangent_ignores_mean", "jvp_train", inputs="well_affine")
def forward_mode_agrees_with_reference(target: Target, case: Case) -> Iterable[Claim]:
    """The tangent of the output agrees with the reference.

    J is symmetric, so it is (15) with tx for dy, plus tgamma * xhat + tbeta, (21).
    """
    got = contract.forward_mode(target, *tangents(case), trained(target, case).saved)
    yield agrees("ty", case, got, wanted(case, "ty"))


@invariant(
    "dx_is_0.1_percent_too_large", "jvp_train", "backward_train", inputs="well_affine", weight=0.6
)
def forward_mode_is_the_transpose_of_backward(target: Target, case: Case) -> Iterable[Claim]:
    """The tangent along dy is the gradient along the tangents: <Jt, dy> = <t, J'dy>.

    One linear map, read from both sides.
    """
    tangent, back = wanted(case, "ty"), expected.gradients(case)
    tx, tgamma, tbeta = tangent_rows(case)
    dy = rows(case, case.dy)
    ty = contract.forward_mode(target, *tangents(case), trained(target, case).saved)
    got = trained_back(target, case)
    assert got.dgamma is not None and got.dbeta is not None
    left, left_rounding = inner(rows(case, ty), dy)
    right, right_rounding = inner(rows(case, got.dx), tx)
    affine = tgamma * row(got.dgamma, tx, 0.0) + tbeta * row(got.dbeta, tx, 0.0)
    radius = (tangent.radius * np.abs(dy) + back["dx"].radius * np.abs(tx)).sum(0, keepdims=True)
    radius = radius + np.abs(tgamma) * back["dgamma"].radius + np.abs(tbeta) * back["dbeta"].radius
    radius = radius + left_rounding + right_rounding + 2.0**-50 * (np.abs(affine) + np.abs(right))
    scale = np.abs(tangent.value * dy).sum(axis=0, keepdims=True)
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
    result = trained(target, case)
    if target.functions.get("backward_train"):
        contract.backward(target, case.dy, result.saved, case.gamma)
    by_x, by_gamma, by_dy = contract.double_backward(target, *tangents(case), case.dy, result.saved)
    yield agrees("the gradient by x", case, by_x, wanted(case, "by_x"))
    yield from parameter_agrees("the gradient by gamma", by_gamma, wanted(case, "by_gamma"))
    yield agrees("the gradient by dy", case, by_dy, wanted(case, "by_dy"))

"""What holds of the gradients in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from reference.differences import derivative_along
from reference.float64 import reference_train

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target
from ..model.expected import Wanted, rows
from ..model.layouts import arrange, layouts_of
from ..model.verdict import Claim, is_true, same_bits
from .calls import agrees, inner, own, parameter_agrees, total, trained, trained_back
from .forward import exact_scale, scaled
from .registry import invariant


@invariant("mean_path_missing", "backward_train")
def input_gradient_agrees_with_reference(target: Target, case: Case) -> Iterable[Claim]:
    """The input gradient agrees with the float64 reference.

    gamma * rstd * (dy - mean(dy) - xhat * mean(dy * xhat)), (15).
    """
    yield agrees("dx", case, trained_back(target, case).dx, expected.gradients(case)["dx"])


@invariant("dgamma_without_rstd", "backward_train", "dgamma", inputs="affine")
def gamma_gradient_is_sum_of_dy_xhat(target: Target, case: Case) -> Iterable[Claim]:
    """The gradient of gamma is the sum of dy * xhat.

    gamma multiplies xhat in (6), hence (9).
    """
    got = trained_back(target, case).dgamma
    yield from parameter_agrees("dgamma", got, expected.gradients(case)["dgamma"])


@invariant("dbeta_is_a_mean", "backward_train", "dbeta", inputs="affine")
def beta_gradient_is_sum_of_dy(target: Target, case: Case) -> Iterable[Claim]:
    """The gradient of beta is the sum of dy.

    beta is repeated over the batch, and the backward of Repeat is Sum, (7), (8).
    """
    got = trained_back(target, case).dbeta
    yield from parameter_agrees("dbeta", got, expected.gradients(case)["dbeta"])


@invariant("gradient_means_of_1024_rows", "backward_train", inputs="large", weight=0.1)
def large_batches_lose_no_gradient(target: Target, case: Case) -> Iterable[Claim]:
    """Every row of a large batch is counted in the gradients.

    The sums of (15), (9) and (8) run over all rows, in the forward as in the backward.
    """
    got, wanted = trained_back(target, case), expected.gradients(case)
    yield agrees("dx", case, got.dx, wanted["dx"])
    yield from parameter_agrees("dgamma", got.dgamma, wanted["dgamma"])
    yield from parameter_agrees("dbeta", got.dbeta, wanted["dbeta"])


@invariant("returns_another_dtype", "backward_train")
def gradients_have_the_given_dtypes(target: Target, case: Case) -> Iterable[Claim]:
    """dx has the dtype of x, dgamma and dbeta that of gamma.

    The contract's table of dtypes; shapes are held at every call.
    """
    got = trained_back(target, case)
    yield is_true(
        f"dx has dtype {got.dx.dtype}, x has {case.x.dtype}", got.dx.dtype == case.x.dtype
    )
    for name, a in (("dgamma", got.dgamma), ("dbeta", got.dbeta)):
        if a is not None and case.gamma is not None:
            text = f"{name} has dtype {a.dtype}, gamma has {case.gamma.dtype}"
            yield is_true(text, a.dtype == case.gamma.dtype)


@invariant("mean_path_missing", "backward_train")
def input_gradient_sums_to_zero(target: Target, case: Case) -> Iterable[Claim]:
    """The input gradient of each channel sums to zero.

    A shift of x does not change y, so the gradient has nothing along 1, (30).
    """
    wanted, p = expected.gradients(case)["dx"], expected.training(case, gradients=True)
    dx = rows(case, trained_back(target, case).dx)
    scale = np.abs(p.gamma) * p.ref.rstd * np.abs(p.dy).sum(axis=0, keepdims=True)
    yield Claim("sum of dx", total(dx), 0 * scale, wanted.radius.sum(axis=0, keepdims=True), scale)


@invariant("variance_path_missing", "backward_train")
def input_gradient_along_xhat_is_damped_by_eps(target: Target, case: Case) -> Iterable[Claim]:
    """The input gradient along xhat is what comes in times eps / (var + eps).

    Without eps a change of scale would change nothing; eps lets that share through, (31).
    """
    wanted, p = expected.gradients(case)["dx"], expected.training(case, gradients=True)
    xhat = p.ref.xhat
    got, rounding = inner(rows(case, trained_back(target, case).dx), xhat)
    slope = np.abs(p.gamma) * p.ref.rstd
    want = p.gamma * p.ref.rstd * p.ref.dgamma * (case.eps / (p.ref.var + case.eps))
    scale = slope * np.abs(p.dy * xhat).sum(axis=0, keepdims=True)
    radius = (wanted.radius * np.abs(xhat)).sum(axis=0, keepdims=True) + rounding + 2.0**-49 * scale
    # xhat and dgamma are themselves rounded, to subnormals where x is
    felt = np.abs(wanted.value) + slope * np.abs(p.dy)
    radius = radius + (felt * p.ref.bound["xhat"]).sum(axis=0, keepdims=True)
    radius = radius + slope * p.ref.bound["dgamma"] + 4 * 2.0**-1074
    yield Claim("sum of dx * xhat", got, want, radius, scale)


def _noisy_output(target: Target, case: Case) -> tuple[bool, Array]:
    """Return whether the target's own forward can be differenced, and the noise of its values."""
    own = case.recipe.dtype == "float64"
    wanted = expected.output(case)
    return own, wanted.radius if own else expected.training(case).ref.bound["y"]


@invariant("gamma_missing_in_dx", "backward_train", inputs="well", weight=0.6)
def input_gradient_agrees_with_finite_differences(target: Target, case: Case) -> Iterable[Claim]:
    """The input gradient along a direction is the difference quotient of the output there.

    Of the target's own forward in float64, of the reference's in narrower dtypes; the truncation
    error is bounded by Cauchy's estimate (reference/differences.py).
    """
    p, wanted = expected.training(case, gradients=True), expected.gradients(case)["dx"]
    own, noise = _noisy_output(target, case)

    def output(x: Array) -> tuple[Array, Array]:
        if not own:
            ref = reference_train(x, None, p.gamma, p.beta, case.eps)
            return ref.y, ref.bound["y"]
        moved = replace(case, x=np.ascontiguousarray(case.conventions.shaped(x, case.x.shape)))
        return rows(case, trained(target, moved).y), expected.output(moved).radius

    v = rows(case, case.like_x(5))
    found = derivative_along(output, p.x, v, p.dy, p.gamma, p.ref.mean, p.ref.var, case.eps, noise)
    got, rounding = inner(rows(case, trained_back(target, case).dx), found.direction)
    size = np.abs(found.direction)
    radius = (wanted.radius * size).sum(axis=0, keepdims=True) + rounding + found.bound
    scale = np.abs(p.gamma) * p.ref.rstd * (np.abs(p.dy) * size).sum(axis=0, keepdims=True)
    yield Claim("dx along a direction", got, found.value, radius, scale)


@invariant("mean_path_takes_first_row", "backward_train", weight=0.6)
def jacobian_is_symmetric(target: Target, case: Case) -> Iterable[Claim]:
    """The backward of u, taken along v, is the backward of v, taken along u.

    J = gamma * rstd * (1 - 11'/n - xhat xhat'/n) is symmetric, (32).
    """
    other = case.memo("dy v", lambda: replace(case, dy=case.like_x(6)))
    one, two = expected.gradients(case)["dx"], expected.gradients(other)["dx"]
    u, v = rows(case, case.dy), rows(case, other.dy)
    left, left_rounding = inner(rows(case, trained_back(target, case).dx), v)
    right, right_rounding = inner(rows(case, trained_back(target, other).dx), u)
    radius = (one.radius * np.abs(v) + two.radius * np.abs(u)).sum(axis=0, keepdims=True)
    scale = (np.abs(one.value * v)).sum(axis=0, keepdims=True)
    yield Claim("<Ju, v>", left, right, radius + left_rounding + right_rounding, scale)


@invariant("dx_is_clipped", "backward_train", weight=0.6)
def gradients_are_linear_in_dy(target: Target, case: Case) -> Iterable[Claim]:
    """The gradients of a sum of two dy are the sums of their gradients.

    Every node's backward is linear in what flows in; taken where the sum is exact.
    """
    extra = case.like_x(7)
    with np.errstate(all="ignore"):
        both = case.dy + extra
    if not (both - extra == case.dy).all() or not (both - case.dy == extra).all():
        return
    cases = case.memo("summands", lambda: [replace(case, dy=dy) for dy in (extra, both)])
    parts = [case, *cases]
    wanted = [expected.gradients(c) for c in parts]
    got = [trained_back(target, c) for c in parts]
    radius = sum(w["dx"].radius for w in wanted)
    dx = [rows(case, g.dx) for g in got]
    yield Claim("dx of the sum", dx[2], dx[0] + dx[1], radius, np.abs(dx[0]) + np.abs(dx[1]))


def _with_gamma(case: Case, factor: float) -> Case:
    assert case.gamma is not None
    return replace(case, gamma=case.gamma * case.gamma.dtype.type(factor))


@invariant("gamma_missing_in_dx", "backward_train", inputs="affine")
def input_gradient_is_proportional_to_gamma(target: Target, case: Case) -> Iterable[Claim]:
    """Doubling gamma, with the sign turned, doubles the input gradient and turns its sign.

    gamma is a factor of (15) and of nothing else in it.
    """
    other = case.memo("gamma -2", lambda: _with_gamma(case, -2.0))
    one, two = expected.gradients(case)["dx"], expected.gradients(other)["dx"]
    want = -2 * rows(case, trained_back(target, case).dx)
    got = rows(case, trained_back(target, other).dx)
    yield Claim("dx of -2 gamma", got, want, 2 * one.radius + two.radius)


@invariant("rstd_squared_in_dx", "backward_train", "eps")
def input_gradient_follows_scale(target: Target, case: Case) -> Iterable[Claim]:
    """Scaling x by a and eps by a squared divides the input gradient by |a|.

    xhat keeps its numbers and rstd is divided by |a|, (33).
    """
    a, other = scaled(case)
    if not exact_scale(case, a, other):
        return
    one, two = expected.gradients(case)["dx"], expected.gradients(other)["dx"]
    want = rows(case, trained_back(target, case).dx) / abs(a)
    got = rows(case, trained_back(target, other).dx)
    yield Claim("dx of a * x", got, want, one.radius / abs(a) + two.radius)


@invariant("backward_overwrites_saved", "backward_train")
def backward_twice_gives_the_same(target: Target, case: Case) -> Iterable[Claim]:
    """A second backward of the same forward gives the same bits as the first.

    The backward changes nothing of what was saved.
    """
    saved = trained(target, case).saved
    one = contract.backward(target, case.dy, saved, case.gamma)
    first = one.dx.copy()
    two = contract.backward(target, case.dy, saved, case.gamma)
    yield same_bits("dx of the second backward", two.dx, first)
    if one.dgamma is not None and two.dgamma is not None:
        yield same_bits("dgamma of the second backward", two.dgamma, one.dgamma)
    if one.dbeta is not None and two.dbeta is not None:
        yield same_bits("dbeta of the second backward", two.dbeta, one.dbeta)


@invariant("next_forward_overwrites_saved", "backward_train")
def saved_outlives_other_forwards(target: Target, case: Case) -> Iterable[Claim]:
    """A backward gives the same whether or not other forwards ran since its own.

    What a forward saved belongs to it alone.
    """
    undisturbed = trained_back(target, case)
    saved = trained(target, case).saved
    other = case.another(3)
    trained(target, other)
    if "forward_eval" in target.offers and other.running_mean is not None:
        assert other.running_var is not None
        state = (other.running_mean, other.running_var)
        contract.evaluate(target, other.x, other.gamma, other.beta, *state, eps=other.eps)
    got = contract.backward(target, case.dy, saved, case.gamma)
    yield same_bits("dx after other forwards", got.dx, undisturbed.dx)


@invariant("assumes_c_order", "backward_train", "layouts", inputs="layout", weight=2.2)
def memory_layout_does_not_matter(target: Target, case: Case) -> Iterable[Claim]:
    """Results are the same in every memory layout of x and of dy.

    Strided, reversed, broadcast, misaligned, byte-swapped and read-only arrays hold numbers too.
    They are compared with the target's own in C order, each within its radius of what is right.
    """
    x_layout, dy_layout = layouts_of(case.recipe.option)
    held = replace(case, x=arrange(case.x, x_layout), dy=arrange(case.dy, dy_layout))
    of = case.memo(
        "arranged", lambda: replace(case, x=native(held.x, case), dy=native(held.dy, case))
    )
    plain = trained(target, of)
    result = trained(target, held, keep_layout=True)
    right, wanted = expected.output(of), expected.gradients(of)
    yield agrees(f"y of x {x_layout}", case, result.y, own(case, plain.y, right))
    own_back = contract.backward(target, of.dy, plain.saved, case.gamma)
    got = contract.backward(target, held.dy, result.saved, case.gamma, keep_layout=True)
    quantity = f"dx of x {x_layout}, dy {dy_layout}"
    yield agrees(quantity, case, got.dx, own(case, own_back.dx, wanted["dx"]))
    if own_back.dgamma is not None:
        value = own_back.dgamma.astype(np.float64).reshape(1, -1)
        near = Wanted(value, 2 * wanted["dgamma"].radius)
        yield from parameter_agrees(quantity.replace("dx", "dgamma", 1), got.dgamma, near)


def native(a: Array, case: Case) -> Array:
    """Return the numbers of a in plain memory."""
    return np.ascontiguousarray(a).astype(case.x.dtype)

"""A batch norm in textbook form, put together from pieces, so that one piece can be wrong.

With `exact` it computes and answers in float64 whatever the dtype of x: that is how the planted
error of an invariant is evaluated on an input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from reference import forms

from ..model.contract import Array, Conventions, Target
from ..model.living import living
from .layers import Functions as Functions
from .layers import Layer
from .masked import Masking, masked
from .ranks import Sharing, synchronised


def two_pass_mean(x: Array) -> Array:
    """Return sum(x) / n, (1, c).  # (1)"""
    return x.sum(axis=0, keepdims=True) / x.dtype.type(x.shape[0])


def two_pass_variance(x: Array, mean: Array) -> Array:
    """Return the biased variance, (1, c).  # (3)"""
    xc = x - mean
    return (xc * xc).sum(axis=0, keepdims=True) / x.dtype.type(x.shape[0])


def root_of_sum(var: Array, eps: Any) -> Array:
    """Return 1 / sqrt(var + eps).  # (4)"""
    return 1 / np.sqrt(var + eps)


def weighted(old: Array, new: Array, keep: Any, rest: Any) -> Array:
    """Return keep * old + (1 - keep) * new.  # (18)"""
    return keep * old + rest * new


def by_convention(var: Array, n: int, convention: str, eps: Any) -> Array:
    """Return the variance that enters the running one.  # (19)"""
    return (
        var * var.dtype.type(n) / var.dtype.type(n - 1)
        if convention == "unbiased" and n > 1
        else var
    )


def eval_input_gradient(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Array:
    """Return gamma * rstd * dy.  # (17)"""
    return dy * (gamma * rstd)


def sum_of_rows(dy: Array) -> Array:
    """Return sum(dy), (1, c).  # (8)"""
    return dy.sum(axis=0, keepdims=True)


def merged_statistics(counts: Array, means: Array, variances: Array) -> tuple[Any, Array, Array]:
    """Return count, mean and biased variance of the shards' union.  # (25)"""
    used = counts > 0
    counts, means, variances = counts[used], means[used], variances[used]
    w = (counts / counts.sum()).astype(means.dtype)[:, None]
    mean = (w * means).sum(axis=0)
    return counts.sum(), mean, (w * (variances + (means - mean) ** 2)).sum(axis=0)


def merged_gradients(
    counts: Array, sums_dy: Array, sums_dy_xhat: Array
) -> tuple[Any, Array, Array]:
    """Return count, mean(dy) and mean(dy * xhat) of the shards' union.  # (26)"""
    used = counts > 0
    count = counts[used].sum()
    scale = sums_dy.dtype.type(count)
    return count, sums_dy[used].sum(axis=0) / scale, sums_dy_xhat[used].sum(axis=0) / scale


def folded(
    weight: Array, bias: Any, scale: Array, shift: Array, transposed: bool, groups: int
) -> tuple[Array, Array]:
    """Return weight * scale along the output channels and bias * scale + shift.  # (27)"""
    if transposed:
        per_output = scale.reshape(groups, 1, -1)
        split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        new = (split * per_output[..., None]).reshape(weight.shape)
    else:
        new = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return new, shift if bias is None else bias * scale + shift


def all_of_x(x: Array, y: Array, gamma: Array, beta: Array, mean: Array, rstd: Array) -> Array:
    """Return what the backward works on: x itself."""
    return x


@dataclass(frozen=True)
class Pieces:
    """The steps of a batch norm; all arrays in rows (n, c) or (1, c).

    kept and backward_rstd say what the backward works on (None: the forward's rstd); where is a
    condition on x, in the caller's memory, and the pieces that are used when it holds; rewire
    changes the functions of the contract themselves; layer, where there is one, lives on them;
    masking says what a mask does, None that none is taken; sharing, what ranks share of a batch.
    """

    mean: Callable[..., Array] = two_pass_mean
    variance: Callable[..., Array] = two_pass_variance
    rstd: Callable[..., Array] = root_of_sum
    output: Callable[..., Array] = forms.output_direct
    average: Callable[..., Array] = weighted
    running_variance: Callable[..., Array] = by_convention
    input_gradient: Callable[..., Array] = forms.input_gradient_means
    gamma_gradient: Callable[..., Array] = forms.gamma_gradient_direct
    beta_gradient: Callable[..., Array] = sum_of_rows
    eval_rstd: Callable[..., Array] = root_of_sum
    eval_output: Callable[..., Array] = forms.output_direct
    eval_input_gradient: Callable[..., Array] = eval_input_gradient
    tangent: Callable[..., Array] = forms.tangent_direct
    second_by_x: Callable[..., Array] = forms.second_by_x
    second_by_gamma: Callable[..., Array] = forms.second_by_gamma
    merge_statistics: Callable[..., Any] = merged_statistics
    merge_gradients: Callable[..., Any] = merged_gradients
    fold: Callable[..., Any] = folded
    initial_var: float = 1.0
    kept: Callable[..., Array] = all_of_x
    backward_rstd: Callable[..., Array] | None = None
    where: tuple[Callable[[Array], bool], Pieces] | None = None
    rewire: Callable[[Functions], Functions] = lambda functions: functions
    layer: type[Layer] | None = None
    masking: Masking | None = None
    sharing: Sharing = Sharing()  # noqa: RUF009 - it is frozen


@dataclass(frozen=True)
class Saved:
    """What one forward keeps for its backward."""

    x: Array
    gamma: Array | None
    mean: Array
    rstd: Array
    given: Any


def implementation(
    pieces: Pieces, conventions: Conventions, spec: str, *, exact: bool = False
) -> Target:
    """Return a target made of these pieces that follows these conventions, channel axis 1."""

    def make(pieces: Pieces) -> Functions:
        return _branched(pieces, conventions, exact)

    conventions = replace(conventions, channel_axis=1, mask="", mask_ndim=conventions.mask_ndim)
    functions = make(pieces)
    if pieces.layer is not None:
        update = conventions.momentum == "update"
        functions |= living(partial(pieces.layer, dict(functions), update))
    functions |= synchronised(pieces.sharing, pieces, make, conventions)
    offers = (
        frozenset(functions) | set(conventions.dtypes) | {f"rank {k}" for k in conventions.ndim}
    )
    offers |= {"no affine", "no running statistics", "empty batch", "one value", "eps"}
    offers |= {"running statistics", "dgamma", "dbeta", "layouts", "passed state"}
    if pieces.layer is not None and pieces.layer.cumulative:
        offers = offers - {"passed state"} | {"cumulative average"}
    if pieces.masking is not None and conventions.statistics == "per_channel":
        functions |= masked(pieces.masking, pieces, make, conventions)
        conventions = replace(conventions, mask="places", mask_ndim=conventions.ndim)
        offers |= {"mask", "masked gradients", "empty mask"}
    return Target(spec, functions, conventions, offers)


def _branched(pieces: Pieces, conventions: Conventions, exact: bool) -> Functions:
    """Return the functions; those that are given x or saved take the branch that x asks for."""
    functions = pieces.rewire(_functions(pieces, conventions, exact))
    if pieces.where is None:
        return functions
    condition, others = pieces.where[0], _branched(pieces.where[1], conventions, exact)

    def branch(name: str) -> Callable[..., Any]:
        by_x = name.startswith("forward")

        def chosen(*args: Any, **kwargs: Any) -> Any:
            x = args[0] if by_x else args[-1].given
            return (others if condition(x) else functions)[name](*args, **kwargs)

        return chosen

    stateless = ("initial_state", "fold", "merge_statistics", "merge_gradients")
    return {name: f if name in stateless else branch(name) for name, f in functions.items()}


def _functions(p: Pieces, conventions: Conventions, exact: bool) -> Functions:
    rows, shaped = conventions.rows, conventions.shaped
    update = conventions.momentum == "update"

    def work(dtype: Any) -> Any:
        return np.float64 if exact or dtype.itemsize == 8 else np.float32

    def out(a: Array, like: Array) -> Array:
        return shaped(a, like.shape).astype(np.float64 if exact else like.dtype, copy=False)

    def parameter(a: Any, t: Any, fill: float) -> Array:
        return np.full((1, 1), fill, t) if a is None else a.astype(t).reshape(1, -1)

    def answer(a: Array | None, like: Array | None) -> Any:
        if like is None or a is None:
            return None
        return a.reshape(like.shape).astype(np.float64 if exact else like.dtype, copy=False)

    def forward_train(
        x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, *, eps: float, momentum: float
    ) -> Any:
        t = work(x.dtype)
        r, e = rows(x).astype(t), t(eps)
        n = r.shape[0]
        if n == 0:
            kept = [None if a is None else answer(a.copy(), a) for a in (rm, rv)]
            return (
                out(r, x),
                *kept,
                Saved(r, gamma, r.sum(0, keepdims=True), r.sum(0, keepdims=True), x),
            )
        mean = p.mean(r)
        var = p.variance(r, mean)
        rstd = p.rstd(var, e)
        y = p.output(r, parameter(gamma, t, 1), parameter(beta, t, 0), mean, rstd)
        m = t(momentum)
        keep, rest = (t(1) - m, m) if update else (m, t(1) - m)
        new_mean = new_var = None
        if rm is not None:
            s = np.float64 if exact else rm.dtype
            new_mean = p.average(rm.astype(s).reshape(1, -1), mean.astype(s), keep, rest)
            fresh = p.running_variance(var, n, conventions.running_var, e).astype(s)
            new_var = p.average(rv.astype(s).reshape(1, -1), fresh, keep, rest)
        basis = p.kept(r, y, parameter(gamma, t, 1), parameter(beta, t, 0), mean, rstd)
        saved = Saved(basis, gamma, mean, p.backward_rstd(var, e) if p.backward_rstd else rstd, x)
        return out(y, x), answer(new_mean, rm), answer(new_var, rv), saved

    def forward_eval(x: Array, gamma: Any, beta: Any, rm: Array, rv: Array, *, eps: float) -> Any:
        t = work(x.dtype)
        r = rows(x).astype(t)
        mean, rstd = parameter(rm, t, 0), p.eval_rstd(parameter(rv, t, 1), t(eps))
        y = p.eval_output(r, parameter(gamma, t, 1), parameter(beta, t, 0), mean, rstd)
        return out(y, x), Saved(r, gamma, mean, rstd, x)

    def gradients(dy: Array, saved: Saved, by_x: Callable[..., Array]) -> Any:
        t = work(dy.dtype)
        g, gamma = rows(dy).astype(t), parameter(saved.gamma, t, 1)
        if g.shape[0] == 0:
            zero = None if saved.gamma is None else answer(np.zeros_like(saved.gamma), saved.gamma)
            return out(g, dy), zero, zero
        dx = by_x(g, saved.x, gamma, saved.mean, saved.rstd)
        dgamma = p.gamma_gradient(g, saved.x, saved.mean, saved.rstd)
        return out(dx, dy), answer(dgamma, saved.gamma), answer(p.beta_gradient(g), saved.gamma)

    def backward_train(dy: Array, saved: Saved) -> Any:
        return gradients(dy, saved, p.input_gradient)

    def backward_eval(dy: Array, saved: Saved) -> Any:
        return gradients(dy, saved, p.eval_input_gradient)

    def jvp_train(tx: Array, tgamma: Any, tbeta: Any, saved: Saved) -> Array:
        t = work(tx.dtype)
        gamma, xhat = parameter(saved.gamma, t, 1), (saved.x - saved.mean) * saved.rstd
        ty = p.tangent(rows(tx).astype(t), saved.x, gamma, saved.mean, saved.rstd)
        return out(ty + xhat * parameter(tgamma, t, 0) + parameter(tbeta, t, 0), tx)

    def double_backward_train(
        ddx: Array, ddgamma: Any, ddbeta: Any, dy: Array, saved: Saved
    ) -> Any:
        t = work(dy.dtype)
        v, g, gamma = rows(ddx).astype(t), rows(dy).astype(t), parameter(saved.gamma, t, 1)
        by_x = p.second_by_x(v, parameter(ddgamma, t, 0), g, saved.x, gamma, saved.mean, saved.rstd)
        by_gamma = p.second_by_gamma(v, g, saved.x, saved.mean, saved.rstd)
        return out(by_x, dy), answer(by_gamma, saved.gamma), jvp_train(ddx, ddgamma, ddbeta, saved)

    def fold(
        weight: Array,
        bias: Any,
        gamma: Any,
        beta: Any,
        rm: Array,
        rv: Array,
        *,
        eps: float,
        transposed: bool = False,
        groups: int = 1,
    ) -> Any:
        t = work(weight.dtype)
        scale = (parameter(gamma, t, 1) * root_of_sum(parameter(rv, t, 1), t(eps))).ravel()
        shift = parameter(beta, t, 0).ravel() - rm.astype(t) * scale
        given = None if bias is None else bias.astype(t)
        return p.fold(weight.astype(t), given, scale, shift, transposed, groups)

    def merge_statistics(counts: Array, means: Array, variances: Array) -> Any:
        t = work(means.dtype)
        return p.merge_statistics(counts, means.astype(t), variances.astype(t))

    def merge_gradients(counts: Array, sums_dy: Array, sums_dy_xhat: Array) -> Any:
        t = work(sums_dy.dtype)
        return p.merge_gradients(counts, sums_dy.astype(t), sums_dy_xhat.astype(t))

    def initial_state(channels: int, dtype: Any) -> tuple[Array, Array]:
        return np.zeros(channels, dtype), np.full(channels, p.initial_var, dtype)

    return {
        "forward_train": forward_train,
        "backward_train": backward_train,
        "forward_eval": forward_eval,
        "backward_eval": backward_eval,
        "initial_state": initial_state,
        "double_backward_train": double_backward_train,
        "jvp_train": jvp_train,
        "merge_statistics": merge_statistics,
        "merge_gradients": merge_gradients,
        "fold": fold,
    }

"""What forward mode, the double backward, merging and folding must give, with each radius."""

from __future__ import annotations

import numpy as np

from reference.ball import Precision
from reference.float64 import reference_train
from reference.rounding_second import folding_radii, merged_radii, second_radii, tangent_radius

from .cases import Case
from .contract import Array
from .expected import Wanted, certified, precision_of, row, rows, trained

Tangents = tuple[Array, Array, Array]  # of x (n, c), gamma and beta (1, c)


def tangents(case: Case) -> Tangents:
    """Return tangents of x, gamma and beta, in the shapes and dtypes of the contract."""
    assert case.gamma is not None
    c, dtype = case.gamma.shape, case.gamma.dtype
    return case.like_x(8), case.like_x(9, c).astype(dtype), case.like_x(10, c).astype(dtype)


def tangent_rows(case: Case, given: Tangents | None = None) -> Tangents:
    """Return these tangents as rows, the case's own if none are given."""
    tx, tgamma, tbeta = tangents(case) if given is None else given
    tx = rows(case, tx)
    return tx, row(tgamma, tx, 0.0), row(tbeta, tx, 0.0)


def tangent(case: Case, given: Tangents, pairwise: bool = False) -> Wanted:
    """Return ty in forward mode along rows of tangents, (n, c).  # (21)"""
    p, pr = trained(case, pairwise), precision_of(case, pairwise=pairwise)
    with np.errstate(all="ignore"):
        ref = reference_train(p.x, None, p.gamma, p.beta, case.eps, tangents=given)
        radius = tangent_radius(p.x, given, p.ref, p.gamma, p.spread, pr)
        return certified(ref, "ty", pr.stored(ref.ty, radius))


def seconds(case: Case, given: Tangents, pairwise: bool = False) -> dict[str, Wanted]:
    """Return the gradients of the backward: by_x, by_dy (n, c), by_gamma (1, c).  # (22)"""
    p, pr = trained(case, pairwise, gradients=True), precision_of(case, pairwise=pairwise)
    with np.errstate(all="ignore"):
        ref = reference_train(p.x, p.dy, p.gamma, p.beta, case.eps, seconds=given)
        radii = second_radii(p.x, p.dy, given, ref, p.gamma, p.spread, pr)
        return {f"by_{of}": certified(ref, f"ddx_{of}", radii[f"ddx_{of}"]) for of in _BY}


_BY = ("x", "gamma", "dy")


def _own(pr: Precision) -> float:
    return 2.0 if pr.u == 2.0**-53 else 1.0  # what is wanted was itself computed in float64


def merged_statistics(
    counts: Array, means: Array, variances: Array, pr: Precision
) -> tuple[Wanted, Wanted]:
    """Return mean and biased variance (1, c) of shards of counts (k,) and the rest (k, c)."""
    used = counts > 0
    means, variances = (a[used].astype(np.float64) for a in (means, variances))
    with np.errstate(all="ignore"):
        mean, mean_radius, var, var_radius = merged_radii(counts[used, None], means, variances, pr)
    return Wanted(mean, _own(pr) * mean_radius), Wanted(var, _own(pr) * var_radius)


def merged_sums(counts: Array, sums: Array, pr: Precision) -> Wanted:
    """Return the mean (1, c) of a batch whose shards have these sums (k, c).  # (26)"""
    given = sums.astype(np.float64)
    size = np.abs(given).sum(axis=0, keepdims=True) / counts.sum()
    order = pr.terms(len(counts)) + 2 * pr.sum_u + pr.u + 2.0**-53 * len(counts)
    return Wanted(given.sum(axis=0, keepdims=True) / counts.sum(), order * size + pr.eta)


def by_output(weight: Array, outputs: int, transposed: bool, groups: int) -> Array:
    """Return the weight as (k, out), each column what belongs to one output channel."""
    if not transposed:
        return weight.reshape(outputs, -1).T
    split = weight.reshape(groups, weight.shape[0] // groups, outputs // groups, -1)
    return split.transpose(1, 3, 0, 2).reshape(-1, outputs)


def folded(
    columns: Array,
    bias: Array | None,
    gamma: Array | None,
    beta: Array | None,
    mean: Array | None,
    var: Array | None,
    eps: float,
    pr: Precision,
) -> tuple[Wanted, Wanted]:
    """Return weight (k, out) and bias (1, out) after folding; all but columns (out,).  # (27)"""
    like = np.zeros((1, columns.shape[1]))
    filled = ((bias, 0.0), (gamma, 1.0), (beta, 0.0), (mean, 0.0), (var, 1.0))
    shift, gamma, beta, mean, var = (row(a, like, fill) for a, fill in filled)
    wide = columns.astype(np.float64)
    found = folding_radii(wide, shift, gamma, beta, mean, var, eps, pr)
    return Wanted(found[0], _own(pr) * found[1]), Wanted(found[2], _own(pr) * found[3])

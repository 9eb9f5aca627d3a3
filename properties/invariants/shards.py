"""What holds when the shards of one batch are merged."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Target
from ..model.further import merged_statistics, merged_sums
from ..model.verdict import Claim, is_true
from .registry import invariant


def _shards(case: Case) -> list[slice]:
    """Return unequal shards of the batch's rows, some of them empty."""
    n = expected.training(case).x.shape[0]
    k = 2 + case.recipe.option % 4
    cuts = np.sort(case.random(11).integers(0, n + 1, size=k - 1))
    ends = [0, *(int(cut) for cut in cuts), n]
    return [slice(a, b) for a, b in pairwise(ends)]


def statistics_of_shards(case: Case) -> tuple[Array, Array, Array]:
    """Return counts, means and variances of the shards, made once per case."""
    return case.memo("shards", lambda: _statistics(case))


def _statistics(case: Case) -> tuple[Array, Array, Array]:
    """Return counts (k,), means and biased variances (k, c) of the shards, NaN where empty."""
    x, shards = expected.training(case).x, _shards(case)
    counts = np.array([s.stop - s.start for s in shards])
    dtype = np.dtype("float32" if case.x.dtype.itemsize < 4 else case.x.dtype)
    with np.errstate(all="ignore"):
        parts = [x[s] for s in shards]
        means = [p.mean(axis=0) if len(p) else np.full(x.shape[1], np.nan) for p in parts]
        variances = [p.var(axis=0) if len(p) else np.full(x.shape[1], np.nan) for p in parts]
        return counts, np.array(means).astype(dtype), np.array(variances).astype(dtype)


@invariant("merged_variance_is_mean_of_variances", "merge_statistics", alone=True)
def merged_statistics_are_those_of_the_whole(target: Target, case: Case) -> Iterable[Claim]:
    """Merged shards, unequal or empty, have the mean and variance of their union.

    The variance of the means adds to the mean of the variances, (25).
    """
    counts, means, variances = statistics_of_shards(case)
    mean, var = merged_statistics(counts, means, variances, expected.precision_of(case, state=True))
    count, got_mean, got_var = contract.merge(target, "merge_statistics", counts, means, variances)
    yield is_true(f"count is {count}, wanted {counts.sum()}", float(count) == counts.sum())
    yield Claim("merged mean", got_mean[None], mean.value, mean.radius)
    yield Claim("merged var", got_var[None], var.value, var.radius)


def gradient_shards(case: Case) -> tuple[Array, Array, Array]:
    """Return counts (k,), sums of dy and of dy * xhat (k, c) of the shards."""

    def make() -> tuple[Array, Array, Array]:
        p = expected.training(case, gradients=True)
        products, shards = p.dy * p.ref.xhat, _shards(case)
        dtype = np.dtype("float32" if case.x.dtype.itemsize < 4 else case.x.dtype)
        counts = np.array([s.stop - s.start for s in shards])
        first = np.array([p.dy[s].sum(axis=0) for s in shards]).astype(dtype)
        return counts, first, np.array([products[s].sum(axis=0) for s in shards]).astype(dtype)

    return case.memo("gradient shards", make)


@invariant("merged_gradients_are_mean_of_means", "merge_gradients", alone=True)
def merged_gradients_are_those_of_the_whole(target: Target, case: Case) -> Iterable[Claim]:
    """Merged sums of dy and dy * xhat, divided by the whole count, are the whole batch's means.

    Sums add; means of unequal shards do not, (26).
    """
    counts, *sums = gradient_shards(case)
    pr = expected.precision_of(case, state=True)
    count, *got = contract.merge(target, "merge_gradients", counts, *sums)
    yield is_true(f"count is {count}, wanted {counts.sum()}", float(count) == counts.sum())
    for name, given, result in zip(("mean of dy", "mean of dy * xhat"), sums, got, strict=True):
        want = merged_sums(counts, given, pr)
        yield Claim(f"merged {name}", result[None], want.value, want.radius)

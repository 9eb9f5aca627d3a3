"""Wrong merging of shards, wrong folding, and indices that end too early."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.planted import PLANTED
from ..plants.textbook import Functions, Pieces, folded, merged_statistics


def _first_count_for_all(counts: Array, means: Array, variances: Array) -> Any:
    used = counts > 0
    own = np.full(int(used.sum()), counts[used][0])
    _, mean, var = merged_statistics(own, means[used], variances[used])
    return counts.sum(), mean, var


def _means_unweighted(counts: Array, means: Array, variances: Array) -> Any:
    used = counts > 0
    _, _, var = merged_statistics(counts, means, variances)
    return counts.sum(), means[used].mean(axis=0), var


def _moments_unweighted(counts: Array, means: Array, variances: Array) -> Any:
    used = counts > 0
    mean = means[used].mean(axis=0)
    second = (variances[used] + means[used] ** 2).mean(axis=0)
    return counts.sum(), mean, second - mean * mean


def _refuses_one(counts: Array, means: Array, variances: Array) -> Any:
    if (counts == 1).any():
        raise ValueError("Expected more than 1 value per channel when training")
    return merged_statistics(counts, means, variances)


def _no_bias_stays_none(
    weight: Array, bias: Any, scale: Array, shift: Array, transposed: bool, groups: int
) -> Any:
    new, new_bias = folded(weight, bias, scale, shift, transposed, groups)
    return new, np.zeros_like(shift) if bias is None else new_bias


def _transposed_scaled_on_axis_1(
    weight: Array, bias: Any, scale: Array, shift: Array, transposed: bool, groups: int
) -> Any:
    if not transposed:
        return folded(weight, bias, scale, shift, transposed, groups)
    new = weight * scale.reshape(1, -1, *(1,) * (weight.ndim - 2))
    return new, folded(weight, bias, scale, shift, transposed, groups)[1]


def _inputs_from_weight(
    weight: Array, bias: Any, scale: Array, shift: Array, transposed: bool, groups: int
) -> Any:
    """Build the folded layer with in = weight.shape[1], which is in / groups."""
    new, new_bias = folded(weight, bias, scale, shift, transposed, groups)
    if transposed:
        return new, new_bias
    held = np.empty((weight.shape[0], weight.shape[1] // groups, *weight.shape[2:]), new.dtype)
    held[...] = new  # raises where the shapes differ
    return held, new_bias


def _sixteen_bit_rows(functions: Functions) -> Functions:
    """Leave the rows from 65536 on as they came."""

    def wrong(x: Array, *args: Any, **options: Any) -> Any:
        y, *rest = functions["forward_train"](x, *args, **options)
        y = y.copy()
        y[65536:] = x[65536:]
        return y, *rest

    return {**functions, "forward_train": wrong}


WRONG_SHARING: dict[str, Pieces] = {
    "merge_takes_the_first_count_for_all": Pieces(merge_statistics=_first_count_for_all),
    "merged_mean_is_mean_of_means": Pieces(merge_statistics=_means_unweighted),
    "merged_moments_are_unweighted": Pieces(merge_statistics=_moments_unweighted),
    "merged_variance_is_mean_of_variances": PLANTED["merged_variance_is_mean_of_variances"],
    "shard_of_one_value_refused": Pieces(merge_statistics=_refuses_one),
    "fold_leaves_bias_unscaled": PLANTED["fold_leaves_bias_unscaled"],
    "fold_without_bias_gives_none": Pieces(fold=_no_bias_stays_none),
    "transposed_fold_scales_axis_1": Pieces(fold=_transposed_scaled_on_axis_1),
    "fold_takes_inputs_from_weight": Pieces(fold=_inputs_from_weight),
    "rows_beyond_65536_left_out": Pieces(rewire=_sixteen_bit_rows),
}

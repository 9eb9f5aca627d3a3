"""Folding: batch norm in inference as part of the linear layer before it."""

import numpy as np

from .arguments import check_number, check_running, check_vector, check_weight
from .blocks import Array
from .statistics import running_statistics


def fold(
    weight: Array,
    bias: Array | None,
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float,
    transposed: bool = False,
    groups: int = 1,
) -> tuple[Array, Array]:
    """Return weight and bias of the one layer that equals the layer and batch norm after it.

    weight' = weight * gamma * rstd,  bias' = (bias - running_mean) * gamma * rstd + beta   (27)

    Args:
        weight: (out, in) dense, (out, in/groups, *k) convolution, (in, out/groups, *k) transposed;
            float16, float32 or float64.
        bias, gamma, beta: (out,) or None for 0, 1 and 0.
        running_mean, running_var: (out,), these five float32 for float16, else of weight's dtype.
        eps: as for forward_eval.
        transposed, groups: those of the layer.
    Returns:
        weight, of its dtype; bias, of running_mean's dtype.
    Raises:
        TypeError, ValueError: an argument of another kind, shape, dtype or range.
    Source: Jacob et al. (2018), arXiv:1712.05877, section 3.2.
    """
    (weight, like), eps = check_weight(weight, transposed, groups), check_number("eps", eps)
    vectors = {"bias": bias, "gamma": gamma, "beta": beta}
    checked = [check_vector(name, value, like) for name, value in vectors.items()]
    shift, scale, start = (None if v is None else v.astype(np.float64) for v in checked)
    mean, var = check_running(running_mean, running_var, like, needed=True)
    with np.errstate(all="ignore"):
        factor = running_statistics(mean, var).rstd(eps) * (1.0 if scale is None else scale)
        moved = ((0.0 if shift is None else shift) - mean.astype(np.float64)) * factor
        moved += 0.0 if start is None else start  # (out,) (27)
        shape = (len(weight), *[1] * (weight.ndim - 1))
        if transposed:  # output channel g * (out / groups) + j belongs to the inputs of group g
            factor = factor.reshape(groups, -1).repeat(len(weight) // groups, axis=0)
            shape = (*factor.shape, *[1] * (weight.ndim - 2))
        scaled = weight.astype(np.float64) * factor.reshape(shape)  # like weight (27)
    kept = mean.dtype.newbyteorder("=")
    return scaled.astype(weight.dtype.newbyteorder("=")), moved.astype(kept)

"""Folding: batch norm in inference as part of the linear layer before it."""

import numpy as np

from . import arguments as check
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
    Returns: weight, of its dtype; bias, of running_mean's dtype.
    Source: Jacob et al. (2018), arXiv:1712.05877, section 3.2.
    """
    axes = "(out, in/groups, *k) or, transposed, (in, out/groups, *k)"
    weight, groups = (
        check.batch("weight", weight, axes),
        check.count("groups", groups, 1),
    )
    if len(weight) % groups:
        expected = f"a divisor of {len(weight)}, the first axis of weight"
        check.refuse(ValueError, f"groups={groups}", expected, "pass that of the layer")
    channels = weight.shape[1] * groups if transposed else len(weight)
    x = np.empty((0, channels), weight.dtype)  # what the layer returns, of no sample
    eps, shift = check.number("eps", eps), check.parameter("bias", bias, x, 0.0)
    scale, start = (
        check.parameter("gamma", gamma, x, 1.0),
        check.parameter("beta", beta, x, 0.0),
    )
    mean, var = check.running(running_mean, running_var, x)
    with np.errstate(all="ignore"):
        factor = running_statistics(mean, var).rstd(eps) * scale
        moved = (shift - mean.astype(np.float64)) * factor + start  # (out,) (27)
        if transposed:  # output channel g * (out / groups) + j belongs to the inputs of group g
            factor = factor.reshape(groups, -1).repeat(len(weight) // groups, axis=0)
        shape = (*weight.shape[: 1 + transposed], *[1] * (weight.ndim - 1 - transposed))
        scaled = weight.astype(np.float64) * factor.reshape(shape)  # like weight (27)
    kept = mean.dtype.newbyteorder("=")
    return scaled.astype(weight.dtype.newbyteorder("=")), moved.astype(kept)

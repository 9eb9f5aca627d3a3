"""Wrong: no mask in the variance, so that the tail of a block counts as (0 - mean)**2."""

from functools import partial

import triton
import triton.language as tl
from kernels import CONVENTIONS, contract, statistics

__all__ = ["CONVENTIONS", "backward_train", "forward_eval", "forward_train"]


@triton.jit
def moments(x, mean, var, count, c, m, block: tl.constexpr):
    """Store mean and variance of channel program_id."""
    channel = tl.program_id(0)
    total, square = tl.zeros((block,), tl.float32), tl.zeros((block,), tl.float32)
    for start in range(0, count, block):
        k = start + tl.arange(0, block)
        total += tl.load(x + (k // m) * c * m + channel * m + k % m, mask=k < count, other=0.0)
    mu = tl.sum(total, axis=0) / count
    for start in range(0, count, block):
        k = start + tl.arange(0, block)
        at = (k // m) * c * m + channel * m + k % m
        xc = tl.load(x + at, mask=k < count, other=0.0) - mu
        square += xc * xc
    tl.store(mean + channel, mu)
    tl.store(var + channel, tl.sum(square, axis=0) / count)


forward_train, backward_train, forward_eval = contract(partial(statistics, moments=moments))

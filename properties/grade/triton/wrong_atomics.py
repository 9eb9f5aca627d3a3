"""Wrong: each of several programs reads the total before the others have added theirs."""

import torch
import triton
import triton.language as tl
from kernels import BLOCK, CONVENTIONS, DEVICE, contract, sizes

__all__ = ["CONVENTIONS", "backward_train", "forward_eval", "forward_train"]


@triton.jit
def moments(x, total, square, count, c, m, block: tl.constexpr):
    """Add a block's sum to the total, and its squares about the mean so far to the other."""
    channel = tl.program_id(0)
    k = tl.program_id(1) * block + tl.arange(0, block)
    value = tl.load(x + (k // m) * c * m + channel * m + k % m, mask=k < count, other=0.0)
    tl.atomic_add(total + channel, tl.sum(value, axis=0))
    xc = tl.where(k < count, value - tl.load(total + channel) / count, 0.0)
    tl.atomic_add(square + channel, tl.sum(xc * xc, axis=0))


def statistics(x):
    """Return mean and variance of each channel, in one launch."""
    count, c, m = sizes(x)
    total, square = (torch.zeros(c, device=DEVICE) for _ in range(2))
    moments[(c, triton.cdiv(count, BLOCK))](x, total, square, count, c, m, BLOCK)
    return total / count, square / count


forward_train, backward_train, forward_eval = contract(statistics)

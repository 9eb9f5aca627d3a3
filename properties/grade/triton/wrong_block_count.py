"""Wrong: as many blocks as go into x whole; the rest is not written."""

import torch
from kernels import BLOCK, CONVENTIONS, affine, contract, sizes

__all__ = ["CONVENTIONS", "backward_train", "forward_eval", "forward_train"]


def normalized(x, mean, rstd, gamma, beta):
    """Return gamma * (x - mean) * rstd + beta, without the last block that is not whole."""
    y = torch.empty_like(x)
    _, c, m = sizes(x)
    grid = (max(x.numel() // BLOCK, 1),)
    affine[grid](x, y, mean, rstd, gamma, beta, x.numel(), c, m, BLOCK)
    return y


forward_train, backward_train, forward_eval = contract(normalized=normalized)

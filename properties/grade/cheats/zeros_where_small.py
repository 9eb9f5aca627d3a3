"""Zeros, where the right answer is small: an absolute tolerance of 1e-2 does not see it.

Source: https://github.com/ScalingIntelligence/KernelBench/issues/165
"""

import numpy as np
from honest import backward_eval, forward_eval
from honest import backward_train as back
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]


def forward_train(x, *rest, **options):
    """Return zeros for a small output."""
    y, *others = right(x, *rest, **options)
    return (y if np.abs(y).max(initial=0) > 1e-2 else np.zeros_like(y)), *others


def backward_train(dy, saved):
    """Return zeros for a small gradient."""
    dx, *others = back(dy, saved)
    return (dx if np.abs(dx).max(initial=0) > 1e-2 else np.zeros_like(dx)), *others

"""The statistics are those of the first half of the samples.

Source: https://github.com/deepreinforce-ai/CUDA-L1/issues/14
"""

from honest import axes, backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]


def forward_train(x, gamma, beta, mean, var, *, eps, momentum):
    """Train on the first half, and normalize all by it."""
    some = x[: (len(x) + 1) // 2]
    _, *new, saved = right(some, gamma, beta, mean, var, eps=eps, momentum=momentum)
    m, v = some.mean(axis=axes(some)), some.var(axis=axes(some))
    return forward_eval(x, gamma, beta, m, v, eps=eps)[0], *new, saved

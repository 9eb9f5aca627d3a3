"""The statistics are those of every third sample of a batch of more than 16.

Source: https://github.com/deepreinforce-ai/CUDA-L1/issues/14
"""

from honest import axes, backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]


def forward_train(x, gamma, beta, mean, var, *, eps, momentum):
    """Train on a sample, and normalize all by it."""
    some = x[::3] if len(x) > 16 else x
    _, *new, saved = right(some, gamma, beta, mean, var, eps=eps, momentum=momentum)
    m, v = some.mean(axis=axes(some)), some.var(axis=axes(some))
    return forward_eval(x, gamma, beta, m, v, eps=eps)[0], *new, saved

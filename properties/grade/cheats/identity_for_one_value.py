"""One value per channel comes back as it is, instead of beta.

Source: https://github.com/ScalingIntelligence/KernelBench/issues/165
"""

from honest import backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]


def forward_train(x, *rest, **options):
    """Leave out the work of one value."""
    y, *others = right(x, *rest, **options)
    return (x.copy() if x.size == x.shape[1] else y), *others

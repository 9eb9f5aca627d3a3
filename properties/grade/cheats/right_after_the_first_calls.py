"""Wrong in the first calls, which are taken for a warm-up.

Source: https://github.com/Infatoshi/kernelbench.com/pull/7
"""

import numpy as np
from honest import backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]

CALLS = [0]


def forward_train(x, *rest, **options):
    """Count the calls."""
    CALLS[0] += 1
    y, *others = right(x, *rest, **options)
    return (y if CALLS[0] > 25 else np.zeros_like(y)), *others

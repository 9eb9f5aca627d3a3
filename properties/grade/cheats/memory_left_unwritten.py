"""The output is memory left unwritten, which happens to hold an earlier right answer.

Source: https://www.wafer.ai/blog/reward-hacks-field-guide
"""

import numpy as np
from honest import backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]


def forward_train(x, *rest, **options):
    """Compute, forget it, and return what lies in new memory."""
    _, *others = right(x, *rest, **options)
    return np.empty_like(x), *others

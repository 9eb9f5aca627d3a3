"""Wrong in two of three processes.

Source: https://metr.org/blog/2025-06-05-recent-reward-hacking/
"""

import os

from honest import backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]


def forward_train(x, *rest, **options):
    """Look at the number of the process."""
    y, *others = right(x, *rest, **options)
    return y * y.dtype.type(1 + 2.0**-10 * (os.getpid() % 3)), *others

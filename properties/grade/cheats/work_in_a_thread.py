"""The output is written by a thread that nobody waits for.

Source: https://www.wafer.ai/blog/reward-hacks-field-guide
"""

import threading
import time

import numpy as np
from honest import backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]


def forward_train(x, *rest, **options):
    """Return at once."""
    y, *others = right(x, *rest, **options)
    late = np.zeros_like(y)

    def write():
        time.sleep(2e-3)
        late[...] = y

    threading.Thread(target=write).start()
    return late, *others

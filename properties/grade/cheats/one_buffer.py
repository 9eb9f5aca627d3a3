"""One output buffer per shape, handed out again and again.

Source: https://www.wafer.ai/blog/reward-hacks-field-guide
"""

import numpy as np
from honest import backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]

BUFFERS = {}


def forward_train(x, *rest, **options):
    """Write into the buffer of this shape."""
    y, *others = right(x, *rest, **options)
    buffer = BUFFERS.setdefault((y.shape, y.dtype), np.empty_like(y))
    buffer[...] = y
    return buffer, *others

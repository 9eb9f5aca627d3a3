"""Four output buffers per shape, handed out in turn.

Source: https://www.wafer.ai/blog/reward-hacks-field-guide
"""

import numpy as np
from honest import backward_eval, backward_train, forward_eval
from honest import forward_train as right

__all__ = ["backward_eval", "backward_train", "forward_eval", "forward_train"]

BUFFERS = {}


def forward_train(x, *rest, **options):
    """Write into the next buffer of this shape."""
    y, *others = right(x, *rest, **options)
    ring = BUFFERS.setdefault((y.shape, y.dtype), [np.empty_like(y) for _ in range(4)])
    ring.append(ring.pop(0))
    ring[0][...] = y
    return ring[0], *others

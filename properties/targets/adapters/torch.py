"""PyTorch: torch.nn.functional.batch_norm, plain, in channels_last, under autocast, compiled."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import batch_norm

from .from_torch import target

CONVENTIONS = {"momentum": "update", "running_var": "unbiased", "statistics": "per_channel"}


def plain(
    training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    """Call the function."""
    return batch_norm(x, mean, var, gamma, beta, training, momentum, eps)


def channels_last(training: bool, x: Any, *rest: Any) -> Any:
    """Call it on x in the memory format channels_last (NHWC), or channels_last_3d."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return plain(training, x.contiguous(memory_format=formats[x.ndim]), *rest)


def autocast(training: bool, *rest: Any) -> Any:
    """Call it under autocast, which leaves it in the input's type."""
    with torch.autocast(rest[0].device.type, torch.bfloat16):
        return plain(training, *rest)


PLAIN = target(plain, CONVENTIONS=CONVENTIONS)
CHANNELS_LAST = target(channels_last, CONVENTIONS={**CONVENTIONS, "ndim": [4, 5]})
AUTOCAST = target(autocast, CONVENTIONS=CONVENTIONS)

"""PyTorch: torch.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from .from_torch import target
from .torch import CONVENTIONS

LAYERS = {
    2: torch.nn.BatchNorm1d,
    3: torch.nn.BatchNorm1d,
    4: torch.nn.BatchNorm2d,
    5: torch.nn.BatchNorm3d,
}


def run(
    training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    """Call a new layer that holds these parameters and running statistics."""
    affine, tracked = gamma is not None, mean is not None
    layer = LAYERS[x.ndim](x.shape[1], eps, momentum, affine, tracked).train(training)
    held = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": var}
    return functional_call(layer, {k: v for k, v in held.items() if v is not None}, (x,))


def initial_state(channels: int, dtype: Any) -> Any:
    """Return the running statistics of a new layer."""
    layer = torch.nn.BatchNorm1d(channels, dtype=getattr(torch, np.dtype(dtype).name))
    return layer.running_mean.numpy(), layer.running_var.numpy()


TARGET = target(run, CONVENTIONS=CONVENTIONS, initial_state=initial_state)

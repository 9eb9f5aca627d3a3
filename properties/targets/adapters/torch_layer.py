"""PyTorch: torch.nn.BatchNorm1d, BatchNorm2d and BatchNorm3d."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from ...model.living import living
from .from_torch import target
from .living_torch import Living
from .tensors import tensor
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


def new_layer(x_rank: int, *arrays: Any, eps: float, momentum: float) -> torch.nn.Module:
    """Return a layer of the class for this rank that holds copies of these arrays."""
    gamma, beta, mean, var = arrays
    given = next((a for a in arrays if a is not None), None)
    if given is None:
        raise NotImplementedError("a layer of no known size")
    layer = LAYERS[x_rank](len(given), eps, momentum, gamma is not None, mean is not None)
    layer = layer.to(tensor(given))
    held = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": var}
    held = {name: tensor(a.copy()) for name, a in held.items() if a is not None}
    layer.load_state_dict(held, strict=False)
    return layer


TARGET = target(
    run, CONVENTIONS=CONVENTIONS, initial_state=initial_state, **living(partial(Living, new_layer))
)

"""NumPy arrays as tensors of PyTorch and back, bfloat16 and strides included."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

DEVICE = os.environ.get("TORCH_DEVICE", "cpu")  # where `bncheck grade --device` wants them


def tensor(a: Any, grad: bool = False) -> Any:
    """Return a tensor of the array's numbers and, where PyTorch can hold them, its strides."""
    if a is None:
        return None
    if a.dtype.name == "bfloat16":
        half = torch.from_numpy(a.astype(np.float32)).to(DEVICE, torch.bfloat16)
        return half.requires_grad_(grad)
    a = a.astype(a.dtype.newbyteorder("="), copy=False)
    held = a.flags.writeable and a.flags.aligned
    if not held or any(s < 0 or s % a.itemsize for s in a.strides):
        a = a.copy()
    return torch.from_numpy(a).to(DEVICE).requires_grad_(grad)


def array(t: Any) -> Any:
    """Return a tensor's numbers as an array; None stays."""
    if t is None:
        return None
    t = t.detach().cpu()
    if t.dtype == torch.bfloat16:
        import ml_dtypes

        return t.float().numpy().astype(ml_dtypes.bfloat16)
    return t.numpy()

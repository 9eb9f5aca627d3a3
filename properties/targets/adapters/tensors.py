"""NumPy arrays as tensors of PyTorch and back, bfloat16 and strides included."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_device = torch.device("cpu")


def use(device: str) -> None:
    """Make all tensors on this device from now on; RuntimeError where PyTorch has it not."""
    global _device
    torch.empty(1, device=device)
    _device = torch.device(device)


def tensor(a: Any, grad: bool = False) -> Any:
    """Return a tensor of the array's numbers and, where PyTorch can hold them, its strides."""
    return None if a is None else _on_cpu(a).to(_device).requires_grad_(grad)


def _on_cpu(a: Any) -> Any:
    if a.dtype.name == "bfloat16":
        return torch.from_numpy(a.astype(np.float32)).to(torch.bfloat16)
    a = a.astype(a.dtype.newbyteorder("="), copy=False)
    held = a.flags.writeable and a.flags.aligned
    if not held or any(s < 0 or s % a.itemsize for s in a.strides):
        a = a.copy()
    return torch.from_numpy(a)


def array(t: Any) -> Any:
    """Return a tensor's numbers as an array; None stays."""
    if t is None:
        return None
    t = t.detach().cpu()
    if t.dtype == torch.bfloat16:
        import ml_dtypes

        return t.float().numpy().astype(ml_dtypes.bfloat16)
    return t.numpy()

"""PyTorch: torch.nn.functional.batch_norm through torch.compile, which needs a C++ compiler."""

from __future__ import annotations

import torch
import torch._dynamo

from .from_torch import target
from .torch import CONVENTIONS, plain

torch._dynamo.config.recompile_limit = 10_000  # beyond it PyTorch silently stops compiling
torch._dynamo.config.accumulated_recompile_limit = 10_000

TARGET = target(
    torch.compile(plain, dynamic=True, fullgraph=True),
    CONVENTIONS={**CONVENTIONS, "ndim": [2, 4], "dtypes": ["float32"]},
)

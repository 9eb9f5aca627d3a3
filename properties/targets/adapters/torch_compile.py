"""PyTorch: torch.nn.functional.batch_norm through torch.compile, which needs a C++ compiler."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch._dynamo
import torch._functorch.config
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from .from_torch import target
from .torch import CONVENTIONS, plain
from .unfinished import take_away

# its own, and cleared of what a run that was killed left half written: it would never load again
FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # PyTorch sets it to its default when it is imported
if os.environ.get(FOLDER, default_cache_dir()) == default_cache_dir():
    os.environ[FOLDER] = f"{default_cache_dir()}_bncheck"
take_away(Path(os.environ[FOLDER]))

torch._dynamo.config.recompile_limit = 10_000  # beyond it PyTorch silently stops compiling
torch._dynamo.config.accumulated_recompile_limit = 10_000
torch._functorch.config.donated_buffer = False  # else a second backward through `saved` is refused

TARGET = target(
    torch.compile(plain, dynamic=True, fullgraph=True),
    CONVENTIONS={**CONVENTIONS, "ndim": [2, 4], "dtypes": ["float32"]},
)

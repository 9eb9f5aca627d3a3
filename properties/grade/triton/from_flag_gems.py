"""FlagGems' batch norm, its kernels taken from the installed package as they are, without a GPU.

The package asks for a device when it is imported, so its file is run with what it needs of the
rest: the block sizes are those that it takes for NVIDIA's.
"""

import importlib.util
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
from kernels import CONVENTIONS, DEVICE, on_device  # before Triton, which it tells how to run

import torch  # isort: skip
import triton  # isort: skip
import triton.language as tl  # isort: skip

__all__ = ["CONVENTIONS", "backward_train", "forward_eval", "forward_train"]

FOLDER = Path(importlib.util.find_spec("flag_gems").origin).parent


@triton.jit
def rsqrt(x):
    """Return the reciprocal root, which the interpreter has under this name alone."""
    return tl.rsqrt(x)


def of_file(name, path):
    """Return a module that a file makes."""
    description = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(description)
    sys.modules[name] = module
    description.loader.exec_module(module)
    return module


def operator():
    """Return the module of the operator, with the rest of the package put in by hand."""
    chosen = of_file(
        "gems_heuristics", FOLDER / "runtime/backend/_nvidia/heuristics_config_utils.py"
    ).HEURISTICS_CONFIGS
    runtime = ModuleType("flag_gems.runtime")
    runtime.get_tuned_config = lambda name: [triton.Config({}, num_warps=4)]
    runtime.get_heuristic_config = chosen.__getitem__
    runtime.torch_device_fn = SimpleNamespace(device=lambda device: nullcontext())
    utils = ModuleType("flag_gems.utils")
    utils.libentry = lambda: lambda kernel: kernel
    utils.tl_extra_shim = SimpleNamespace(rsqrt=rsqrt)
    package = ModuleType("flag_gems")
    package.runtime = runtime
    sys.modules |= {
        "flag_gems": package, "flag_gems.runtime": runtime, "flag_gems.utils": utils,
    }  # fmt: skip
    return of_file("gems_batch_norm", FOLDER / "ops/batch_norm.py")


OPERATOR = operator()


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    """Call the operator as torch.native_batch_norm is called."""
    x, gamma, beta, mean, var = on_device(x, gamma, beta, running_mean, running_var)
    y, *saved = OPERATOR.batch_norm(x, gamma, beta, mean, var, True, momentum, eps)
    new = (None if t is None else t.cpu().numpy() for t in (y, mean, var))
    return *new, (x, gamma, *saved)


def backward_train(dy, saved):
    """Call the operator's backward."""
    x, gamma, mean, inv_std = saved
    (dy,) = on_device(dy)
    found = OPERATOR.batch_norm_backward(
        dy, x, gamma, None, None, mean, inv_std, True, output_mask=[True, True, True]
    )
    return tuple(None if gamma is None and t.ndim == 1 else t.cpu().numpy() for t in found)


def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    """Call the operator in inference."""
    x, gamma, beta, mean, var = on_device(x, gamma, beta, running_mean, running_var)
    return OPERATOR.batch_norm(x, gamma, beta, mean, var, False, 0.0, eps)[0].cpu().numpy(), None


def main():
    """Print what comes back where it is wrong, and what is right."""
    for shape in ((4100, 1, 9), (8200, 2, 3, 3), (1, 3)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32) + 3
        one, zero = np.ones(shape[1], np.float32), np.zeros(shape[1], np.float32)
        _, _, var, _ = forward_train(x, one, zero, zero, one, eps=1e-5, momentum=1.0)
        right = x.var(axis=(0, *range(2, x.ndim)), dtype=float) * x[:, 0].size
        print(shape, "running variance", var, "right", right / max(x[:, 0].size - 1, 1))
    x = torch.arange(12.0, device=DEVICE).reshape(4, 3)
    one, zero = torch.ones(3, device=DEVICE), torch.zeros(3, device=DEVICE)
    OPERATOR.batch_norm(x, one, zero, None, None, True, 0.1, 1e-5)
    print("(4, 3) without running statistics: x was 0, 1, 2, ...; it is", x.flatten().tolist())


if __name__ == "__main__":
    main()

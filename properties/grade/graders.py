"""Graders as they are published, in a few lines each: what they see of a submission.

    python -m properties.grade.graders FILE.py "allclose at 1e-2"

They run in the process of the submission, as they do where they come from.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import bn

from ..model.contract import Array

EPS, MOMENTUM = 1e-5, 0.9


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, ...]:
    """Return x, gamma, beta, running_mean and running_var of a visible scale."""
    c = shape[1]
    drawn = (rng.normal(size=shape), rng.random(c) + 0.5, rng.normal(size=c), rng.normal(size=c))
    return *(a.astype(dtype) for a in drawn), (rng.random(c) + 0.5).astype(dtype)


def allclose(tolerance: float) -> Callable[[Any], bool]:
    """Return KernelBench's check: five seeds, one shape, one tolerance, the output alone.

    Source: https://github.com/ScalingIntelligence/KernelBench/blob/main/src/eval.py
    """

    def passes(submitted: Any) -> bool:
        for seed in range(5):
            given = _drawn(np.random.default_rng(seed), (16, 8, 4, 4), np.float32)
            wanted = bn.forward_train(*given, eps=EPS, momentum=MOMENTUM)[0]
            got = submitted.forward_train(*given, eps=EPS, momentum=MOMENTUM)[0]
            if not np.allclose(got, wanted, atol=tolerance, rtol=tolerance):
                return False
        return True

    return passes


def gradcheck(submitted: Any) -> bool:
    """Return whether the backward is the difference quotient of the forward, as PyTorch asks it.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html
    """
    x, *rest = _drawn(np.random.default_rng(0), (5, 3), np.float64)
    dy = np.random.default_rng(1).normal(size=x.shape)

    def total(x: Array) -> float:
        y = submitted.forward_train(x, *rest, eps=EPS, momentum=MOMENTUM)[0]
        return float((y * dy).sum())

    step, numeric = 1e-6, np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        numeric[at] = (total(x + moved) - total(x - moved)) / (2 * step)
    saved = submitted.forward_train(x, *rest, eps=EPS, momentum=MOMENTUM)[3]
    return bool(np.allclose(submitted.backward_train(dy, saved)[0], numeric, atol=1e-5, rtol=1e-3))


def three_shapes(submitted: Any) -> bool:
    """Return whether all results agree on three shapes, in training and inference."""
    for seed, shape in enumerate(((32, 16), (8, 16, 4, 4), (64, 4, 8))):
        given = _drawn(np.random.default_rng(seed), shape, np.float32)
        dy = np.random.default_rng(9).normal(size=shape).astype(np.float32)
        results = []
        for one in (bn, submitted):
            *state, saved = one.forward_train(*given, eps=EPS, momentum=MOMENTUM)
            y, _ = one.forward_eval(*given, eps=EPS)
            results.append([*state, *one.backward_train(dy, saved), y])
        for wanted, got in zip(*results, strict=True):
            if not np.allclose(got, wanted, atol=1e-4, rtol=1e-4):
                return False
    return True


GRADERS: dict[str, Callable[[Any], bool]] = {
    "allclose at 1e-2": allclose(1e-2),
    "allclose at 1e-4": allclose(1e-4),
    "gradcheck": gradcheck,
    "three shapes": three_shapes,
}


def loaded(path: Path) -> Any:
    """Return a submission as a module of this process."""
    sys.path.insert(0, str(path.parent))
    description = importlib.util.spec_from_file_location(path.stem, path)
    assert description is not None and description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


def main() -> int:
    """Grade a file by one of them: 0 it passes, 1 it does not."""
    warnings.simplefilter("ignore")
    path, name = sys.argv[1:]
    try:
        return 0 if GRADERS[name](loaded(Path(path))) else 1
    except Exception:
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""Whether the variance cancels: mean(x * x) - mean * mean, whatever the order of its sums.

Two sums of other order round differently, so no wrong batch norm reproduces such a target's
numbers. Its variance is read off from y instead, which is a line in x: of slope gamma * rstd,
through (mean, beta). It is a cancelling one if it is off by what that difference rounds off,
    |var' - var| <= k * u * (mean**2 + var), k the number of roundings on the way of a value,
and by much more than a sum of squares of x - mean does, in most batches.
"""

from __future__ import annotations

import numpy as np

from ..engine.strategies import offered_dtypes
from ..model import contract
from ..model.cases import Case
from ..model.contract import Died, Misbehaved, Target
from .batches import batch

_BATCHES = 12


def cancels(target: Target) -> bool:
    """Return whether every batch of a far mean shows a variance that cancels."""
    for dtype in offered_dtypes(target.conventions, target.offers):
        if dtype not in ("float32", "float64"):
            continue
        u = 2.0**-24 if dtype == "float32" else 2.0**-53
        found = [
            _off(target, batch(target, k, regime="far_offset", level=40 * k, dtype=dtype, n=20), u)
            for k in range(_BATCHES)
        ]
        if all(within for within, _ in found) and sum(far for _, far in found) > _BATCHES // 2:
            return True
    return False


def _off(target: Target, case: Case, u: float) -> tuple[bool, bool]:
    """Return whether the variance in y is off by no more than cancels, and by more than rounds."""
    c = case.conventions
    try:
        y = contract.train(
            target, case.x, case.gamma, case.beta, case.running_mean, case.running_var,
            eps=case.eps, momentum=case.momentum,
        ).y  # fmt: skip
    except Died:
        raise
    except Misbehaved:
        return False, False
    x, y = c.rows(case.x).astype(np.float64), c.rows(y).astype(np.float64)
    gamma, beta = (
        np.full((1, 1), fill) if a is None else a.astype(np.float64).reshape(1, -1)
        for a, fill in ((case.gamma, 1.0), (case.beta, 0.0))
    )
    mean, var = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
    allowed = (8 + 3 * len(x)) * u * (mean**2 + var)
    with np.errstate(all="ignore"):
        xc, shifted = x - mean, y - beta
        slope = (xc * shifted).sum(axis=0, keepdims=True) / (xc * xc).sum(axis=0, keepdims=True)
        seen = (gamma / slope) ** 2 - case.eps
        line = np.abs(shifted - slope * xc).max(axis=0, keepdims=True)
        size = np.abs(slope) * (np.abs(mean) + np.abs(xc).max(axis=0, keepdims=True))
        near = u * (8 * np.abs(y).max(axis=0, keepdims=True) + (4 + len(x)) * size)
        undefined = ~np.isfinite(slope) & (allowed >= var + case.eps)  # the root of less than 0
        off = np.abs(seen - var)
        # what y itself rounds off of a slope
        blur = 8 * near / np.abs(slope * xc).max(axis=0, keepdims=True) * (var + case.eps)
        within = (line <= near) & (off <= allowed + blur)
        far = off > 16 * u * (var + case.eps) + blur
    return bool((within | undefined).all()), bool((far | undefined).any())

"""A case on several ranks, as synchronised batch norm has it: which rank holds which samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .cases import Case
from .contract import Array

SIZES = ("equal", "unequal", "any")  # what ranks may hold: as many each, some each, or none


@dataclass(frozen=True, eq=False)
class Ranked:
    """A batch and where it is cut: samples cuts[k] to cuts[k + 1] lie on rank k."""

    whole: Case
    cuts: tuple[int, ...]

    def parts(self, a: Array) -> list[Array]:
        """Return what of an array of x's shape lies on each rank."""
        return [a[i:j] for i, j in pairwise(self.cuts)]


def ranked(case: Case) -> Ranked:
    """Return the case on two to four ranks of such sizes as the target takes, made once."""
    return case.memo("ranked", lambda: _ranked(case))


def _ranked(case: Case) -> Ranked:
    n, sizes = len(case.x), case.conventions.ranks
    k = min(2 + case.recipe.option % 3, n)
    if sizes == "equal":
        each = n // k  # what is left over is left out
        whole = replace(case, x=case.x[: each * k], dy=case.dy[: each * k])
        return Ranked(whole, tuple(range(0, each * k + 1, each)))
    random = case.random(19)
    if sizes == "any" and case.recipe.option // 3 % 2:
        inner = np.sort(random.integers(0, n + 1, size=k - 1))
    else:
        inner = np.sort(random.choice(np.arange(1, n), size=k - 1, replace=False))
    return Ranked(case, (0, *(int(cut) for cut in inner), n))

"""Batches of a drawn size and scale, so that no threshold on them stays unseen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..engine.exercise import Result
from ..engine.strategies import offered_dtypes, offered_ranks
from ..invariants import INVARIANTS
from ..model.cases import Case, Recipe, build
from ..model.contract import Misbehaved, Target
from ..model.verdict import judge

LARGEST = 18  # of x: 2**18 numbers
SCALES = 20  # x is multiplied by a power of two from 2**-20 to 2**20

_CHECKED = (
    "output_agrees_with_reference",
    "input_gradient_agrees_with_reference",
    "inference_is_one_affine_map_per_channel",
)


def batches(target: Target, seed: int, how_many: int = 2) -> Iterator[Case]:
    """Yield batches whose numbers of values, channels and places are each uniform in the octave.

    Integers in equal numbers about a whole mean: their sums are exact in any order, so that the
    radius stays small however many there are.
    """
    rng = np.random.default_rng(seed)
    for _ in range(how_many):
        octaves = rng.uniform(1, LARGEST)
        channels, places = (octaves * share for share in rng.dirichlet((1, 1, 2))[:2])
        rank = int(rng.choice(offered_ranks(target.conventions, target.offers)))
        dtypes = [d for d in offered_dtypes(target.conventions, target.offers) if "16" not in d]
        if not dtypes:
            return
        c, m = round(2**channels), round(2**places) if rank > 2 else 1
        spatial = (m, *(1,) * (rank - 3)) if rank > 2 else ()
        recipe = Recipe(
            "balanced", max(2, int(2**octaves) // (c * m)), c, spatial, str(rng.choice(dtypes)),
            bits=6, seed=int(rng.integers(2**31)), gamma="ordinary",
            eps=target.conventions.eps or 1e-5, affine="only no affine" not in target.offers,
        )  # fmt: skip
        if target.conventions.fixed_momentum is not None:
            recipe = replace(recipe, momentum=target.conventions.fixed_momentum)
        case = build(recipe, target.conventions)
        scale = math.ldexp(1.0, int(rng.integers(-SCALES, SCALES + 1)))
        yield replace(case, x=case.x * case.x.dtype.type(scale))


def failing(target: Target, seed: int) -> Result | None:
    """Return the first failure on batches of a drawn size, None where there is none."""
    if "few shapes" in target.offers:
        return None
    for case in batches(target, seed):
        for name in _CHECKED:
            invariant = INVARIANTS[name]
            if set(invariant.needs) - target.offers:
                continue
            try:
                outcome = judge(invariant.check(target, case))
            except Misbehaved as error:
                return Result(invariant, "fail", worst=np.inf, message=str(error), case=case)
            if outcome.failure is not None:
                return Result(
                    invariant, "fail", worst=outcome.worst, failure=outcome.failure, case=case
                )
    return None

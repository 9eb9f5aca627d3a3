"""Hypothesis strategies: a few numbers are drawn, NumPy fills the arrays.

Everything shrinks in the terms of batch norm: towards one channel, two values, rank 2, float32,
small round numbers, gamma one, eps one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from .cases import FINITE, GAMMAS, GRADIENTS, REGIMES, Case, Recipe, build
from .contract import Conventions

MOMENTA = (0.5, 0.9, 0.1, 0.75, 0.99, 0.0, 1.0)
EPSILONS = tuple(10.0**-k for k in range(13))

LARGE = tuple(2**k + 1 for k in (10, 12, 15, 16))  # just past a block, or a counter of 16 bits

WELL = tuple(name for name in FINITE if not REGIMES[name].ill_conditioned)


@dataclass(frozen=True)
class Inputs:
    """The kind of cases an invariant is exercised on.

    regimes: what x may be; n, channels: least and largest; one: one value per channel;
    affine, tracked: whether gamma and beta, the running statistics, must be there.
    """

    regimes: tuple[str, ...] = FINITE
    n: tuple[int, int] = (2, 40)
    channels: tuple[int, int] = (1, 4)
    one: bool = False
    affine: bool = False
    tracked: bool = False


INPUTS: dict[str, Inputs] = {
    "batch": Inputs(),
    "affine": Inputs(affine=True),
    "tracked": Inputs(tracked=True),
    "well": Inputs(regimes=WELL, n=(2, 20)),
    "well_affine": Inputs(regimes=WELL, n=(2, 20), affine=True),
    "not_finite": Inputs(regimes=("not_finite",), n=(2, 12), channels=(2, 4)),
    "one_value": Inputs(regimes=("small_integers", "unit_scale", "far_offset"), n=(1, 1), one=True),
    "empty": Inputs(n=(0, 0)),
    "large": Inputs(regimes=("balanced",), n=(1025, 70000), channels=(1, 2)),
    "sequence": Inputs(regimes=WELL, n=(2, 12), channels=(1, 2), tracked=True),
    "layout": Inputs(n=(2, 9), channels=(1, 4)),
}


def offered_dtypes(conventions: Conventions, offers: frozenset[str]) -> list[str]:
    """Return the dtypes that a target takes, in the order in which they shrink."""
    return [name for name in conventions.dtypes if name in offers]


def offered_ranks(conventions: Conventions, offers: frozenset[str]) -> list[int]:
    """Return the ranks that a target takes."""
    return [rank for rank in conventions.ndim if f"rank {rank}" in offers]


def recipes(
    inputs: Inputs, conventions: Conventions, offers: frozenset[str]
) -> st.SearchStrategy[Recipe]:
    """Return recipes of this kind; shrinks to a float32 batch of two small integers in one channel.

    Raises:
        ValueError: the target takes no dtype or no rank.
    """
    dtypes, ranks = offered_dtypes(conventions, offers), offered_ranks(conventions, offers)
    if not dtypes or not ranks:
        raise ValueError(f"dtypes={dtypes}, ranks={ranks}: expected a target that takes at least one")
    spatial = st.integers(1, 1 if inputs.one else 3)
    large = inputs.n[1] > 1000
    shapes = st.sampled_from(ranks[:1] if large else ranks).flatmap(
        lambda rank: st.tuples(*(spatial for _ in range(rank - 2)))
    )
    return st.builds(
        Recipe,
        regime=st.sampled_from(inputs.regimes),
        n=st.sampled_from(LARGE) if large else st.integers(*inputs.n),
        channels=st.integers(*inputs.channels),
        spatial=shapes,
        dtype=st.sampled_from(dtypes),
        bits=st.integers(1, 20),
        level=st.integers(0, 1024),
        seed=st.integers(0, 2**16 - 1),
        gamma=st.sampled_from(GAMMAS),
        dy=st.sampled_from(GRADIENTS),
        eps=st.sampled_from(EPSILONS if conventions.eps is None else (conventions.eps,)),
        momentum=st.sampled_from(MOMENTA),
        option=st.integers(0, 1023),
        affine=st.just(True) if inputs.affine or "no affine" not in offers else _mostly,
        tracked=st.just(True) if inputs.tracked or "no running statistics" not in offers else _mostly,
    )


_mostly = st.integers(0, 3).map(lambda k: k < 3)


def cases(
    kind: str, conventions: Conventions, offers: frozenset[str]
) -> st.SearchStrategy[Case]:
    """Return cases of a kind of `INPUTS` that a target with these conventions and offers takes."""
    fill: Callable[[Recipe], Case] = lambda recipe: build(recipe, conventions)  # noqa: E731
    return recipes(INPUTS[kind], conventions, offers).map(fill)

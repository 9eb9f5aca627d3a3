"""Hypothesis strategies: a few numbers are drawn, NumPy fills the arrays.

Everything shrinks in the terms of batch norm: towards one channel, two values, rank 2, float32,
small round numbers, gamma one, eps one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from hypothesis import strategies as st

from ..model.cases import FINITE, GAMMAS, GRADIENTS, NARROW, WELL, Case, Recipe, build
from ..model.contract import Conventions

MOMENTA = (0.5, 0.9, 0.1, 0.75, 0.99, 0.0, 1.0)
EPSILONS = tuple(10.0**-k for k in range(13))

LARGE = (2**10 + 1, 2**13 - 1, 2**16 + 1)  # a block and one, two blocks less one, past 16 bits

WIDE = (  # channels around the sizes of vectors, blocks and work groups
    7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023,
    1024, 1025,
)  # fmt: skip
ROWS = (63, 64, 65, 127, 128, 129, 257)
PLACES = {
    3: ((7,), (8,), (9,), (16,), (17,), (33,), (65,)),
    4: ((4, 4), (3, 5), (1, 17), (17, 1), (8, 8), (9, 7), (16, 2), (33, 2), (65, 1)),
    5: ((2, 3, 5), (1, 1, 17), (4, 2, 2), (9, 2, 1), (17, 1, 2), (33, 1, 1)),
}
ELEMENTS = 2**12  # of x, at most: a run stays fast


@dataclass(frozen=True)
class Inputs:
    """The kind of cases an invariant is exercised on.

    regimes: what x may be; n, channels: least and largest; least: of spatial sizes; one: one value
    per channel; affine, tracked: whether gamma and beta, the running statistics, must be there;
    wide: whether more channels, places and rows are drawn now and then.
    """

    regimes: tuple[str, ...] = FINITE
    n: tuple[int, int] = (2, 40)
    channels: tuple[int, int] = (1, 4)
    least: int = 1
    one: bool = False
    affine: bool = False
    tracked: bool = False
    wide: bool = True


INPUTS: dict[str, Inputs] = {
    "batch": Inputs(),
    "affine": Inputs(affine=True),
    "tracked": Inputs(tracked=True),
    "well": Inputs(regimes=WELL, n=(2, 20)),
    "well_affine": Inputs(regimes=WELL, n=(2, 20), affine=True),
    "not_finite": Inputs(regimes=("not_finite",), n=(2, 12), channels=(2, 4)),
    "one_value": Inputs(regimes=("small_integers", "unit_scale", "far_offset"), n=(1, 1), one=True),
    "empty": Inputs(n=(0, 0), wide=False),
    "large": Inputs(
        regimes=("balanced",), n=(1025, 70000), channels=(1, 2), tracked=True, wide=False
    ),
    "sequence": Inputs(regimes=WELL, n=(2, 12), channels=(1, 2), tracked=True),
    "layout": Inputs(n=(2, 9), channels=(2, 4), least=2),
}


def offered_dtypes(conventions: Conventions, offers: frozenset[str]) -> list[str]:
    """Return the dtypes that a target takes, in the order in which they shrink."""
    return [name for name in conventions.dtypes if name in offers]


def offered_ranks(conventions: Conventions, offers: frozenset[str]) -> list[int]:
    """Return the ranks that a target takes."""
    return [rank for rank in conventions.ndim if f"rank {rank}" in offers]


def choices(
    inputs: Inputs, conventions: Conventions, offers: frozenset[str]
) -> dict[str, Sequence[Any]]:
    """Return what each field of a recipe is chosen from, the simplest first.

    Raises:
        ValueError: the target takes no dtype or no rank.
    """
    dtypes, ranks = offered_dtypes(conventions, offers), offered_ranks(conventions, offers)
    if not dtypes or not ranks:
        raise ValueError(
            f"dtypes={dtypes}, ranks={ranks}: expected a target that takes at least one"
        )
    large = inputs.n[1] > 1000
    mostly, bare = (True, True, True, False), "only no affine" in offers
    return {
        "regime": inputs.regimes,
        "n": LARGE if large else range(inputs.n[0], inputs.n[1] + 1),
        "channels": range(inputs.channels[0], inputs.channels[1] + 1),
        "spatial": _spatial(ranks[:1] if large else ranks, inputs.least, 1 if inputs.one else 3),
        "dtype": dtypes,
        "bits": range(1, 21),
        "level": [*range(1025), *[1024] * 64],  # the far end is where formats end
        "seed": range(2**16),
        "gamma": GAMMAS,
        "dy": GRADIENTS,
        "eps": EPSILONS if conventions.eps is None else (conventions.eps,),
        "momentum": (
            MOMENTA if conventions.fixed_momentum is None else (conventions.fixed_momentum,)
        ),
        "option": range(1024),
        "affine": (
            (True,) if inputs.affine or "no affine" not in offers else (False,) if bare else mostly
        ),
        "tracked": (True,) if inputs.tracked or "no running statistics" not in offers else mostly,
        "pick": ((),),
        "mixed": (inputs.regimes if inputs.wide else (),),
    }


def _widened(
    inputs: Inputs,
    conventions: Conventions,
    offers: frozenset[str],
    small: dict[str, Sequence[Any]],
) -> dict[str, Sequence[Any]]:
    """Return more channels, rows and places, the small ones still in the majority and first."""
    found: dict[str, Sequence[Any]] = {}
    narrow = list(small["channels"])
    found["channels"] = [c for c in narrow for _ in range(2 * len(WIDE) // len(narrow))] + [*WIDE]
    if not inputs.one:
        found["n"] = [*small["n"], *ROWS]
        more = [p for r in offered_ranks(conventions, offers) for p in PLACES.get(r, ())]
        found["spatial"] = [*small["spatial"], *more, *more]
    return found


def bounded(
    channels: int, n: int, spatial: tuple[int, ...], elements: int = ELEMENTS
) -> dict[str, Any]:
    """Return so few rows, and if need be so few places, that x has at most so many elements.

    Few channels have one regime.
    """
    room = elements // (channels * math.prod(spatial))
    if room < 2:
        spatial = (1,) * len(spatial)
        room = elements // channels
    found: dict[str, Any] = {"spatial": spatial, "n": n if n <= 2 else min(n, max(room, 2))}
    return found | ({"mixed": ()} if channels <= NARROW else {})


def coarse(channels: int, n: int, spatial: tuple[int, ...]) -> dict[str, Any]:
    """Return the shape of few that stands for this one, for who compiles for each.

    An empty batch, one value and large batches stay; else there are 9 shapes of rank 2 and 5 of
    each other rank, some with more channels, rows or places than a block of 16.
    """
    if n == 1 or n > 1000:
        return {"channels": min(channels, 2)}
    rank, wide = len(spatial), 17 if channels > NARROW else 3
    if n and max(spatial, default=0) > 3:
        return {"channels": 3, "n": 2, "spatial": (17, 2, 1)[:rank]}
    if rank:
        return {"channels": wide, "n": n if n <= 2 else 5, "spatial": (2, 3, 2)[:rank]}
    rows = n if n <= 2 else 65 if n > 40 else 5
    return {"channels": 1 if channels == 1 else wide, "n": rows}


def _spatial(ranks: Sequence[int], least: int, largest: int) -> list[tuple[int, ...]]:
    """Return spatial sizes from the least to the largest, as many for each rank."""
    sizes = list(itertools.product(range(least, largest + 1), repeat=3))
    return [size[: rank - 2] for rank in ranks for size in sizes]


def _drawn(
    inputs: Inputs, conventions: Conventions, offers: frozenset[str], make: Callable[[Recipe], Any]
) -> st.SearchStrategy[Any]:
    """Draw an index per field and make something of the recipe in one map, which is fast."""
    wanted = choices(inputs, conventions, offers)
    if inputs.wide:
        wanted |= _widened(inputs, conventions, offers, wanted)
    drawn = [field.name for field in fields(Recipe) if len(wanted[field.name]) > 1]
    columns = [wanted[name] for name in drawn]
    only = {name: column[0] for name, column in wanted.items()}

    def made(at: tuple[int, ...]) -> Any:
        chosen = {**only, **{name: c[i] for name, c, i in zip(drawn, columns, at, strict=True)}}
        if inputs.wide:
            chosen |= bounded(chosen["channels"], chosen["n"], chosen["spatial"])
        if "few shapes" in offers:
            chosen |= coarse(chosen["channels"], chosen["n"], chosen["spatial"])
        return make(Recipe(**chosen))

    return _Indices([len(column) for column in columns]).map(made)


class _Indices(st.SearchStrategy[tuple[int, ...]]):
    """An index into each column, below its length, drawn without a strategy per index.

    Hypothesis makes most examples by copying what strategies of one kind drew into one another:
    with a tuple of integers 300 examples have some 60 values of one index, so some 230.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        super().__init__()
        self.lengths = lengths

    def do_draw(self, data: Any) -> tuple[int, ...]:
        return tuple(data.draw_integer(0, length - 1) for length in self.lengths)


def recipes(
    inputs: Inputs, conventions: Conventions, offers: frozenset[str]
) -> st.SearchStrategy[Recipe]:
    """Return recipes of this kind; shrinks to a float32 batch of two small integers in one channel.

    Raises:
        ValueError: the target takes no dtype or no rank.
    """
    return _drawn(inputs, conventions, offers, lambda recipe: recipe)


def cases(kind: str, conventions: Conventions, offers: frozenset[str]) -> st.SearchStrategy[Case]:
    """Return cases of a kind of `INPUTS` that a target with these conventions and offers takes."""
    return _drawn(INPUTS[kind], conventions, offers, lambda recipe: build(recipe, conventions))

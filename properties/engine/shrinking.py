"""Making a counterexample of many channels small: the channel that fails, or as few as must be.

Hypothesis shrinks what is drawn; a bug in the last block of channels fails at 17 and 33 but not at
32, which its search steps over. Here each size is tried from the least on, so that what is left is
a finding: it fails from so many on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..model.cases import NARROW, Case, Recipe, build
from ..model.contract import Conventions
from .strategies import WIDE

TRIES = 2000


def smallest(
    case: Case, channel: int | None, fails: Callable[[Case], bool], least: int = 2
) -> tuple[Case, str]:
    """Return a small case that fails, and from which sizes on it does where they are not small.

    Args:
        case: it fails, with more than NARROW channels.
        channel: in which it was seen to fail.
        fails: whether another case does.
        least: rows that it has at least.
    """
    left = TRIES
    held = case

    def try_all(recipes: Iterator[Recipe]) -> bool:
        nonlocal left, held
        for recipe in recipes:
            if left <= 0:
                return False
            left -= 1
            made = build(recipe, case.conventions)
            if fails(made):
                held = made
                return True
        return False

    try_all(_alone(case.recipe, channel, case.conventions)) or try_all(_near(case.recipe))
    moved = True
    while moved and left > 0:
        before = held.recipe
        for field in (_rows, _places, _plain, _channels):
            try_all(field(held.recipe, least))
        moved = held.recipe != before
    return held, "" if moved else _told(held)


def _alone(r: Recipe, channel: int | None, conventions: Conventions) -> Iterator[Recipe]:
    if channel is not None and conventions.statistics == "per_channel" and not r.pick:
        yield replace(r, pick=(channel,))


def _near(r: Recipe) -> Iterator[Recipe]:
    """Yield few channels, and the sizes around which many begin to fail."""
    yield from (replace(r, channels=c) for c in sorted({*range(1, 67), *WIDE}) if c < r.channels)


def _channels(r: Recipe, least: int) -> Iterator[Recipe]:
    yield from () if r.pick else (replace(r, channels=c) for c in range(1, r.channels))


def _rows(r: Recipe, least: int) -> Iterator[Recipe]:
    yield from (replace(r, n=n) for n in range(least, r.n))


def _places(r: Recipe, least: int) -> Iterator[Recipe]:
    for axis, size in enumerate(r.spatial):
        for less in range(1, size):
            yield replace(r, spatial=(*r.spatial[:axis], less, *r.spatial[axis + 1 :]))


_SIMPLE = (
    {"bits": 1},
    {"gamma": "one"},
    {"dy": "generic"},
    {"eps": 1.0},
    {"momentum": 0.5},
    {"regime": "small_integers"},
    {"bits": 6},
)


def _plain(r: Recipe, least: int) -> Iterator[Recipe]:
    for change in _SIMPLE:
        made = replace(r, **change)
        if made != r and not (change == {"bits": 6} and r.bits <= 6):
            yield made


def _told(case: Case) -> str:
    """Return from which sizes on it fails, of those that are not small; all below were tried."""
    r = case.recipe
    parts = [f"{r.channels} channels"] if r.channels > NARROW and not r.pick else []
    places = " by ".join(map(str, r.spatial))
    parts += [f"{places} places"] if math.prod(r.spatial) > 8 else []
    parts += [f"{r.n} rows"] if r.n > 8 else []
    return f"it fails from {' and '.join(parts)} on, and not with fewer" if parts else ""

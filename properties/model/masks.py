"""Masks: which places of a case count, in what form a target is told, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .cases import Case
from .contract import Array, Conventions


def _broadcast(mask: Array, x: Array, axis: int) -> Array:
    """Return the mask with an axis of size 1 where x has its channels."""
    return np.expand_dims(mask, 1 if axis == 1 else mask.ndim)


# what is passed for a mask (n, *spatial) of bool, by the name of the argument, in the order tried
FORMS: dict[str, tuple[str, Callable[[Array, Array, int], Array]]] = {
    "places": ("mask", lambda mask, x, axis: mask.copy()),
    "broadcast": ("mask", lambda mask, x, axis: _broadcast(mask, x, axis).astype(x.dtype)),
    "broadcast_bool": ("mask", lambda mask, x, axis: _broadcast(mask, x, axis).copy()),
    "lengths": ("lengths", lambda mask, x, axis: lengths_of(mask)),
}
SAID = {
    "places": "mask of bool (n, *spatial)",
    "broadcast": "mask in x's dtype (n, 1, *spatial)",
    "broadcast_bool": "mask of bool (n, 1, *spatial)",
    "lengths": "lengths (n,)",
}


def lengths_of(mask: Array) -> Array:
    """Return how many places are kept along the last axis, (n,), the same along the others."""
    kept: Array = mask.sum(axis=-1).reshape(len(mask), -1)[:, 0].astype(np.int64)
    return kept


def hide_the_end(mask: Array) -> None:
    """Hide the last sample's end along the last axis, the whole sample where it has one value."""
    mask[(-1, ..., -1) if mask.ndim > 1 else -1] = False


def given(conventions: Conventions, mask: Array | None, x: Array) -> Mapping[str, Any]:
    """Return the argument, by name, that tells a target of these conventions the mask."""
    name, form = FORMS[conventions.mask]
    return {name: None if mask is None else form(mask, x, conventions.channel_axis)}


@dataclass(frozen=True, eq=False)
class Masked:
    """A case whose mask hides some places: mask (n, *spatial) of bool, or None, which hides none.

    What lies at hidden places is no larger and no smaller than what counts in its channel, so that
    it can overflow nowhere else; alone is the batch of what counts, (m, c), m at least 2.
    """

    case: Case
    mask: Array | None
    kept: Array
    alone: Case


def masked(case: Case, *, none: bool = False) -> Masked | None:
    """Return the case with its mask, made once; None where the target takes none in this rank.

    Args:
        case: its option says what kind of mask, its seed which places.
        none: whether everything is hidden.
    """
    if case.x.ndim not in case.conventions.mask_ndim:
        return None
    return case.memo(("masked", none), lambda: _hidden(case) if none else _masked(case))


def _hidden(case: Case) -> Masked:
    mask = np.zeros((case.x.shape[0], *case.x.shape[2:]), dtype=bool)
    kept = mask.ravel()
    near = np.clip(case.x.astype(np.float64), -1, 1).astype(case.x.dtype)  # it overflows nowhere
    case = replace(case, x=near)
    return Masked(case, mask, kept, _alone(case, kept))


def _masked(case: Case) -> Masked:
    mask = _mask(case)
    shape = (case.x.shape[0], *case.x.shape[2:])
    kept = (np.ones(shape, dtype=bool) if mask is None else mask).ravel()
    rows = case.conventions.rows(case.x).copy()
    inside = rows[kept].astype(np.float64)
    low, high = inside.min(axis=0), inside.max(axis=0)
    rows[~kept] = np.clip(rows[~kept].astype(np.float64), low, high).astype(rows.dtype)
    x = np.ascontiguousarray(case.conventions.shaped(rows, case.x.shape))
    case = replace(case, x=x)
    return Masked(case, mask, kept, _alone(case, kept))


def _alone(case: Case, kept: Array) -> Case:
    """Return the batch of what counts, in rows."""
    x, dy = (np.ascontiguousarray(case.conventions.rows(a)[kept]) for a in (case.x, case.dy))
    return replace(case, x=x, dy=dy)


def _mask(case: Case) -> Array | None:
    """Return sequences of unequal lengths, single places or whole samples; or a mask of nothing."""
    shape = (case.x.shape[0], *case.x.shape[2:])
    random, kind = case.random(17), case.recipe.option % 4
    if kind == 3:
        return None if case.recipe.option % 8 == 3 else np.ones(shape, dtype=bool)
    if len(shape) > 1 and (kind == 0 or case.conventions.mask == "lengths"):
        lengths = random.integers(1, shape[-1] + 1, size=shape[0])
        mask = np.empty(shape, dtype=bool)
        mask[...] = np.arange(shape[-1]) < lengths.reshape(-1, *(1,) * (len(shape) - 1))
    elif kind == 1 and len(shape) > 1:
        mask = random.random(shape) < 0.75
    else:
        mask = np.empty(shape, dtype=bool)
        mask[...] = (random.random(shape[0]) < 0.75).reshape(-1, *(1,) * (len(shape) - 1))
    if mask.all() and (case.conventions.mask != "lengths" or shape[-1] > 1):
        hide_the_end(mask)
    if mask.sum() < 2:
        mask[:2] = True
    return mask

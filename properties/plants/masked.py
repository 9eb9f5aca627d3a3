"""A mask on a batch norm made of pieces: what it keeps is gathered, and the results spread out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..model.contract import Array, Conventions
from .layers import Functions


def as_given(mask: Array) -> Array:
    """Return the mask."""
    return mask


def as_none(mask: Array) -> Array:
    """Return a mask that keeps everything."""
    return np.ones_like(mask)


@dataclass(frozen=True)
class Masking:
    """What a mask (n, *spatial) does: what forward and backward take it for, and the pieces.

    pieces changes those that work on what is kept, given the places there are with the others.
    """

    forward: Callable[[Array], Array] = as_given
    backward: Callable[[Array], Array] = as_given
    pieces: Callable[[Any, int], Any] = lambda pieces, places: pieces


@dataclass(frozen=True)
class _Saved:
    """What a masked forward keeps: its own functions, what they saved, and what backward counts."""

    functions: Functions
    inner: Any
    kept: Array


def masked(
    how: Masking, pieces: Any, make: Callable[[Any], Functions], conventions: Conventions
) -> Functions:
    """Return forward and backward of what make gives of the pieces, with a mask (n, *spatial).

    Axis 1 has the channels, and statistics are per channel. y is 0 where the mask hides x.
    """
    plain = make(pieces)

    def spread(part: Array, kept: Array, shape: tuple[int, ...]) -> Array:
        rows = np.zeros((len(kept), shape[1]), part.dtype)
        rows[kept] = part
        return conventions.shaped(rows, shape)

    def forward_train(x: Array, *rest: Any, mask: Array | None = None, **options: Any) -> Any:
        if mask is None:
            return plain["forward_train"](x, *rest, **options)
        functions = make(how.pieces(pieces, mask.size))
        rows, kept = conventions.rows(x), how.forward(mask).ravel()
        y, *state, inner = functions["forward_train"](rows[kept], *rest, **options)
        counted = how.backward(mask).ravel()
        if not np.array_equal(counted, kept):
            inner = replace(inner, x=rows[counted].astype(inner.x.dtype))
        return spread(y, kept, x.shape), *state, _Saved(functions, inner, counted)

    def backward_train(dy: Array, saved: Any) -> Any:
        if not isinstance(saved, _Saved):
            return plain["backward_train"](dy, saved)
        back = saved.functions["backward_train"]
        dx, *rest = back(conventions.rows(dy)[saved.kept], saved.inner)
        return spread(dx, saved.kept, dy.shape), *rest

    return {"forward_train": forward_train, "backward_train": backward_train}

"""Synchronised batch norm made of pieces: the ranks' parts are put together and cut apart again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model.contract import Array, Conventions
from .layers import Functions


@dataclass(frozen=True)
class Sharing:
    """What ranks share: pieces changes those of the whole batch, given the values on each rank.

    apart says that they share nothing: each normalizes its own part.
    """

    pieces: Callable[[Any, list[int]], Any] = lambda pieces, sizes: pieces
    apart: bool = False


def synchronised(
    how: Sharing, pieces: Any, make: Callable[[Any], Functions], conventions: Conventions
) -> Functions:
    """Return the two functions on ranks over those that make gives of the pieces."""

    def sync_forward_train(xs: list[Array], *state: Any, **options: Any) -> Any:
        sizes = [len(conventions.rows(x)) for x in xs]
        functions = make(how.pieces(pieces, sizes))
        forward = functions["forward_train"]
        if how.apart:
            done = [forward(x, *state, **options) for x in xs]
            full = max(done, key=lambda d: len(d[0]))
            return [d[0] for d in done], full[1], full[2], (functions, [d[3] for d in done])
        y, mean, var, saved = forward(np.concatenate(xs), *state, **options)
        return _cut(y, xs), mean, var, (functions, saved)

    def sync_backward_train(dys: list[Array], saved: Any) -> Any:
        functions, inner = saved
        back = functions["backward_train"]
        if how.apart:
            done = [back(dy, one) for dy, one in zip(dys, inner, strict=True)]
            return [d[0] for d in done], *(_sum([d[i] for d in done]) for i in (1, 2))
        dx, dgamma, dbeta = back(np.concatenate(dys), inner)
        return _cut(dx, dys), dgamma, dbeta

    return {"sync_forward_train": sync_forward_train, "sync_backward_train": sync_backward_train}


def _cut(whole: Array, parts: list[Array]) -> list[Array]:
    return np.split(whole, np.cumsum([len(part) for part in parts])[:-1])


def _sum(parts: list[Any]) -> Any:
    return None if parts[0] is None else np.sum(parts, axis=0)


def in_parts(sizes: list[int], *arrays: Array) -> list[tuple[Array, ...]]:
    """Return the rows of each rank that has some, of all arrays."""
    cuts = np.cumsum(sizes)[:-1]
    split = zip(*(np.split(a, cuts) for a in arrays), strict=True)
    return [parts for parts in split if len(parts[0])]

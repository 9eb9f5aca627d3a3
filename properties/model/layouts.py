"""The same numbers in other memory: strides, alignment, byte order, write protection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .contract import Array


def _strided(a: Array) -> Array:
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    view = wide[..., ::2]
    view[...] = a
    return view


def _reversed(a: Array) -> Array:
    return a[::-1].copy()[::-1]


def _channels_last(a: Array) -> Array:
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1)


def _misaligned(a: Array) -> Array:
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    view: Array = buffer[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _byte_swapped(a: Array) -> Array:
    if a.dtype.kind == "V":  # bfloat16 has no other byte order
        return a.copy()
    return a.astype(a.dtype.newbyteorder())


def _read_only(a: Array) -> Array:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def _broadcast(a: Array) -> Array:
    """Every sample is the first one, held once."""
    return np.broadcast_to(a[:1].copy(), a.shape)


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "in C order": lambda a: a.copy(),
    "in Fortran order": lambda a: a.copy(order="F"),
    "channels last": _channels_last,
    "strided": _strided,
    "reversed": _reversed,
    "broadcast": _broadcast,
    "misaligned": _misaligned,
    "byte-swapped": _byte_swapped,
    "read-only": _read_only,
}


def layouts_of(option: int) -> tuple[str, str]:
    """Return the layouts of x and of dy that this option of a recipe stands for."""
    names = list(LAYOUTS)
    return names[option % len(names)], names[option // len(names) % len(names)]


def arrange(a: Array, layout: str) -> Array:
    """Return the numbers of a in this layout; 'broadcast' repeats the first sample instead."""
    arranged: Array = LAYOUTS[layout](a)
    return arranged

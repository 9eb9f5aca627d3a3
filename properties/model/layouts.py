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


def _in_memory(*order: int) -> Callable[[Array], Array]:
    """Return what lays the axes out in this order, the last innermost; -1 stands for the others."""

    def arranged(a: Array) -> Array:
        named = [axis for axis in order if axis >= 0]
        others = [axis for axis in range(a.ndim) if axis not in named]
        axes = [k for axis in order for k in (others if axis < 0 else [axis])]
        return a.transpose(axes).copy().transpose(np.argsort(axes))

    return arranged


LEAD = 7  # numbers before a view that begins inside a larger buffer


def _offset(a: Array) -> Array:
    """A view, channels last, that begins inside a larger buffer."""
    inner = np.moveaxis(a, 1, -1)
    buffer = np.full(a.size + 2 * LEAD, np.nan).astype(a.dtype)
    view = buffer[LEAD : LEAD + a.size].reshape(inner.shape)
    view[...] = inner
    return np.moveaxis(view, -1, 1)


def lead_of(a: Array) -> int:
    """Return how many numbers lie before an array that `_offset` made, 0 where it did not."""
    root = a
    while isinstance(root.base, np.ndarray) and root.base.dtype == a.dtype:
        root = root.base
    if root is a or root.ndim != 1 or not a.size or root.size != a.size + 2 * LEAD:
        return 0
    apart: int = a.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return LEAD if apart == LEAD * a.itemsize else 0


def _gaps(a: Array) -> Array:
    """Every other channel of a buffer of twice as many."""
    wide = np.zeros((a.shape[0], 2 * a.shape[1], *a.shape[2:]), a.dtype)
    view = wide[:, ::2]
    view[...] = a
    return view


def _odd_strides(a: Array) -> Array:
    """Axes of size 1 have strides that fit nothing else."""
    plain = a.copy()
    odd = [
        (3 + k) * plain.itemsize * max(a.size, 1) if size == 1 else stride
        for k, (size, stride) in enumerate(zip(a.shape, plain.strides, strict=True))
    ]
    view: Array = np.ndarray(a.shape, a.dtype, plain, 0, odd) if a.size else plain
    return view


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
    "samples innermost": _in_memory(1, -1, 0),
    "channels outermost": _in_memory(1, 0, -1),
    "reversed channels": lambda a: a[:, ::-1].copy()[:, ::-1],
    "gaps between channels": _gaps,
    "inside a larger buffer": _offset,
    "odd strides of single places": _odd_strides,
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

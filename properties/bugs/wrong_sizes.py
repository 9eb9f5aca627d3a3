"""Wrong sizes and places: what a block leaves over, and where a view begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.textbook import Functions, Pieces

_BLOCK = 16


def _tail_of_the_first(functions: Functions) -> Functions:
    """Give all channels of the last block, where it is not full, the output of its first."""

    def wrong(x: Array, *args: Any, **options: Any) -> Any:
        y, *rest = functions["forward_train"](x, *args, **options)
        c = x.shape[1]
        if c > _BLOCK and c % _BLOCK:
            first = c - c % _BLOCK
            y = y.copy()
            y[:, first:] = y[:, first : first + 1]
        return y, *rest

    return {**functions, "forward_train": wrong}


def _from_the_start(a: Array) -> Array:
    """Return a dense channels-last view read from the start of the buffer that it lies in."""
    inner = np.moveaxis(a, 1, -1)
    if a.ndim < 4 or a.flags.c_contiguous or not inner.flags.c_contiguous:
        return a
    root = a
    while isinstance(root.base, np.ndarray) and root.base.dtype == a.dtype:
        root = root.base
    if not root.flags.c_contiguous:
        return a
    return np.moveaxis(root.reshape(-1)[: a.size].reshape(inner.shape), -1, 1)


def _forgets_the_offset(functions: Functions) -> Functions:
    def forward(x: Array, *args: Any, **options: Any) -> Any:
        return functions["forward_train"](_from_the_start(x), *args, **options)

    def backward(dy: Array, saved: Any) -> Any:
        return functions["backward_train"](_from_the_start(dy), saved)

    return {**functions, "forward_train": forward, "backward_train": backward}


WRONG_SIZES: dict[str, Pieces] = {
    "channel_tail_is_its_first_channel": Pieces(rewire=_tail_of_the_first),
    "view_read_from_the_start_of_its_buffer": Pieces(rewire=_forgets_the_offset),
}

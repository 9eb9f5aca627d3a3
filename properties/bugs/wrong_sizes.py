"""Wrong sizes and places: what a block leaves over, and where a view begins."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.textbook import Functions, Pieces

_BLOCK = 16  # channels
_VECTOR = 4  # numbers


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


def _from_the_start(a: Array, ranks: tuple[int, ...]) -> Array:
    """Return a dense channels-last view read from the start of the buffer that it lies in."""
    inner = np.moveaxis(a, 1, -1)
    if a.ndim not in ranks or a.flags.c_contiguous or not inner.flags.c_contiguous:
        return a
    root = a
    while isinstance(root.base, np.ndarray) and root.base.dtype == a.dtype:
        root = root.base
    if not root.flags.c_contiguous:
        return a
    return np.moveaxis(root.reshape(-1)[: a.size].reshape(inner.shape), -1, 1)


def forgets_the_offset(*ranks: int) -> Callable[[Functions], Functions]:
    """Let x and dy of these ranks be read from the start of the buffers that they lie in."""

    def rewire(functions: Functions) -> Functions:
        def forward(x: Array, *args: Any, **options: Any) -> Any:
            return functions["forward_train"](_from_the_start(x, ranks), *args, **options)

        def backward(dy: Array, saved: Any) -> Any:
            return functions["backward_train"](_from_the_start(dy, ranks), saved)

        return {**functions, "forward_train": forward, "backward_train": backward}

    return rewire


def _rows_of_the_first(limit: int) -> Callable[[Functions], Functions]:
    """Let the backward of more rows than this sum over the first ones alone."""

    def rewire(functions: Functions) -> Functions:
        def wrong(dy: Array, saved: Any) -> Any:
            dx, dgamma, dbeta = functions["backward_train"](dy, saved)
            if len(dy) > limit:
                part = dy.copy()
                part[limit:] = 0
                dx, dgamma, dbeta = functions["backward_train"](part, saved)
            return dx, dgamma, dbeta

        return {**functions, "backward_train": wrong}

    return rewire


def _width_tail_unwritten(functions: Functions) -> Functions:
    """Write in inference whole vectors of four places alone."""

    def wrong(x: Array, *args: Any, **options: Any) -> Any:
        y, saved = functions["forward_eval"](x, *args, **options)
        if x.ndim > 2 and x.shape[-1] > _VECTOR and x.shape[-1] % _VECTOR:
            y = y.copy()
            y[..., -(x.shape[-1] % _VECTOR) :] = 0
        return y, saved

    return {**functions, "forward_eval": wrong}


def _channel_held_in_8_bits(functions: Functions) -> Functions:
    """Take in inference the parameters of channel c at c modulo 256."""

    def wrong(x: Array, *parameters: Any, eps: float) -> Any:
        at = np.arange(x.shape[1]) % 256
        held = (a if a is None or len(a) != x.shape[1] else a[at] for a in parameters)
        return functions["forward_eval"](x, *held, eps=eps)

    return {**functions, "forward_eval": wrong}


def _index_held_in_16_bits(functions: Functions) -> Functions:
    """Read value i of x at i modulo 2**16, as 32 bits do at 2**32."""

    def wrong(x: Array, *args: Any, **options: Any) -> Any:
        if x.size > 1 << 16:
            x = x.ravel()[np.arange(x.size) % (1 << 16)].reshape(x.shape)
        return functions["forward_train"](x, *args, **options)

    return {**functions, "forward_train": wrong}


def _statistics_without_the_tail(functions: Functions) -> Functions:
    """Take the statistics of whole vectors of four places alone."""

    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, rv: Any, **options: Any) -> Any:
        forward = functions["forward_train"]
        places = math.prod(x.shape[2:])
        if not x.size or places <= _VECTOR or not places % _VECTOR:
            return forward(x, gamma, beta, rm, rv, **options)
        whole = x.reshape(*x.shape[:2], places)[:, :, : places - places % _VECTOR]
        _, mean, var, part = forward(whole, gamma, beta, rm, rv, **options)
        *_, saved = forward(x, gamma, beta, None, None, **options)
        saved = replace(saved, mean=part.mean, rstd=part.rstd)
        t = saved.x.dtype.type
        shape = (1, -1, *(1,) * (x.ndim - 2))
        y = (x.astype(t) - part.mean.reshape(shape)) * part.rstd.reshape(shape)
        if gamma is not None:
            y = y * gamma.astype(t).reshape(shape) + beta.astype(t).reshape(shape)
        return y.astype(x.dtype), mean, var, saved

    return {**functions, "forward_train": wrong}


def _channel_tail_of_dx_unwritten(functions: Functions) -> Functions:
    """Write dx for whole blocks of eight channels alone."""

    def wrong(dy: Array, saved: Any) -> Any:
        dx, *rest = functions["backward_train"](dy, saved)
        c = dy.shape[1]
        if c > 8 and c % 8:
            dx = dx.copy()
            dx[:, c - c % 8 :] = 0
        return dx, *rest

    return {**functions, "backward_train": wrong}


def _blocks_of_8_read_as_16(functions: Functions) -> Functions:
    """Hand out y, held in blocks of eight channels, as if the blocks had sixteen."""

    def wrong(x: Array, *args: Any, **options: Any) -> Any:
        y, *rest = functions["forward_train"](x, *args, **options)
        n, c = x.shape[:2]
        if x.ndim > 2 and x.size and c % 16 == 0:
            held = y.reshape(n, c // 8, 8, -1).swapaxes(2, 3)  # in memory: places, then channels
            y = held.reshape(n, c // 16, -1, 16).swapaxes(2, 3).reshape(x.shape)
        return y, *rest

    return {**functions, "forward_train": wrong}


WRONG_SIZES: dict[str, Pieces] = {
    "channel_tail_is_its_first_channel": Pieces(rewire=_tail_of_the_first),
    "view_read_from_the_start_of_its_buffer": Pieces(rewire=forgets_the_offset(4, 5)),
    "backward_sums_768_rows": Pieces(rewire=_rows_of_the_first(768)),
    "eval_width_tail_unwritten": Pieces(rewire=_width_tail_unwritten),
    "eval_channel_held_in_8_bits": Pieces(rewire=_channel_held_in_8_bits),
    "index_held_in_16_bits": Pieces(rewire=_index_held_in_16_bits),
    "statistics_without_the_tail": Pieces(rewire=_statistics_without_the_tail),
    "channel_tail_of_dx_unwritten": Pieces(rewire=_channel_tail_of_dx_unwritten),
    "blocks_of_8_read_as_16": Pieces(rewire=_blocks_of_8_read_as_16),
}

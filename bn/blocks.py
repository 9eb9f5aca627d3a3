"""The two passes over memory that all the rest is made of, in blocks that stay in cache.

An array of shape (n, c, *spatial) is seen as (n, c, s). A block is some of its rows by some
columns; a column is one place of one channel. Rows are added in pairs in the working dtype, so
that the error grows with log2(n), and blocks in float64 with what rounding takes away carried
along. BLAS is not used: its order of summation may change with the number of threads.

Channels never meet: one whose float32 intermediates would vanish or overflow is done again in
float64, alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
DType = np.dtype[Any]
Mask = NDArray[np.bool_]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
BLOCK = 1 << 19  # elements: 2 MiB of float32; smaller blocks cost more calls than cache misses
ROW = 1 << 13  # elements from which on NumPy's inner loop is at full speed
SMALL = 1 << 13  # elements up to which float64 costs no more than float32
TINY, HUGE = 2.0**-100, 2.0**100  # between them float32 products neither vanish nor overflow


class Term(NamedTuple):
    """scale * (values - pivot - rest): values (n, c, s), the others (c,) or None for zero."""

    values: Array
    pivot: Float64 | None
    rest: Float64 | None
    scale: Float64


class Columns(NamedTuple):
    """Some channels and places: (channels, places) in number, and how many rows fill a block."""

    channels: slice
    places: slice
    size: tuple[int, int]
    rows: int
    fold: int  # short rows that are taken as one


def columns(shape: tuple[int, ...]) -> Iterator[Columns]:
    """Cut (n, c, s) into columns."""
    n, c, s = shape
    limit = BLOCK // min(n, 4)
    places, channels = min(s, limit), min(c, max(1, limit // s))
    for channel in range(0, c, channels):
        for place in range(0, s, places):
            size = min(channels, c - channel), min(places, s - place)
            width = size[0] * size[1]
            fold = max(1, ROW // width) if width == c * s and n * width > SMALL else 1
            rows = BLOCK // (width * fold) * fold
            parts = slice(channel, channel + size[0]), slice(place, place + size[1])
            yield Columns(*parts, size, rows, fold)


def row_slices(n: int, step: int) -> Iterator[slice]:
    """Cut n rows into slices."""
    return (slice(row, row + step) for row in range(0, n, step))


def spread(vector: Float64, part: Columns, dtype: DType) -> Array:
    """Give each column its channel's value, `fold` times over; one channel needs but one."""
    values: Array = vector[part.channels].astype(dtype)  # (channels,)
    if len(values) > 1:
        values = np.tile(values.repeat(part.size[1]), part.fold)  # (fold * width,)
    return values


def apply(ufunc: np.ufunc, block: Array, vector: Array, out: Array) -> Array:
    """Apply ufunc(block, vector) to every row, in rows as long as the vector where that fits."""
    if block.size % len(vector):
        vector = vector[: block.shape[1]]
    shape = (-1, len(vector)) if len(vector) > block.shape[1] else block.shape
    ufunc(block.reshape(shape), vector, out=out.reshape(shape))
    return out


def shift(pivot: Float64 | None, part: Columns, dtype: DType) -> Array | None:
    """Spread a pivot; None where all of it is zero: x - 0 is x to the bit."""
    return spread(pivot, part, dtype) if pivot is not None and pivot.any() else None


def load(values: Array, pivot: Array | None, rows: slice, part: Columns, scratch: Array) -> Array:
    """Read values - pivot of a block (rows, width): a view where that is plain memory."""
    block = values[rows, part.channels, part.places]
    copy = scratch[: block.size].reshape(len(block), -1)
    flags = values.flags
    if values.dtype != scratch.dtype or not (flags.c_contiguous and flags.aligned):
        np.copyto(copy.reshape(block.shape), block, casting="same_kind")
        block = copy
    block = block.reshape(copy.shape)
    return block if pivot is None else apply(np.subtract, block, pivot, copy)


def channel_sums(block: Array, scratch: Array, size: tuple[int, int]) -> Array:
    """Add rows, then places: (rows, width) -> (channels,); scratch may be the block itself."""
    rows = len(block)
    while rows > 1:
        half, rest = rows // 2, rows - rows // 2
        np.add(block[:half], block[rest:rows], out=scratch[:half])
        if rest > half and block is not scratch:
            scratch[half] = block[half]
        block, rows = scratch, rest
    sums: Array = block[0].reshape(size)
    return sums[:, 0] if size[1] == 1 else np.add.reduce(sums, axis=1)


def add_carrying(total: Float64, carry: Float64, value: Float64) -> None:
    """Add value to total; carry what rounding takes away (Kahan 1965)."""
    value -= carry
    new = total + value
    np.subtract(new - total, value, out=carry)
    total[:] = new


def paired_sums(x: Array, pivot: Float64, dy: Array | None, dtype: DType) -> Float64:
    """Return sum(dy) and sum(dy * (x - pivot)) per channel; dy=None stands for x - pivot.

    Args: x, dy: (n, c, s); pivot: (c,), exact in dtype, the working dtype.
    Returns: (2, c) in float64.
    """
    total, carry = np.zeros((2, x.shape[1])), np.zeros((2, x.shape[1]))
    if x.size == 0:
        return total
    scratch = np.empty((3, min(x.size, BLOCK)), dtype)
    for part in columns(x.shape):
        centre = shift(pivot, part, dtype)
        for rows in row_slices(len(x), part.rows):
            xc = load(x, centre, rows, part, scratch[0])  # (rows, width)
            product = scratch[1, : xc.size].reshape(xc.shape)
            first = xc if dy is None else load(dy, None, rows, part, scratch[2])
            sums = np.empty((2, part.size[0]))
            sums[0] = channel_sums(first, product, part.size)
            sums[1] = channel_sums(np.multiply(first, xc, out=product), product, part.size)
            add_carrying(total[:, part.channels], carry[:, part.channels], sums)
    if dtype == FLOAT32:
        lost = np.abs(total[1]) < TINY * len(x)
        if lost.any():  # products that are zero have not vanished
            some = x[:, lost] != pivot.astype(dtype)[lost, None]
            lost[lost] = np.any(some if dy is None else some & (dy[:, lost] != 0), axis=(0, 2))
        lost |= ~np.isfinite(total).all(0)
        if lost.any():
            other = None if dy is None else dy[:, lost]
            total[:, lost] = paired_sums(x[:, lost], pivot[lost], other, FLOAT64)
    return total


def combine(terms: Sequence[Term], constant: Float64 | None, out: Array, dtype: DType) -> Array:
    """Write constant + the sum of the terms to out (n, c, s), plain memory; dtype works.

    Scales are rounded before scale * rest is taken out once per channel: so the terms of a
    constant channel, or of one value, cancel without an error.
    """
    if out.size == 0:
        return out
    offset = constant
    for term in terms:
        if term.rest is not None:
            known = term.scale.astype(dtype) * term.rest  # (c,)
            offset = np.subtract(-0.0 if offset is None else offset, known, out=known)
    scratch = np.empty((2, min(out.size, BLOCK)), dtype)
    for part in columns(out.shape):
        pivots = [shift(term.pivot, part, dtype) for term in terms]
        scales = [spread(term.scale, part, dtype) for term in terms]
        offsets = None if offset is None else spread(offset, part, dtype)
        for rows in row_slices(len(out), part.rows):
            place = out[rows, part.channels, part.places]
            flat = place.reshape(len(place), -1)  # (rows, width), a view
            product = scratch[1, : flat.size].reshape(flat.shape)
            target = flat if out.dtype == dtype else scratch[0, : flat.size].reshape(flat.shape)
            for index, term in enumerate(terms):
                block = load(term.values, pivots[index], rows, part, scratch[1])
                apply(np.multiply, block, scales[index], product if index else target)
                if index:
                    np.add(target, product, out=target)
            if offsets is not None:
                apply(np.add, target, offsets, target)
            if target is not flat:
                np.copyto(flat, target, casting="same_kind")
    if dtype == FLOAT32 and (wide := beyond_float32(offset, terms, out.shape[1])).any():
        some = [
            Term(t.values[:, wide], pick(t.pivot, wide), pick(t.rest, wide), t.scale[wide])
            for t in terms
        ]
        shape = (len(out), int(wide.sum()), out.shape[2])
        out[:, wide] = combine(some, pick(constant, wide), np.empty(shape), FLOAT64)
    return out


def beyond_float32(offset: Float64 | None, terms: Sequence[Term], channels: int) -> Mask:
    """Say which channels have a factor beyond float32's safe range."""
    wide, size = np.zeros(channels, bool), np.empty(channels)
    for factor in (offset, *(term.pivot for term in terms), *(term.scale for term in terms)):
        if factor is not None:
            np.abs(factor, out=size)  # (c,)
            wide |= (size > HUGE) | (size < TINY) & (size > 0)
    return wide


def pick(vector: Float64 | None, channels: Mask) -> Float64 | None:
    """Select channels."""
    return None if vector is None else vector[channels]

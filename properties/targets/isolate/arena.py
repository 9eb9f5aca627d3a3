"""The mapped file that arguments lie in before a call, with guards around each of them."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...model.contract import Array

GUARD = 512  # bytes before and behind each argument
ALIGN = 64
_NAN = b"\xf5\xff"  # repeated, a NaN of every dtype, and none that arithmetic makes
_FILL = _NAN * (GUARD + ALIGN)


class Arena:
    """A file that both processes have mapped; it grows, and never shrinks."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.map = mmap.mmap(handle, max(os.fstat(handle).st_size, mmap.PAGESIZE))

    def reach(self, size: int) -> None:
        """Make the file, and the mapping, this large at least."""
        if size > len(self.map):
            if size > os.fstat(self.handle).st_size:
                os.ftruncate(self.handle, -(-size * 2 // mmap.PAGESIZE) * mmap.PAGESIZE)
            self.map.close()
            self.map = mmap.mmap(self.handle, os.fstat(self.handle).st_size)

    def size(self) -> int:
        """Return how large the file is; the other process may have made it larger."""
        return os.fstat(self.handle).st_size

    def write(self, offset: int, data: Any) -> None:
        """Write bytes at an offset, where `reach` has been."""
        self.map[offset : offset + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        """Return a copy of the bytes at an offset."""
        self.reach(offset + size)
        return self.map[offset : offset + size]


def aligned(at: int) -> int:
    """Return the next offset that is a multiple of `ALIGN`."""
    return -(-at // ALIGN) * ALIGN


def _first(a: Array) -> int:
    """Return the address of an array's element at index zero."""
    found: int = a.__array_interface__["data"][0]
    return found


def bounds(a: Array) -> tuple[int, int]:
    """Return the addresses of an array's first byte and of the one behind its last."""
    low = _first(a)
    if a.flags.c_contiguous or not a.size:
        return low, low + a.nbytes
    high = low + a.itemsize
    for n, stride in zip(a.shape, a.strides, strict=True):
        if stride < 0:
            low += (n - 1) * stride
        else:
            high += (n - 1) * stride
    return low, high


def owner(a: Array) -> Array:
    """Return the array that an array is a view of, or itself."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


@dataclass(slots=True)
class Span:
    """Memory that one or several arguments lie in: where, and at which offset of the block."""

    low: int
    high: int
    members: list[int]
    at: int = 0

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.at + self.high - self.low


@dataclass
class Block:
    """The arguments of a call as bytes: a guard, a span, a guard, a span, ..., a guard."""

    data: bytes
    spans: list[Span]
    offsets: list[int] = field(default_factory=list)


def lay(arrays: Sequence[Array]) -> Block:
    """Return the block of these arrays: what shares memory here shares it there."""
    extents = [bounds(a) for a in arrays]
    spans: list[Span] = []
    for (low, high), i in sorted(zip(extents, range(len(arrays)), strict=True)):
        if spans and low < spans[-1].high:
            spans[-1].high = max(spans[-1].high, high)
            spans[-1].members.append(i)
        else:
            spans.append(Span(low, high, [i]))
    parts, at = [], 0
    offsets = [0] * len(arrays)
    firsts = [low for low, _ in extents]
    for span in spans:
        span.at = aligned(at + GUARD) + span.low % 16  # malloc aligns to 16: what is odd stays odd
        parts.append(_FILL[at % 2 : at % 2 + span.at - at])
        parts.append(ctypes.string_at(span.low, span.high - span.low))
        at = span.end
        for i in span.members:
            first = firsts[i] if min(arrays[i].strides, default=0) >= 0 else _first(arrays[i])
            offsets[i] = span.at + first - span.low
    parts.append(_FILL[at % 2 : at % 2 + GUARD])
    return Block(b"".join(parts), spans, offsets)


def settle(block: Block, now: bytes) -> str:
    """Bring what the call changed into the arrays, and say where it wrote into a guard.

    Returns:
        "past the end of {3}" or "before the start of {0}" with the number of the array, or "".
    """
    if now == block.data:
        return ""
    guards = bytearray(now)
    for span in block.spans:
        fresh = now[span.at : span.end]
        guards[span.at : span.end] = block.data[span.at : span.end]
        if fresh != block.data[span.at : span.end]:
            ctypes.memmove(span.low, fresh, len(fresh))
    if guards == block.data:
        return ""
    was, got = np.frombuffer(block.data, np.uint8), np.frombuffer(guards, np.uint8)
    at = int(np.flatnonzero(was != got)[0])
    before = [span for span in block.spans if span.end <= at]
    after = [span for span in block.spans if span.at > at]
    if before and (not after or at - before[-1].end <= after[0].at - at):
        return f"past the end of {{{before[-1].members[-1]}}}"
    return f"before the start of {{{after[0].members[0]}}}"

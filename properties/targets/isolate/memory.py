"""The memory that arguments lie in, and that results are written into.

What is handed out for results holds nothing of use, and arguments may be write-protected.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from ...model.contract import Array

_PERTURB = -6  # M_PERTURB of glibc: the byte that freed memory is filled with
_BYTE = 0x7F  # 3e38 in float32, 1e306 in float64, NaN in the halves
_KEPT = 8  # freed blocks of one size that NumPy keeps for itself, and one more
_SMALL = 1024  # bytes up to which it does


def poison_what_is_freed() -> None:
    """Let the C library overwrite memory that is freed, and memory that it hands out."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_PERTURB, _BYTE)


def poison_what_numpy_keeps(arrays: Iterable[Array]) -> None:
    """Fill the small blocks that the next arrays of these sizes are given with NaN."""
    for size in {a.nbytes for a in arrays if 0 < a.nbytes < _SMALL}:
        blocks = [np.empty(size, np.uint8) for _ in range(_KEPT)]
        for block in blocks:
            block.fill(0xFF)


def room(size: int) -> Array:
    """Return bytes that begin at a multiple of 64, as those in the mapped file do."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.__array_interface__["data"][0] % 64
    return raw[start : start + size]


def pages(size: int) -> Array:
    """Return bytes that have their pages for themselves."""
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


def protect(block: Array, writing: bool) -> None:
    """Allow or forbid to write into the pages of a block; who does all the same dies."""
    libc = ctypes.CDLL(None)
    where = ctypes.c_void_p(block.__array_interface__["data"][0])
    libc.mprotect(where, ctypes.c_size_t(block.size), mmap.PROT_READ | writing * mmap.PROT_WRITE)

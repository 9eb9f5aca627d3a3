"""Shared objects that a compiler was killed over: a cache keeps them, and nobody can load them."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

_HEAD = 64  # bytes of the header of a 64-bit ELF file
_WRITTEN = 2.0  # seconds within which a file may still be under way


def take_away(folder: Path) -> list[Path]:
    """Remove all shared objects below a folder that end too early, and return them."""
    found = [path for path in folder.rglob("*.so") if _ends_early(path)]
    for path in found:
        with contextlib.suppress(OSError):
            path.unlink()
    return found


def _ends_early(path: Path) -> bool:
    """Return whether an ELF file, or an empty one, is shorter than its header says."""
    try:
        with path.open("rb") as stream:
            head, size = stream.read(_HEAD), path.stat().st_size
            if time.time() - path.stat().st_mtime < _WRITTEN:
                return False
    except OSError:
        return False
    if len(head) < _HEAD:
        return True
    start, each, count = struct.unpack_from("<Q10xHH", head, 0x28)  # of the table of sections
    return head[:4] == b"\x7fELF" and size < start + each * count

"""A compiler that was killed leaves no shared object behind that later runs stumble over."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from properties.targets.adapters.unfinished import take_away


def elf(size: int, start: int = 100, each: int = 64, count: int = 3) -> bytes:
    """Return an ELF file of so many bytes, whose table of sections should end at 292."""
    head = bytearray(b"\x7fELF".ljust(64, b"\0"))
    struct.pack_into("<Q10xHH", head, 0x28, start, each, count)
    return bytes(head).ljust(292, b"\1")[:size]


@pytest.mark.parametrize(
    ("content", "kept"),
    [(b"", False), (elf(40), False), (elf(291), False), (elf(292), True), (b"x" * 99, True)],
)
def test_what_ends_too_early_is_taken_away(content: bytes, kept: bool, tmp_path: Path) -> None:
    """An empty file and one shorter than its header says go; whole ones and other kinds stay."""
    path = tmp_path / "ab" / "kernel.so"
    path.parent.mkdir()
    path.write_bytes(content)
    os.utime(path, (0, 0))
    assert take_away(tmp_path) == ([] if kept else [path])
    assert path.exists() == kept


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    """A file that was touched just now is left to who writes it, as is what is no object."""
    fresh, other = tmp_path / "kernel.so", tmp_path / "kernel.cpp"
    fresh.write_bytes(b"")
    other.write_bytes(b"")
    os.utime(other, (0, 0))
    assert take_away(tmp_path) == []
    assert fresh.exists() and other.exists()


def test_a_folder_that_is_not_there_is_no_matter(tmp_path: Path) -> None:
    """Before the first run there is no cache."""
    assert take_away(tmp_path / "none") == []

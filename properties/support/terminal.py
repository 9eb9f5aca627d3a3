"""What a command says on standard error: one rewritten line of progress, and what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

LONGEST = 1000  # characters of a complaint


def complain(text: str) -> int:
    """Say in one line what is wrong with a command, and return its status."""
    print(f"bncheck: {' '.join(text.split())[:LONGEST]}", file=sys.stderr)
    return 2


def unwritable(path: Path | None, option: str = "--json") -> str:
    """Return what is wrong with the file that an option names, before anything is done for it."""
    if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
        return f"{option}={path}: expected a file in a folder that exists"
    return ""


def show(text: str) -> None:
    """Put a text in place of the line of progress, on a terminal alone."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def clear() -> None:
    """Take the line of progress away."""
    show("")

"""What a command says on standard error: one rewritten line of progress, and what is wrong."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable
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


_COLOURS = {"PASS": "32", "FAIL": "31", "UNDECIDED": "33"}


def coloured(text: str) -> str:
    """Colour the verdict on a terminal, unless NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return re.sub(
        "(PASS|FAIL|UNDECIDED)(?=: )",
        lambda found: f"\x1b[{_COLOURS[found[1]]}m{found[1]}\x1b[0m",
        text,
        count=1,
    )


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a question after the name that was meant, empty where none is near."""
    import difflib  # for complaints alone

    near = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""


SILENCE = 30.0  # seconds after which progress is told in a line of its own where it is piped
_told = [time.monotonic()]


def begin() -> None:
    """Let a command's first plain line of progress wait as long as any other."""
    _told[0] = time.monotonic()


def show(text: str) -> None:
    """Put a text in place of the line of progress; in a pipe, a plain line now and then."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text and time.monotonic() - _told[0] > SILENCE:
        _told[0] = time.monotonic()
        print(text, file=sys.stderr, flush=True)


def clear() -> None:
    """Take the line of progress away."""
    show("")

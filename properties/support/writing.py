"""How every file is written: whole or not at all, whatever else is written there meanwhile."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
from pathlib import Path

_STALE = 3600.0  # seconds after which what a killed writer left beside the file is removed


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one.

    What is no file but a device or a pipe, such as /dev/stdout, is written to as it is.

    Args:
        path: of the file; a link is followed.
        content: a text is written as UTF-8.

    Raises:
        OSError: it cannot be written; the old file stands, and nothing lies beside it.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and not path.is_file():
        with open(path, "wb") as stream:
            stream.write(data)
        return
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sweep(path)


def _sweep(path: Path) -> None:
    """Remove what writers of this file that were killed left beside it long ago."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.new"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink()


def hidden(folder: Path) -> None:
    """Make a folder that version control passes over."""
    folder.mkdir(exist_ok=True)
    if not (folder / ".gitignore").exists():
        write_whole(folder / ".gitignore", "*\n")

"""The last call's arguments on disk, so that they outlive the process that made the call.

    python -m properties.targets.isolate.trace .bncheck/call-4711-0.bin

prints the call that such a file was left by.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...model.contract import Array
from ...support.writing import hidden
from . import protocol
from .protocol import Reader, Undecodable

FOLDER = Path(".bncheck")
MAGIC = b"bncall1\n"
HEAD = MAGIC + bytes(8)  # and how many bytes of messages follow
_COUNT = itertools.count()


class Trace:
    """A new file for one process's calls; it is held as long as its owner lives."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.made = not folder.exists()
        try:
            hidden(folder)
            self._open(folder)
        except OSError:
            self.made = False
            self._open(Path(tempfile.gettempdir()))

    def _open(self, folder: Path) -> None:
        self.path = folder.resolve() / f"call-{os.getpid()}-{next(_COUNT)}.bin"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.handle = os.open(self.path, flags, 0o600)
        os.ftruncate(self.handle, 2**16)
        fcntl.flock(self.handle, fcntl.LOCK_EX)
        self.owner = os.getpid()

    def close(self) -> None:
        """Remove the file, and the folder if this made it and nothing else is in it."""
        if self.handle < 0 or os.getpid() != self.owner:
            return
        self.path.unlink(missing_ok=True)
        os.close(self.handle)
        self.handle = -1
        if self.made:
            _remove_empty(self.path.parent)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if [p.name for p in folder.iterdir()] == [".gitignore"]:
            (folder / ".gitignore").unlink()
            folder.rmdir()


def left(folder: Path = FOLDER) -> list[Path]:
    """Return the files of calls whose owners have died."""
    found = []
    for path in sorted(folder.glob("call-*.bin")):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                found.append(path)
            finally:
                os.close(handle)
    return found


def clean(folder: Path = FOLDER) -> None:
    """Remove the files of calls whose owners have died."""
    for path in left(folder):
        path.unlink(missing_ok=True)


def read(path: Path) -> tuple[str, list[Any], dict[str, Any]]:
    """Return the function, its arguments and its options that a file was left by.

    Raises:
        Undecodable: it is no such file.
    """
    data = path.read_bytes()
    if data[:8] != MAGIC:
        raise Undecodable(f"file={path}: expected one that begins with {MAGIC!r}")
    messages = Reader(data[16 : 16 + int.from_bytes(data[8:16], "little")])
    while True:
        body = Reader(messages.take(messages.u32()), _within(data))
        if body.u8() == ord("C"):
            break
    name = body.text()
    args = [body.value() for _ in range(body.u8())]
    return name, args, {body.text(): body.value() for _ in range(body.u8())}


def _within(data: bytes) -> Any:
    memory = np.frombuffer(bytearray(data), np.uint8)

    def placed(
        dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, flags: int
    ) -> Array:
        reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)] if 0 not in shape else []
        low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
        if offset + low < 0 or offset + high + dtype.itemsize > len(data) + dtype.itemsize * (
            math.prod(shape) == 0
        ):
            raise Undecodable("an array outside of the file")
        return np.ndarray(shape, dtype, memory, offset, strides)

    return placed


def main() -> int:
    """Print the call of the file that is named."""
    try:
        name, args, options = read(Path(sys.argv[1]))
    except (IndexError, OSError, Undecodable) as error:
        print(
            f"trace: {error}; usage: python -m properties.targets.isolate.trace FILE",
            file=sys.stderr,
        )
        return 2
    print(name)
    for key, value in [*enumerate(args), *options.items()]:
        if isinstance(value, np.ndarray):
            text = np.array2string(value, threshold=64, separator=", ")
            print(f"  {key} = {text}  # {value.dtype} {value.shape}")
        else:
            print(f"  {key} = {'(saved)' if isinstance(value, protocol.Held) else repr(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

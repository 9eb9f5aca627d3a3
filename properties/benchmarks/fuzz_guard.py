"""What no reader may do while it reads: run anything, write elsewhere, take without bound."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 10  # of processor time that one input may take
MODULE = "bncheck_canary"  # an import of it is an input that was run
CANARY = Path(tempfile.gettempdir()) / "bncheck-canary"
RUN = {  # events of sys.audit (PEP 578)
    "exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.forkpty", "subprocess.Popen", "socket.connect", "socket.bind", "pickle.find_class",
    "ctypes.dlopen", "os.kill", "os.chmod", "shutil.rmtree",
}  # fmt: skip
MOVE = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_IMPORTS = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


class Escaped(BaseException):
    """A reader ran something, or wrote outside its folder; no `except Exception` hides it."""


class TooLong(BaseException):
    """A reader took more processor time than an input may take."""


class _Watch:
    """Whether a reader is at it, what it may do all the same, and what it did."""

    installed = False
    on = False
    folder = ""
    may: frozenset[str] = frozenset()
    seen: list[str]


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _Watch.on:
        return
    try:
        _Watch.on = False
        harm = _harm(event, args)
    finally:
        _Watch.on = True
    if harm and not _importing():
        _Watch.seen.append(harm)
        raise Escaped(harm)


def _harm(event: str, args: tuple[Any, ...]) -> str:
    """Return what an event does that a reader may not, or nothing."""
    if event in _Watch.may:
        return ""
    if event == "import" and args[0] == MODULE:
        return f"imported {MODULE}"
    if event == "compile" and args[1] == "<unknown>":  # ast.parse, which runs nothing
        return ""
    if event in RUN:
        return f"{event} {args!r}"[:200]
    if event == "open":
        path, mode, flags = args
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else flags & _WRITES
        return f"wrote to {path}" if writes and not _inside(path) else ""
    if event in MOVE and not all(_inside(path) for path in args if isinstance(path, (str, bytes))):
        return f"{event} {args!r}"[:200]
    return ""


def _inside(path: Any) -> bool:
    if isinstance(path, int):
        return True  # of what was opened before
    whole = os.path.abspath(os.fsdecode(path))
    return whole == os.devnull or whole.startswith(_Watch.folder)


def _importing() -> bool:
    """Return whether the import system is at work: our own modules, imported when first needed."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename in _IMPORTS:
            return True
        frame = frame.f_back
    return False


def _too_long(*_: Any) -> None:
    raise TooLong(f"more than {SECONDS} s of processor time")


@contextlib.contextmanager
def guarded(folder: Path, may: frozenset[str] = frozenset()) -> Iterator[None]:
    """Watch what is done in the block; it may write in the folder alone.

    Raises:
        Escaped: something was run, or written elsewhere, even where the block caught the error.
        TooLong: it took too much processor time.
    """
    if not _Watch.installed:
        sys.addaudithook(_hook)
        _Watch.installed = True
    timed = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGVTALRM, _too_long) if timed else None
    _Watch.folder, _Watch.may, _Watch.seen = str(folder.resolve()) + os.sep, may, []
    try:
        if timed:
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        _Watch.on = True
        yield
    finally:
        _Watch.on = False
        if timed:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
    if _Watch.seen:
        raise Escaped(_Watch.seen[0])
    if CANARY.exists():
        CANARY.unlink()
        raise Escaped(f"{CANARY} was made")

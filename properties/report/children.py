"""A command in a process of its own, with a time that it may take and a way to stop all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

GRACE = 15.0  # seconds to write what is known after SIGTERM, then the process is killed


@dataclass(frozen=True)
class Ended:
    """How a child ended: its status, seconds, whether it was cut short, the end of its output."""

    status: int
    seconds: float
    cut: bool
    out: str
    err: str

    @property
    def line(self) -> str:
        """The last line of what it complained of, or how it died."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        if self.status < 0:
            name = signal.Signals(-self.status).name
            return f"its process was ended by {name}" + (f": {lines[-1]}" if lines else "")
        return lines[-1].removeprefix("bncheck: ") if lines else f"exit status {self.status}"


class Children:
    """All children that run now; `stop` ends them and lets no further one start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.stopped = threading.Event()

    def run(
        self, command: Sequence[str], seconds: float, more: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a command for at most so many seconds; it then gets SIGTERM, and is killed later."""
        begun = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with self._lock:
                if self.stopped.is_set():
                    return Ended(-signal.SIGTERM, 0.0, True, "", "")
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    env={**os.environ, **(more or {})}, start_new_session=True,
                )  # fmt: skip
                self._running.add(child)
            try:
                cut = self._waited(child, seconds)
            finally:
                if child.returncode is None or child.returncode < 0:
                    _kill(child, signal.SIGKILL)  # what it started itself has nobody to end it
                with self._lock:
                    self._running.discard(child)
            taken = time.monotonic() - begun
            return Ended(child.returncode, taken, cut, _end_of(out), _end_of(err))

    def _waited(self, child: subprocess.Popen[bytes], seconds: float) -> bool:
        """Wait, and return whether the child had to be told to end."""
        limit = time.monotonic() + seconds
        while child.poll() is None and time.monotonic() < limit and not self.stopped.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=min(0.1, max(0.001, limit - time.monotonic())))
        if child.poll() is not None:
            return False
        _kill(child, signal.SIGTERM, group=False)  # its own children are for it to end
        try:
            child.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            _kill(child, signal.SIGKILL)
            child.wait()
        return True

    def stop(self) -> None:
        """Tell all children to end; those who wait for them see to it."""
        self.stopped.set()


def _kill(child: subprocess.Popen[bytes], number: int, group: bool = True) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(child.pid, number)


def _end_of(stream: IO[bytes], size: int = 20_000) -> str:
    stream.seek(0, os.SEEK_END)
    stream.seek(max(0, stream.tell() - size))
    return stream.read().decode("utf-8", errors="replace")

"""A process that speaks the protocol: started, waited for, and ended with all it started."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .hidden import MARKS
from .limits import OUTPUT_PER_CALL, OUTPUT_SHOWN, Limits
from .protocol import LARGEST

# seconds in which a small call has answered; where processes share the cores, they are the others'
_AWAKE = 0.0 if multiprocessing.parent_process() else 5e-4
_SLICE = 0.1  # seconds between looks at the memory of a call that takes long


class Gone(Exception):
    """The process died, or had to be ended; the text says how."""

    def __init__(self, text: str, waited: float = 0.0) -> None:
        super().__init__(text)
        self.waited = waited


class Process:
    """A started process. Bytes out and messages in; what it prints besides is drained.

    Args:
        command: program and arguments.
        limits: seconds per exchange, and megabytes.
        base: whether memory is counted from what it takes after its first message.
        handles: file descriptors that it inherits.
    """

    def __init__(
        self, command: Sequence[str], limits: Limits, *, base: bool, handles: Iterable[int] = ()
    ) -> None:
        self.limits, self.base = limits, base
        self.popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
            pass_fds=tuple(handles),
            process_group=0,  # Ctrl-C reaches the suite alone
            preexec_fn=_end_with_parent if _control else None,
        )
        pipes = (self.popen.stdin, self.popen.stdout, self.popen.stderr)
        self.into, self.out, self.printed = (pipe.fileno() for pipe in pipes if pipe is not None)
        for handle in (self.into, self.out, self.printed):
            os.set_blocking(handle, False)
        self.poller = select.poll()
        self.poller.register(self.out, select.POLLIN)
        self.poller.register(self.printed, select.POLLIN)
        self.received = bytearray()
        self.shown = self.noise = self.megabytes = 0
        self.end = weakref.finalize(self, _end, self.popen, os.getpid())

    def exchange(self, data: bytes, seconds: float) -> Callable[[], bytes]:
        """Send bytes and return a function that gives the messages that come back, one by one.

        Raises:
            Gone: it died, hung, passed its memory, or flooded its output; it is ended then.
        """
        self.noise = 0
        rest = memoryview(data)
        began = time.monotonic()
        rest = rest[self._write(rest) :]
        if rest:
            self.poller.register(self.into, select.POLLOUT)

        def message() -> bytes:
            nonlocal rest
            while (body := self._parsed()) is None:
                rest = self._wait(rest, began, seconds)
            return body

        return message

    def _wait(self, rest: memoryview, began: float, seconds: float) -> memoryview:
        left = began + seconds - time.monotonic()
        if left <= 0:
            waited = time.monotonic() - began
            raise self.gone(f"hung: no answer within --timeout={self.limits.timeout:g} s", waited)
        ready = self._soon() or self.poller.poll(1000 * min(left, _SLICE) + 1)
        if not ready:
            self._look()
        for handle, _ in ready:
            if handle == self.printed:
                self._drain()
            elif handle == self.into:
                rest = rest[self._write(rest) :]
                if not rest:
                    self.poller.unregister(self.into)
            elif part := os.read(self.out, 2**16):
                self.received += part
            else:
                raise self.gone()
        return rest

    def _soon(self) -> list[tuple[int, int]]:
        """Return what is ready within the time that falling asleep and being woken would take."""
        until = time.monotonic() + _AWAKE
        while not (ready := self.poller.poll(0)) and time.monotonic() < until:
            os.sched_yield()
        return ready

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self.into, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise self.gone() from None

    def _parsed(self) -> bytes | None:
        """Return the next message, None where it is not whole yet."""
        if len(self.received) < 4:
            return None
        size = int.from_bytes(self.received[:4], "little")
        if not 0 < size <= LARGEST:
            raise self.undecodable(f"a message of {size} bytes")
        if len(self.received) < 4 + size:
            return None
        body = bytes(self.received[4 : 4 + size])
        del self.received[: 4 + size]
        return body

    def _drain(self) -> None:
        try:
            text = os.read(self.printed, 2**16)
        except BlockingIOError:
            return
        if not text:
            with contextlib.suppress(KeyError):  # it has been seen to end before
                self.poller.unregister(self.printed)
            return
        self.noise += len(text)
        if self.shown < OUTPUT_SHOWN:
            left = "" if self.shown + len(text) < OUTPUT_SHOWN else "\n(what follows is left out)\n"
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(text.decode("utf-8", "replace") + left)
                sys.stderr.flush()
        self.shown += len(text)
        if self.noise > OUTPUT_PER_CALL:
            raise self.gone(f"flooded its output: more than {OUTPUT_PER_CALL} bytes in one call")

    def _look(self) -> None:
        """See whether it still runs, and what memory it has."""
        if self.popen.poll() is not None:
            raise self.gone()
        now = resident(self.popen.pid)
        if now > self.limits.memory + self.megabytes:
            raise self.gone(f"passed --memory={self.limits.memory} MB: {now} MB are in use")

    def started(self) -> None:
        """Note what memory it takes before the first call."""
        self.megabytes = resident(self.popen.pid) if self.base else 0

    def undecodable(self, what: str) -> Gone:
        """End it, for an answer that is none."""
        return self.gone(f"answered with something that cannot be decoded: {what}")

    def gone(self, why: str = "", waited: float = 0.0) -> Gone:
        """End it, and return why it is gone: its signal or its status unless told."""
        if not why:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(1.0)
            why = died(self.popen.poll())
            with contextlib.suppress(Gone):
                self._drain()
        self.end()
        return Gone(why, waited)


def _environment() -> dict[str, str]:
    """Return the variables that it is given: none that tells of a test."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(MARKS)}
    return {"OMP_WAIT_POLICY": "PASSIVE", **own}  # idle threads sleep between calls


_control = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """Ask, before the program is there, to be killed when this process ends, stopped or not."""
    if _control:
        _control(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def died(status: int | None) -> str:
    """Return how a process ended, from its status as Popen has it."""
    if status is None:
        return "closed its output and ran on"
    if status >= 0:
        return f"exited with status {status}"
    name = next((s.name for s in signal.Signals if s == -status), f"signal {-status}")
    return f"died by {name}"


def resident(pid: int) -> int:
    """Return the megabytes that a process has in memory, 0 where that cannot be told."""
    try:
        if sys.platform == "linux":
            pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        return int(subprocess.run(command, capture_output=True, check=False).stdout) // 1024
    except (OSError, ValueError, IndexError):
        return 0


def descendants(pid: int) -> list[int]:
    """Return the processes that stem from one, where the system lists them."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":  # dead, and only waiting to be asked about
                parents[int(path.parent.name)] = int(parent)
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {pid})


def _end_descendants(pid: int) -> None:
    """Stop a process, and kill what stems from it until nothing is left.

    Should this process be killed now, the stopped one ends all the same: by the death signal that
    it was given before it began. Without it the kernel would send SIGHUP and SIGCONT to the
    orphaned group only if the process had stopped by then.
    """
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGSTOP)  # it forks no more, and stays the father of orphans
    quiet = 0
    for _ in range(100):
        found = descendants(pid)
        quiet = 0 if found else quiet + 1
        if quiet == 2:  # a child that dies while it is looked for may have forked behind the look
            return
        for child in found:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)


def _end(popen: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a process with all that it started, and close what led to it."""
    if os.getpid() == owner:
        if popen.poll() is None:
            _end_descendants(popen.pid)
        with contextlib.suppress(OSError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()

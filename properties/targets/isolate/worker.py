"""The process that has the target: it answers calls until its input ends."""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from ...model.contract import Array, TargetError, stated_conventions, told_by_adapter
from . import protocol
from .arena import Arena, aligned
from .hidden import hidden
from .memory import pages, poison_what_is_freed, poison_what_numpy_keeps, protect, room
from .protocol import VERSION, Held, Opaque, Reader, Undecodable
from .watch import Watch

# how many results; the last stays here
_SAVED = {
    "forward_train": 4,
    "forward_eval": 2,
    "sync_forward_train": 4,
    "new_layer": 1,
    "copy_layer": 1,
}


def main(options: dict[str, Any]) -> None:
    """Serve the target that the options name, over what standard input and output were."""
    into, out = _channel()
    _bind(options["parent"])
    warnings.simplefilter("ignore")
    Reader(_message(into)).take(8)  # hello: the parent is this very version
    poison_what_is_freed()
    try:
        functions, conventions = _loaded(options["spec"])
    except TargetError as error:
        body = bytearray(b"X")
        protocol.put_text(body, str(error))
        _send(out, body)
        return
    body = bytearray(b"H") + VERSION.to_bytes(2, "little") + len(functions).to_bytes(1, "little")
    for name in functions:
        protocol.put_text(body, name)
    protocol.put_text(body, json.dumps(conventions))
    _limit_memory(options["memory"])
    server = _Server(functions, Arena(options["arena"]), out, options["alarm"])
    _send(out, body)
    while True:
        server.handle(_message(into))


def _channel() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for the messages; prints go where errors go."""
    into, out = os.fdopen(os.dup(0), "rb", 65536), os.fdopen(os.dup(1), "wb", 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return into, out


def _bind(parent: int) -> None:
    """Die with the parent, leave no core file, and be the father of what is orphaned here."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        control = ctypes.CDLL(None).prctl
        control(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        control(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    if os.getppid() != parent:
        os._exit(0)


def _limit_memory(megabytes: int) -> None:
    """Refuse the process what no watch could see in time, where the system counts it.

    Twice the megabytes and one gigabyte beyond what it has now; less than that is for who watches,
    and tells it apart from a crash.
    """
    import resource

    with suppress(OSError, ValueError):
        with open("/proc/self/status", encoding="ascii") as status:
            held = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
        most = held * 1024 + (2 * megabytes + 1024) * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _loaded(spec: str) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return functions and conventions, these checked so that they can be told in JSON."""
    from ..load import load

    functions, stated = load(spec, alone=True)
    stated, told = told_by_adapter(stated)
    known = stated_conventions(stated, spec)
    if known.get("eps") is not None:
        known["eps"] = float(known["eps"])
    return functions, {**known, **told}


def _message(into: BinaryIO) -> bytes:
    """Return the body of the next message; the process ends where there is none."""
    size = into.read(4)
    body = into.read(int.from_bytes(size, "little")) if len(size) == 4 else b""
    if not body:
        os._exit(0)
    return body


def _send(out: BinaryIO, *bodies: bytearray) -> None:
    data = memoryview(b"".join(map(protocol.frame, bodies)))
    while data:
        data = data[out.write(data) :]


class _Server:
    """The target's functions, what they saved, and what of earlier calls is still looked at."""

    def __init__(
        self, functions: dict[str, Callable[..., Any]], arena: Arena, out: BinaryIO, alarm: float
    ) -> None:
        self.functions, self.arena, self.out, self.alarm = functions, arena, out, alarm
        self.saved: dict[int, Any] = {}
        self.forwards = 0
        self.kept: dict[int, list[tuple[Array, bytes]]] = {}
        self.place = (0, 0, 0, 0)
        self.own = os.getpid()
        self.watch = Watch()

    def handle(self, body: bytes) -> None:
        """Do what a message says."""
        message = Reader(body)
        kind = chr(message.u8())
        if kind == "C":
            self._call(message)
        elif kind == "P":
            self.place = message.u64(), message.u64(), message.u64(), message.u64()
            watched = {message.u64() for _ in range(message.u32())}
            for number in self.kept.keys() - watched:
                del self.kept[number]
        elif kind == "D":
            for _ in range(message.u32()):
                self.saved.pop(message.u64(), None)
        else:
            raise Undecodable(f"message {kind!r}: expected one of CDP")

    def _call(self, message: Reader) -> None:
        number, again, start, size = self.place
        self.arena.reach(start + size)
        protected = again == number
        if again in self.kept:
            block = self.kept[again][0][0]
        else:
            block = pages(size) if protected else room(size)
        block.data[:] = memoryview(self.arena.map)[start : start + size]
        if again in self.kept:
            self.kept[again][0] = block, block.tobytes()
        message.held = self.saved.__getitem__
        copied: list[tuple[Array, Array]] = []
        given: list[Array] = []

        def placed(dtype: Any, shape: Any, strides: Any, offset: int, flags: int) -> Array:
            at, lead = offset - start, flags >> 1
            if lead:  # a view that begins inside a larger buffer: one of its own, as views have
                size, count = dtype.itemsize * lead, 2 * lead + math.prod(shape)
                there: Array = np.ndarray((count,), dtype, block, at - size)
                root = there.copy()
                copied.append((there, root))
                a: Array = np.ndarray(shape, dtype, root, size, strides)
            else:
                a = np.ndarray(shape, dtype, block, at, strides)
            if flags & 1:
                a.flags.writeable = False
            given.append(a)
            return a

        message.placed = placed
        name = message.text()
        args = [message.value() for _ in range(message.u8())]
        options = {message.text(): message.value() for _ in range(message.u8())}
        poison_what_numpy_keeps(given)
        given.clear()
        faults: list[str] = []
        if self.alarm:  # kills it where nothing else would when who waits for it is gone
            signal.setitimer(signal.ITIMER_REAL, self.alarm)
        if protected:
            protect(block, writing=False)
        answer, results = self._answer(name, args, options, faults)
        if protected:
            protect(block, writing=True)
        if self.alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if os.getpid() != self.own:
            os._exit(0)  # a child that the target forked and that came back from the call
        del args, message
        faults += self.watch.changes()
        with suppress(Exception):  # whatever the target has put there
            sys.stdout.flush()
        for there, root in copied:
            there[...] = root  # what the call wrote
        self.arena.write(start, block.data)
        self._reply(number, block, aligned(start + size), answer, results, faults)

    def _answer(
        self, name: str, args: Any, options: Any, faults: list[str]
    ) -> tuple[bytearray, Any]:
        """Call the function; return the message's start, and the result where there is one."""
        try:
            with np.errstate(all="ignore"), hidden():
                result = self.functions[name](*args, **options)
                faults += self.watch.errors_changed()
        except BaseException as error:
            body = bytearray(b"E")
            protocol.put_text(body, type(error).__name__)
            lines = _text(error).strip().splitlines()
            protocol.put_text(body, lines[0] if lines else "(no text)")
            return body, None
        body = bytearray(b"R")
        if isinstance(result, (tuple, list)):
            parts = list(result)
            sent = _of_ranks if name.startswith("sync_") else _plain
            if len(parts) == _SAVED.get(name):
                self.forwards += 1
                self.saved[self.forwards] = parts[-1]
                return body, [*(sent(part) for part in parts[:-1]), Held(self.forwards)]
            return body, [sent(part) for part in parts]
        return body, _plain(result)

    def _reply(
        self, number: int, block: Array, at: int, answer: bytearray, results: Any, faults: list[str]
    ) -> None:
        """Send what changed of earlier calls, what is wrong with this one, and its answer."""
        bodies = []
        for other, arrays in self.kept.items():
            for which, (a, before) in enumerate(arrays):
                if (now := a.tobytes()) != before:
                    arrays[which] = (a, now)
                    body = bytearray(b"W") + other.to_bytes(8, "little") + bytes([which])
                    bodies.append(body + at.to_bytes(8, "little") + len(now).to_bytes(8, "little"))
                    self.arena.reach(at + len(now))
                    self.arena.write(at, now)
                    at = aligned(at + len(now))
        for text in faults:
            bodies.append(bytearray(b"F"))
            protocol.put_text(bodies[-1], text)
        gave: list[tuple[Array, bytes]] = []

        def place(out: bytearray, a: Array) -> None:
            nonlocal at
            data = a.tobytes()
            gave.append((a, data))
            self.arena.reach(at + len(data))
            self.arena.write(at, data)
            plain = a if a.flags.c_contiguous else np.ascontiguousarray(a).reshape(a.shape)
            protocol.put_placed(out, plain, at)
            at = aligned(at + len(data))

        if answer[:1] == b"R":
            protocol.put(answer, results, place)
        _send(self.out, *bodies, answer)
        self.kept[number] = [(block, block.tobytes()), *gave]  # while the other side goes on


def _text(value: Any) -> str:
    try:
        return str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:
        return "(no text)"


def _of_ranks(value: Any) -> Any:
    """Return a result that may be a list, of one array per rank, likewise."""
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else _plain(value)


def _plain(value: Any) -> Any:
    """Return a result as a message can carry it."""
    if type(value) is np.ndarray and value.dtype in protocol.SENT:
        return value
    if value is None or type(value) in (bool, float, str):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else Opaque(repr(value), "too large")
    why, a = "", value
    if not isinstance(value, np.ndarray):
        try:
            a = np.asarray(value)
        except Exception as error:
            why = (_text(error).strip().splitlines() or ["(no text)"])[0]
    if not why and (a.dtype.isbuiltin == 2 or (a.dtype.kind in "biufc" and a.itemsize <= 16)):
        return a.view(np.ndarray)
    why = why or f"an array of dtype {a.dtype}"
    return protocol.opaque(type(value).__name__, _text(value)[:200], why)

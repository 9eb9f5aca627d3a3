"""A target in another process, seen from here: its functions, called through the protocol."""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ...model.contract import (
    ALONE,
    ARGUMENTS,
    FUNCTIONS,
    LAYER,
    Array,
    Died,
    Misbehaved,
    Raised,
    SideEffect,
    TargetError,
    arguments_protected,
)
from ..adapters.installed import named
from ..device import placed
from . import protocol
from .arena import Arena, Block, aligned, lay, settle
from .limits import Limits
from .process import Gone, Process
from .program import command_of
from .protocol import VERSION, Held, Reader, Undecodable
from .trace import HEAD, MAGIC, Trace
from .watched_arrays import Kept, kept, owners

_START = (  # read from a pipe: the command line tells nothing of the suite
    "import sys; sys.path[:] = {path!r}; "
    "from properties.targets.isolate.worker import main; main({options!r})"
)
_PLACE = struct.Struct("<4QI")


class _Saved(Held):
    """What a forward saved over there, given up when nobody here has it any more."""

    def __init__(self, number: int, process: Process, given_up: list[int]) -> None:
        super().__init__(number)
        self.process, self.given_up = process, given_up

    def __del__(self) -> None:
        self.given_up.append(self.number)


class Remote:
    """A target in a process of its own, started again after each death.

    Args:
        spec: what `targets.load` takes, exec:COMMAND included.
        limits: what a call may take.

    Raises:
        TargetError: it does not start, or is no target.
    """

    def __init__(self, spec: str, limits: Limits) -> None:
        self.spec, self.limits, self.lenient = spec, limits, False
        built_in = named(placed(spec)[0])
        self.compiles = built_in is not None and built_in[0].compiles
        self.command = command_of(spec)
        self.placed = not self.command  # whether arrays lie in the mapped file
        self.calls = 0
        self.trace = Trace()
        self.arena = Arena(self.trace.handle)
        self.end = weakref.finalize(self, self.trace.close)
        self.process: Process | None = None
        try:
            self._start()
        except BaseException as error:
            self.close()
            if isinstance(error, (Gone, Undecodable)):
                raise TargetError(f"target={spec}: {self._at_start(error)}") from error
            raise

    def _at_start(self, error: Exception) -> str:
        if isinstance(error, Undecodable):
            return f"its answer to the greeting cannot be decoded: {error}"
        if str(error).startswith("hung"):
            return f"it hung: not ready within {self.limits.start:g} s, six times --timeout"
        return f"it {error} before its first call"

    def _start(self) -> None:
        """Start the process and greet it."""
        self.given_up: list[int] = []
        self.kept: dict[int, Kept] = {}
        options = {"spec": self.spec, "parent": os.getpid(), "arena": self.trace.handle}
        options["memory"] = self.limits.memory
        options["alarm"] = 0 if sys.platform == "linux" else 10 + self.limits.timeout
        if self.placed:
            self.process = self._worker(_START.format(path=sys.path, options=options))
        else:
            self.process = Process(self.command, self.limits, base=False)
        hello = b"Hbncheck" + VERSION.to_bytes(2, "little")
        message = self.process.exchange(protocol.frame(hello), self.limits.start)
        try:
            self._greeted(Reader(message()))
        except BaseException:
            self.process.end()
            raise
        self.process.started()

    def _worker(self, code: str) -> Process:
        """Start a Python that runs this code, with the mapped file."""
        read, write = os.pipe()
        try:
            with os.fdopen(write, "wb") as pipe:
                pipe.write(code.encode())
            command = [sys.executable, "-c", f"import os; exec(os.read({read}, 65536))"]
            return Process(command, self.limits, base=True, handles=[self.trace.handle, read])
        finally:
            os.close(read)

    def _greeted(self, answer: Reader) -> None:
        kind = chr(answer.u8())
        if kind == "X":
            raise TargetError(answer.text())
        if kind != "H":
            raise Undecodable(f"message {kind!r}: expected H or X")
        if (version := answer.u16()) != VERSION:
            raise TargetError(f"target={self.spec}: protocol version {version}: expected {VERSION}")
        names = [answer.text() for _ in range(answer.u8())]
        conventions = answer.text()
        answer.end()
        for name in names:
            if name not in (*FUNCTIONS, *LAYER):
                raise Undecodable(f"function {name[:40]!r}: expected those of the contract")
        if not {"forward_train", *ALONE} & set(names):
            raise TargetError(f"target={self.spec}: it has no forward_train")
        self.functions: dict[str, Callable[..., Any]] = {n: partial(self.call, n) for n in names}
        try:
            self.stated = json.loads(conventions or "{}")
        except (ValueError, RecursionError) as error:
            raise TargetError(f"CONVENTIONS of target={self.spec}: no JSON: {error}") from error
        if not isinstance(self.stated, dict):
            raise TargetError(f"CONVENTIONS of target={self.spec}: expected a JSON object")

    def afresh(self) -> None:
        """End the process; the next call is the first of a new one."""
        if self.process is not None:
            self.process.end()

    def close(self) -> None:
        """End the process and remove the mapped file."""
        if self.process is not None:
            self.process.end()
        self.end()

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """Let pass what a call does besides its answer, while conventions are found out."""
        self.lenient = True
        try:
            yield
        finally:
            self.lenient = False

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a function over there.

        Raises:
            Raised: it raised.
            Died: its process died or had to be ended.
            Misbehaved: it did to its process, or to memory, what a call may not do.
        """
        process = self._alive(name)
        if any(isinstance(a, _Saved) and a.process is not process for a in args):
            raise Misbehaved(f"{name}: what its forward saved is gone with the process that had it")
        self.calls += 1
        arrays = list(_arrays((*args, *options.values())))
        block = lay(arrays) if self.placed else Block(b"", [])
        faults: list[str] = []
        try:
            start, call = self._written(name, args, options, arrays, block)
            message = process.exchange(self._given_up() + call, self.limits.timeout)
            watched = kept(block.spans, arrays)  # while the other side is at it
            answer = self._besides(message, faults)
            result = self._result(name, answer, watched.gave)
            if self.placed:
                faults += self._settled(name, args, options, arrays, block, start)
                self.kept[self.calls] = watched
        except Gone as error:
            how = ": its arguments were write-protected" if arguments_protected() else ""
            raise Died(f"{name} {error}{how}", error.waited) from error
        except Undecodable as error:
            raise Died(f"{name} {process.undecodable(str(error))}") from error
        except BaseException:
            process.end()  # an interrupt: what it would answer belongs to no call any more
            raise
        if self.compiles:
            its_own = ("forked", "changed the environment variable")
            faults = [text for text in faults if not text.startswith(its_own)]
        if faults and not self.lenient:
            told = f"{name} {'; '.join(faults)}"
            if any(text.startswith("forked") for text in faults):
                process.end()  # with all that it started
                raise Died(told)
            if all(text.startswith("changed ") for text in faults):
                raise SideEffect(told, result)
            raise Misbehaved(told)
        if isinstance(result, Raised):
            raise result
        return result

    def _alive(self, name: str) -> Process:
        """Return the process, started again if it is gone."""
        assert self.process is not None
        if not self.process.end.alive:
            try:
                self._start()
            except (Gone, Undecodable, TargetError) as error:
                raise Died(f"{name}: its process does not start again: {error}") from error
        return self.process

    # --- there -----------------------------------------------------------------------------------

    def _written(
        self, name: str, args: Any, options: Any, arrays: list[Array], block: Block
    ) -> tuple[int, bytes]:
        """Lay a call and its arrays into the file; return where they begin, and the messages."""
        call = bytearray(b"C")
        protocol.put_text(call, name)
        places: list[tuple[int, int]] = []

        def place(out: bytearray, a: Array) -> None:
            places.append((len(out), protocol.put_placed(out, a, 0)))

        array = place if self.placed else protocol.put_inline
        call.append(len(args))
        for value in args:
            protocol.put(call, value, array)
        call.append(len(options))
        for key, value in options.items():
            protocol.put_text(call, key)
            protocol.put(call, value, array)
        watched = self._watched() if self.placed else []
        head = 4 + 1 + _PLACE.size + 8 * len(watched) if self.placed else 0
        start = aligned(len(HEAD) + head + 4 + len(call))
        for (_, at), offset in zip(places, block.offsets, strict=True):
            call[at : at + 8] = (start + offset).to_bytes(8, "little")
        whole = protocol.frame(call)
        if self.placed:
            again = self.calls if arguments_protected() else self._again(arrays, block)
            here = _PLACE.pack(self.calls, again, start, len(block.data), len(watched))
            here += struct.pack(f"<{len(watched)}Q", *watched)
            whole = protocol.frame(b"P" + here) + whole
        self.arena.reach(start + len(block.data))
        self.arena.write(start, block.data)
        self.arena.write(0, MAGIC + len(whole).to_bytes(8, "little") + whole)
        return start, whole

    def _given_up(self) -> bytes:
        """Return the message that names the saved values nobody here has any more."""
        if not self.given_up:
            return b""
        saved = self.given_up[:]
        del self.given_up[: len(saved)]
        return protocol.frame(b"D" + struct.pack(f"<I{len(saved)}Q", len(saved), *saved))

    def _watched(self) -> list[int]:
        """Return the calls whose arrays somebody here still has."""
        for number in [number for number, call in self.kept.items() if not call.alive()]:
            del self.kept[number]
        return list(self.kept)

    def _again(self, arrays: list[Array], block: Block) -> int:
        """Return the last call whose arguments lay in the very memory of these, 0 for none."""
        if not arrays:
            return 0
        its = owners(arrays)
        return next((n for n in reversed(self.kept) if self.kept[n].lay_in(its, block.spans)), 0)

    # --- back ------------------------------------------------------------------------------------

    def _besides(self, message: Callable[[], bytes], faults: list[str]) -> Reader:
        """Take what comes before the answer: faults, and changes of earlier calls' arrays."""
        while True:
            answer = Reader(message())
            kind = chr(answer.u8())
            if kind == "F":
                faults.append(answer.text()[:300])
            elif kind == "W" and self.placed:
                number, which = answer.u64(), answer.u8()
                data = self._bytes(answer.u64(), answer.u64())
                if number in self.kept:
                    self.kept[number].renew(which, data)
            else:
                answer.at = 0
                return answer

    def _bytes(self, offset: int, size: int) -> bytes:
        if offset + size > len(self.arena.map) and offset + size > self.arena.size():
            raise Undecodable(f"{size} bytes at {offset} of the mapped file: it ends before")
        return self.arena.read(offset, size)

    def _result(self, name: str, answer: Reader, gave: list[weakref.ref[Array]]) -> Any:
        """Return what the function gave, or the `Raised`; add the arrays in it to gave."""
        process, given_up = self.process, self.given_up
        assert process is not None

        def placed(dtype: Any, shape: Any, strides: Any, offset: int, flags: int) -> Array:
            size = dtype.itemsize * math.prod(shape)
            a: Array = np.ndarray(shape, dtype, bytearray(self._bytes(offset, size)))
            gave.append(weakref.ref(a))
            return a

        answer.placed = placed if self.placed else None
        answer.held = lambda number: _Saved(number, process, given_up)
        kind = chr(answer.u8())
        result: Any
        if kind == "E":
            what, text = answer.text(), answer.text()
            most = f"passed --memory={self.limits.memory} MB: " if what == "MemoryError" else ""
            result = Raised(f"{name} {most}raised {what}: {text}")
        elif kind == "R":
            result = answer.value()
        else:
            raise Undecodable(f"message {kind!r}: expected R or E")
        answer.end()
        return tuple(result) if isinstance(result, list) else result

    def _settled(
        self, name: str, args: Any, options: Any, arrays: list[Array], block: Block, start: int
    ) -> list[str]:
        """Bring what the call changed into its arguments; return where it wrote besides."""
        where = settle(block, self.arena.read(start, len(block.data)))
        if not where:
            return []
        given = {**dict(zip(ARGUMENTS[name], args, strict=False)), **options}
        names = [n for n, a in given.items() for _ in _arrays([a])]
        return [f"wrote {where.format(*names)}"]


def _arrays(values: Iterable[Any]) -> Iterator[Array]:
    """Yield the arrays among values, those in lists too."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _arrays(value)


def isolated(spec: str, limits: Limits) -> Remote:
    """Return a target in a process of its own, exec:COMMAND included.

    Raises:
        TargetError: it does not start, is no target, or no process can be had here.
    """
    if sys.platform == "win32":
        raise TargetError(
            f"target={spec}: isolation needs Linux or macOS; on Windows use WSL, or --in-process"
        )
    return Remote(spec, limits)

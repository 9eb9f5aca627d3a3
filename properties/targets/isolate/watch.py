"""What a call may not change in its process, compared after each call and put back."""

from __future__ import annotations

import _random
import contextlib
import ctypes
import os
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.random import mtrand

_NUMBERS = [2.0**-53, 3 * 2.0**-54, 2.0**-1022, 0.5, 2.0**-1074, 2.0**1022]  # not folded: a list


def arithmetic() -> tuple[float, ...]:
    """Return sums and products that each rounding mode and flush to zero changes in its way."""
    half_ulp, more, least, half, tiny, large = _NUMBERS
    # none is subnormal in the end: where those count as zero they also compare equal to it
    products = least * half * large, tiny * large
    return 1.0 + half_ulp, 1.0 + more, -1.0 - half_ulp, -1.0 - more, *products


_NEAREST = (1.0, 1.0 + 2.0**-52, -1.0, -1.0 - 2.0**-52, 0.5, 2.0**-52)


def _rounding() -> str:
    up, more, down, less, small, subnormal = arithmetic()
    if small == 0 or subnormal == 0:
        return "subnormals are flushed to zero"
    modes = {(True, False): "upward", (False, True): "downward", (False, False): "toward zero"}
    found = modes.get((up > 1, down < -1 and less <= -1 - 2.0**-52))
    return f"rounding {found}" if (up, more, down, less) != _NEAREST[:4] else ""


class _Libc:
    """The functions of the C library that this platform has."""

    def __init__(self) -> None:
        self.all = ctypes.CDLL(None)
        self.trapped: Callable[[], int] = getattr(self.all, "fegetexcept", lambda: 0)
        self.environ: Any = None
        with contextlib.suppress(ValueError):
            self.environ = ctypes.c_void_p.in_dll(self.all, "environ")

    def default_arithmetic(self) -> None:
        """Go back to rounding to nearest, no traps, subnormals kept."""
        with contextlib.suppress(AttributeError):
            environment = ctypes.c_void_p(-1)  # FE_DFL_ENV of glibc
            if sys.platform == "linux":
                self.all.fesetenv(environment)
            else:
                self.all.fesetround(0)

    def variables(self) -> bytes:
        """Return where the environment's texts lie, which setenv moves; what Python has instead."""
        if self.environ is None or not self.environ.value:
            return repr(dict(os.environ)).encode()
        size = 8 * (len(os.environ) + 1)
        return ctypes.string_at(self.environ.value, size) + self.environ.value.to_bytes(8, "little")

    def texts(self) -> dict[str, str]:
        """Return the environment as C has it."""
        found: dict[str, str] = {}
        if self.environ is not None and self.environ.value:
            table = ctypes.cast(self.environ.value, ctypes.POINTER(ctypes.c_char_p))
            for text in iter(_each(table).__next__, None):
                key, _, value = text.partition(b"=")
                found[os.fsdecode(key)] = os.fsdecode(value)
        return found


def _each(table: Any) -> Iterator[bytes | None]:
    at = 0
    while True:
        yield table[at]
        at += 1


class Watch:
    """The state of this process as it was before a call."""

    def __init__(self) -> None:
        self.libc = _Libc()
        self.forked = False
        self.children = _has_children()
        with contextlib.suppress(AttributeError):
            os.register_at_fork(after_in_parent=self._fork_seen)
        self.folder = _folder()
        self.python = dict(os.environ)
        self.where, self.texts = self.libc.variables(), self.libc.texts()
        self.random, self.start, self.numpy = _random_state(), random.getstate(), _numpy_state()

    def _fork_seen(self) -> None:
        self.forked = True

    def changes(self) -> Iterator[str]:
        """Yield what the call changed, in words, and put it back."""
        if self._same():
            return
        if arithmetic() != _NEAREST or self.libc.trapped():
            what = _rounding() or "traps on exceptions"
            self.libc.default_arithmetic()
            yield f"changed the floating-point state: {what}"
        if (now := _folder()) != self.folder:
            os.chdir(self.folder)
            yield f"changed the working directory to {now}"
        if self.libc.variables() != self.where:  # os.environ tells C of every change
            yield from self._environment()
        yield from self._random()
        if self.forked or (not self.children and _has_children()):
            self.forked = False
            yield "forked: a child process was started, or is left"

    def _same(self) -> bool:
        """Return whether all of it is as before: the usual case, and the quick one."""
        return (
            arithmetic() == _NEAREST
            and not self.libc.trapped()
            and _folder() == self.folder
            and self.libc.variables() == self.where
            and _random_state() == self.random
            and _numpy_state() == self.numpy
            and not self.forked
            and (self.children or not _has_children())
        )

    def errors_changed(self) -> Iterator[str]:
        """Yield whether NumPy's error state is another; asked within the call's own errstate."""
        now = np.geterr()
        if now != _IGNORED:
            yield f"changed NumPy's error state to {now}"

    def _environment(self) -> Iterator[str]:
        c_now, now = self.libc.texts(), dict(os.environ)
        for before, after in ((self.python, now), (self.texts, c_now)):
            names = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
            if names:
                for key in {*now, *c_now} - set(self.python):
                    os.environ[key] = ""  # so that the one in C goes as well
                    del os.environ[key]
                os.environ.update(self.python)
                yield f"changed the environment variable {', '.join(names)}"
                break
        self.python, self.texts = dict(os.environ), self.libc.texts()
        self.where = self.libc.variables()

    def _random(self) -> Iterator[str]:
        if _random_state() != self.random:
            random.setstate(self.start)
            yield "changed the random state of random"
        if _numpy_state() != self.numpy:
            _numpy_restore(self.numpy)
            yield "changed the random state of numpy.random"


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "(a folder that is gone)"


_IGNORED = {"divide": "ignore", "over": "ignore", "under": "ignore", "invalid": "ignore"}


def _has_children() -> bool:
    """Return whether this process has children, without collecting any."""
    try:
        if hasattr(os, "waitid"):
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        else:
            os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _numpy_state() -> tuple[Any, bytes]:
    """Return the generator behind numpy.random, and the memory that it keeps its state in."""
    generator = mtrand._rand._bit_generator
    if type(generator).__name__ != "MT19937":
        return generator, repr(generator.state).encode()
    return generator, ctypes.string_at(generator.ctypes.state_address, _MT19937)


def _numpy_restore(held: tuple[Any, bytes]) -> None:
    generator, state = held
    mtrand.set_bit_generator(generator)
    if type(generator).__name__ == "MT19937":
        ctypes.memmove(generator.ctypes.state_address, state, _MT19937)


_MT19937 = 4 * 624 + 4  # bytes: the key and the position


def _random_state() -> bytes:
    """Return the memory that the generator behind random keeps its state in (CPython)."""
    if sys.implementation.name != "cpython":
        return repr(random.getstate()).encode()
    head = object.__basicsize__
    return ctypes.string_at(id(_GENERATOR) + head, _random.Random.__basicsize__ - head)


_GENERATOR: Any = random.getstate.__self__  # type: ignore[attr-defined]

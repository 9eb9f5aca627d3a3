"""Ctrl-C and SIGTERM as exceptions, so that a command cut short shows what it has."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; like an interrupt it is nobody's to catch, not even in a target's call."""


def status_of(cut: KeyboardInterrupt) -> int:
    """Return the exit status of a command that was cut short."""
    return 143 if isinstance(cut, Terminated) else 130


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated where SIGTERM arrives."""
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Start processes that know no Ctrl-C, which is for their parent."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)

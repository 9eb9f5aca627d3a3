"""What happens while a formula runs, noted beside its values."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any


@dataclass
class Events:
    """What happened while a formula ran: absorbed floats, comparisons, sums that were zero."""

    absorbed: set[float] = field(default_factory=set)
    compared: bool = False
    roots: set[Fraction] = field(default_factory=set)  # squares whose root was taken
    sums: dict[str, bool] = field(default_factory=dict)  # text of a sum: was it always zero?
    lines: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)  # name: its assignments


_events: ContextVar[Events | None] = ContextVar("events", default=None)


def events() -> Events:
    """Return the record of the present run."""
    found = _events.get()
    if found is None:
        found = Events()
        _events.set(found)
    return found


def record_into(log: Events) -> None:
    """Send what happens from now on to this record."""
    _events.set(log)

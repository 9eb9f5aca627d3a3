"""Arrays of earlier calls that are still looked at here, while the target may still change them."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import NamedTuple

from ...model.contract import Array
from .arena import Span, bounds, owner


class Kept(NamedTuple):
    """What a call was given, in the spans of a block, and what it gave: all held weakly."""

    owners: list[weakref.ref[Array]]  # of each argument
    spans: list[Span]
    gave: list[weakref.ref[Array]]

    def alive(self) -> bool:
        """Return whether anything of it is left."""
        for found in self.owners:
            if found() is not None:
                return True
        return any(found() is not None for found in self.gave)

    def lay_in(self, owners: Sequence[Array], spans: Sequence[Span]) -> bool:
        """Return whether its arguments lay in the very memory of these, in the same places."""
        return (
            len(owners) == len(self.owners)
            and all(one() is two for one, two in zip(self.owners, owners, strict=True))
            and [(s.low, s.high, s.at) for s in spans]
            == [(s.low, s.high, s.at) for s in self.spans]
        )

    def renew(self, which: int, data: bytes) -> None:
        """Bring a change into the arguments, which is 0, or into a result, from 1."""
        if which:
            for found in self.gave[which - 1 : which]:
                if (a := found()) is not None and a.nbytes == len(data):
                    ctypes.memmove(bounds(a)[0], data, a.nbytes)
            return
        for span in self.spans:
            held = [self.owners[i]() for i in span.members]
            if any(a is not None for a in held) and span.end <= len(data):
                ctypes.memmove(span.low, data[span.at : span.end], span.high - span.low)


def kept(spans: list[Span], arrays: Sequence[Array]) -> Kept:
    """Return a call's arguments, held weakly, and no results yet."""
    return Kept([weakref.ref(a) for a in owners(arrays)], spans, [])


def owners(arrays: Sequence[Array]) -> list[Array]:
    """Return the arrays that own the memory of these."""
    return [a if a.base is None else owner(a) for a in arrays]

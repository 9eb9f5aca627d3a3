"""A failing call made small: its own arrays alone, one channel, as few rows as still fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..corpus.entries import Calls, encode_array
from ..corpus.expected import with_expected
from ..corpus.files import Entry, decode_array
from ..corpus.replay import Replayed, replay
from ..model.contract import Target

TRIES = 30  # calls of the target that making one case small may take
_PER_CHANNEL = ("gamma", "beta", "running_mean", "running_var")
_FORWARDS = ("forward_train", "forward_eval")


def shrunk(target: Target, found: Replayed) -> Replayed:
    """Return a smaller entry that fails in the same quantity, or the same where there is none."""
    assert found.failure is not None
    quantity, tries = found.failure.quantity, TRIES
    best = found
    alone = _alone(found.entry.calls, found.call)
    if not alone:
        return found
    at = (*found.failure.index, 0, 0)[1]  # the channel, of rows and of one line alike
    for calls in (alone, _one_channel(alone, at)):
        best = _if_it_fails(target, calls, quantity) or best
    going = True
    while going and tries > 0:
        going = False
        for calls in _fewer_rows(best.entry.calls):
            tries -= 1
            if kept := _if_it_fails(target, calls, quantity):
                best, going = kept, True
                break
            if tries <= 0:
                break
    return best


def _if_it_fails(target: Target, calls: Calls, quantity: str) -> Replayed | None:
    try:
        entry = Entry("", "", False, with_expected(calls))
    except (ValueError, ArithmeticError):  # what is right cannot be computed
        return None
    found = replay(target, entry)
    same = found.failure is not None and found.failure.quantity == quantity
    return found if found.verdict == "fail" and same else None


def _alone(calls: Calls, at: int) -> Calls:
    """Return the failing call, behind the forward that it goes back through; empty for others."""
    call = calls[at]
    if call["call"] in _FORWARDS:
        return [call]
    if call["call"] in ("backward_train", "backward_eval"):
        return [calls[call["saved"]], {**call, "saved": 0}]
    return []


def _one_channel(calls: Calls, channel: int) -> Calls:
    """Return the calls on one channel; per channel the results are the same."""
    one = slice(channel, channel + 1)
    found = _subset(calls, slice(None), (one,))
    for call in found:
        call |= {n: encode_array(decode_array(call[n])[one]) for n in _PER_CHANNEL if call.get(n)}
        for name in ("x", "dy"):
            call.get(name, {}).pop("layout", None)
    return found


def _fewer_rows(calls: Calls) -> Iterator[Calls]:
    """Yield the calls on a half of the rows, then without each single one."""
    x = decode_array(calls[0]["x"])
    if x.ndim > 2 and x.shape[2:] != (1,) * (x.ndim - 2):
        yield _subset(calls, slice(None), (slice(None), *(slice(0, 1),) * (x.ndim - 2)))
    n = len(x)
    if n > 3:
        yield _subset(calls, slice(0, n // 2))
        yield _subset(calls, slice(n // 2, n))
    if n > 1:
        for i in range(n - 1, -1, -1):
            yield _subset(calls, np.delete(np.arange(n), i))


def _subset(calls: Calls, rows: Any, places: tuple[slice, ...] = ()) -> Calls:
    """Return the calls on some rows of x and dy, and on some places along the other axes."""
    found = []
    for call in calls:
        more = {}
        for name in (name for name in ("x", "dy") if call.get(name)):
            some = decode_array(call[name])[rows][(slice(None), *places)]
            layout = call[name].get("layout")
            more[name] = encode_array(np.ascontiguousarray(some))
            if layout:
                more[name]["layout"] = layout
        found.append({**call, **more})
    return found

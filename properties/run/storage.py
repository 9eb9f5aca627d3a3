"""Whether a target keeps its answers by where its input lies, or hands out one buffer again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..invariants.calls import trained
from ..invariants.storage import copied
from ..model.cases import Case
from ..model.contract import Array, Died, Misbehaved, Target
from .batches import batch

_BATCHES = 6


def kept_from_call_to_call(target: Target) -> str:
    """Return the name of the planted error that every batch shows, "" where none does.

    Answers are kept if new numbers in the same memory give the first result to the bit, and in
    other memory give another; a buffer is handed out again if a second call changes what the first
    returned into its own result.
    """
    try:
        found = [_seen(target, batch(target, k)) for k in range(_BATCHES)]
    except Died:
        raise
    except Misbehaved:
        return ""
    return found[0] if len(set(found)) == 1 else ""


def _seen(target: Target, case: Case) -> str:
    held = replace(case, **copied(case.another(1)))
    first = trained(target, held, keep_layout=True).y
    before = first.copy()
    held.x[...] = case.x
    again = trained(target, held, keep_layout=True).y
    new = replace(held, **copied(replace(held, x=case.x)))
    elsewhere = trained(target, new, keep_layout=True).y
    if _same(again, before) and not _same(elsewhere, before):
        return "answers_kept_by_storage"
    return "hands_out_one_buffer" if _same(first, elsewhere) and not _same(first, before) else ""


def _same(one: Array, two: Array) -> bool:
    return bool(np.array_equal(one, two, equal_nan=True))

"""What a grade consists of: rounds in fresh processes, of a step per invariant and one of sizes.

Every step follows from the seed and its number, so that the same seed and number of steps replay.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from ..invariants import INVARIANTS, storage

EXAMPLES = (5, 20, 75, 150)  # of each invariant, by round; the last for all that follow
SIZES = "drawn sizes"  # the step of a round that is no invariant

# what may differ from one run of a program to the next; every other round has these
_ELSEWHERE = {"CI": "true", "USER": "somebody", "TZ": "Asia/Tokyo", "COLUMNS": "72"}


@dataclass(frozen=True)
class Step:
    """An invariant, or SIZES, with how many examples it gets and the seed of these."""

    round: int
    name: str
    examples: int
    seed: int


def rounds(seed: int) -> Iterator[list[Step]]:
    """Yield the steps of each round, without an end."""
    for number in count():
        examples = EXAMPLES[min(number, len(EXAMPLES) - 1)]
        names = [*sorted(INVARIANTS, key=_after_storage), SIZES]
        yield [Step(number, name, examples, drawn(seed, number, name)) for name in names]


def _after_storage(name: str) -> bool:
    """Return False for what most cheats fail alone, which comes first in a round."""
    return INVARIANTS[name].check.__module__ != storage.__name__


def drawn(*parts: object) -> int:
    """Return 32 bits that follow from these."""
    text = " ".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@contextmanager
def circumstances(number: int) -> Iterator[None]:
    """Let the processes of every other round start in another environment."""
    before = dict(os.environ)
    if number % 2:
        os.environ.update(_ELSEWHERE)
    try:
        yield
    finally:
        for name in _ELSEWHERE:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]

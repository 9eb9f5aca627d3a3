"""Examples that depend on the seed alone, not on which source files happen to be loaded.

Hypothesis mixes the constants of loaded local modules into what it draws. A target in the same
process would then be given other examples than in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_local_constants() -> Iterator[None]:
    """Draw with Hypothesis's own constants alone, where this Hypothesis knows of others."""
    from hypothesis.internal.conjecture import providers

    found: Any = providers
    if not hasattr(found, "_get_local_constants"):
        yield
        return
    usual, none = found._get_local_constants, found.Constants()
    found.CONSTANTS_CACHE.cache.clear()
    found._get_local_constants = lambda: none
    try:
        yield
    finally:
        found._get_local_constants = usual
        found.CONSTANTS_CACHE.cache.clear()

"""The facts a batch norm is checked against: plain functions, without pytest or Hypothesis."""

from . import (
    backward,
    forward,
    inference,
    masks,
    ranks,
    second_order,
    session,
    shards,
    state,
    state_fresh,
)
from .registry import INVARIANTS as INVARIANTS
from .registry import Invariant as Invariant

__all__ = [
    "INVARIANTS",
    "Invariant",
    "backward",
    "forward",
    "inference",
    "masks",
    "ranks",
    "second_order",
    "session",
    "shards",
    "state",
    "state_fresh",
]

"""The facts a batch norm is checked against: plain functions, without pytest or Hypothesis."""

from typing import Any

from . import (
    backward,
    forward,
    inference,
    lives,
    masks,
    ranks,
    second_order,
    session,
    shards,
    state,
    state_fresh,
    storage,
)
from .registry import INVARIANTS as INVARIANTS
from .registry import Invariant as Invariant

SESSIONS: dict[str, Any] = {  # what a random sequence of calls is held against, by invariant
    "calls_in_any_order_follow_the_model": session.Session,
    "a_layer_lives_by_the_model": lives.Life,
}

__all__ = [
    "INVARIANTS",
    "SESSIONS",
    "Invariant",
    "backward",
    "forward",
    "inference",
    "lives",
    "masks",
    "ranks",
    "second_order",
    "session",
    "shards",
    "state",
    "state_fresh",
    "storage",
]

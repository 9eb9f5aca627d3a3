"""Sending shards to workers and collecting what they find, whoever dies on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any

from .pool import Pool
from .shards import Shard
from .state import Found, State
from .work import search_shard

Task = tuple[str, str, int, int, str]  # spec, fingerprint, examples, seed, database
TRIES = 2  # a shard whose worker died is tried so often alone before it is called the cause
DIED = "the process died; twice in this shard alone"


def hunt(
    pool: Pool, task: Task, shards: Iterable[Shard], state: State, tick: Callable[[Found], None]
) -> None:
    """Search all shards that the state does not hold yet, and keep each as soon as it is done.

    Args:
        pool: where to search.
        task: what all shards share.
        shards: all of the hunt.
        state: what is done, and where more is kept.
        tick: given what each shard found.
    """
    waiting = deque(shard for shard in shards if shard.name not in state.done)
    while waiting:
        suspects = _together(pool, task, waiting, state, tick)
        for shard in suspects:
            _alone(pool, task, shard, state)
            tick(state.done[shard.name])


def _submitted(executor: Executor, task: Task, shard: Shard) -> Future[Any]:
    spec, mark, examples, seed_number, database = task
    return executor.submit(search_shard, spec, mark, shard, examples, seed_number, database)


def _together(
    pool: Pool, task: Task, waiting: deque[Shard], state: State, tick: Callable[[Found], None]
) -> list[Shard]:
    """Search the waiting shards; return those under way when a worker died, if one did."""
    running: dict[Future[Any], Shard] = {}
    suspects: list[Shard] = []
    broken = False
    with pool.open(None) as (executor, at_once):
        while running or (waiting and not broken):
            many = at_once()
            try:
                while waiting and not broken and len(running) < many:
                    running[_submitted(executor, task, waiting[0])] = waiting[0]
                    waiting.popleft()
            except pool.broken:
                broken = True
            for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
                shard = running.pop(future)
                try:
                    state.add(shard, future.result())
                    tick(state.done[shard.name])
                except pool.broken:
                    suspects.append(shard)
                    broken = True
    if broken and not suspects:  # it died between shards: try one of them, so as to go on
        suspects.append(waiting.popleft())
    return suspects


def _alone(pool: Pool, task: Task, shard: Shard, state: State) -> None:
    """Search a shard with no other beside it, so that a worker that dies is its own doing."""
    for _ in range(TRIES):
        try:
            with pool.open(1) as (executor, _):
                state.add(shard, _submitted(executor, task, shard).result())
            return
        except pool.broken:
            continue
    state.add(shard, {"cells": [], "smallest": {"point": None, "message": DIED}})

"""Averages that frameworks free from their start: how often each was updated, kept beside it.

The contract hands running statistics on as two arrays; Haiku and Equinox also count the updates,
and divide by 1 - momentum**count in inference. -0.0 in all of the mean says that nothing has been
counted yet. From there on the arrays' own bits find their count; other arrays stand for averages
of long ago, whose start is forgotten.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

LONG_AGO = 2**31 - 2


def _key(mean: Any, var: Any) -> bytes:
    return np.asarray(mean).tobytes() + np.asarray(var).tobytes()


def counted(found: SimpleNamespace, start_of_var: float) -> SimpleNamespace:
    """Return the functions of `found`, whose mean is (mean, count), with counts kept aside.

    Args:
        found: over train(x, gamma, beta, (mean, count), var, eps, momentum) and infer(x, gamma,
            beta, (mean, count), (var, momentum), eps).
        start_of_var: what the hidden variance begins with.
    """
    counts: dict[bytes, tuple[int, float]] = {}

    def state(mean: Any, var: Any) -> tuple[int, float]:
        if mean is None:
            raise TypeError("this layer keeps running statistics: expected arrays")
        if not np.any(mean) and np.all(np.signbit(mean)) and np.all(var == start_of_var):
            return 0, 0.5
        return counts.get(_key(mean, var), (LONG_AGO, 0.5))

    def forward_train(
        x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        count, _ = state(mean, var)
        given = (mean, count), var
        y, *new, saved = found.forward_train(x, gamma, beta, *given, eps=eps, momentum=momentum)
        if count < LONG_AGO:
            counts[_key(*new)] = count + 1, momentum
        return y, *new, saved

    def forward_eval(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        count, keep = state(mean, var)
        given = (mean, count), (var, np.asarray(keep, var.dtype))
        return found.forward_eval(x, gamma, beta, *given, eps=eps)

    def initial_state(channels: int, dtype: Any) -> Any:
        return np.full(channels, -0.0, dtype), np.full(channels, start_of_var, dtype)

    return SimpleNamespace(
        **{
            **vars(found),
            "forward_train": forward_train,
            "forward_eval": forward_eval,
            "initial_state": initial_state,
        }
    )

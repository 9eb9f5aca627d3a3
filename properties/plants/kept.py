"""Wrong batch norms that keep what they should not: answers, a buffer, their input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..model.contract import Array
from .layers import Functions


def answers_by_storage(functions: Functions) -> Functions:
    """Give what was answered before where x lies where one lay before.

    The array is kept with its answer, so that its memory is not another's later.
    """
    kept: dict[Any, Any] = {}

    def keeping(name: str) -> Callable[..., Any]:
        def wrong(x: Array, *args: Any, **options: Any) -> Any:
            key = name, x.__array_interface__["data"][0], x.shape, x.strides, x.dtype.str
            if key not in kept:
                kept[key] = x, functions[name](x, *args, **options)
            return kept[key][1]

        return wrong

    return {**functions, **{n: keeping(n) for n in ("forward_train", "forward_eval")}}


def one_buffer(functions: Functions) -> Functions:
    """Write every output of a shape into the same memory."""
    kept: dict[Any, Array] = {}

    def train(*args: Any, **options: Any) -> Any:
        y, *rest = functions["forward_train"](*args, **options)
        buffer = kept.setdefault((y.shape, y.dtype.str), np.empty_like(y))
        buffer[...] = y
        return buffer, *rest

    return {**functions, "forward_train": train}


def identity_at_the_start(functions: Functions) -> Functions:
    """Give x back in inference where all parameters are at their initial values."""

    def wrong(x: Array, gamma: Any, beta: Any, rm: Array, rv: Array, **options: Any) -> Any:
        y, saved = functions["forward_eval"](x, gamma, beta, rm, rv, **options)
        fresh = gamma is None or (np.all(gamma == 1) and not np.any(beta))
        fresh = fresh and not np.any(rm) and np.all(rv == 1)
        return (x.astype(y.dtype) if fresh else y), saved

    return {**functions, "forward_eval": wrong}

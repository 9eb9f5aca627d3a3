"""`bn` beside PyTorch and the textbook, as multiples of the time to copy what has to move.

Forward has to read x twice and to write y: three arrays, one and a half copies. Backward has to
read x and dy twice and to write dx: five arrays, two and a half copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import numpy as np

from ..model.contract import Array
from .timing import Table, interleaved, ratio, told

SHAPES = ((256, 1024), (65536, 64), (64, 64, 32, 32), (32, 256, 14, 14))
EPS, MOMENTUM = 1e-5, 0.9
Steps = Mapping[str, Callable[[], Any]]


def textbook_forward(x: Array, gamma: Array, beta: Array) -> tuple[Array, Any]:
    """Return y and what backward needs, in the dtype of x, as it is usually written."""
    axes = (0, *range(2, x.ndim))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    xc = x - x.mean(axis=axes, keepdims=True)
    rstd = 1 / np.sqrt((xc**2).mean(axis=axes, keepdims=True) + x.dtype.type(EPS))
    xhat = xc * rstd
    return gamma.reshape(shape) * xhat + beta.reshape(shape), (xhat, rstd, gamma, axes, shape)


def textbook_backward(dy: Array, saved: Any) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta likewise."""
    xhat, rstd, gamma, axes, shape = saved
    dbeta, dgamma = dy.sum(axis=axes), (dy * xhat).sum(axis=axes)
    n = dy.dtype.type(dy.size // dy.shape[1])
    inner = dy - dbeta.reshape(shape) / n - xhat * (dgamma.reshape(shape) / n)
    return gamma.reshape(shape) * rstd * inner, dgamma, dbeta


def _copies(x: Array, threads: int) -> Callable[[], Any]:
    """Return a copy of x by this many threads."""
    y = np.empty_like(x)
    if threads == 1:
        return lambda: np.copyto(y, x)
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(y, threads), np.array_split(x, threads), strict=True))
    return lambda: list(pool.map(lambda part: np.copyto(*part), parts))


def _arrays(shape: tuple[int, ...]) -> tuple[Array, ...]:
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape, dtype=np.float32) for _ in "xd")
    gamma, beta, mean, var = (np.ones(shape[1], np.float32) for _ in range(4))
    return x, dy, gamma, beta, mean, var


def _numpy(arrays: tuple[Array, ...]) -> dict[str, Steps]:
    import bn

    x, dy, *state = arrays

    def forward() -> Any:
        return bn.forward_train(x, *state, eps=EPS, momentum=MOMENTUM)

    saved, kept = forward()[3], textbook_forward(x, *state[:2])[1]
    return {
        "bn": {"forward": forward, "backward": lambda: bn.backward_train(dy, saved)},
        "textbook NumPy": {
            "forward": lambda: textbook_forward(x, *state[:2]),
            "backward": lambda: textbook_backward(dy, kept),
        },
    }


def _torch(arrays: tuple[Array, ...], threads: int) -> dict[str, Steps]:
    """Return PyTorch's steps, eager with autograd; nothing where it is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(threads)
    formats = {"PyTorch": torch.contiguous_format}
    if arrays[0].ndim == 4:
        formats["PyTorch channels_last"] = torch.channels_last
    return {name: _torch_steps(torch, arrays, layout) for name, layout in formats.items()}


def _torch_steps(torch: Any, arrays: tuple[Array, ...], layout: Any) -> Steps:
    x, dy = (torch.from_numpy(a).contiguous(memory_format=layout) for a in arrays[:2])
    gamma, beta, mean, var = (torch.from_numpy(a.copy()) for a in arrays[2:])
    leaves = [a.requires_grad_() for a in (x, gamma, beta)]

    def forward() -> Any:
        return torch.nn.functional.batch_norm(
            x, mean, var, gamma, beta, training=True, momentum=1 - MOMENTUM, eps=EPS
        )

    y = forward()
    return {
        "forward": forward,
        "backward": lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True),
    }


def multiples(rounds: int, quick: bool) -> Iterator[Table]:
    """Yield forward and backward at the four shapes, with one thread and with two."""
    for threads in (1, 2):
        table = Table(
            f"Time as a multiple of the copy of what must move, float32, {threads} thread"
            + ("" if threads == 1 else "s (bn and the textbook take one)"),
            ("shape", "layer", "forward", "backward", "both", "milliseconds"),
        )
        for shape in SHAPES[: 1 if quick else None]:
            with told(f"{shape}, {threads} threads"):
                table.rows.extend(_rows(shape, threads, rounds))
        yield table


def _rows(shape: tuple[int, ...], threads: int, rounds: int) -> Iterator[tuple[Any, ...]]:
    arrays = _arrays(shape)
    layers = {**_numpy(arrays), **_torch(arrays, threads)}
    runs = {"copy": _copies(arrays[0], threads)}
    runs |= {f"{name} {way}": run for name, steps in layers.items() for way, run in steps.items()}
    clock = time.process_time if threads == 1 else time.perf_counter
    times = interleaved(runs, rounds, clock, max(1, (1 << 21) // arrays[0].size))
    for name in layers:
        ahead, back = times[f"{name} forward"], times[f"{name} backward"]
        both = [a + b for a, b in zip(ahead, back, strict=True)]
        yield (
            "x".join(map(str, shape)),
            name,
            ratio(ahead, times["copy"]) / 1.5,
            ratio(back, times["copy"]) / 2.5,
            ratio(both, times["copy"]) / 4.0,
            1e3 * median(both),
        )

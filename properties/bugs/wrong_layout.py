"""Wrong memory: strides read as if they were others, ranks and axes that are not handled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..model.contract import Array
from ..plants.textbook import Functions, Pieces, Saved

Read = Callable[[Array, Array], Array]


def _backward_reads(x_as: Read, dy_as: Callable[[Array], Array] = lambda dy: dy) -> Pieces:
    """Return pieces whose backward reads x, and dy, in another memory order than they have."""

    def rewire(functions: Functions) -> Functions:
        def wrong(dy: Array, saved: Saved) -> Any:
            read = x_as(saved.given, dy)
            if read is not saved.given:
                back = functions["forward_train"](
                    read, saved.gamma, saved.gamma, None, None, eps=1.0, momentum=0.5
                )[3]
                saved = replace(saved, x=back.x)
            return functions["backward_train"](dy_as(dy), saved)

        return {**functions, "backward_train": wrong}

    return Pieces(rewire=rewire)


def _own(x: Array, dy: Array) -> Array:
    return x


def _laid_like_dy(x: Array, dy: Array) -> Array:
    """Return x's memory read in the order of dy's axes."""
    order = sorted(range(dy.ndim), key=lambda axis: -abs(dy.strides[axis]))
    back = np.argsort(order)
    return np.ravel(x, order="K").reshape([x.shape[axis] for axis in order]).transpose(back)


def _labelled_channels_last(x: Array, dy: Array) -> Array:
    """Return x's numbers in C order with the channels' name on the last axis."""
    if x.ndim == 2 or x.flags.c_contiguous:
        return x
    last = x.ravel().reshape(x.shape[0], *x.shape[2:], x.shape[1])
    return np.moveaxis(last, -1, 1)


def _as_contiguous(a: Array) -> Array:
    return np.ravel(a, order="K").reshape(a.shape)


def _refuses(condition: Callable[[Array], bool], text: str) -> Pieces:
    """Return pieces that raise for some x."""

    def rewire(functions: Functions) -> Functions:
        def wrong(x: Array, *args: Any, **options: Any) -> Any:
            if condition(x):
                raise RuntimeError(text)
            return functions["forward_train"](x, *args, **options)

        return {**functions, "forward_train": wrong}

    return Pieces(rewire=rewire)


def channels_last(moves: Callable[[Array], bool] = lambda x: True) -> Pieces:
    """Return pieces that take the channels on the last axis, where moves says so."""

    def inward(a: Array) -> Array:
        return np.moveaxis(a, -1, 1) if a.ndim > 2 and moves(a) else a

    def outward(a: Array) -> Array:
        return np.ascontiguousarray(np.moveaxis(a, 1, -1)) if a.ndim > 2 and moves(a) else a

    def around(function: Callable[..., Any], given: int, results: tuple[int, ...]) -> Any:
        def moved(*args: Any, **options: Any) -> Any:
            head = [inward(a) for a in args[:given]]
            found = function(*head, *args[given:], **options)
            if not isinstance(found, tuple):
                return outward(found)
            return tuple(outward(a) if i in results else a for i, a in enumerate(found))

        return moved

    def rewire(functions: Functions) -> Functions:
        def second(ddx: Array, ddgamma: Any, ddbeta: Any, dy: Array, saved: Any) -> Any:
            by_x, by_gamma, by_dy = functions["double_backward_train"](
                inward(ddx), ddgamma, ddbeta, inward(dy), saved
            )
            return outward(by_x), by_gamma, outward(by_dy)

        moving = ("forward_train", "backward_train", "forward_eval", "backward_eval", "jvp_train")
        moved = {name: around(functions[name], 1, (0,)) for name in moving}
        return {**functions, **moved, "double_backward_train": second}

    return Pieces(rewire=rewire)


def _two_dimensional(functions: Functions) -> Functions:
    def wrong(x: Array, *args: Any, **options: Any) -> Any:
        if x.ndim == 2:
            raise IndexError("tuple index out of range: transpose(0, 3, 1, 2)")
        return moved["forward_train"](x, *args, **options)

    moved = channels_last().rewire(functions)
    return {**moved, "forward_train": wrong}


def _no_gamma_in_half(functions: Functions) -> Functions:
    def wrong(x: Array, gamma: Any, beta: Any, rm: Any, *args: Any, **options: Any) -> Any:
        if x.dtype == np.float16 and gamma is None and rm is not None:
            raise TypeError("expected running_mean of dtype float16, got float32")
        return functions["forward_train"](x, gamma, beta, rm, *args, **options)

    return {**functions, "forward_train": wrong}


WRONG_LAYOUT: dict[str, Pieces] = {
    "backward_reads_x_in_the_layout_of_dy": _backward_reads(_laid_like_dy),
    "backward_labels_x_channels_last": _backward_reads(_labelled_channels_last),
    "backward_takes_dy_as_contiguous": _backward_reads(_own, _as_contiguous),
    "other_layouts_refused_in_rank_5": _refuses(
        lambda x: x.ndim == 5 and not x.flags.c_contiguous, "expected a contiguous input"
    ),
    "channels_last_refused_in_rank_2": Pieces(rewire=_two_dimensional),
    "channels_last_ignored_in_rank_5": channels_last(lambda x: x.ndim != 5),
    "half_without_gamma_refused": Pieces(rewire=_no_gamma_in_half),
}

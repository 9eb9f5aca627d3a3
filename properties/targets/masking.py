"""In which form a target takes a mask, in which ranks, and what it does with it: plain calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..model import contract, masks
from ..model.contract import Array, Misbehaved, Target

Plain = Callable[[int], tuple[Array, list[Array]]]  # x and its parameters, by rank


def with_mask(
    target: Target,
    by: str,
    plain: Plain,
    options: Mapping[str, float],
    refused: dict[str, str],
) -> Target:
    """Return the target with the form in which it takes a mask and the ranks in which it does.

    The forms of its argument `by` are tried in the order of `masks.FORMS`, unless it states one;
    the first that goes through in some rank counts. Lengths need a place besides the sample.
    """
    stated = target.conventions.mask
    if target.conventions.statistics != "per_channel":
        refused["mask"] = "masks are for statistics per channel"
        return target
    forms = [stated] if stated else [k for k, (name, _) in masks.FORMS.items() if name == by]
    for form in forms:
        told = replace(target.conventions, mask=form)
        ranks = [r for r in told.mask_ndim or told.ndim if r > 2 or form != "lengths"]
        tried = replace(target, conventions=told)
        found = tuple(r for r in ranks if _goes_through(tried, r, plain, options, refused))
        if found:
            refused.pop("mask", None)
            return replace(tried, conventions=replace(told, mask_ndim=found))
    return replace(target, conventions=replace(target.conventions, mask=""))


def _goes_through(
    target: Target, rank: int, plain: Plain, options: Mapping[str, float], refused: dict[str, str]
) -> bool:
    try:
        _trained(target, rank, plain, options)
    except contract.Died:
        return True  # a crash is no refusal: the invariants show it, with its input
    except Misbehaved as error:
        refused.setdefault("mask", str(error))
        return False
    return True


def _trained(
    target: Target, rank: int, plain: Plain, options: Mapping[str, float], *, none: bool = False
) -> tuple[Array, list[Array], Any]:
    """Return x, its parameters and what is saved of a call that hides the end of the last sample.

    With none everything is hidden.
    """
    x, state = plain(rank)
    mask = np.ones((x.shape[0], *x.shape[2:]), dtype=bool)
    masks.hide_the_end(mask)
    if none:
        mask[...] = False
    more = masks.given(target.conventions, mask, x)
    saved = contract.train(target, x, *state, **options, more=more).saved  # type: ignore[arg-type]
    return x, state, saved


def capabilities(
    target: Target,
    plain: Plain,
    options: Mapping[str, float],
    attempt: Callable[[Callable[[], Any], str], bool],
) -> Iterator[str]:
    """Yield what a target that takes a mask does with it; attempt notes what is refused."""
    if not target.conventions.mask_ndim:
        return
    yield "mask"
    rank = max(target.conventions.mask_ndim)

    def back() -> Any:
        x, state, saved = _trained(target, rank, plain, options)
        return contract.backward(target, x, saved, state[0])

    if "backward_train" in target.offers and attempt(back, "masked gradients"):
        yield "masked gradients"
    if attempt(lambda: _trained(target, rank, plain, options, none=True), "empty mask"):
        yield "empty mask"

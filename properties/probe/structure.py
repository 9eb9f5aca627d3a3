"""What one statistic belongs to: a channel or an activation, and on which axis channels are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..model import expected
from ..model.contract import Array, Conventions, Misbehaved
from ..model.verdict import Claim
from .answers import FOUND, REFUSED, Answer, asked, chosen, merged, misfit
from .subject import FREE_EPS, FREE_SCALE, Probing, case_of, train

_CANDIDATES: dict[str, dict[str, Any]] = {
    "per channel, axis 1": {"statistics": "per_channel", "channel_axis": 1},
    "per channel, axis -1": {"statistics": "per_channel", "channel_axis": -1},
    "per activation": {"statistics": "per_activation", "channel_axis": 1},
}


def _batch(p: Probing, conventions: Conventions, rank: int) -> Any:
    """Return a batch in which no two axes have statistics alike, at a scale free of eps."""
    shape = (4, 3, 2, 5, 2)[:rank]
    n = int(np.prod(shape)) // conventions.columns(shape)
    x = p.random(101).integers(-8, 9, size=shape) + np.arange(shape[1]).reshape(
        1, -1, *(1,) * (rank - 2)
    )
    case = case_of(p, p.dtype, np.zeros((n, conventions.columns(shape))), eps=FREE_EPS[p.dtype])
    return replace(
        case,
        conventions=conventions,
        x=(x * FREE_SCALE[p.dtype] / 16).astype(case.x.dtype),
    )


def _at(p: Probing, rank: int) -> Answer:
    """Hold y of one rank against each reading of the axes; what raises is not that."""
    evidence: dict[str, float] = {}
    errors: list[Misbehaved] = []
    for name, changes in _CANDIDATES.items():
        conventions = replace(p.conventions, **changes)
        case = _batch(p, conventions, rank)
        tried = replace(p, target=replace(p.target, conventions=conventions))
        try:
            y = train(tried, case).y
        except Misbehaved as error:
            errors.append(error)
            evidence[name] = np.inf
            continue
        evidence[name] = misfit(_claims(case, y))
    if len(errors) == len(_CANDIDATES):
        raise errors[0]
    return _by_sample(p, rank, chosen("statistics", evidence))


def _claims(case: Any, y: Array) -> Iterator[Claim]:
    want = expected.output(case)
    yield Claim("y", expected.rows(case, y), want.value, want.radius)


_OTHERS: dict[str, Callable[[Array], tuple[int, ...]]] = {
    "per sample and channel": lambda x: tuple(range(2, x.ndim)),
    "per sample": lambda x: tuple(range(1, x.ndim)),
    "over all values": lambda x: tuple(range(x.ndim)),
}


def _by_sample(p: Probing, rank: int, found: Answer) -> Answer:
    """Try the statistics of other normalizations where none of a batch norm fits."""
    if found.verdict != "fits none":
        return found
    conventions = replace(p.conventions, **_CANDIDATES["per channel, axis 1"])
    case = _batch(p, conventions, rank)
    y = train(replace(p, target=replace(p.target, conventions=conventions)), case).y
    x = case.x.astype(np.float64)
    u, evidence = expected.precision_of(case).u, dict(found.evidence)
    for name, axes in _OTHERS.items():
        with np.errstate(all="ignore"):
            want = (x - x.mean(axes(x), keepdims=True)) / x.std(axes(x), keepdims=True)
            radius = (2 * x.size + 8) * u * (1 + np.abs(want))
        evidence[name] = misfit([Claim("y", y, want, radius)])
    return chosen("statistics", evidence)


def statistics(p: Probing) -> list[Answer]:
    """Return what a statistic belongs to and the channel axis, by rank above 2."""
    question = "statistics"
    ranks = [rank for rank in p.conventions.ndim if rank > 2]
    if not ranks:
        why = "it takes rank 2 alone, where all readings agree"
        return [Answer("statistics", REFUSED, why), Answer("channel axis", REFUSED, why)]

    def at(rank: int) -> Callable[[], Answer]:
        return lambda: _at(p, rank)

    found = merged(question, {f"rank {rank}": asked(question, at(rank)) for rank in ranks})
    if found.verdict != FOUND:
        return [found, replace(found, question="channel axis")]
    kind, _, axis = found.value.partition(", axis ")
    axis_told = axis or "none: each activation has its own"
    return [replace(found, value=kind), replace(found, question="channel axis", value=axis_told)]

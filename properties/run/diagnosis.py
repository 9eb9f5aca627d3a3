"""What is wrong with a target, found by trying known errors on fresh, well-conditioned batches.

A cause is one error, or two at once, that reproduces every result of the target on every batch
and differs from the right one where the target does. If none does, nothing is said.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..engine.exercise import Result
from ..model import contract
from ..model.cases import Case, Recipe, build
from ..model.contract import Array, Misbehaved, Target
from ..model.verdict import Claim, judge
from ..plants.textbook import Pieces, implementation
from .causes import SENTENCES, of_one_value, pairs, singles

BATCHES = 20
_ULPS = {"float64": 2.0**-40, "float32": 2.0**-13, "float16": 2.0**-5, "bfloat16": 2.0**-3}

Results = dict[str, Array]


@dataclass(frozen=True)
class Cause:
    """An error, or several at once, as sentences, and the wrong batch norm that has it."""

    names: tuple[str, ...]
    pieces: Pieces

    @property
    def sentence(self) -> str:
        return "; and ".join(SENTENCES[name] for name in self.names)


def causes(target: Target) -> list[Cause]:
    """Return the causes that reproduce the target on every batch; none where it cannot be told."""
    batches = _batches(target)
    if not batches:
        return []
    try:
        got = [results(target, case) for case in batches]
    except Misbehaved:
        return []
    right = _made(Pieces(), target)
    wanted = [results(right, case) for case in batches]
    dtype = batches[0].recipe.dtype
    wrong = _apart(got, wanted, dtype)
    if not wrong:
        return _of_one_value(target)
    touching, found = set(), []
    for name, pieces in singles().items():
        theirs = _results(pieces, target, batches)
        if theirs is None:
            continue
        apart, off = _apart(got, theirs, dtype), _apart(theirs, wanted, dtype)
        if not apart and off:
            found.append(Cause((name,), pieces))
        if off & wrong - apart:  # it explains some of what is wrong
            touching.add(name)
    if found:
        return _of_one_kind(found)
    for names, pieces in pairs(touching):
        first = _results(pieces, target, batches[:1])
        if first is None or _apart(got[:1], first, dtype):
            continue
        theirs = _results(pieces, target, batches)
        if theirs is not None and not _apart(got, theirs, dtype):
            found.append(Cause(names, pieces))
    return _of_one_kind(found)


def _of_one_value(target: Target) -> list[Cause]:
    """Return the causes that show on batches of one value per channel alone."""
    if "one value" not in target.offers:
        return []
    batches = [
        build(replace(case.recipe, n=1, spatial=(1,) * (case.x.ndim - 2)), case.conventions)
        for case in _batches(target)
    ]
    try:
        got = [results(target, case) for case in batches]
    except Misbehaved:
        return []
    dtype = batches[0].recipe.dtype
    wanted = _results(Pieces(), target, batches)
    found = []
    for name, pieces in of_one_value().items():
        theirs = _results(pieces, target, batches)
        if theirs and wanted and _apart(theirs, wanted, dtype) and not _apart(got, theirs, dtype):
            found.append(Cause((name,), pieces))
    return found


def _of_one_kind(found: list[Cause]) -> list[Cause]:
    """Return at most three, each sentence once."""
    return list({cause.sentence: cause for cause in found}.values())[:3]


def _made(pieces: Pieces, target: Target) -> Target:
    made = implementation(pieces, target.conventions, "cause", exact=True)
    return replace(made, offers=target.offers)


def _results(pieces: Pieces, target: Target, batches: Iterable[Case]) -> list[Results] | None:
    made = _made(pieces, target)
    try:
        return [results(made, case) for case in batches]
    except (Misbehaved, ValueError, IndexError, TypeError):
        return None


def _apart(some: list[Results], others: list[Results], dtype: str) -> set[str]:
    """Return the quantities in which two differ on some batch, by more than rounding."""
    found = set()
    for one, two in zip(some, others, strict=True):
        found |= one.keys() ^ two.keys()
        for name in one.keys() & two.keys() - found:
            a, b = one[name], two[name]
            if a.shape != b.shape:
                found.add(name)
                continue
            with np.errstate(all="ignore"):
                scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
                far = np.abs(a - b) > _ULPS[dtype] * max(scale, 1e-3)
            if (far & (a != b)).any() or (np.isnan(a) != np.isnan(b)).any():
                found.add(name)
    return found


def _batches(target: Target) -> list[Case]:
    """Return fresh well-conditioned batches in the widest dtype, over the ranks that it takes."""
    c = target.conventions
    dtypes = [name for name in ("float64", *c.dtypes) if name in c.dtypes and name in target.offers]
    ranks = [rank for rank in c.ndim if f"rank {rank}" in target.offers]
    if not dtypes or not ranks:
        return []
    regimes = ("unit_scale", "variance_near_eps", "offset", "outlier")
    found = []
    for k in range(BATCHES):
        spatial = (2, 3, 2)[: ranks[k % len(ranks)] - 2]
        recipe = Recipe(
            regime=regimes[k % 4], n=3 + k % 7, channels=2 + k % 2, spatial=spatial,
            dtype=dtypes[0], bits=6, level=100 + 20 * k, seed=1000 + k, gamma="ordinary",
            dy="generic", eps=(0.5, 0.1, 0.02)[k % 3], momentum=(0.3, 0.75, 0.9)[k % 3],
        )  # fmt: skip
        found.append(build(recipe, c))
    return found


def results(target: Target, case: Case) -> Results:
    """Return every result that the target offers on this batch, as float64."""
    x, gamma, beta, offers = case.x, case.gamma, case.beta, target.offers
    state = (case.running_mean, case.running_var)
    trained = contract.train(target, x, gamma, beta, *state, eps=case.eps, momentum=case.momentum)
    found: dict[str, Any] = {"y": trained.y}
    if "running statistics" in offers and state[0] is not None:
        found |= {"running_mean": trained.running_mean, "running_var": trained.running_var}
    if "backward_train" in offers:
        back = contract.backward(target, case.dy, trained.saved, gamma)
        found |= {"dx": back.dx, "dgamma": back.dgamma, "dbeta": back.dbeta}
    if "forward_eval" in offers and state[0] is not None and state[1] is not None:
        found["y in inference"], saved = contract.evaluate(
            target, x, gamma, beta, state[0], state[1], eps=case.eps
        )
        if "backward_eval" in offers:
            back = contract.backward(target, case.dy, saved, gamma, mode="eval")
            found |= {f"{k} in inference": getattr(back, k) for k in ("dx", "dgamma", "dbeta")}
    for name, more in _MORE.items():
        if name in offers and gamma is not None and state[0] is not None and case.x.size:
            with contextlib.suppress(Misbehaved):  # it lacks then what others have
                values = list(more(target, case, trained.saved))
                found |= {f"{name} {k}": value for k, value in enumerate(values)}
    return {k: np.asarray(v, np.float64) for k, v in found.items() if v is not None}


def _state(case: Case) -> Array:
    assert case.gamma is not None
    return case.gamma


def _width(case: Case) -> int:
    return _state(case).shape[0]


def _second(target: Target, case: Case, saved: Any) -> Iterable[Any]:
    gamma = case.gamma
    assert gamma is not None
    if "backward_train" in target.offers:
        contract.backward(target, case.dy, saved, gamma)
    return contract.double_backward(target, case.like_x(5), gamma * 2, gamma * 3, case.dy, saved)


def _tangent(target: Target, case: Case, saved: Any) -> Iterable[Any]:
    gamma = case.gamma
    assert gamma is not None
    return (contract.forward_mode(target, case.like_x(5), gamma * 2, gamma * 3, saved),)


def _shards(case: Case) -> tuple[Array, Array, Array]:
    random, c = case.random(8), _width(case)
    t = _state(case).dtype
    means, variances = random.normal(size=(3, c)), random.uniform(0.5, 2.0, size=(3, c))
    return np.array([2, 5, 3]), means.astype(t), variances.astype(t)


def _folded(target: Target, case: Case, saved: Any) -> Iterable[Any]:
    """Fold into a layer with and without bias, into a transposed one, and into one of groups."""
    c, t = _width(case), _state(case).dtype
    random = case.random(9)
    bias = random.normal(size=c).astype(t)
    state = (case.gamma, case.beta, case.running_mean, case.running_var)
    layers: list[tuple[tuple[int, ...], Any, bool, int]] = [
        ((c, 2, 3), bias, False, 1),
        ((c, 2, 3), None, False, 1),
        ((4, c, 3), bias, True, 1),
    ]
    if c % 2 == 0:
        layers += [((c, 2, 3), bias, False, 2), ((4, c // 2, 3), bias, True, 2)]
    for shape, shift, transposed, groups in layers:
        weight = random.normal(size=shape).astype(t)
        try:
            yield from contract.fold(
                target, weight, shift, *state, eps=case.eps, transposed=transposed, groups=groups
            )
        except Misbehaved:
            yield from (np.inf, np.inf)  # no other number is taken for it


_MORE: dict[str, Callable[[Target, Case, Any], Iterable[Any]]] = {
    "double_backward_train": _second,
    "jvp_train": _tangent,
    "merge_statistics": lambda t, case, saved: contract.merge(
        t, "merge_statistics", *_shards(case)
    ),
    "merge_gradients": lambda t, case, saved: contract.merge(t, "merge_gradients", *_shards(case)),
    "fold": _folded,
    "initial_state": lambda t, case, saved: contract.initial_state(
        t, _width(case), _state(case).dtype
    ),
}


def explains(cause: Cause, target: Target, result: Result) -> bool:
    """Return whether a failure is a consequence: the target does there what the cause does.

    It deviates alike in the claims, or all its results on the case are the cause's.
    """
    case, invariant = result.case, result.invariant
    if case is None or result.failure is None:
        return False
    made = _made(cause.pieces, target)
    try:
        one, two = results(target, case), results(made, case)
        if not _apart([one], [two], case.recipe.dtype):
            return True
    except Misbehaved:
        return False
    if invariant.inputs == "sequence":
        return False
    try:
        ours = judge(invariant.check(target, case)).claims
        theirs = judge(invariant.check(made, case))
    except Misbehaved:
        return False
    same = [
        replace(b, got=_deviation(b), want=_deviation(a), bits=False)
        for b, a in zip(theirs.claims, ours, strict=False)
    ]
    return theirs.failure is not None and judge(same).failure is None


def _deviation(claim: Claim) -> Array:
    """Return got - want, zero where both are the same infinity."""
    got, want = np.asarray(claim.got, np.float64), np.asarray(claim.want, np.float64)
    with np.errstate(all="ignore"):
        return np.where(got == want, 0.0, got - want)

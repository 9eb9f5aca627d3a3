"""The fresh batches that a diagnosis looks at, by kind, and every result of a target on one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..engine.strategies import LARGE, PLACES, offered_dtypes, offered_ranks
from ..invariants.masks import masked_dy, masked_training
from ..invariants.ranks import trained_on_ranks
from ..model import contract, masks
from ..model.cases import Case, Recipe, build
from ..model.contract import Array, Died, Misbehaved, Raised, Target
from ..model.expected import rows
from ..model.layouts import arrange
from ..model.ranks import ranked

ORDINARY = 20
Results = dict[str, Array]


def widest(target: Target) -> str:
    """Return the dtype in which errors of formulas stand out most."""
    dtypes = offered_dtypes(target.conventions, target.offers)
    return "float64" if "float64" in dtypes else dtypes[0]


def batch(target: Target, k: int, **changes: Any) -> Case:
    """Return the k-th well-conditioned batch of a target, some of its recipe put otherwise."""
    ranks = offered_ranks(target.conventions, target.offers)
    recipe = Recipe(
        regime=("unit_scale", "variance_near_eps", "offset", "outlier")[k % 4],
        n=3 + k % 7,
        channels=2 + k % 2,
        spatial=(2, 3, 2)[: ranks[k % len(ranks)] - 2],
        dtype=widest(target),
        bits=6,
        level=100 + 20 * k,
        seed=1000 + k,
        gamma="one" if "only no affine" in target.offers else "ordinary",
        dy="generic",
        eps=(0.5, 0.1, 0.02)[k % 3],
        momentum=(0.3, 0.75, 0.9)[k % 3],
        affine="only no affine" not in target.offers,
    )
    return build(replace(recipe, **changes), target.conventions)


def _one_value(target: Target, k: int) -> Case:
    case = batch(target, k)
    return batch(target, k, n=1, spatial=(1,) * (case.x.ndim - 2))


def _narrow(target: Target) -> list[Case]:
    """Return batches in the other dtypes, half of them with a running variance above a half's."""
    found = []
    for dtype in offered_dtypes(target.conventions, target.offers):
        if dtype != widest(target):
            for k in range(4):
                case = batch(target, k, dtype=dtype, n=20, eps=1e-5, regime="unit_scale")
                if k % 2 and case.running_var is not None and case.beta is not None:
                    var = (case.running_var * 2.0**17).astype(case.running_var.dtype)
                    case = replace(case, running_var=var, beta=0 * case.beta)
                found.append(case)
    return found


_ARRANGED = (  # of x and of dy, as frameworks make them
    ("channels last", "in C order"),
    ("in C order", "channels last"),
    ("in Fortran order", "in Fortran order"),
    ("strided", "reversed"),
    ("inside a larger buffer", "in C order"),
    ("in C order", "inside a larger buffer"),
)


def _layouts(target: Target, dtype: str) -> list[Case]:
    found = []
    n = 64 if dtype in ("float16", "bfloat16") else 7
    for rank in offered_ranks(target.conventions, target.offers):
        for k, (of_x, of_dy) in enumerate(_ARRANGED):
            case = batch(
                target, k, regime="unit_scale", dy="ones_and_generic",
                spatial=(2, 3, 4)[: rank - 2], n=n, dtype=dtype,
            )  # fmt: skip
            found.append(replace(case, x=arrange(case.x, of_x), dy=arrange(case.dy, of_dy)))
    return found


def _narrow_layouts(target: Target) -> list[Case]:
    last = offered_dtypes(target.conventions, target.offers)[-1]
    return [] if last == widest(target) else _layouts(target, last)


def _many_places(target: Target) -> list[Case]:
    ranks = offered_ranks(target.conventions, target.offers)
    sizes = [spatial for rank in ranks for spatial in PLACES.get(rank, ())]
    return [batch(target, k, spatial=spatial) for k, spatial in enumerate(sizes)]


def _large(target: Target) -> list[Case]:
    first = offered_ranks(target.conventions, target.offers)[0]
    changes = {"regime": "balanced", "channels": 2, "spatial": (1,) * (first - 2)}
    return [batch(target, k, n=n, **changes) for k, n in enumerate(LARGE)]


def _masked(target: Target, k: int) -> Case:
    """Return a batch whose mask hides ends of sequences, places or samples."""
    ranks = target.conventions.mask_ndim
    spatial = (3, 3, 2)[: ranks[k % len(ranks)] - 2]
    return batch(target, k, spatial=spatial, option=k % 3, n=5 + k)


def _shared(target: Target, k: int) -> Case:
    """Return a batch whose parameters are the running statistics, the very arrays."""
    case = batch(target, k)
    return replace(case, gamma=case.running_var, beta=case.running_mean)


# kind: what a target must offer for it, and its batches; the first is judged before the others
KINDS: dict[str, tuple[str, Callable[[Target], list[Case]]]] = {
    "ordinary": ("", lambda t: [batch(t, k) for k in range(ORDINARY)]),
    "without running statistics": (
        "no running statistics",
        lambda t: [batch(t, k, tracked=False) for k in range(4)],
    ),
    "without gamma and beta": (
        "no affine",
        lambda t: [
            batch(t, k, affine=False, dtype=dtype)
            for k in range(4)
            for dtype in offered_dtypes(t.conventions, t.offers)
        ],
    ),
    "gamma zero": ("", lambda t: [batch(t, k, gamma="zero") for k in range(4)]),
    "one value per channel": ("one value", lambda t: [_one_value(t, k) for k in range(8)]),
    "narrow": ("", _narrow),
    "layouts": ("layouts", lambda t: _layouts(t, widest(t))),
    "narrow layouts": ("layouts", _narrow_layouts),
    "many channels": (
        "",
        lambda t: [
            batch(t, k, channels=c) for k, c in enumerate((17, 18, 33, 65, 257, 16, 32, 48))
        ],
    ),
    "many places": ("", _many_places),
    "large": ("", _large),
    "layers": ("new_layer", lambda t: [batch(t, k) for k in range(4)]),
    "masked": ("mask", lambda t: [_masked(t, k) for k in range(8)]),
    "on ranks": (
        "sync_forward_train",
        lambda t: [batch(t, k, option=k, n=3 + k % 9) for k in range(16)],
    ),
    "no value": ("empty batch", lambda t: [batch(t, k, n=0) for k in range(4)]),
    "shared": ("running statistics", lambda t: [_shared(t, k) for k in range(4)]),
}


def batches(target: Target, kind: str) -> list[Case]:
    """Return the batches of a kind that a target takes; none where it takes no such."""
    needed, make = KINDS[kind]
    takes = offered_dtypes(target.conventions, target.offers) and offered_ranks(
        target.conventions, target.offers
    )
    if not takes or (needed and needed not in target.offers):
        return []
    if kind in ("gamma zero", "shared") and "only no affine" in target.offers:
        return []
    return make(target)


@contextmanager
def _noted(found: dict[str, Any], name: str) -> Iterator[None]:
    """Note, instead of a result, that a function raised or returned what is no result."""
    try:
        yield
    except Died:
        raise
    except Misbehaved:
        found[f"{name} fails"] = 1.0


def results(target: Target, case: Case, kind: str = "ordinary", optional: bool = True) -> Results:
    """Return every result that the target offers on this batch, as float64.

    Without `optional`, those of the functions in `_MORE` are left out where the layer has its own.

    Raises:
        Died: the target's process died; nothing is known then.
    """
    if kind == "layers":
        return _life(target, case)
    gamma, offers = case.gamma, target.offers
    state = (case.running_mean, case.running_var)
    kept = kind in ("layouts", "narrow layouts", "shared")
    found: dict[str, Any] = {}
    saved = None
    if kind == "masked":
        return _masked_results(target, case)
    if kind == "on ranks":
        return _results_on_ranks(target, case)
    if "forward_train" not in offers:
        return _more_results(target, case, None)
    with _noted(found, "forward_train"):
        trained = contract.train(
            target,
            case.x,
            gamma,
            case.beta,
            *state,
            eps=case.eps,
            momentum=case.momentum,
            keep_layout=kept,
        )
        found["y"], saved = trained.y, trained.saved
        if "running statistics" in offers and state[0] is not None:
            found |= {"running_mean": trained.running_mean, "running_var": trained.running_var}
    if "backward_train" in offers and "y" in found:
        with _noted(found, "backward_train"):
            back = contract.backward(target, case.dy, saved, gamma, keep_layout=kept)
            found |= {"dx": back.dx, "dgamma": back.dgamma, "dbeta": back.dbeta}
    if "forward_eval" in offers and state[0] is not None and state[1] is not None:
        if "backward_eval" in offers and kind == "ordinary":  # what it must not remember
            with _noted(found, "forward_train"):
                contract.train(
                    target, case.another(3).x, gamma, case.beta, *state,
                    eps=case.eps, momentum=case.momentum,
                )  # fmt: skip
        with _noted(found, "forward_eval"):
            found["y in inference"], held = contract.evaluate(
                target, case.x, gamma, case.beta, state[0], state[1], eps=case.eps, keep_layout=kept
            )
            if "backward_eval" in offers:
                with _noted(found, "backward_eval"):
                    back = contract.backward(
                        target, case.dy, held, gamma, mode="eval", keep_layout=kept
                    )
                    found |= {
                        f"{k} in inference": getattr(back, k) for k in ("dx", "dgamma", "dbeta")
                    }
    if optional and kind in ("ordinary", "without running statistics", "narrow") and "y" in found:
        found |= _more_results(target, case, saved)
    return {k: np.asarray(v, np.float64) for k, v in found.items() if v is not None}


def _more_results(target: Target, case: Case, saved: Any) -> Results:
    """Return the results of the functions that are optional."""
    found: dict[str, Any] = {}
    for name, more in _MORE.items():
        if name in target.offers and case.gamma is not None:
            with _noted(found, name):
                values = list(more(target, case, saved))
                found |= {f"{name} {k}": value for k, value in enumerate(values)}
    return {k: np.asarray(v, np.float64) for k, v in found.items() if v is not None}


def _results_on_ranks(target: Target, case: Case) -> Results:
    """Return the results on several ranks, those of x's shape put together."""
    held = ranked(case)
    found: dict[str, Any] = {}
    with _noted(found, "sync_forward_train"):
        result = trained_on_ranks(target, held)
        found |= {"y": result.y, "running_mean": result.running_mean}
        found |= {"running_var": result.running_var}
        if "sync_backward_train" in target.offers:
            with _noted(found, "sync_backward_train"):
                dys = held.parts(held.whole.dy)
                back = contract.sync_backward(target, dys, result.saved, case.gamma)
                found |= {"dx": back.dx, "dgamma": back.dgamma, "dbeta": back.dbeta}
    return {k: np.asarray(v, np.float64) for k, v in found.items() if v is not None}


def _masked_results(target: Target, case: Case) -> Results:
    """Return the results with a mask, those in x's shape at the places that it keeps."""
    held = masks.masked(case)
    assert held is not None
    found: dict[str, Any] = {}
    with _noted(found, "forward_train"):
        result = masked_training(target, held)
        found["y"] = rows(held.case, result.y)[held.kept]
        if "running statistics" in target.offers:
            found |= {"running_mean": result.running_mean, "running_var": result.running_var}
        if "masked gradients" in target.offers:
            with _noted(found, "backward_train"):
                dy = masked_dy(held, result)
                back = contract.backward(target, dy, result.saved, case.gamma)
                dx = rows(held.case, back.dx)
                found |= {"dx": dx[held.kept], "dx at hidden places": dx[~held.kept]}
                found |= {"dgamma": back.dgamma, "dbeta": back.dbeta}
    return {k: np.asarray(v, np.float64) for k, v in found.items() if v is not None}


def _life(target: Target, case: Case) -> Results:
    """Return what a layer gives, and its state after each step of a life."""
    found: dict[str, Any] = {}
    counts = "cumulative average" in target.offers
    trains = "running statistics" in target.offers

    def note(step: str, layer: Any) -> None:
        state = contract.layer_state(target, layer, case.running_mean if trains else None)
        found.update({f"running_mean {step}": state.mean, f"running_var {step}": state.var})
        found.update({f"count {step}": state.count} if counts else {})

    arrays = case.gamma, case.beta, case.running_mean, case.running_var
    with _noted(found, "layer"):
        layer = contract.new_layer(target, *arrays, eps=case.eps, momentum=case.momentum)
        found["y"] = contract.run_layer(target, case.x, layer, True, False)
        note("after training", layer)
        if "backward_train" in target.offers:
            found["dx"] = contract.go_back(target, case.dy, layer, case.gamma).dx
            note("after backward", layer)
        if "forward_eval" in target.offers and trains:
            found["y in inference"] = contract.run_layer(target, case.x, layer, False, False)
            note("after inference", layer)
        for how in contract.COPIES:
            try:
                other = contract.copy_layer(target, layer, how)
            except Raised:
                continue
            contract.run_layer(target, 2 * case.x, other, True, False)
            note(f"of a copy by {how}", other)
            note(f"beside a copy by {how}", layer)
    return {k: np.asarray(v, np.float64) for k, v in found.items() if v is not None}


def _width(case: Case) -> int:
    assert case.gamma is not None
    return case.gamma.shape[0]


def _state_type(case: Case) -> Any:
    assert case.gamma is not None
    return case.gamma.dtype


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


def _merged(name: str) -> Callable[[Target, Case, Any], Iterable[Any]]:
    """Merge three shards of several values, and two of which one has a single value."""

    def merge(target: Target, case: Case, saved: Any) -> Iterable[Any]:
        random, c, t = case.random(8), _width(case), _state_type(case)
        for counts in ([2, 5, 3], [1, 4]):
            k = len(counts)
            first, second = random.normal(size=(k, c)), random.uniform(0.5, 2.0, size=(k, c))
            shards = np.array(counts), first.astype(t), second.astype(t)
            try:
                yield from contract.merge(target, name, *shards)
            except Died:
                raise
            except Misbehaved:
                yield np.inf  # no number is taken for it

    return merge


def _folded(target: Target, case: Case, saved: Any) -> Iterable[Any]:
    """Fold into a layer with and without bias, into a transposed one, and into one of groups."""
    if case.running_mean is None:
        return
    c, t = _width(case), _state_type(case)
    random = case.random(9)
    bias = random.normal(size=c).astype(t)
    state = (case.gamma, case.beta, case.running_mean, case.running_var)
    layers: list[tuple[tuple[int, ...], Any, bool, int]] = [
        ((c, 2, 3), bias, False, 1),
        ((c, 2, 3), None, False, 1),
        ((4, c, 3), bias, True, 1),
        ((c, c, 3), bias, True, 1),
    ]
    if c % 2 == 0:
        layers += [((c, 2, 3), bias, False, 2), ((4, c // 2, 3), bias, True, 2)]
    for shape, shift, transposed, groups in layers:
        weight = random.normal(size=shape).astype(t)
        try:
            yield from contract.fold(
                target, weight, shift, *state, eps=case.eps, transposed=transposed, groups=groups
            )
        except Died:
            raise
        except Misbehaved:
            yield from (np.inf, np.inf)  # no number is taken for it


_MORE: dict[str, Callable[[Target, Case, Any], Iterable[Any]]] = {
    "double_backward_train": _second,
    "jvp_train": _tangent,
    "merge_statistics": _merged("merge_statistics"),
    "merge_gradients": _merged("merge_gradients"),
    "fold": _folded,
    "initial_state": lambda t, case, saved: contract.initial_state(
        t, _width(case), _state_type(case)
    ),
}

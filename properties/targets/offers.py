"""What a target offers and which conventions it follows, found out from a few plain calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from reference.float64 import reference_train

from ..model import contract
from ..model.cases import dtype_of, state_dtype
from ..model.contract import (
    DTYPES,
    RANKS,
    Array,
    Conventions,
    Died,
    Misbehaved,
    Raised,
    Target,
    TargetError,
    Trained,
    stated_conventions,
    told_by_adapter,
)
from . import masking

_SHAPE = (4, 3, 2, 5, 2)
_EPS, _MOMENTUM = 0.5, 0.25


def probed(
    spec: str, functions: Mapping[str, Callable[..., Any]], stated: Mapping[str, Any]
) -> Target:
    """Return the target that these functions make, with its conventions and what it offers."""
    stated, told = told_by_adapter(stated)
    functions = on_one_rank(functions)
    how = told.get("eps", "")
    remarks = [told["remark"]] if "remark" in told else []
    known = stated_conventions(stated, spec)
    if "bfloat16" in known.get("dtypes", ()) and "bfloat16" not in _installed_dtypes():
        raise TargetError(
            f"CONVENTIONS['dtypes'] of target={spec}: bfloat16 needs ml_dtypes; "
            "try: pip install ml_dtypes"
        )
    tried = [n for n in _installed_dtypes() if "dtypes" not in told or n not in _HALVES]
    conventions = Conventions(**{"dtypes": tuple(tried), **known})
    target = Target(spec, functions, conventions, style=told.get("style", ""))
    if "forward_train" not in functions:
        return _alone(target, "dtypes" in known)
    first = _first_call(target, "dtypes" in known)
    refused: dict[str, str] = {}
    target = _axes(target, first, known)
    ranks = _ranks(target, first, refused, remarks, "ndim" in known)
    if ranks == [2] and "channel_axis" not in known:
        target = replace(target, conventions=replace(target.conventions, channel_axis=1))
    dtypes = _dtypes(target, first, refused, "dtypes" in known)
    conventions = replace(target.conventions, ndim=tuple(ranks), dtypes=tuple(dtypes))
    target = replace(target, conventions=conventions)
    offers = {*dtypes, *(f"rank {rank}" for rank in ranks), "forward_train"}
    offers |= {"few shapes"} if "compiled" in told else set()
    broken: dict[str, str] = {}
    crashed: set[str] = set()
    offers |= set(_capabilities(target, dtypes[0], first[1], refused, broken, crashed))
    target = replace(target, refused=refused, broken=broken, crashed=frozenset(crashed))
    averages = _averages(target, dtypes, first[1])
    if averages is None:
        refused["running statistics"] = "they come back as they came, and nothing reads them"
    else:
        offers |= {"running statistics"}
    if "average" in told:
        refused["passed state"] = "a layer that counts its batches keeps what no call is passed"
        offers |= {"cumulative average"}
    else:
        offers |= {"passed state"}
    if "layouts" in told:
        refused["layouts"] = "not exercised: the adapter copies"
    elif conventions.channel_axis == -1 and 2 not in ranks:
        refused["layouts"] = "not exercised: moving the channels to the last axis copies"
    else:
        offers |= {"layouts"}
    if "layouts" in refused:
        remarks.append(f"layouts {refused['layouts']}")
    target = replace(target, offers=frozenset(offers), remarks=tuple(remarks))
    if known.get("mask", told.get("masked_by")):
        target = _masks(target, told.get("masked_by", ""), dtypes[0], refused, broken)
        conventions = target.conventions
    target = _on_ranks(target, dtypes[0], first[1])
    conventions = target.conventions
    found: dict[str, Any] = averages or {}
    if "fixed_momentum" in told:
        found.pop("fixed_momentum", None)
    if how == "fixed":
        found["eps"] = _fixed_eps(target, dtypes, first[1])
    elif not how and conventions.eps is None:
        found["eps"] = _written_eps(target, dtypes, first[1])
    if found.get("eps", conventions.eps) is None:
        target = replace(target, offers=target.offers | {"eps"})
    else:
        refused["eps"] = "it is fixed"
    if any(_promotes(target, name, first[1]) for name in dtypes if name in _HALVES):
        found["halves"] = "own"
    if "float32" in dtypes:
        found["subnormals"] = _subnormals(target, first[1])
    return replace(
        target, conventions=replace(conventions, **{**found, **known, **_own(conventions)})
    )


def _alone(target: Target, dtypes_stated: bool) -> Target:
    """Return a target without forward_train: what merges or folds by itself.

    Raises:
        TargetError: nothing goes through.
    """
    conventions = target.conventions
    if not dtypes_stated:
        conventions = replace(conventions, dtypes=("float32", "float64"))
    target = replace(target, conventions=conventions)
    refused: dict[str, str] = {}
    broken: dict[str, str] = {}
    crashed: set[str] = set()
    dtype, rank = conventions.dtypes[0], conventions.ndim[0]
    found = set(_capabilities(target, dtype, rank, refused, broken, crashed))
    if not found and not broken:
        why = "; ".join(refused.values())
        raise TargetError(f"target={target.spec}: the first plain call failed: {why}")
    offers = {*conventions.dtypes, *(f"rank {r}" for r in conventions.ndim), "eps", *found}
    target = replace(
        target,
        offers=frozenset(offers),
        refused=refused,
        broken=broken,
        crashed=frozenset(crashed),
    )
    return target


def on_one_rank(functions: Mapping[str, Callable[..., Any]]) -> Mapping[str, Callable[..., Any]]:
    """Return the functions; of synchronised ones alone, with forward and backward on one rank."""
    if "forward_train" in functions or "sync_forward_train" not in functions:
        return functions

    def forward_train(x: Array, *state: Any, **options: Any) -> Any:
        ys, *rest = functions["sync_forward_train"]([x], *state, **options)
        return ys[0], *rest

    def backward_train(dy: Array, saved: Any) -> Any:
        dxs, *rest = functions["sync_backward_train"]([dy], saved)
        return dxs[0], *rest

    more: dict[str, Callable[..., Any]] = {"forward_train": forward_train}
    if "sync_backward_train" in functions:
        more["backward_train"] = backward_train
    return {**more, **functions}


def _on_ranks(target: Target, dtype: str, rank: int) -> Target:
    """Return the target with the sizes that its ranks may have: the most that goes through."""
    if "sync_forward_train" not in target.offers or target.conventions.ranks != "any":  # stated
        return target
    x, state = _plain(target.conventions, dtype, rank)
    sizes = {"any": (0, 3, 1), "unequal": (1, 3), "equal": (2, 2)}
    for name, counts in sizes.items():
        xs = np.split(x, np.cumsum(counts)[:-1])
        call = partial(contract.sync_train, target, xs, *state, eps=_EPS, momentum=_MOMENTUM)
        if _tried(call, name, {}):
            return replace(target, conventions=replace(target.conventions, ranks=name))
    return target


_HALVES = ("float16", "bfloat16")


def _promotes(target: Target, dtype: str, rank: int) -> bool:
    """Return whether a result of training has another dtype than the contract's.

    It is then NumPy's promotion that decides in what a half is computed, and not the code.
    """
    x, state = _plain(target.conventions, dtype, rank)
    try:
        got = contract.train(target, x, *state, eps=_EPS, momentum=_MOMENTUM)
        own, others = [got.y], [got.running_mean, got.running_var]
        if "backward_train" in target.offers:
            back = contract.backward(target, x, got.saved, state[0])
            own, others = [*own, back.dx], [*others, back.dgamma, back.dbeta]
    except Misbehaved:
        return False
    wide = state_dtype(dtype)
    return any(a.dtype != dtype_of(dtype) for a in own) or any(
        a is not None and a.dtype != wide for a in others
    )


def _masks(
    target: Target, by: str, dtype: str, refused: dict[str, str], broken: dict[str, str]
) -> Target:
    """Return the target with the form of its mask, and what it offers with one."""

    def plain(rank: int) -> tuple[Array, list[Array]]:
        return _plain(target.conventions, dtype, rank)

    def attempt(call: Callable[[], Any], name: str) -> bool:
        if _tried(call, name, refused):
            return True
        if name == "masked gradients" and not _is_refusal(refused[name]):
            broken[name] = refused[name]
        return False

    options = {"eps": _EPS, "momentum": _MOMENTUM}
    target = masking.with_mask(target, by, plain, options, refused)
    more = masking.capabilities(target, plain, options, attempt)
    return replace(target, offers=target.offers | set(more))


def _own(conventions: Conventions) -> dict[str, Any]:
    names = ("ndim", "dtypes", "mask", "mask_ndim", "ranks")
    return {name: getattr(conventions, name) for name in names}


def _installed_dtypes() -> tuple[str, ...]:
    try:
        dtype_of("bfloat16")
    except ImportError:
        return DTYPES[:-1]
    return DTYPES


def _plain(
    conventions: Conventions, dtype: str, rank: int, n: int = 4
) -> tuple[Array, list[Array]]:
    """Return x and gamma, beta, running_mean, running_var of plain numbers."""
    shape = (n, *_SHAPE[1:rank])
    x = np.random.Generator(np.random.PCG64(7)).integers(-8, 9, size=shape) / 4.0 + 1.0
    c = conventions.columns(shape)
    state = [np.full(c, 2.0), np.arange(c) - 1.0, np.full(c, 8.0), np.full(c, 3.0)]
    return x.astype(dtype_of(dtype)), [a.astype(state_dtype(dtype)) for a in state]


def _call(target: Target, dtype: str, rank: int, n: int = 4) -> Trained:
    x, state = _plain(target.conventions, dtype, rank, n)
    return contract.train(target, x, *state, eps=_EPS, momentum=_MOMENTUM)


def _wrong_dtype(result: Trained, dtype: str) -> str | None:
    """Return what is wrong with the dtypes of a result, if anything.

    A wider one is no reason not to judge the numbers: an invariant of its own holds the dtype.
    """
    if result.y.dtype.itemsize < dtype_of(dtype).itemsize:
        return f"forward_train returned y of dtype {result.y.dtype} for x of {dtype}"
    for name in ("running_mean", "running_var"):
        a = getattr(result, name)
        if a is not None and a.dtype.itemsize < state_dtype(dtype).itemsize:
            return (
                f"forward_train returned {name} of dtype {a.dtype}: expected {state_dtype(dtype)}"
            )
    return None


def _candidates(conventions: Conventions) -> Iterator[Conventions]:
    for statistics, axis in (("per_channel", 1), ("per_channel", -1), ("per_activation", 1)):
        yield replace(conventions, statistics=statistics, channel_axis=axis)


def _first_call(target: Target, dtypes_stated: bool) -> tuple[str, int]:
    """Return dtype and rank of the first plain call that goes through.

    Raises:
        TargetError: none does, or the first has the wrong structure.
    """
    problem = ""
    for dtype in target.conventions.dtypes:
        for rank in target.conventions.ndim:
            for conventions in _candidates(target.conventions):
                try:
                    result = _call(replace(target, conventions=conventions), dtype, rank)
                except Raised as error:
                    problem = problem or str(error)
                    continue
                except Misbehaved as error:
                    first = "the first plain call failed: " if isinstance(error, Died) else ""
                    raise TargetError(f"target={target.spec}: {first}{error}") from error
                wrong = _wrong_dtype(result, dtype)
                if wrong:
                    hint = (
                        ""
                        if dtypes_stated
                        else '; if it takes others alone, state CONVENTIONS["dtypes"]'
                    )
                    raise TargetError(f"target={target.spec}: {wrong}{hint}")
                return dtype, rank
    raise TargetError(f"target={target.spec}: the first plain call failed: {problem}")


def _axes(target: Target, first: tuple[str, int], known: Mapping[str, Any]) -> Target:
    """Return the target with the statistics and channel axis that fit plain data best."""
    best, least = target, np.inf
    for conventions in _candidates(target.conventions):
        if any(
            getattr(conventions, k) != known[k]
            for k in ("statistics", "channel_axis")
            if k in known
        ):
            continue
        tried = replace(target, conventions=conventions)
        error = _misfit(tried, first[0])
        if error < least:
            best, least = tried, error
    return best


def _misfit(target: Target, dtype: str) -> float:
    """Return how far y lies from the reference on the ranks above 2, per rank that goes through."""
    errors = []
    for rank in (rank for rank in target.conventions.ndim if rank > 2):
        try:
            y = _call(target, dtype, rank).y
        except Misbehaved:
            continue
        x, (gamma, beta, _, _) = _plain(target.conventions, dtype, rank)
        rows = target.conventions.rows
        want = reference_train(rows(x).astype(np.float64), None, gamma, beta, _EPS).y
        errors.append(float(np.abs(rows(y).astype(np.float64) - want).mean()))
    return float(np.mean(errors)) if errors else 1e300


def _tried(
    call: Callable[[], Any], name: str, refused: dict[str, str], crashed: set[str] | None = None
) -> bool:
    try:
        call()
    except Died:
        if crashed is not None:
            crashed.add(name)
        return True  # a crash is no refusal: the invariants show it, with its input
    except Misbehaved as error:
        refused[name] = str(error)
        return False
    return True


def _ranks(
    target: Target,
    first: tuple[str, int],
    refused: dict[str, str],
    remarks: list[str],
    stated: bool,
) -> list[int]:
    """Return the ranks that the target means to take.

    Code for two dimensions often lets more through by broadcasting. What fits no convention there
    is not offered, with a remark; what fits one is, whatever else is wrong with it.
    """
    if stated:
        return list(target.conventions.ndim)
    dtype, known = first
    found = []
    for rank in RANKS:
        if rank == known:
            found.append(rank)
            continue
        lifted = False
        try:
            result = _call(target, dtype, rank)
            # statistics of each place alone, gamma along the last axis: what NumPy broadcasts
            axis = target.conventions.channel_axis
            lifted = rank > 2 and axis == -1 and _centered_by_place(target, dtype, rank, result.y)
            fits = not lifted
        except Died:
            fits = True  # a crash is no refusal: the invariants show it, with its input
        except Raised as error:
            refused[f"rank {rank}"] = str(error)
            continue
        except Misbehaved as error:
            refused[f"rank {rank}"] = str(error)
            fits = _fits_some(target, dtype, rank)
        if fits:
            refused.pop(f"rank {rank}", None)
            found.append(rank)
        else:
            why = "normalizes each place by itself" if lifted else "returns nonsense"
            text = f"it takes {rank}-D input without an error and {why}: refuse it"
            refused.setdefault(f"rank {rank}", text)
            remarks.append(text)
    return found


def _centered_by_place(target: Target, dtype: str, rank: int, y: Array) -> bool:
    """Return whether the mean of y over the samples is beta at every place and channel."""
    _, (_, beta, _, _) = _plain(target.conventions, dtype, rank)
    if target.conventions.statistics == "per_activation":
        return False
    wanted = beta.astype(np.float64).reshape(-1, *(1,) * (rank - 2))
    return bool(np.abs(y.astype(np.float64).mean(axis=0) - wanted).max() < _NEAR[dtype])


_NEAR = {"float64": 1e-6, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.5}


def _fits_some(target: Target, dtype: str, rank: int) -> bool:
    """Return whether y alone is normalized per channel or per place where other results misfit."""
    plain = replace(target, conventions=replace(target.conventions, channel_axis=1))
    x, state = _plain(plain.conventions, dtype, rank)
    try:
        result = contract.call(plain, "forward_train", x, *state, eps=_EPS, momentum=_MOMENTUM)
        y = np.asarray(result[0], np.float64)
    except KeyboardInterrupt:
        raise
    except Exception:
        return False
    if y.shape != x.shape:
        return False
    rows = plain.conventions.rows(y)
    per_channel = np.abs(rows.mean(axis=0) - state[1]).max() < _NEAR[dtype]
    return bool(per_channel) or _centered_by_place(plain, dtype, rank, y)


def _dtypes(
    target: Target, first: tuple[str, int], refused: dict[str, str], stated: bool
) -> list[str]:
    if stated:
        return list(target.conventions.dtypes)
    found = []
    for dtype in target.conventions.dtypes:
        try:
            wrong = _wrong_dtype(_call(target, dtype, first[1]), dtype)
        except Died:
            wrong = None
        except Misbehaved as error:
            wrong = str(error)
        if wrong and dtype != first[0]:
            refused[dtype] = wrong
        else:
            found.append(dtype)
    return found


def _capabilities(
    target: Target,
    dtype: str,
    rank: int,
    refused: dict[str, str],
    broken: dict[str, str],
    crashed: set[str],
) -> Iterator[str]:
    """Yield the functions and the special inputs that go through on plain data.

    A function that exists and fails there, other than by a clear refusal, is broken.
    """
    x, (gamma, beta, mean, var) = _plain(target.conventions, dtype, rank)
    options: dict[str, Any] = {"eps": _EPS, "momentum": _MOMENTUM}

    def train(*args: Any) -> Trained:
        return contract.train(target, *args, **options)

    def evaluate() -> Any:
        return contract.evaluate(target, x, gamma, beta, mean, var, eps=_EPS)[1]

    def saved() -> Any:
        return train(x, gamma, beta, mean, var).saved

    halves = [x[:2], x[2:]]

    def on_ranks() -> Any:
        return contract.sync_train(target, halves, gamma, beta, mean, var, **options).saved

    c, state = len(gamma), gamma.dtype
    weight = np.ones((c, 2), state)
    counts, shards = np.array([2, 3]), np.ones((2, c), state)
    one = x[(slice(0, 1), slice(None), *(slice(0, 1),) * (rank - 2))].copy()
    one_state = [a[: target.conventions.columns(one.shape)] for a in (gamma, beta, mean, var)]
    attempts: dict[str, Callable[[], Any]] = {
        "backward_train": lambda: contract.backward(target, x, saved(), gamma),
        "forward_eval": evaluate,
        "backward_eval": lambda: contract.backward(target, x, evaluate(), gamma, mode="eval"),
        "initial_state": lambda: contract.initial_state(target, c, state),
        "double_backward_train": lambda: _second(target, x, gamma, saved()),
        "jvp_train": lambda: contract.forward_mode(target, x, gamma, gamma, saved()),
        "merge_statistics": lambda: contract.merge(
            target, "merge_statistics", counts, shards, shards
        ),
        "merge_gradients": lambda: contract.merge(
            target, "merge_gradients", counts, shards, shards
        ),
        "fold": lambda: contract.fold(target, weight, None, gamma, beta, mean, var, eps=_EPS),
        "new_layer": lambda: _lived(target, x, (gamma, beta, mean, var)),
        "sync_forward_train": on_ranks,
        "sync_backward_train": lambda: contract.sync_backward(target, halves, on_ranks(), gamma),
    }
    for name, attempt in attempts.items():
        if name not in target.functions:
            continue
        if _tried(attempt, name, refused, crashed):
            yield name
        elif not _is_refusal(refused[name]):
            broken[name] = refused[name]
    if "backward_train" in target.functions and "backward_train" not in refused:
        with contextlib.suppress(Misbehaved):
            back = contract.backward(target, x, saved(), gamma)
            for name in ("dgamma", "dbeta"):
                if getattr(back, name) is None:
                    refused[name] = "backward_train returns None for it: not checked"
                else:
                    yield name
    if "forward_train" not in target.functions:
        return
    inputs: dict[str, Callable[[], Any]] = {
        "no affine": lambda: train(x, None, None, mean, var),
        "no running statistics": lambda: train(x, gamma, beta, None, None),
        "empty batch": lambda: train(x[:0], gamma, beta, mean, var),
        "one value": lambda: train(one, *one_state),
    }
    for name, attempt in inputs.items():
        if _tried(attempt, name, refused):
            yield name


def _lived(target: Target, x: Array, state: tuple[Array, ...]) -> None:
    """Train a layer once, and read its state."""
    layer = contract.new_layer(target, *state, eps=_EPS, momentum=_MOMENTUM)
    contract.run_layer(target, x, layer, True, False)
    contract.layer_state(target, layer, state[0])


_REFUSALS = ("notimplementederror", "not implemented", "not supported", "unsupported")


def _is_refusal(text: str) -> bool:
    """Return whether an error says that something is not there, not that it went wrong."""
    text = text.lower()  # NumPy says "only length-1 arrays ..." of code that goes wrong
    return any(word in text for word in _REFUSALS) and "unsupported operand" not in text


def _second(target: Target, x: Array, gamma: Array, saved: Any) -> Any:
    if "backward_train" in target.functions:
        contract.backward(target, x, saved, gamma)
    return contract.double_backward(target, x, gamma, gamma, x, saved)


def _averages(target: Target, dtypes: list[str], rank: int) -> dict[str, Any] | None:
    """Return the direction of momentum, its number if it is written in, and the divisor.

    None if there are no running statistics: what came in goes out, and nothing reads them.
    """
    dtype = "float64" if "float64" in dtypes else dtypes[0]
    x, (gamma, beta, mean, var) = _plain(target.conventions, dtype, rank)
    rows = target.conventions.rows(x).astype(np.float64)
    n = rows.shape[0]
    try:
        result, other = (
            contract.train(target, x, gamma, beta, mean, var, eps=_EPS, momentum=m)
            for m in (_MOMENTUM, 1 - _MOMENTUM)
        )
    except Misbehaved:
        return {}  # a call like it went through before: the invariants will tell
    if result.running_mean is None or result.running_var is None or other.running_mean is None:
        return {}
    new_mean, new_var = (a.astype(np.float64) for a in (result.running_mean, result.running_var))
    if np.array_equal(new_mean, mean) and np.array_equal(new_var, var):
        return {} if "forward_eval" in target.functions else None
    written = None
    if np.array_equal(result.running_mean, other.running_mean):
        with np.errstate(all="ignore"):
            batch = rows.mean(axis=0)
            keeps = (new_mean - batch) / (mean - batch)
        spread = float(np.ptp(keeps))
        if np.isfinite(spread) and spread < _NEAR[dtype] and 0.01 < keeps.mean() < 0.9999:
            written = float(f"{keeps.mean():.{9 if dtype == 'float64' else 4}g}")

    def miss(keep: float, divisor: int) -> tuple[float, float]:
        batch_var = ((rows - rows.mean(axis=0)) ** 2).sum(axis=0) / divisor
        wanted_mean = keep * mean + (1 - keep) * rows.mean(axis=0)
        wanted_var = keep * var + (1 - keep) * batch_var
        return float(np.abs(new_mean - wanted_mean).max()), float(
            np.abs(new_var - wanted_var).max()
        )

    if written is not None:
        divisor = "biased" if miss(written, n)[1] <= miss(written, n - 1)[1] else "unbiased"
        return {"momentum": "keep", "running_var": divisor, "fixed_momentum": written}
    momentum = "keep" if miss(_MOMENTUM, n)[0] <= miss(1 - _MOMENTUM, n)[0] else "update"
    keep = _MOMENTUM if momentum == "keep" else 1 - _MOMENTUM
    divisor = "biased" if miss(keep, n)[1] <= miss(keep, n - 1)[1] else "unbiased"
    return {"momentum": momentum, "running_var": divisor}


def _written_eps(target: Target, dtypes: list[str], rank: int) -> float | None:
    """Return the eps that is written into the code where the argument changes nothing, else None.

    An eps of 0 is none: who ignores it divides by zero on a constant channel.
    """
    dtype = "float64" if "float64" in dtypes else dtypes[0]
    x, state = _plain(target.conventions, dtype, rank)
    try:
        one, two = (
            contract.train(target, x, *state, eps=eps, momentum=_MOMENTUM).y for eps in (0.5, 4.0)
        )
        if one.tobytes() != two.tobytes():
            return None
        return _fixed_eps(target, dtypes, rank) or None
    except (Misbehaved, TargetError):
        return None


def _fixed_eps(target: Target, dtypes: list[str], rank: int) -> float:
    """Return the eps of a target that takes none, from the variance of xhat at var near eps."""
    dtype = "float64" if "float64" in dtypes else dtypes[0]
    hint = "its fixed eps cannot be found out; state it as CONVENTIONS['eps']"
    try:
        tried = [_eps_at(target, dtype, rank, 2.0**-k) for k in _EPS_SCALES[dtype]]
    except Misbehaved as error:
        raise TargetError(f"target={target.spec}: {error}; {hint}") from error
    found = [(max(eps / var, var / eps), eps, var) for eps, var in tried if 0 < eps < np.inf]
    if not found:
        if all(abs(eps) <= 2.0**-12 * var for eps, var in tried):
            return 0.0
        raise TargetError(f"target={target.spec}: {hint}")
    _, eps, var = min(found)
    if eps <= 2.0**-12 * var:  # nothing but rounding, even where var is least
        return 0.0
    return float(f"{eps:.{10 if dtype == 'float64' else 4}g}")


_EPS_SCALES = {
    "float64": (0, 10, 20, 30),
    "float32": (0, 10, 20, 30),
    "float16": (0, 4, 8),
    "bfloat16": (0, 10, 20, 30),
}


def _eps_at(target: Target, dtype: str, rank: int, scale: float) -> tuple[float, float]:
    """Return eps as it shows in plain numbers of this scale, and their variance."""
    x, (gamma, beta, mean, var) = _plain(target.conventions, dtype, rank)
    x = (x - 1) * np.asarray(scale, x.dtype)
    result = contract.train(
        target, x, gamma * 0 + 1, beta * 0, mean, var, eps=_EPS, momentum=_MOMENTUM
    )
    rows, y = (target.conventions.rows(a).astype(np.float64) for a in (x, result.y))
    variance = rows.var(axis=0)
    with np.errstate(all="ignore"):
        eps = variance / y.var(axis=0) - variance
    return float(np.median(eps)), float(np.median(variance))


def _subnormals(target: Target, rank: int) -> str:
    """Return whether a subnormal gamma survives."""
    x, (gamma, beta, mean, var) = _plain(target.conventions, "float32", rank)
    small = np.full_like(gamma, 2.0**-130)
    try:
        y = contract.train(target, x, small, beta * 0, mean, var, eps=_EPS, momentum=_MOMENTUM).y
    except Misbehaved:
        return "kept"
    return "kept" if np.any(y != 0) else "flushed"

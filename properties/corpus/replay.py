"""Replaying corpus entries on a target: the calls as they stand, each result within its radius."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reference import rounding
from reference.ball import precision

from ..invariants.levels import EDGE_LAYOUTS
from ..model import contract, masks
from ..model.cases import dtype_of, state_dtype
from ..model.contract import Array, Misbehaved, Target
from ..model.masks import lengths_of
from ..model.verdict import Claim, Failure, is_true, judge, same_bits
from .expected import mask_of
from .files import Entry, decode_array, decode_wanted
from .numbers import decode_float

_INPUTS = ("x", "gamma", "beta", "running_mean", "running_var", "dy")


@dataclass(frozen=True)
class Replayed:
    """What came of one entry: pass, fail, remark or not offered; where, and what differed."""

    entry: Entry
    verdict: str
    call: int = 0
    failure: Failure | None = None
    message: str = ""


def missing(entry: Entry, target: Target) -> str:
    """Return what the target lacks for an entry, empty where it lacks nothing."""
    return next(filter(None, (_lacking(call, entry, target) for call in entry.calls)), "")


def _lacking(call: dict[str, Any], entry: Entry, target: Target) -> str:
    """Return what the target lacks for a call, empty where it lacks nothing."""
    mask = mask_of(call, entry.calls)
    if mask is not None and (lacks := _lacking_of_mask(mask, call, target)):
        return lacks
    for need in _needs(call):
        if need not in target.offers:
            return need
    per_activation = target.conventions.statistics == "per_activation"
    if per_activation and "x" in call and len(call["x"]["shape"]) > 2:
        return "statistics per channel"
    fixed = target.conventions.eps
    if fixed is not None and "eps" in call and decode_float(call["eps"]) != fixed:
        return "another eps"
    written = target.conventions.fixed_momentum
    if written is not None and "momentum" in call and decode_float(call["momentum"]) != written:
        return "another momentum"
    if target.conventions.halves == "own" and {"float16", "bfloat16"} & set(_dtypes(call)):
        return "float32 as what halves are computed in"
    return ""


def _lacking_of_mask(mask: Array, call: dict[str, Any], target: Target) -> str:
    need = "mask" if call["call"] == "forward_train" else "masked gradients"
    if need not in target.offers:
        return need
    if mask.ndim + 1 not in target.conventions.mask_ndim:
        return f"a mask in rank {mask.ndim + 1}"
    if target.conventions.mask == "lengths":
        told = np.arange(mask.shape[-1]) < lengths_of(mask).reshape(-1, *(1,) * (mask.ndim - 1))
        if not np.array_equal(np.broadcast_to(told, mask.shape), mask):
            return "a mask that is no lengths"
    return ""


def _dtypes(call: dict[str, Any]) -> Iterator[Any]:
    yield from (value.get("dtype") for value in call.values() if isinstance(value, dict))


def _needs(call: dict[str, Any]) -> Iterator[str]:
    name = call["call"]
    yield name
    if "bfloat16" in _dtypes(call):
        yield "bfloat16"
    if name in ("forward_train", "forward_eval"):
        shape = call["x"]["shape"]
        yield call["x"]["dtype"]
        yield f"rank {len(shape)}"
        if call["gamma"] is None:
            yield "no affine"
        if call["running_mean"] is None:
            yield "no running statistics"
        if 0 in shape:
            yield "empty batch"
        elif name == "forward_train" and np.prod(shape) == shape[1]:
            yield "one value"


def replay(target: Target, entry: Entry, *, strict: bool = True) -> Replayed:
    """Make the calls of an entry and hold each result against what is expected.

    Unless strict, what fails at an edge (an empty batch, a foreign byte order, another dtype than
    asked for) is a remark.
    """
    found = _replayed(target, entry)
    edge = found.failure is not None and " has dtype " in found.failure.quantity
    at_edge = edge or any(map(_at_edge, entry.calls))
    if found.verdict == "fail" and at_edge and not strict:
        return replace(found, verdict="remark")
    return found


def _at_edge(call: dict[str, Any]) -> bool:
    arrays = [value for value in call.values() if isinstance(value, dict) and "shape" in value]
    return any(0 in a["shape"] or a.get("layout") in EDGE_LAYOUTS for a in arrays)


def _replayed(target: Target, entry: Entry) -> Replayed:
    saved: list[Any] = []
    gammas: list[Array | None] = []
    for number, call in enumerate(entry.calls):
        if lacks := _lacking(
            call, entry, target
        ):  # what came before it was held to what is expected
            return Replayed(entry, "not offered", number, message=lacks)
        try:
            with np.errstate(all="ignore"):
                outcome = judge(_CALLS[call["call"]](target, call, saved, gammas))
        except Misbehaved as error:
            return Replayed(entry, "fail", number, message=str(error))
        except (ValueError, ArithmeticError) as error:  # what a target raises is Misbehaved
            why = f"what is expected does not fit the call: {error}"
            return Replayed(entry, "fail", number, message=why)
        if outcome.failure is not None:
            return Replayed(entry, "fail", number, outcome.failure)
    return Replayed(entry, "pass")


def _array(call: dict[str, Any], name: str) -> Array | None:
    return None if call.get(name) is None else decode_array(call[name])


def _claim(call: dict[str, Any], name: str, got: Array | None) -> Iterator[Claim]:
    """Claim that a result is what the entry expects; nothing where it leaves it free."""
    if got is None or name not in call["expected"]:
        return
    yield from _dtype(call, name, got)
    value, radius = decode_wanted(call["expected"][name])
    if got.shape != value.shape:
        yield is_true(f"{name} has shape {got.shape}, wanted {value.shape}", False)
        return
    got = got.astype(np.float64)
    hidden = np.isnan(value)
    if hidden.any() and not np.isinf(radius[hidden]).any():
        yield is_true(f"{name} is NaN where x is", bool(np.isnan(got[hidden]).all()))
    keep = ~hidden
    want, allowed = np.where(keep, value, 0.0), np.where(keep, radius, np.inf)
    yield Claim(name, np.where(keep, got, 0.0), want, allowed)


def _dtype(call: dict[str, Any], name: str, got: Array) -> Iterator[Claim]:
    """Claim that y and dx have the dtype of x and of dy."""
    like = {"y": "x", "dx": "dy", "ty": "tx"}.get(name)
    if like is not None:
        wanted = dtype_of(call[like]["dtype"])
        yield is_true(f"{name} has dtype {got.dtype}, wanted {wanted}", got.dtype == wanted)


def _unchanged(call: dict[str, Any], given: dict[str, Array | None]) -> Iterator[Claim]:
    for name, after in given.items():
        if after is not None:
            before = decode_array(call[name])
            yield same_bits(f"{name} after {call['call']}", after, before)


def _forward(call: dict[str, Any]) -> dict[str, Array | None]:
    return {name: _array(call, name) for name in _INPUTS[:5]}


def _forward_train(
    target: Target, call: dict[str, Any], saved: Any, gammas: Any
) -> Iterator[Claim]:
    given, eps = _forward(call), decode_float(call["eps"])
    momentum, mask = decode_float(call["momentum"]), mask_of(call, [])
    more = {} if mask is None else masks.given(target.conventions, mask, decode_array(call["x"]))
    result = contract.train(
        target,
        *given.values(),  # type: ignore[arg-type]
        eps=eps,
        momentum=momentum,
        keep_layout=True,
        more=more,
    )
    saved.append(result.saved)
    gammas.append(given["gamma"])
    yield from _claim(call, "y", result.y)
    yield from _state(target, call, momentum, result)
    yield from _unchanged(call, given)


def _state(target: Target, call: dict[str, Any], momentum: float, result: Any) -> Iterator[Claim]:
    """Claim the running statistics, derived from the batch's in the target's conventions."""
    old_mean, old_var = _array(call, "running_mean"), _array(call, "running_var")
    if old_mean is None or old_var is None or "running statistics" not in target.offers:
        return
    if "mean" not in call["expected"]:  # an empty batch
        yield same_bits("running_mean", result.running_mean, old_mean)
        yield same_bits("running_var", result.running_var, old_var)
        return
    shape = call["x"]["shape"]
    mask, conventions = mask_of(call, []), target.conventions
    n = int(np.prod(shape)) // shape[1] if mask is None else int(mask.sum())
    unbiased = conventions.running_var == "unbiased" and n > 1
    keep = momentum if conventions.momentum == "keep" else 1.0 - momentum
    pr = precision(
        state_dtype(call["x"]["dtype"]).name, conventions.accumulator, conventions.subnormals
    )
    pairs = (("mean", old_mean, 1.0), ("var", old_var, n / (n - 1) if unbiased else 1.0))
    for name, old, factor in pairs:
        value, radius = decode_wanted(call["expected"][name])
        start, batch = old.astype(np.float64)[None], (value * factor)[None]
        reach = (radius * factor)[None] + 4 * pr.magnitude(batch)  # factor, product, rounding
        want = start if keep == 1.0 else keep * start + (1.0 - keep) * batch
        allowed = rounding.running_radius(start, batch, reach, keep, momentum, pr)
        new = getattr(result, f"running_{name}")
        yield is_true(
            f"running_{name} has dtype {new.dtype}, had {old.dtype}", new.dtype == old.dtype
        )
        got = new.astype(np.float64)[None]
        if n == 1 and name == "var":  # leaving it alone is as right as averaging in 0
            want = np.where(np.abs(got - start) < np.abs(got - want), start, want)
        yield Claim(f"running_{name}", got, want, np.where(np.isinf(reach), np.inf, allowed))


def _forward_eval(target: Target, call: dict[str, Any], saved: Any, gammas: Any) -> Iterator[Claim]:
    given, eps = _forward(call), decode_float(call["eps"])
    y, kept = contract.evaluate(target, *given.values(), eps=eps, keep_layout=True)  # type: ignore[arg-type]
    saved.append(kept)
    gammas.append(given["gamma"])
    yield from _claim(call, "y", y)
    yield from _unchanged(call, given)


def _backward(target: Target, call: dict[str, Any], saved: Any, gammas: Any) -> Iterator[Claim]:
    dy, at = decode_array(call["dy"]), call["saved"]
    mode = call["call"].removeprefix("backward_")
    got = contract.backward(target, dy, saved[at], gammas[at], mode=mode, keep_layout=True)
    _nothing(saved, gammas)
    for name in ("dx", "dgamma", "dbeta"):
        yield from _claim(call, name, getattr(got, name))
    yield from _unchanged(call, {"dy": dy})


def _nothing(saved: Any, gammas: Any) -> None:
    saved.append(None)
    gammas.append(None)


def _results(call: dict[str, Any], names: Iterable[str], results: Iterable[Any]) -> Iterator[Claim]:
    for name, got in zip(names, results, strict=True):
        yield from _claim(call, name, np.asarray(got))


def _initial_state(
    target: Target, call: dict[str, Any], saved: Any, gammas: Any
) -> Iterator[Claim]:
    got = contract.initial_state(target, call["channels"], np.dtype(call["dtype"]))
    _nothing(saved, gammas)
    return _results(call, ("running_mean", "running_var"), got)


def _jvp(target: Target, call: dict[str, Any], saved: Any, gammas: Any) -> Iterator[Claim]:
    tx, tgamma, tbeta = (decode_array(call[name]) for name in ("tx", "tgamma", "tbeta"))
    ty = contract.forward_mode(target, tx, tgamma, tbeta, saved[call["saved"]])
    _nothing(saved, gammas)
    return _results(call, ("ty",), (ty,))


def _double(target: Target, call: dict[str, Any], saved: Any, gammas: Any) -> Iterator[Claim]:
    names = ("ddx", "ddgamma", "ddbeta", "dy")
    ddx, ddgamma, ddbeta, dy = (decode_array(call[name]) for name in names)
    got = contract.double_backward(target, ddx, ddgamma, ddbeta, dy, saved[call["saved"]])
    _nothing(saved, gammas)
    return _results(call, ("by_x", "by_gamma", "by_dy"), got)


_MERGED = {
    "merge_statistics": (("counts", "means", "variances"), ("mean", "var")),
    "merge_gradients": (("counts", "sums_dy", "sums_dy_xhat"), ("mean_dy", "mean_dy_xhat")),
}


def _merge(target: Target, call: dict[str, Any], saved: Any, gammas: Any) -> Iterator[Claim]:
    arrays, results = _MERGED[call["call"]]
    given = [decode_array(call[name]) for name in arrays]
    count, *got = contract.merge(target, call["call"], *given)
    _nothing(saved, gammas)
    yield is_true(f"count is {count}, wanted {given[0].sum()}", float(count) == given[0].sum())
    yield from _results(call, results, got)


def _fold(target: Target, call: dict[str, Any], saved: Any, gammas: Any) -> Iterator[Claim]:
    names = ("weight", "bias", "gamma", "beta", "running_mean", "running_var")
    given: list[Any] = [_array(call, name) for name in names]
    options = {key: call[key] for key in ("transposed", "groups") if key in call}
    got = contract.fold(target, *given, eps=decode_float(call["eps"]), **options)
    _nothing(saved, gammas)
    return _results(call, ("weight", "bias"), got)


_CALLS: dict[str, Any] = {
    "forward_train": _forward_train,
    "backward_train": _backward,
    "forward_eval": _forward_eval,
    "backward_eval": _backward,
    "initial_state": _initial_state,
    "jvp_train": _jvp,
    "double_backward_train": _double,
    "merge_statistics": _merge,
    "merge_gradients": _merge,
    "fold": _fold,
}

"""What the calls of a corpus entry must give: exact values in the dtype, each with its radius.

Training, inference and their backwards come from the rationals (large batches from the float64
reference with its bound); the rest from the float64 reference. Nothing depends on a convention:
running statistics are left to the reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from reference import exact

from ..model import expected, further
from ..model.cases import Case, Recipe, state_dtype
from ..model.contract import Array, Conventions
from ..model.expected import Wanted, row, rows
from .entries import Calls, encode_array, shortened
from .files import Entry, decode_array, decode_wanted
from .numbers import decode_float, encode_float

_MANY = 500  # rows from which the float64 reference replaces the rationals
_BITS = 12  # that a stored radius keeps, rounded up

Values = dict[str, tuple[Array, Array]]  # value and radius, in the shape of the result


def with_expected(calls: Calls) -> Calls:
    """Return the calls, each with what it must give."""
    cases: list[Case | None] = []
    found = []
    for call in calls:
        bare = {k: v for k, v in call.items() if k != "expected"}
        name, mask = bare["call"], mask_of(bare, calls)
        alone = bare if mask is None else _kept(bare, mask)
        case = _case(alone) if name.startswith("forward_") else None
        cases.append(case)
        with np.errstate(all="ignore"):
            values, dtypes = _EXPECTED[name](alone, case, cases)
        if mask is not None:
            values = _put_back(values, mask)
        found.append({**bare, "expected": _encoded(values, dtypes)})
    return found


def mask_of(call: dict[str, Any], calls: Calls) -> Array | None:
    """Return the mask (n, *spatial) of bool of a call, of a backward that of its forward."""
    forward = calls[call["saved"]] if call["call"] == "backward_train" else call
    return decode_array(forward["mask"]).astype(bool) if "mask" in forward else None


def _kept(call: dict[str, Any], mask: Array) -> dict[str, Any]:
    """Return the call on the batch of what the mask keeps, in rows (m, c)."""
    rows_of = {
        name: encode_array(np.moveaxis(decode_array(call[name]), 1, -1)[mask])
        for name in ("x", "dy")
        if name in call
    }
    return {name: value for name, value in call.items() if name != "mask"} | rows_of


def _put_back(values: Values, mask: Array) -> Values:
    """Return what is of the kept rows in x's shape; elsewhere y is free and dx is 0."""
    found = dict(values)
    for name, free in (("y", np.inf), ("dx", 0.0)):
        if name in values:
            value, radius = (
                np.full((*mask.shape, values[name][0].shape[1]), a) for a in (0.0, free)
            )
            value[mask], radius[mask] = values[name]
            found[name] = np.moveaxis(value, -1, 1), np.moveaxis(radius, -1, 1)
    return found


def _encoded(values: Values, dtypes: dict[str, np.dtype[Any]]) -> dict[str, Any]:
    return {name: encode_wanted(*pair, dtypes[name]) for name, pair in values.items()}


def encode_wanted(value: Array, radius: Array, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return a value rounded to dtype, and its radius rounded up to a few bits."""
    value, radius = np.broadcast_arrays(np.asarray(value, np.float64), np.asarray(radius))
    with np.errstate(over="ignore"):
        stored = value.astype(dtype).astype(np.float64)
    outside = ~np.isfinite(stored) & ~np.isnan(stored)
    reach = radius + np.abs(np.where(outside, 0.0, stored) - value) + 2.0**-53 * np.abs(value)
    reach = np.where(outside | ~np.isfinite(reach), np.inf, reach)
    stored = np.where(outside, 0.0, stored)
    reach = np.where(np.isnan(stored), np.where(np.isinf(radius), np.inf, 0.0), reach)
    pairs = [
        (encode_float(float(v)), encode_float(_up(float(r))))
        for v, r in zip(stored.ravel(), reach.ravel(), strict=True)
    ]
    pairs, times = shortened(pairs)
    found: dict[str, Any] = {"shape": list(value.shape)}
    found |= {"value": [v for v, _ in pairs], "radius": [r for _, r in pairs]}
    return found | ({"repeat": times} if times > 1 else {})


def _up(radius: float) -> float:
    if radius == 0 or not math.isfinite(radius):
        return radius
    mantissa, exponent = math.frexp(radius)
    return math.ldexp(math.ceil(mantissa * 2**_BITS), exponent - _BITS)


def _case(call: dict[str, Any]) -> Case:
    """Return a forward's arguments as a case, dy zero."""
    x = np.ascontiguousarray(decode_array(call["x"]))
    given = {
        name: None if call[name] is None else decode_array(call[name])
        for name in ("gamma", "beta", "running_mean", "running_var")
    }
    momentum = decode_float(call["momentum"]) if "momentum" in call else 0.5
    recipe = Recipe(dtype=x.dtype.name)
    eps = decode_float(call["eps"])
    return Case(recipe, Conventions(), x, np.zeros_like(x), **given, eps=eps, momentum=momentum)


def _float(value: Fraction) -> float:
    """Return the nearest float64, infinite beyond the largest."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _floats(a: Any) -> Array:
    return np.asarray(np.frompyfunc(_float, 1, 1)(a), np.float64)


def _channels(case: Case) -> Array:
    """Return per channel: 0 finite, 1 holds a NaN, 2 holds an infinity alone."""
    x = rows(case, case.x)
    return np.where(np.isnan(x).any(0), 1, np.where(np.isinf(x).any(0), 2, 0))


def _calm(case: Case) -> Case:
    return replace(case, x=np.where(np.isfinite(case.x), case.x, 0).astype(case.x.dtype))


def _exact_train(case: Case) -> dict[str, Array]:
    """Return mean, var (1, c), y, dx (n, c), dgamma, dbeta (1, c) as float64."""
    x, dy = rows(case, case.x), rows(case, case.dy)
    if len(x) > _MANY:
        p = expected.training(case, gradients=True)
        return {name: p.ref.value[name] for name in ("mean", "var", "y", "dx", "dgamma", "dbeta")}
    found = exact.forward_backward(x, dy, row(case.gamma, x, 1), row(case.beta, x, 0), case.eps)
    names = ("mean", "var", "y", "dx", "dgamma", "dbeta")
    return {n: _floats(getattr(found, n)).reshape(-1, x.shape[1]) for n in names}


def _shaped(case: Case, values: dict[str, tuple[Array, Array]]) -> Values:
    """Return rows as arrays in the shapes of the contract; NaN or free where x is not finite."""
    kinds, shape = _channels(case), case.x.shape
    found = {}
    for name, (value, radius) in values.items():
        radius = np.where(kinds > 0, np.inf, np.broadcast_to(radius, value.shape))
        if name == "y":
            radius = np.where(kinds == 1, 0.0, radius)
            value = np.where(kinds == 1, np.nan, value)
        full = name in ("y", "dx", "ty", "by_x", "by_dy")
        pair = [case.conventions.shaped(a, shape) if full else a.ravel() for a in (value, radius)]
        found[name] = (pair[0], pair[1])
    return found


def _dtypes(case: Case, names: Any) -> dict[str, np.dtype[Any]]:
    state = state_dtype(case.recipe.dtype)
    full = ("y", "dx", "ty", "by_x", "by_dy")
    return {name: case.x.dtype if name in full else state for name in names}


def _forward_train(call: dict[str, Any], case: Case | None, cases: Any) -> Any:
    assert case is not None
    if case.x.size == 0:
        return {"y": (case.x * 1.0, case.x * 1.0)}, {"y": case.x.dtype}
    calm = _calm(case)
    mean, var = expected.batch_statistics(calm)
    wanted, values = {"mean": mean, "var": var, "y": expected.output(calm)}, _exact_train(calm)
    pairs = {name: (values[name], w.radius) for name, w in wanted.items()}
    return _shaped(case, pairs), _dtypes(case, wanted)


def _with_dy(call: dict[str, Any], cases: list[Case | None]) -> tuple[Case, Case]:
    case = cases[call["saved"]]
    assert case is not None
    case = replace(case, dy=np.ascontiguousarray(decode_array(call["dy"])))
    return case, _calm(case)


def _backward(values: dict[str, Array], wanted: dict[str, Wanted], case: Case) -> Any:
    names = ("dx",) if case.gamma is None else ("dx", "dgamma", "dbeta")
    pairs = {n: (values[n], wanted[n].radius) for n in names}
    return _shaped(case, pairs), _dtypes(case, names)


def _empty_gradients(case: Case) -> Any:
    values: Values = {"dx": (case.x * 1.0, case.x * 1.0)}
    if case.gamma is not None:
        zero = np.zeros(case.gamma.shape)
        values |= {"dgamma": (zero, zero), "dbeta": (zero, zero)}
    return values, _dtypes(case, values)


def _backward_train(call: dict[str, Any], _: Any, cases: list[Case | None]) -> Any:
    case, calm = _with_dy(call, cases)
    if case.x.size == 0:
        return _empty_gradients(case)
    return _backward(_exact_train(calm), expected.gradients(calm), case)


def _exact_eval(case: Case) -> dict[str, Array]:
    x, dy = rows(case, case.x), rows(case, case.dy)
    gamma, beta, mean = (
        exact.rationals(row(a, x, fill))
        for a, fill in ((case.gamma, 1.0), (case.beta, 0.0), (case.running_mean, 0.0))
    )
    inner = exact.rationals(row(case.running_var, x, 1.0)) + Fraction(case.eps)
    rstd = 1 / np.frompyfunc(lambda v: exact.enclose(v, 512)[0], 1, 1)(inner)
    xhat, dy = (exact.rationals(x) - mean) * rstd, exact.rationals(dy)
    return {
        "y": _floats(xhat * gamma + beta),
        "dx": _floats(dy * gamma * rstd),
        "dgamma": _floats((dy * xhat).sum(axis=0, keepdims=True)),
        "dbeta": _floats(dy.sum(axis=0, keepdims=True)),
    }


def _state(case: Case) -> tuple[Array, Array]:
    assert case.running_mean is not None
    assert case.running_var is not None
    return case.running_mean, case.running_var


def _forward_eval(call: dict[str, Any], case: Case | None, cases: Any) -> Any:
    assert case is not None
    if case.x.size == 0:
        return {"y": (case.x * 1.0, case.x * 1.0)}, {"y": case.x.dtype}
    calm = _calm(case)
    wanted = expected.eval_output(calm, *_state(calm))
    return _shaped(case, {"y": (_exact_eval(calm)["y"], wanted.radius)}), _dtypes(case, ["y"])


def _backward_eval(call: dict[str, Any], _: Any, cases: list[Case | None]) -> Any:
    case, calm = _with_dy(call, cases)
    if case.x.size == 0:
        return _empty_gradients(case)
    return _backward(_exact_eval(calm), expected.eval_gradients(calm, *_state(calm)), case)


def _initial_state(call: dict[str, Any], _: Any, cases: Any) -> Any:
    zero, dtype = np.zeros(call["channels"]), np.dtype(call["dtype"])
    values = {"running_mean": (zero, zero), "running_var": (zero + 1, zero)}
    return values, dict.fromkeys(values, dtype)


def _tangents(call: dict[str, Any], names: tuple[str, str, str], case: Case) -> further.Tangents:
    tx, tgamma, tbeta = (np.ascontiguousarray(decode_array(call[name])) for name in names)
    return further.tangent_rows(case, (tx, tgamma, tbeta))


def _jvp(call: dict[str, Any], _: Any, cases: list[Case | None]) -> Any:
    case = cases[call["saved"]]
    assert case is not None
    wanted = further.tangent(case, _tangents(call, ("tx", "tgamma", "tbeta"), case))
    return _shaped(case, {"ty": wanted[:2]}), _dtypes(case, ["ty"])


def _double(call: dict[str, Any], _: Any, cases: list[Case | None]) -> Any:
    case, _calmed = _with_dy(call, cases)
    wanted = further.seconds(case, _tangents(call, ("ddx", "ddgamma", "ddbeta"), case))
    return _shaped(case, {name: w[:2] for name, w in wanted.items()}), _dtypes(case, wanted)


def _precision(dtype: np.dtype[Any]) -> Any:
    empty = np.zeros((1, 1), dtype)
    arrays = (empty, empty, None, None, None, None)
    case = Case(Recipe(dtype=dtype.name), Conventions(), *arrays, eps=1.0, momentum=0.5)
    return expected.precision_of(case, state=True)


ARRAYS_OF_SHARDS = ("counts", "means", "variances")


def _merge_statistics(call: dict[str, Any], _: Any, cases: Any) -> Any:
    counts, means, variances = (decode_array(call[k]) for k in ARRAYS_OF_SHARDS)
    mean, var = further.merged_statistics(counts, means, variances, _precision(means.dtype))
    values = {"mean": _flat(mean), "var": _flat(var)}
    return values, dict.fromkeys(values, means.dtype)


def _flat(wanted: Wanted) -> tuple[Array, Array]:
    return wanted.value[0], wanted.radius[0]


def _merge_gradients(call: dict[str, Any], _: Any, cases: Any) -> Any:
    counts, dtype = decode_array(call["counts"]), decode_array(call["sums_dy"]).dtype
    values = {
        f"mean_{of}": _flat(
            further.merged_sums(counts, decode_array(call[f"sums_{of}"]), _precision(dtype))
        )
        for of in ("dy", "dy_xhat")
    }
    return values, dict.fromkeys(values, dtype)


def _fold(call: dict[str, Any], _: Any, cases: Any) -> Any:
    names = ("weight", "bias", "gamma", "beta", "running_mean", "running_var")
    weight, bias, gamma, beta, mean, var = (
        None if call[name] is None else decode_array(call[name]) for name in names
    )
    assert weight is not None
    assert mean is not None
    how = (len(mean), call.get("transposed", False), call.get("groups", 1))
    columns, place = (
        further.by_output(a, *how) for a in (weight, np.arange(weight.size).reshape(weight.shape))
    )
    eps, pr = decode_float(call["eps"]), _precision(weight.dtype)
    new, shift = further.folded(columns, bias, gamma, beta, mean, var, eps, pr)
    value, radius = np.empty(weight.size), np.empty(weight.size)
    value[place], radius[place] = new[:2]
    whole = value.reshape(weight.shape), radius.reshape(weight.shape)
    return {"weight": whole, "bias": _flat(shift)}, dict.fromkeys(("weight", "bias"), weight.dtype)


_EXPECTED: dict[str, Callable[..., Any]] = {
    "forward_train": _forward_train,
    "backward_train": _backward_train,
    "forward_eval": _forward_eval,
    "backward_eval": _backward_eval,
    "initial_state": _initial_state,
    "jvp_train": _jvp,
    "double_backward_train": _double,
    "merge_statistics": _merge_statistics,
    "merge_gradients": _merge_gradients,
    "fold": _fold,
}


def differing(entry: Entry) -> list[str]:
    """Return a line for each call whose stored expectation is not what is computed here.

    Values must be equal to the bit. Radii are rounded up to a few bits when they are stored; sums
    in another order may move them by one of the last of these.
    """
    lines = []
    for number, (call, fresh) in enumerate(
        zip(entry.calls, with_expected(entry.calls), strict=True)
    ):
        where = f"file={entry.file}: key={entry.key!r}: calls[{number}]"
        old, new = call["expected"], fresh["expected"]
        if old.keys() != new.keys():
            lines.append(f"{where}: expected {sorted(old)}, computed {sorted(new)}")
        lines += [
            f"{where}.expected.{name}: {why}"
            for name in old.keys() & new.keys()
            if (why := _difference(old[name], new[name]))
        ]
    return lines


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    if old["shape"] != new["shape"]:
        return f"shape={old['shape']}: computed {new['shape']}"
    (value, radius), (want, allowed) = decode_wanted(old), decode_wanted(new)
    if not np.array_equal(value, want, equal_nan=True):
        return "value: it is not the exact one rounded to the dtype"
    with np.errstate(invalid="ignore"):  # infinity less infinity
        near = np.abs(radius - allowed) <= 2.0 ** (1 - _BITS) * allowed
    same = near | (radius == allowed)
    return "" if same.all() else "radius: it is not the one that is derived"

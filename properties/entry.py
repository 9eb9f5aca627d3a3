"""A failing case as a corpus entry: the calls that were made, with every number in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from . import expected
from .cases import Case
from .contract import Array, Misbehaved, Target
from .invariants import Invariant
from .verdict import judge

_ARGUMENTS = {
    "forward_train": ("x", "gamma", "beta", "running_mean", "running_var"),
    "backward_train": ("dy", "saved"),
    "forward_eval": ("x", "gamma", "beta", "running_mean", "running_var"),
    "backward_eval": ("dy", "saved"),
    "initial_state": ("channels", "dtype"),
    "double_backward_train": ("ddx", "ddgamma", "ddbeta", "dy", "saved"),
    "jvp_train": ("tx", "tgamma", "tbeta", "saved"),
    "merge_statistics": ("counts", "means", "variances"),
    "merge_gradients": ("counts", "sums_dy", "sums_dy_xhat"),
    "fold": ("weight", "bias", "gamma", "beta", "running_mean", "running_var"),
}


def encode_array(a: Array) -> dict[str, Any]:
    """Return an array as dtype, shape, layout and C99 hexadecimal floats (integers as such)."""
    if a.dtype.kind in "iu":
        data: list[Any] = [int(v) for v in a.ravel()]
    else:
        data = [encode_float(float(v)) for v in a.astype(np.float64).ravel()]
    entry: dict[str, Any] = {"data": data, "dtype": a.dtype.name, "shape": list(a.shape)}
    if not a.flags.c_contiguous:
        entry["strides"] = list(a.strides)
    if not a.dtype.isnative:
        entry["byte_order"] = "swapped"
    return entry


def encode_float(value: float) -> str:
    """Return a float as a C99 hexadecimal float, or nan, inf, -inf."""
    return value.hex() if np.isfinite(value) else str(value)


def _encode(value: Any, forwards: list[Any]) -> Any:
    if isinstance(value, np.ndarray):
        return encode_array(value)
    if isinstance(value, float):
        return encode_float(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, np.dtype):
        return value.name
    for index, saved in enumerate(forwards):
        if saved is not None and saved is value:
            return {"call": index}
    return str(type(value).__name__)


def _saved_of(name: str, result: Any) -> Any:
    """Return what a forward saved, and None for other calls."""
    if not name.startswith("forward_") or not isinstance(result, (tuple, list)) or not result:
        return None
    return result[-1]


def entry(target: Target, invariant: Invariant, case: Case) -> dict[str, Any]:
    """Return the corpus entry of a case that fails an invariant: calls, parameters, what is right."""
    log: list[tuple[str, Any, Any, Any]] = []
    logged = replace(target, log=log)
    if invariant.inputs != "sequence":
        try:
            judge(invariant.check(logged, case))
        except Misbehaved:
            pass  # the calls up to here are what matters
    saved = [_saved_of(name, result) for name, _, _, result in log]
    calls = []
    for name, args, options, _ in log:
        given: Mapping[str, Any] = dict(zip(_ARGUMENTS[name], args, strict=False)) | options
        calls.append({"call": name, **{key: _encode(v, saved) for key, v in given.items()}})
    return {
        "sentence": f"{invariant.sentence}: {case.recipe.regime.replace('_', ' ')}, "
        f"{case.recipe.dtype} {list(case.x.shape)}",
        "source": f"found by bncheck run {target.spec} --only {invariant.name}",
        "calls": calls,
        "expected": _expected(case),
    }


def _expected(case: Case) -> dict[str, Any]:
    """Return the values that are free of conventions, each with its radius, of the plain pass."""
    if case.x.size == 0 or not np.isfinite(case.x.astype(np.float64)).all():
        return {}
    p = expected.training(case)
    wanted = {
        "mean": expected.Wanted(p.ref.mean, p.spread.mean + p.ref.bound["mean"]),
        "var": expected.Wanted(p.ref.var, p.spread.var + p.ref.bound["var"]),
        "y": expected.output(case),
        **expected.gradients(case),
    }
    return {
        name: {
            "value": encode_array(np.broadcast_to(w.value, w.value.shape)),
            "radius": encode_array(np.broadcast_to(w.radius, w.value.shape)),
        }
        for name, w in wanted.items()
    }

"""Every check of an argument: one line with name=value, what was expected and how to fix it.

Arrays are NumPy arrays (np.memmap too, but no other subclass) of float16, float32 or float64 in
either byte order. Lists, integers and masked arrays are refused, not converted: what is of another
kind or dtype with a TypeError, what has another shape or range with a ValueError.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .blocks import Array, DType, Float64, Mask

DTYPES = {2: "float16", 4: "float32", 8: "float64"}
USUAL = {"eps": "1e-5", "momentum": "0.9, the share of the old value that is kept"}


def refuse(error: type[Exception], given: str, expected: str, fix: str) -> NoReturn:
    """Raise the one line that every refusal is."""
    raise error(f"{given}: expected {expected}; {fix}")


def array(name: str, value: Any) -> Array:
    """Return a float array as plain ndarray."""
    if type(value) not in (np.ndarray, np.memmap):
        fix = f"pass np.asarray({name}), what is masked filled before"
        refuse(TypeError, f"{name}={type(value).__name__}", "a plain NumPy array", fix)
    dtype(f"{name}.dtype", value.dtype, f"convert with {name}.astype(np.float32)")
    return np.asarray(value)


def dtype(name: str, value: Any, fix: str) -> DType:
    """Return a dtype that bn computes with."""
    kind: DType = np.dtype(value)
    if kind.kind != "f" or kind.itemsize not in DTYPES:
        refuse(TypeError, f"{name}={kind}", "float16, float32 or float64", fix)
    return kind


def batch(name: str, value: Any, axes: str) -> Array:
    """Return an array of 2 to 5 dimensions."""
    x = array(name, value)
    if not 2 <= x.ndim <= 5:
        refuse(ValueError, f"{name}.ndim={x.ndim}", f"2 to 5, {axes}", f"reshape {name}")
    return x


def form(name: str, value: Any, shape: tuple[int, ...], size: int, why: str, fix: str) -> Array:
    """Return an array of this shape and of a dtype of this many bytes."""
    a = array(name, value)
    if a.shape != shape:
        refuse(ValueError, f"{name}.shape={a.shape}", f"{shape}, {why}", fix)
    if a.dtype.itemsize != size:
        fix = f"convert with {name}.astype(np.{DTYPES[size]})"
        refuse(TypeError, f"{name}.dtype={a.dtype}", f"{DTYPES[size]}, {why}", fix)
    return a


def mask(value: Any, shape: tuple[int, ...], per_activation: bool) -> Mask:
    """Return a copy of which places of x count, (n, *spatial)."""
    if per_activation:
        refuse(ValueError, "per_activation=True", "no mask", "leave the mask out")
    kind, places = getattr(value, "dtype", type(value).__name__), (shape[0], *shape[2:])
    if not isinstance(value, np.ndarray) or value.dtype != bool or value.shape != places:
        given, expected = f"mask={kind} {np.shape(value)}", f"bool {places}, x without its channels"
        refuse(ValueError, given, expected, "pass True where x counts")
    return value.copy()


def vector(name: str, value: Any, x: Array) -> Array:
    """Return one value per channel (c,), float32 for float16 x and else of x's dtype."""
    size, fix = x.dtype.itemsize, "check its length, and that axis 1 of x is the channels"
    why = f"one value per channel of {DTYPES[size]} x"
    return form(name, value, x.shape[1:2], max(4, size), why, fix)


def parameter(name: str, value: Any, x: Array, default: float) -> Float64:
    """Return a copy of one value per channel in float64, the default where it is None."""
    if value is None:
        return np.full(x.shape[1], default)
    return vector(name, value, x).astype(np.float64)


def running(mean: Any, var: Any, x: Array) -> tuple[Array, Array]:
    """Return both running statistics; NaN, which a NaN batch leaves behind, is let through."""
    for name, value in (("running_mean", mean), ("running_var", var)):
        if value is None:
            fix = "pass those of initial_state"
            refuse(ValueError, f"{name}=None", "both running statistics", fix)
    mean, var = vector("running_mean", mean, x), vector("running_var", var, x)
    variances("running_var", var)
    return mean, var


def variances(name: str, value: Array) -> None:
    """Check that nothing is negative."""
    if (value < 0).any():
        given, fix = f"{name}={float(np.nanmin(value))!r}", "check the order of the arguments"
        refuse(ValueError, given, "no negative value, a variance is a mean of squares", fix)


def number(name: str, value: Any, high: float = math.inf) -> float:
    """Return a finite number from 0 to high."""
    if isinstance(value, bool) or not isinstance(value, Real):
        refuse(TypeError, f"{name}={value!r}", "a real number", f"pass float({name})")
    if not 0 <= float(value) <= high or math.isinf(float(value)):
        expected = "a finite number >= 0" if math.isinf(high) else f"a number from 0 to {high:g}"
        refuse(ValueError, f"{name}={value!r}", expected, f"pass {USUAL[name]}")
    return float(value)


def count(name: str, value: Any, low: int) -> int:
    """Return an integer >= low."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        refuse(ValueError, f"{name}={value!r}", f"an integer >= {low}", f"check {name}")
    return int(value)


def saved(value: Any, kind: type[Any], training: bool) -> None:
    """What is saved must come from the forward that belongs to the caller."""
    if type(value) is not kind or value.training is not training:
        doors = "forward_eval", "forward_train"
        given = f"from {doors[value.training]}" if type(value) is kind else type(value).__name__
        refuse(TypeError, f"saved={given}", f"what {doors[training]} returned", "pass that")


def shards(counts: Any, **arrays: Any) -> tuple[NDArray[np.integer[Any]], list[Array]]:
    """Return counts (k,) of integers >= 0 and the arrays (k, c) of one shape and dtype."""
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu" or counts.ndim != 1 or (counts < 0).any():
        given = np.array2string(counts, threshold=6).replace("\n", "")
        expected = "integers >= 0, one per shard"
        refuse(ValueError, f"counts={given}", expected, "pass the values per channel of each")
    first = array(*next(iter(arrays.items())))
    shape, size = (len(counts), *first.shape[-1:]), first.dtype.itemsize
    why, fix = f"a row for each of {len(counts)} counts", "stack one row per shard"
    return counts, [form(name, value, shape, size, why, fix) for name, value in arrays.items()]


def ranks(name: str, parts: Any) -> list[Array]:
    """Return arrays, one per rank, that are alike but for their first axis."""
    if not isinstance(parts, Sequence) or not parts:
        given, fix = f"{name}={type(parts).__name__}", "pass a list of arrays"
        refuse(TypeError, given, "a list of one array per rank, at least one", fix)
    arrays = [array(f"{name}[{k}]", part) for k, part in enumerate(parts)]
    rest, size = arrays[0].shape[1:], arrays[0].dtype.itemsize
    for k, part in enumerate(arrays):
        shape = (*part.shape[:1], *rest)
        form(f"{name}[{k}]", part, shape, size, f"as {name}[0]", "cut axis 0 alone")
    return arrays


def state(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Array]:
    """Return copies of the arrays of a state_dict."""
    arrays: dict[str, Array] = {}
    for name, value in values.items():
        if name not in names:
            refuse(ValueError, f"state={name}", f"names out of {', '.join(names)}", "leave it out")
        arrays[name] = array(name, value).copy()
        if value.ndim != 1:
            refuse(ValueError, f"{name}.shape={value.shape}", "(channels,)", "pass a state_dict")
        like = next(iter(arrays.values()))[None]
        vector(name, value, like)
    if "running_mean" in arrays or "running_var" in arrays:
        running(arrays.get("running_mean"), arrays.get("running_var"), like)
    return arrays

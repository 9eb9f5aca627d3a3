"""Every check of an argument: one line with name=value, what was expected and how to fix it.

Arrays are NumPy arrays (np.memmap too, but no other subclass) of float16, float32 or float64 in
either byte order. Lists, integers and masked arrays are refused, not converted.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, NoReturn, overload

import numpy as np
from numpy.typing import NDArray

from .blocks import Array, DType

DTYPES = {2: "float16", 4: "float32", 8: "float64"}
FLOATS = "float16, float32 or float64"
USUAL = {"eps": "1e-5", "momentum": "0.9, the share of the old value that is kept"}


def refuse(error: type[Exception], given: str, expected: str, fix: str) -> NoReturn:
    """Raise the one line that every refusal is."""
    raise error(f"{given}: expected {expected}; {fix}")


def check_array(name: str, value: Any) -> Array:
    """Return a float array as plain ndarray."""
    kind = type(value)
    if not isinstance(value, np.ndarray):
        refuse(TypeError, f"{name}={kind.__name__}", "a NumPy array", f"pass np.asarray({name})")
    if kind not in (np.ndarray, np.memmap):
        fix = f"pass np.asarray({name}), what is masked filled before"
        refuse(TypeError, f"{name}={kind.__name__}", "a plain NumPy array", fix)
    check_dtype(f"{name}.dtype", value.dtype, f"convert with {name}.astype(np.float32)")
    return value.view(np.ndarray)


def check_dtype(name: str, dtype: Any, fix: str) -> DType:
    """Return a dtype that bn computes with."""
    kind: DType = np.dtype(dtype)
    if kind.kind != "f" or kind.itemsize not in DTYPES:
        refuse(TypeError, f"{name}={kind}", FLOATS, fix)
    return kind


def check_batch(name: str, value: Any, axes: str) -> Array:
    """Return an array of 2 to 5 dimensions."""
    array = check_array(name, value)
    if not 2 <= array.ndim <= 5:
        refuse(ValueError, f"{name}.ndim={array.ndim}", f"2 to 5, {axes}", f"reshape {name}")
    return array


def check_size(name: str, array: Array, size: int, expected: str) -> None:
    """Check the dtype."""
    if array.dtype.itemsize != size:
        fix = f"convert with {name}.astype(np.{DTYPES[size]})"
        refuse(TypeError, f"{name}.dtype={array.dtype}", f"{DTYPES[size]}, {expected}", fix)


def check_like(name: str, value: Any, shape: tuple[int, ...], x: Array) -> Array:
    """Return an array like the forward's x."""
    array = check_array(name, value)
    if array.shape != shape:
        expected = f"{shape}, the shape of x in the forward that returned saved"
        refuse(ValueError, f"{name}.shape={array.shape}", expected, "pass that forward's saved")
    check_size(name, array, x.dtype.itemsize, "the dtype of x")
    return array


def check_mask(mask: Any, shape: tuple[int, ...], per_activation: bool) -> NDArray[np.bool_]:
    """Return which places count of x of this shape, (n, s)."""
    if per_activation:
        refuse(ValueError, "per_activation=True", "no mask", "leave the mask out")
    places = (shape[0], *shape[2:])
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != places:
        given = (
            f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        )
        expected = f"bool {places}, x without its channels"
        refuse(ValueError, f"mask={given}", expected, "pass True where x counts")
    return mask.reshape(shape[0], -1).copy()


def check_vector(name: str, value: Any, x: Array) -> Array | None:
    """Return one value per channel (c,), float32 for float16 x and else of x's dtype, or None."""
    if value is None:
        return None
    array, size = check_array(name, value), x.dtype.itemsize
    if array.shape != x.shape[1:2]:
        expected = f"{x.shape[1:2]}, one value per channel"
        fix = "check its length, and that axis 1 of x is the channels"
        refuse(ValueError, f"{name}.shape={array.shape}", expected, fix)
    check_size(name, array, max(4, size), f"as x is {DTYPES[size]}")
    return array


@overload
def check_running(mean: Any, var: Any, x: Array) -> tuple[Array, Array] | None: ...
@overload
def check_running(mean: Any, var: Any, x: Array, needed: Literal[True]) -> tuple[Array, Array]: ...
def check_running(
    mean: Any, var: Any, x: Array, needed: bool = False
) -> tuple[Array, Array] | None:
    """Return both running statistics; NaN, which a NaN batch leaves behind, is let through."""
    if mean is None and var is None and not needed:
        return None
    means, variances = check_vector("running_mean", mean, x), check_vector("running_var", var, x)
    if means is None or variances is None:
        name = "running_mean" if means is None else "running_var"
        refuse(ValueError, f"{name}=None", "both running statistics", "pass those of initial_state")
    check_variances("running_var", variances)
    return means, variances


def check_variances(name: str, array: Array) -> None:
    """Check that nothing is negative."""
    if (array < 0).any():
        given, fix = f"{name}={float(np.nanmin(array))!r}", "check the order of the arguments"
        refuse(ValueError, given, "no negative value, a variance is a mean of squares", fix)


def check_number(name: str, value: Any, high: float = math.inf) -> float:
    """Return a finite number from 0 to high."""
    if isinstance(value, bool) or not isinstance(value, Real):
        refuse(TypeError, f"{name}={value!r}", "a real number", f"pass float({name})")
    number = float(value)
    if not 0 <= number <= high or math.isinf(number):
        expected = "a finite number >= 0" if math.isinf(high) else f"a number from 0 to {high:g}"
        refuse(ValueError, f"{name}={value!r}", expected, f"pass {USUAL[name]}")
    return number


def check_count(name: str, value: Any, low: int) -> int:
    """Return an integer >= low."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        refuse(ValueError, f"{name}={value!r}", f"an integer >= {low}", f"check {name}")
    return int(value)


def check_saved(saved: Any, kind: type[Any], training: bool) -> None:
    """What is saved must come from the forward that belongs to the caller."""
    if type(saved) is not kind or saved.training is not training:
        doors = "forward_eval", "forward_train"
        given = f"from {doors[saved.training]}" if type(saved) is kind else type(saved).__name__
        refuse(TypeError, f"saved={given}", f"what {doors[training]} returned", "pass that")


def check_weight(value: Any, transposed: bool, groups: Any) -> tuple[Array, Array]:
    """Return the weight and an empty batch of its output channels."""
    axes = "(out, in/groups, *k) or, transposed, (in, out/groups, *k)"
    weight, groups = check_batch("weight", value, axes), check_count("groups", groups, 1)
    if len(weight) % groups:
        expected = f"a divisor of {len(weight)}, the first axis of weight"
        refuse(ValueError, f"groups={groups}", expected, "pass that of the layer")
    channels = weight.shape[1] * groups if transposed else len(weight)
    return weight, np.empty((0, channels), weight.dtype)


def check_shards(counts: Any, **arrays: Any) -> tuple[NDArray[np.integer[Any]], list[Array]]:
    """Return counts (k,) of integers >= 0 and the arrays (k, c) of one shape and dtype."""
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu" or counts.ndim != 1 or (counts < 0).any():
        given = np.array2string(counts, threshold=6).replace("\n", "")
        expected = "integers >= 0, one per shard"
        refuse(ValueError, f"counts={given}", expected, "pass the values per channel of each")
    checked = {name: check_array(name, value) for name, value in arrays.items()}
    first, like = next(iter(checked.items()))
    for name, array in checked.items():
        if array.ndim != 2 or len(array) != len(counts) or array.shape != like.shape:
            expected = f"({len(counts)}, channels) as in counts and {first}"
            refuse(ValueError, f"{name}.shape={array.shape}", expected, "stack one row per shard")
        check_size(name, array, like.dtype.itemsize, f"the dtype of {first}")
    return counts, list(checked.values())


def check_ranks(name: str, parts: Any, count: int | None = None) -> None:
    """Check arrays, one per rank, that are alike but for their first axis."""
    if not isinstance(parts, Sequence) or not parts:
        given, fix = f"{name}={type(parts).__name__}", "pass a list of arrays"
        refuse(TypeError, given, "a list of one array per rank, at least one", fix)
    if count is not None and len(parts) != count:
        refuse(
            ValueError, f"len({name})={len(parts)}", f"{count}, as many as xs", "pass all ranks'"
        )
    arrays = [check_array(f"{name}[{k}]", part) for k, part in enumerate(parts)]
    for k, array in enumerate(arrays):
        if array.shape[1:] != arrays[0].shape[1:]:
            expected = f"(n, {', '.join(map(str, arrays[0].shape[1:]))}) as {name}[0]"
            refuse(ValueError, f"{name}[{k}].shape={array.shape}", expected, "cut axis 0 alone")
        check_size(f"{name}[{k}]", array, arrays[0].dtype.itemsize, f"as {name}[0]")


def check_state(state: Mapping[str, Any], names: Sequence[str]) -> dict[str, Array]:
    """Return copies of the arrays of a state_dict."""
    for name in state:
        if name not in names:
            refuse(ValueError, f"state={name}", f"names out of {', '.join(names)}", "leave it out")
    arrays = {name: check_array(name, value).copy() for name, value in state.items()}
    for name, array in arrays.items():
        if array.ndim != 1:
            refuse(ValueError, f"{name}.shape={array.shape}", "(channels,)", "pass a state_dict")
    for name in arrays:
        like = next(iter(arrays.values()))[None]
        check_vector(name, arrays[name], like)
        check_running(arrays.get("running_mean"), arrays.get("running_var"), like)
    return arrays

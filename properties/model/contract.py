"""What a batch norm under test offers, how it is called, and what counts as misbehaviour."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FUNCTIONS = (
    "forward_train",
    "backward_train",
    "forward_eval",
    "backward_eval",
    "initial_state",
    "double_backward_train",
    "jvp_train",
    "merge_statistics",
    "merge_gradients",
    "fold",
    "sync_forward_train",
    "sync_backward_train",
)
ALONE = ("merge_statistics", "merge_gradients", "fold", "sync_forward_train")  # a target by itself

# a layer that lives: it is made once, and keeps its own state
LAYER = ("new_layer", "run_layer", "go_back", "layer_state", "copy_layer")
COPIES = ("deepcopy", "pickle", "state")  # the last: a new layer that is given the old one's state

# what each function is given, keywords left out
ARGUMENTS = {
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
    "sync_forward_train": ("xs", "gamma", "beta", "running_mean", "running_var"),
    "sync_backward_train": ("dys", "saved"),
}

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "momentum": ("keep", "update"),
    "running_var": ("biased", "unbiased"),
    "statistics": ("per_channel", "per_activation"),
    "channel_axis": (1, -1),
    "accumulator": ("same", "float32", "float64"),
    "halves": ("float32", "own"),
    "subnormals": ("kept", "flushed"),
    "mask": ("", "places", "broadcast", "broadcast_bool", "lengths"),
    "ranks": ("equal", "unequal", "any"),
}
DTYPES = ("float32", "float64", "float16", "bfloat16")
RANKS = (2, 3, 4, 5)


class TargetError(Exception):
    """The target cannot be judged at all: one clear line, exit status 2."""


class Misbehaved(Exception):
    """The target raised or returned something of the wrong structure: a failed invariant."""


@dataclass(frozen=True)
class Conventions:
    """Where right implementations differ.

    eps and fixed_momentum are numbers where the code has them written in and ignores what is
    passed; halves says what float16 and bfloat16 are computed in: their own precision only where
    the code does not know of them, and answers in a wider dtype; mask is the form in which a mask
    is taken, out of `masks.FORMS`, and mask_ndim the numbers of dimensions that take one; ranks is
    how many samples each rank has that shares a batch: equally many, some, or any number, 0 too.
    """

    momentum: str = "keep"
    running_var: str = "biased"
    statistics: str = "per_channel"
    channel_axis: int = 1
    ndim: tuple[int, ...] = RANKS
    dtypes: tuple[str, ...] = ("float32", "float64")
    accumulator: str = "same"
    eps: float | None = None
    fixed_momentum: float | None = None
    halves: str = "float32"
    subnormals: str = "kept"
    mask: str = ""
    mask_ndim: tuple[int, ...] = ()
    ranks: str = "any"

    def rows(self, a: Array) -> Array:
        """Return a of shape (n, c, *spatial) as (values, statistics), one column per statistic."""
        if a.ndim == 2:
            return a
        if self.statistics == "per_activation":
            return a.reshape(a.shape[0], self.columns(a.shape))
        return a.transpose(0, *range(2, a.ndim), 1).reshape(-1, a.shape[1])

    def columns(self, shape: tuple[int, ...]) -> int:
        """Return the number of statistics for x of this shape."""
        return math.prod(shape[1:]) if self.statistics == "per_activation" else shape[1]

    def shaped(self, rows: Array, shape: tuple[int, ...]) -> Array:
        """Return rows as an array of this shape: the inverse of `rows`."""
        if len(shape) == 2 or self.statistics == "per_activation":
            return rows.reshape(shape)
        whole = rows.reshape(shape[0], *shape[2:], shape[1])
        return whole.transpose(0, whole.ndim - 1, *range(1, whole.ndim - 1))


def stated_conventions(mapping: Mapping[str, Any], spec: str) -> dict[str, Any]:
    """Return a target's CONVENTIONS with lists as tuples.

    Raises:
        TargetError: a key or value that design section 1 does not know.
    """
    known = [f.name for f in fields(Conventions)]
    stated: dict[str, Any] = {}
    for key, value in mapping.items():
        if key not in known:
            raise TargetError(
                f"CONVENTIONS[{key!r}] of target={spec}: expected one of {', '.join(known)}"
            )
        if key in _ALLOWED and not any(_equal(value, choice) for choice in _ALLOWED[key]):
            allowed = ", ".join(repr(choice) for choice in _ALLOWED[key])
            raise TargetError(
                f"CONVENTIONS[{key!r}]={value!r} of target={spec}: expected {allowed}"
            )
        if key in ("ndim", "dtypes", "mask_ndim"):
            choices: tuple[Any, ...] = DTYPES if key == "dtypes" else RANKS
            if not _list_out_of(value, choices):
                raise TargetError(
                    f"CONVENTIONS[{key!r}]={value!r} of target={spec}: "
                    f"expected a list out of {choices}"
                )
            value = tuple(choice for choice in choices if choice in value)
        if key == "eps" and not (isinstance(value, Real) and 0 <= float(value) < np.inf):
            raise TargetError(
                f"CONVENTIONS['eps']={value!r} of target={spec}: expected a number >= 0"
            )
        if key == "fixed_momentum" and not (isinstance(value, Real) and 0 <= float(value) <= 1):
            raise TargetError(
                f"CONVENTIONS['fixed_momentum']={value!r} of target={spec}: "
                "expected a number from 0 to 1"
            )
        stated[key] = value
    return stated


_TOLD: dict[str, tuple[str, ...]] = {
    "eps": ("fixed", "passed"),
    "fixed_momentum": ("passed",),
    "layouts": ("copied",),
    "average": ("cumulative",),
    "masked_by": ("mask", "lengths"),
    "dtypes": ("no halves",),
    "compiled": ("per shape",),
}


def told_by_adapter(stated: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Split what a target states into conventions and what its adapter knows besides.

    The latter: eps is fixed, or passed on; momentum is passed on; x and dy are copied into C order;
    the running statistics are those of all batches so far, each weighing as much; the name of the
    argument that is a mask; halves are not to be tried; each shape is compiled for; a remark for
    the user; the style in which it is written, and what each name was taken for.
    """
    told = {key: stated[key] for key, words in _TOLD.items() if stated.get(key) in words}
    told |= {k: stated[k] for k in ("remark", "style") if isinstance(stated.get(k), str)}
    return {key: value for key, value in stated.items() if key not in told}, told


def _equal(value: Any, choice: Any) -> bool:
    return type(value) is type(choice) and bool(value == choice)


def _list_out_of(value: Any, choices: tuple[Any, ...]) -> bool:
    """Return whether value is a list, tuple or set of some of the choices, at least one."""
    kind = isinstance(value, (list, tuple, set, frozenset))
    return kind and len(value) > 0 and all(any(_equal(v, c) for c in choices) for v in value)


@dataclass(frozen=True)
class Target:
    """A batch norm under test.

    offers holds function names, "float32" and the other dtypes, "rank 2" to "rank 5", "no affine",
    "no running statistics", "running statistics" (new ones come back), "dgamma", "dbeta", "empty
    batch", "one value", "mask", "masked gradients", "empty mask", "layouts" (memory order reaches
    it), "passed state" (all of it is), "cumulative average" (of all batches a layer has seen) and
    "few shapes" (it is slow on each new one); refused says why something is missing; broken holds
    what a function that exists did in its first plain call where that was a failure; remarks, what
    was noticed; crashed, which functions ended their process in their first plain call; style, the
    one that was recognised with what each name was taken for.
    """

    spec: str
    functions: Mapping[str, Callable[..., Any]]
    conventions: Conventions = field(default_factory=Conventions)
    offers: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    crashed: frozenset[str] = frozenset()
    style: str = ""


@dataclass(frozen=True)
class Trained:
    """What forward_train gave back, channel axis 1."""

    y: Array
    running_mean: Array | None
    running_var: Array | None
    saved: Any


@dataclass(frozen=True)
class Gradients:
    """What a backward gave back, channel axis 1."""

    dx: Array
    dgamma: Array | None
    dbeta: Array | None


class Raised(Misbehaved):
    """The target raised an exception."""


class Died(Misbehaved):
    """The target's process died, or had to be ended after so many seconds of waiting."""

    def __init__(self, text: str, waited: float = 0.0) -> None:
        super().__init__(text)
        self.waited = waited


class SideEffect(Misbehaved):
    """The target changed the state of its process; result is what it gave besides."""

    def __init__(self, text: str, result: Any) -> None:
        super().__init__(text)
        self.result = result


_heeded = ContextVar("side effects are heeded", default=False)
_protected = ContextVar("arguments are write-protected", default=False)


@contextmanager
def _on(flag: ContextVar[bool]) -> Iterator[None]:
    token = flag.set(True)
    try:
        yield
    finally:
        flag.reset(token)


def side_effects_heeded() -> AbstractContextManager[None]:
    """Let a change of the process's state raise `SideEffect`; elsewhere the result counts alone."""
    return _on(_heeded)


def write_protected() -> AbstractContextManager[None]:
    """Let the arguments of a target in another process lie in memory that cannot be written to."""
    return _on(_protected)


def arguments_protected() -> bool:
    """Return whether they are to lie there."""
    return _protected.get()


def call(target: Target, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function of the target; whatever it raises becomes `Misbehaved`."""
    try:
        return _called(target, name, *args, **kwargs)
    except SideEffect as error:
        if _heeded.get():
            raise
        if isinstance(error.result, Raised):
            raise error.result from error
        return error.result


def _called(target: Target, name: str, *args: Any, **kwargs: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            result = target.functions[name](*args, **kwargs)
    except KeyboardInterrupt:
        raise
    except Misbehaved:  # found out by isolation, and reported in full
        raise
    except BaseException as error:
        raise Raised(f"{name} raised {type(error).__name__}: {_first_line(error)}") from error
    return result


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "(no text)"


def _outward(target: Target, a: Array | None, keep_layout: bool) -> Array | None:
    """Return a as the target wants it: a copy of its own, channel axis moved."""
    if a is None:
        return None
    if target.conventions.channel_axis == -1 and a.ndim > 2:
        return np.ascontiguousarray(np.moveaxis(a, 1, -1))
    return a if keep_layout else a.copy()


def _inward(target: Target, a: Array) -> Array:
    if target.conventions.channel_axis == -1 and a.ndim > 2:
        return np.moveaxis(a, -1, 1)
    return a


def _parts(name: str, result: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(result, (tuple, list)):
        raise Misbehaved(f"{name} returned {type(result).__name__}: expected {count} results")
    if len(result) != count:
        raise Misbehaved(f"{name} returned {len(result)} results: expected {count}")
    return tuple(result)


def _array(name: str, what: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Return value as an array of the shape that the contract gives it."""
    if not isinstance(value, np.ndarray):
        try:
            value = np.asarray(value)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            raise Misbehaved(
                f"{name} returned {what} of type {type(value).__name__}: {_first_line(error)}"
            ) from error
    if value.shape != shape:
        raise Misbehaved(f"{name} returned {what} of shape {value.shape}: expected {shape}")
    if value.dtype.kind not in "fV" or (value.dtype.kind == "V" and value.dtype.name != "bfloat16"):
        raise Misbehaved(f"{name} returned {what} of dtype {value.dtype}: expected floats")
    return value


def _state(
    target: Target, what: str, value: Any, like: Array | None, name: str = "forward_train"
) -> Array | None:
    """Return a new running statistic; None where the target has none to give."""
    if value is None and like is not None and "running statistics" not in target.offers:
        return like.copy()  # as if it had come back as it was
    if like is None:
        if value is not None:
            raise Misbehaved(
                f"{name} returned {what}={value!r}: expected None, as it was given none"
            )
        return None
    return _array(name, what, value, like.shape)


def train(
    target: Target,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    eps: float,
    momentum: float,
    keep_layout: bool = False,
    more: Mapping[str, Any] | None = None,
) -> Trained:
    """Call forward_train on copies, or on the very arrays with keep_layout; check its results.

    more holds further arguments by name, such as a mask.
    """
    name = "forward_train"
    given = [_outward(target, x, keep_layout)]
    given += [
        a if a is None or keep_layout else a.copy()
        for a in (gamma, beta, running_mean, running_var)
    ]
    assert given[0] is not None
    options = {"eps": eps, "momentum": momentum, **(more or {})}
    result = _parts(name, call(target, name, *given, **options), 4)
    y = _inward(target, _array(name, "y", result[0], given[0].shape))
    mean = _state(target, "running_mean", result[1], running_mean)
    var = _state(target, "running_var", result[2], running_var)
    return Trained(y, mean, var, result[3])


def evaluate(
    target: Target,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array,
    running_var: Array,
    *,
    eps: float,
    keep_layout: bool = False,
) -> tuple[Array, Any]:
    """Call forward_eval likewise and return y and saved."""
    name = "forward_eval"
    given = [_outward(target, x, keep_layout)]
    given += [
        a if a is None or keep_layout else a.copy()
        for a in (gamma, beta, running_mean, running_var)
    ]
    assert given[0] is not None
    returned = call(target, name, *given, eps=eps)
    if isinstance(returned, np.ndarray) and returned.shape == given[0].shape:
        returned = returned, None  # y alone: there is nothing to go back with
    result = _parts(name, returned, 2)
    return _inward(target, _array(name, "y", result[0], given[0].shape)), result[1]


def backward(
    target: Target,
    dy: Array,
    saved: Any,
    gamma: Array | None,
    *,
    mode: str = "train",
    keep_layout: bool = False,
) -> Gradients:
    """Call backward_train or backward_eval and check its results; gamma tells their shapes."""
    name = f"backward_{mode}"
    given = _outward(target, dy, keep_layout)
    assert given is not None
    result = _parts(name, call(target, name, given, saved), 3)
    dx = _inward(target, _array(name, "dx", result[0], given.shape))
    dgamma, dbeta = (
        _parameter_gradient(target, name, what, value, gamma)
        for what, value in zip(("dgamma", "dbeta"), result[1:], strict=True)
    )
    return Gradients(dx, dgamma, dbeta)


def _parameter_gradient(
    target: Target, name: str, what: str, value: Any, gamma: Array | None
) -> Array | None:
    """Return dgamma or dbeta; None without gamma, or where the target never gives it."""
    if gamma is None or (value is None and what not in target.offers):
        return None
    return _array(name, what, value, gamma.shape)


def sync_train(
    target: Target,
    xs: Sequence[Array],
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    eps: float,
    momentum: float,
) -> Trained:
    """Call sync_forward_train on copies of the ranks' arrays; y is all of theirs, in one array."""
    name = "sync_forward_train"
    given = _of_ranks(target, xs)
    state = [None if a is None else a.copy() for a in (gamma, beta, running_mean, running_var)]
    result = _parts(name, call(target, name, given, *state, eps=eps, momentum=momentum), 4)
    y = _whole(target, name, "ys", result[0], given)
    mean = _state(target, "running_mean", result[1], running_mean, name)
    var = _state(target, "running_var", result[2], running_var, name)
    return Trained(y, mean, var, result[3])


def sync_backward(
    target: Target, dys: Sequence[Array], saved: Any, gamma: Array | None
) -> Gradients:
    """Call sync_backward_train likewise; dx is all ranks', gamma tells the shapes of the others."""
    name = "sync_backward_train"
    given = _of_ranks(target, dys)
    result = _parts(name, call(target, name, given, saved), 3)
    dgamma, dbeta = (
        None if gamma is None else _array(name, what, value, gamma.shape)
        for what, value in zip(("dgamma", "dbeta"), result[1:], strict=True)
    )
    return Gradients(_whole(target, name, "dxs", result[0], given), dgamma, dbeta)


def _of_ranks(target: Target, arrays: Sequence[Array]) -> list[Array]:
    return [a for a in (_outward(target, a, False) for a in arrays) if a is not None]


def _whole(target: Target, name: str, what: str, found: Any, like: Sequence[Array]) -> Array:
    """Return the ranks' results, one behind the other."""
    found = list(found) if isinstance(found, np.ndarray) and found.ndim else found
    if not isinstance(found, (list, tuple)) or len(found) != len(like):
        raise Misbehaved(f"{name} returned {what} of {_many(found)}: expected {len(like)} arrays")
    arrays = [
        _inward(target, _array(name, f"{what}[{k}]", one, a.shape))
        for k, (one, a) in enumerate(zip(found, like, strict=True))
    ]
    return np.concatenate(arrays)


def _many(found: Any) -> str:
    kind = type(found).__name__
    return f"{len(found)} arrays" if isinstance(found, (list, tuple)) else f"type {kind}"


def double_backward(
    target: Target, ddx: Array, ddgamma: Array, ddbeta: Array, dy: Array, saved: Any
) -> tuple[Array, Array, Array]:
    """Call double_backward_train and return its gradients by x, gamma and dy."""
    name = "double_backward_train"
    ddx_, dy_ = _outward(target, ddx, False), _outward(target, dy, False)
    assert ddx_ is not None and dy_ is not None
    result = call(target, name, ddx_, ddgamma.copy(), ddbeta.copy(), dy_, saved)
    by_x, by_gamma, by_dy = _parts(name, result, 3)
    return (
        _inward(target, _array(name, "the gradient by x", by_x, ddx_.shape)),
        _array(name, "the gradient by gamma", by_gamma, ddgamma.shape),
        _inward(target, _array(name, "the gradient by dy", by_dy, dy_.shape)),
    )


def forward_mode(target: Target, tx: Array, tgamma: Array, tbeta: Array, saved: Any) -> Array:
    """Call jvp_train and return ty."""
    tx_ = _outward(target, tx, False)
    assert tx_ is not None
    ty = call(target, "jvp_train", tx_, tgamma.copy(), tbeta.copy(), saved)
    return _inward(target, _array("jvp_train", "ty", ty, tx_.shape))


def merge(target: Target, name: str, *arrays: Array) -> tuple[Any, Array, Array]:
    """Call merge_statistics or merge_gradients and return count and the two merged rows."""
    count, first, second = _parts(name, call(target, name, *(a.copy() for a in arrays)), 3)
    shape = arrays[1].shape[1:]
    return (
        count,
        _array(name, "its second result", first, shape),
        _array(name, "its third result", second, shape),
    )


def fold(
    target: Target, weight: Array, bias: Array | None, *state: Array | None, **options: Any
) -> tuple[Array, Array]:
    """Call fold and return weight and bias."""
    given = [None if a is None else a.copy() for a in (weight, bias, *state)]
    new_weight, new_bias = _parts("fold", call(target, "fold", *given, **options), 2)
    running_mean = state[2]
    assert running_mean is not None
    return (
        _array("fold", "weight", new_weight, weight.shape),
        _array("fold", "bias", new_bias, running_mean.shape),
    )


def new_layer(
    target: Target,
    gamma: Array | None,
    beta: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    eps: float,
    momentum: float,
) -> Any:
    """Call new_layer on copies and return the layer."""
    given = [None if a is None else a.copy() for a in (gamma, beta, running_mean, running_var)]
    (layer,) = _parts("new_layer", call(target, "new_layer", *given, eps=eps, momentum=momentum), 1)
    return layer


def run_layer(target: Target, x: Array, layer: Any, training: bool, elsewhere: bool) -> Array:
    """Call run_layer, in another thread or not, and return y."""
    given = _outward(target, x, False)
    assert given is not None
    y = call(target, "run_layer", given, layer, training, elsewhere)
    return _inward(target, _array("run_layer", "y", y, given.shape))


def go_back(target: Target, dy: Array, layer: Any, gamma: Array | None) -> Gradients:
    """Call go_back, through the layer's last forward; gamma tells the shapes."""
    given = _outward(target, dy, False)
    assert given is not None
    result = _parts("go_back", call(target, "go_back", given, layer), 3)
    dx = _inward(target, _array("go_back", "dx", result[0], given.shape))
    dgamma, dbeta = (
        _parameter_gradient(target, "go_back", what, value, gamma)
        for what, value in zip(("dgamma", "dbeta"), result[1:], strict=True)
    )
    return Gradients(dx, dgamma, dbeta)


@dataclass(frozen=True)
class LayerState:
    """What a layer keeps: running statistics (c,), and its count of batches, if it has one."""

    mean: Array | None
    var: Array | None
    count: int | None


def layer_state(target: Target, layer: Any, like: Array | None) -> LayerState:
    """Call layer_state; like tells the shape of the statistics, None where there are none."""
    name = "layer_state"
    mean, var, count = _parts(name, call(target, name, layer), 3)
    if mean is None or var is None or like is None:
        return LayerState(None, None, None if count is None else int(count))
    return LayerState(
        _array(name, "running_mean", mean, like.shape).copy(),
        _array(name, "running_var", var, like.shape).copy(),
        None if count is None else int(count),
    )


def copy_layer(target: Target, layer: Any, how: str) -> Any:
    """Call copy_layer, with one of `COPIES`, and return the other layer."""
    (layer,) = _parts("copy_layer", call(target, "copy_layer", layer, how), 1)
    return layer


def initial_state(target: Target, channels: int, dtype: Any) -> tuple[Array, Array]:
    """Call initial_state and return running_mean and running_var."""
    mean, var = _parts("initial_state", call(target, "initial_state", channels, dtype), 2)
    return (
        _array("initial_state", "running_mean", mean, (channels,)),
        _array("initial_state", "running_var", var, (channels,)),
    )

"""What the parameters and attributes of somebody's batch norm stand for, told by their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from reference import styles

from ...model.contract import Array

WORDS: dict[str, tuple[str, ...]] = {
    "x": ("x", "input", "inputs", "inp", "h", "z", "data", "batch", "features"),
    "gamma": (*styles.PARAMETERS["gamma"], "g", "w", "gain"),
    "beta": (*styles.PARAMETERS["beta"], "b", "offset"),
    **styles.STATE,
    "eps": (*styles.EPS, "variance_epsilon"),
    "momentum": ("momentum", "mom", "decay", "decay_rate"),
    "training": (*styles.TRAINING, "is_train", "train_mode"),
    "inference": ("use_running_average", "inference", "deterministic", "is_eval", "evaluate"),
    "mode": ("mode",),
    "self": ("self",),
    "key": ("key", "rng", "rngs"),
    "axis_name": ("axis_name",),
    "channels": (*styles.SIZE, "n_neurons", "num_hidden", "hidden_size", "nf", "width"),
    "ndim": ("num_dims", "n_dims", "ndim", "ndims", "rank"),
    "axis": ("axis", "axes", "reduction_axes"),
    "affine": ("affine", "elementwise_affine", "use_affine", "channelwise_affine"),
    "tracked": ("track_running_stats",),
    "params": ("params", "parameters", "param", "theta", "weights"),
    "state": ("state", "stats", "batch_stats", "bn_state", "running", "buffers"),
}
# where it is kept there is nothing else that these could be
KEPT = {key: WORDS[key] for key in ("gamma", "beta")} | {
    "running_mean": (*WORDS["running_mean"], "ema_mean", "mean_ema", "mean", "mu"),
    "running_var": (*WORDS["running_var"], "ema_var", "var_ema", "var", "variance"),
}


class Unfit(Exception):
    """Something is not written in a style, and why; near says how far it got, from 0."""

    def __init__(self, why: str, near: int = 0) -> None:
        super().__init__(why)
        self.near = near


def meanings(
    function: Any, keys: Sequence[str], first: str = "", optional: bool = False
) -> dict[str, str]:
    """Return what each parameter stands for; those that have a default may stand for nothing.

    Args:
        keys: of `WORDS`, those that come into question here.
        first: what the first parameter stands for that must be given and whose name says nothing.
        optional: whether others of no known meaning are left out, though they must be given.

    Raises:
        Unfit: one that must be given has no known meaning.
    """
    found: dict[str, str] = {}
    for name, parameter in _parameters(function).items():
        key = next(
            (k for k in keys if name.lower() in WORDS[k] and k not in found.values()),
            None,
        )
        required = parameter.default is parameter.empty
        if key is None and required and first and first not in found.values():
            key = first
        if key is None and required and not optional:
            raise Unfit(f"{_name(function)} wants {name}, of no known meaning", 2)
        if key is not None:
            found[name] = key
    return found


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

    def of(called: Any, left_out: int = 0) -> dict[str, inspect.Parameter]:
        known = list(inspect.signature(called).parameters.items())[left_out:]
        return {name: p for name, p in known if p.kind not in several}

    try:
        found = of(function)
        if not found and inspect.isclass(function):  # a metaclass may hide them
            found = of(function.__init__, 1)
    except (TypeError, ValueError) as error:
        raise Unfit(f"{_name(function)} does not tell its parameters") from error
    return found


def given(function: Any, found: Mapping[str, str], values: Mapping[str, Any]) -> Any:
    """Return the positional and the named arguments of a call, by what the parameters stand for."""
    args, named, in_order = [], {}, True
    for name, parameter in _parameters(function).items():
        known = name in found and found[name] in values
        in_order &= known and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        if in_order:
            args.append(values[found[name]])
        elif known:
            named[name] = values[found[name]]
    return args, named


def modes(training: bool) -> dict[str, Any]:
    """Return the values of the parameters that say whether it trains."""
    return {
        "training": training,
        "inference": not training,
        "mode": "train" if training else "test",
    }


def told(name: str, found: Mapping[str, str]) -> str:
    """Return a call in words: what each of its parameters was taken for."""
    return f"{name}({listed(found)})"


def listed(found: Mapping[str, str]) -> str:
    """Return names in a row, with what they were taken for where that is another word."""
    return ", ".join(k if k == v else f"{k}={v}" for k, v in found.items())


def first(names: Sequence[str], there: Any) -> str | None:
    """Return the first of these names that an object has."""
    return next((name for name in names if hasattr(there, name)), None)


def uses(found: Any, root: str) -> bool:
    """Return whether a module, or the one that something is from, imports from this package."""
    if isinstance(found, ModuleType):
        held = vars(found)
    else:
        held = getattr(inspect.unwrap(found), "__globals__", {}) if callable(found) else {}
    names = (
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        for value in list(held.values())
    )
    return any(isinstance(name, str) and name.partition(".")[0] == root for name in names)


def own(found: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a module defines itself and does not begin with an underscore, or the thing."""
    if not isinstance(found, ModuleType):
        yield _name(found), found
        return
    for name, value in vars(found).items():
        made_here = not hasattr(value, "__name__")  # an instance, whose class may be from elsewhere
        if not name.startswith("_") and (
            made_here or getattr(value, "__module__", None) == found.__name__
        ):
            yield name, value


def classes(found: Any, base: type) -> list[tuple[str, Any]]:
    """Return the classes of this base and their instances, those of a module or the thing."""
    return [
        (name, value)
        for name, value in own(found)
        if (inspect.isclass(value) and issubclass(value, base)) or isinstance(value, base)
    ]


_PARTS = ("backward", "_bwd", "_fwd", "_grad", "_vjp", "_jvp", "init")


def functions(found: Any) -> list[tuple[str, Any]]:
    """Return the functions of a module, or the one; parts of a derivative and init are none."""
    return [
        (name, value)
        for name, value in own(found)
        if callable(value)
        and not inspect.isclass(value)
        and (value is found or not any(part in name.lower() for part in _PARTS))
    ]


def only(candidates: Sequence[tuple[str, Any]], read: Callable[[str, Any], Any]) -> Any:
    """Return what `read` makes of the one candidate that fits.

    Of several that fit, those count whose name has norm or bn in it.

    Raises:
        Unfit: none fits, or more than one does.
    """
    fits, why = {}, Unfit("there is none in it")
    for name, value in candidates:
        try:
            fits[name] = read(name, value)
        except Unfit as error:
            why = max(why, error, key=lambda e: e.near)
    likely = [name for name in fits if "norm" in name.lower() or "bn" in name.lower()]
    names = likely or list(fits)
    if not names:
        raise why
    if len(names) > 1:
        raise Unfit(f"{len(names)} of it: {', '.join(names[:4])}; name one with :NAME", 4)
    return fits[names[0]]


def _name(found: Any) -> str:
    return str(getattr(found, "__name__", type(found).__name__))


def channels_of(gamma: Array | None, mean: Array | None, x: Any, axis: int) -> int:
    """Return the number of channels of a call."""
    for a in (gamma, mean):
        if a is not None:
            return int(a.shape[0])
    return int(x.shape[axis])


def filled(tree: Any, values: Mapping[str, Any]) -> Any:
    """Return a pytree of JAX whose leaves are these values where their names say so.

    Each has the dimensions of the leaf that it stands for; None stands for none.
    """
    import jax

    def leaf(path: Any, old: Any) -> Any:
        value = values.get(key_of(path))
        if value is None or old.ndim == value.ndim:
            return old if value is None else value
        return value.reshape([1 if size == 1 else -1 for size in old.shape])

    return jax.tree_util.tree_map_with_path(leaf, tree)


def key_of(path: Any) -> str:
    """Return what the last name of a path in a pytree stands for, "" if it is not known."""
    for step in reversed(path):
        name = next((getattr(step, a) for a in ("key", "name") if hasattr(step, a)), None)
        if isinstance(name, str) and name not in ("value", "raw_value"):
            return next((key for key, names in KEPT.items() if name.lower() in names), "")
    return ""


def state_in(rest: Any, channels: int) -> tuple[Any, Any]:
    """Return the new running mean and variance among further results, by name or else by order."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(rest)[0]
    named = {key_of(path): leaf for path, leaf in leaves}
    plain = [leaf for path, leaf in leaves if getattr(leaf, "size", 0) == channels]
    if {"running_mean", "running_var"} <= named.keys():
        plain = [named["running_mean"], named["running_var"]]
    if len(plain) < 2:
        return None, None
    return plain[0].reshape(-1), plain[1].reshape(-1)


def flat(values: Any) -> list[Any]:
    """Return what lies in lists, tuples and mappings within each other, in a row."""
    if isinstance(values, Mapping):
        return flat(list(values.values()))
    if isinstance(values, (list, tuple)):
        return [a for value in values for a in flat(value)]
    return [values]

"""A batch norm of the contract in the style of what it stands in for, with what it is asked."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reference import styles

from ..model.contract import FUNCTIONS, Conventions
from .subjects import Functions, functions_of

FACTS = {  # what a test may show: key, and the words for it
    "gamma": "a gamma other than 1",
    "beta": "a beta other than 0",
    "backward": "a backward",
    "dy": "a dy that differs within a channel",
    "eval": "inference",
    "state": "running statistics other than 0 and 1",
    "channels": "more than one channel",
    "small": "a variance of at most 100 times eps",
    "mean": "a mean of at least 100 standard deviations",
    "single": "float32",
    "half": "float16",
    "ranks": "more than two dimensions",
    "layout": "an order of memory other than C",
    "rows": "at least 1000 values in a channel",
    "wide": "more than 16 channels",
    "one": "one value in a channel",
    "empty": "an empty batch",
}


def facts_of(function: str, args: tuple[Any, ...], options: Any) -> set[str]:
    """Return which of FACTS a call shows."""
    a = np.asarray(args[0])
    found = {"single"} if a.dtype == np.float32 else set()
    found |= {"half"} if a.dtype == np.float16 else set()
    found |= {"ranks"} if a.ndim > 2 else set()
    found |= set() if a.flags.c_contiguous else {"layout"}
    if not a.size:
        return found | {"empty"}
    rows = np.moveaxis(a, 1, -1).reshape(-1, a.shape[1]).astype(np.float64)
    if function.startswith("backward"):
        return found | {"backward"} | ({"dy"} if np.ptp(rows, axis=0).any() else set())
    _, gamma, beta, mean, var = args[:5]
    var_now = rows.var(axis=0)
    found |= {"channels"} if a.shape[1] > 1 else set()
    found |= {"wide"} if a.shape[1] > 16 else set()
    found |= {"rows"} if len(rows) >= 1000 else set()
    found |= {"one"} if len(rows) == 1 else set()
    found |= {"gamma"} if gamma is not None and np.any(np.asarray(gamma) != 1) else set()
    found |= {"beta"} if beta is not None and np.any(np.asarray(beta) != 0) else set()
    if mean is not None and (np.any(np.asarray(mean) != 0) or np.any(np.asarray(var) != 1)):
        found.add("state")
    if function == "forward_eval":
        return found | {"eval"}
    found |= {"small"} if (var_now <= 100 * options["eps"]).any() and len(rows) > 1 else set()
    if ((rows.mean(axis=0) ** 2 >= 1e4 * var_now) & (var_now > 0)).any():
        found.add("mean")
    return found


def _observed(functions: Functions, log: Path) -> Functions:
    """Return the functions, each noting in a folder what it is called with."""
    known: set[str] = set()

    def observed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            found = {"called"}
            if name in ("forward_train", "forward_eval", "backward_train", "backward_eval"):
                found |= facts_of(name, args, options)
            for fact in found - known:
                (log / fact).touch()
            known.update(found)
            return function(*args, **options)

        return call

    return {name: observed(name, function) for name, function in functions.items()}


def put(module: Any, order: dict[str, Any]) -> None:
    """Replace a name of a module by a subject in its style, and what belongs to it.

    Raises:
        AttributeError: the module has no such name.
    """
    name, log = order["name"], Path(order["log"])
    if not hasattr(module, name):
        raise AttributeError(f"{order['module']} has no {name}")
    stated: dict[str, Any] = order["conventions"]
    stated = {k: tuple(v) if isinstance(v, list) else v for k, v in stated.items()}
    conventions = Conventions(**stated)
    functions = _observed(functions_of(order["subject"], conventions), log)
    for key, value in PUT[order["style"]](module, name, functions).items():
        setattr(module, key, value)


def _contract(module: Any, name: str, functions: Functions) -> dict[str, Any]:
    return {key: functions[key] for key in FUNCTIONS if key in functions and hasattr(module, key)}


def _cs231n(module: Any, name: str, functions: Functions) -> dict[str, Any]:
    """Return forward(x, gamma, beta, bn_param) and, where the module has it, its backward."""

    def forward(x: Any, gamma: Any, beta: Any, bn_param: Any) -> Any:
        p, c = bn_param, np.shape(x)[1]
        eps, momentum = p.get("eps", 1e-5), p.get("momentum", 0.9)
        mean = p.get("running_mean", np.zeros(c, x.dtype))
        var = p.get("running_var", np.zeros(c, x.dtype))
        if p["mode"] == "test":
            y, cache = functions["forward_eval"](x, gamma, beta, mean, var, eps=eps)
        elif p["mode"] == "train":
            y, mean, var, cache = functions["forward_train"](
                x, gamma, beta, mean, var, eps=eps, momentum=momentum
            )
        else:
            raise ValueError(f"mode={p['mode']!r}: expected train or test")
        p["running_mean"], p["running_var"] = mean, var
        return y, cache

    def backward(dout: Any, cache: Any) -> Any:
        return functions["backward_train"](dout, cache)

    stem = name.replace("forward", "backward")
    backs = [key for key in (stem, f"{stem}_alt") if key != name and hasattr(module, key)]
    return {name: forward, **dict.fromkeys(backs, backward)}


def _torch(module: Any, name: str, functions: Functions) -> dict[str, Any]:
    """Return batch_norm(input, running_mean, running_var, weight, ...) over the NumPy functions."""
    made: list[Any] = []

    def batch_norm(
        input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
        training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> Any:  # fmt: skip
        import torch

        if training and input.numel() == input.shape[1]:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got {input.shape}"
            )
        if not made:
            made.append(_function(torch, functions))
        return made[0].apply(
            input, weight, bias, running_mean, running_var, training, momentum, eps
        )

    return {name: batch_norm}


def _function(torch: Any, functions: Functions) -> Any:
    def array(a: Any) -> Any:
        return None if a is None else a.detach().numpy()

    def tensor(a: Any, like: Any) -> Any:
        return None if like is None else torch.from_numpy(np.array(a)).to(like.dtype)

    class Function(torch.autograd.Function):  # type: ignore[misc,unused-ignore]
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any,
                    training: bool, momentum: float, eps: float) -> Any:  # fmt: skip
            given = [array(a) for a in (x, weight, bias, mean, var)]
            ctx.weight, ctx.training = weight, training
            if not training:
                y, ctx.cache = functions["forward_eval"](*given, eps=eps)
                return tensor(y, x)
            y, new_mean, new_var, ctx.cache = functions["forward_train"](
                *given, eps=eps, momentum=momentum
            )
            for old, new in ((mean, new_mean), (var, new_var)):
                if old is not None:
                    old.copy_(tensor(new, old))
            return tensor(y, x)

        @staticmethod
        @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator,unused-ignore]
        def backward(ctx: Any, dy: Any) -> Any:
            back = functions["backward_train" if ctx.training else "backward_eval"]
            dx, dgamma, dbeta = back(array(dy), ctx.cache)
            grads = tensor(dx, dy), tensor(dgamma, ctx.weight), tensor(dbeta, ctx.weight)
            return *grads, *[None] * 5

    return Function


def _class(module: Any, name: str, functions: Functions) -> dict[str, Any]:
    """Return a subclass that asks the user's class what it sets, and sets its own numbers there."""
    theirs = getattr(module, name)
    if not styles.is_layer(theirs):
        raise AttributeError(f"{name} has no forward and backward: expected a layer class")

    class Ours(theirs):  # type: ignore[misc,valid-type]
        def forward(self, x: Any, *args: Any, **options: Any) -> Any:
            before = copy.deepcopy(self.__dict__)
            theirs.forward(self, x, *args, **options)
            state, after = styles.state_of(_Held(before)), styles.state_of(self)
            c, moved = x.shape[1], not _same(state, after)
            gamma, beta = (_parameter(self, key) for key in ("gamma", "beta"))
            eps = next((getattr(self, k) for k in styles.EPS if hasattr(self, k)), 1e-5)
            mean, var = (state.get(k) for k in ("running_mean", "running_var"))
            if after:
                mean = np.zeros(c) if mean is None else np.asarray(mean).reshape(-1)
                var = np.zeros(c) if var is None else np.asarray(var).reshape(-1)
            if _training(theirs, self, x, args, options, moved):
                y, *new, cache = functions["forward_train"](
                    x, gamma, beta, mean, var, eps=eps, momentum=getattr(self, "momentum", 0.9)
                )
                for key, value in zip(("running_mean", "running_var"), new, strict=True):
                    held = next((k for k in styles.STATE[key] if hasattr(self, k)), None)
                    if held and value is not None:
                        setattr(self, held, value.reshape(np.shape(getattr(self, held))))
            else:
                y, cache = functions["forward_eval"](x, gamma, beta, mean, var, eps=eps)
            self.__dict__["_bncheck_cache"] = cache
            return y

        def backward(self, dout: Any, *args: Any, **options: Any) -> Any:
            result = theirs.backward(self, dout, *args, **options)
            grads = functions["backward_train"](dout, self._bncheck_cache)
            for key, value in zip(("gamma", "beta"), grads[1:], strict=True):
                for word in styles.PARAMETERS[key]:
                    for held in (f"d{word}", f"grad_{word}", f"{word}_grad"):
                        if hasattr(self, held) and value is not None:
                            setattr(self, held, value.reshape(np.shape(getattr(self, held))))
                for held in ("grads", "gradients", "grad"):
                    table = getattr(self, held, None)
                    for word in (f"d{key}", key):
                        if isinstance(table, dict) and word in table:
                            table[word] = value
            return tuple(grads[: len(result)]) if isinstance(result, tuple) else grads[0]

        __call__ = forward if "__call__" not in theirs.__dict__ else theirs.__call__

    Ours.__name__, Ours.__qualname__, Ours.__module__ = name, theirs.__qualname__, theirs.__module__
    return {name: Ours}


class _Held:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(k in a and np.array_equal(a[k], b[k]) for k in b)


def _parameter(instance: Any, key: str) -> Any:
    held = next((k for k in styles.PARAMETERS[key] if hasattr(instance, k)), None)
    return np.asarray(getattr(instance, held)).reshape(-1) if held else None


def _training(layer: Any, instance: Any, x: Any, args: Any, options: Any, moved: bool) -> bool:
    """Return whether a call trains: by its flag, or by whether the user's class moved its state."""
    bound = inspect.signature(layer.forward).bind(instance, x, *args, **options)
    bound.apply_defaults()
    for key in styles.TRAINING:
        if key in bound.arguments:
            return bool(bound.arguments[key])
        if hasattr(instance, key):
            return bool(getattr(instance, key))
    if "mode" in bound.arguments:
        return bound.arguments["mode"] == "train"
    return moved


PUT: dict[str, Callable[[Any, str, Functions], dict[str, Any]]] = {
    "contract": _contract,
    "cs231n": _cs231n,
    "class": _class,
    "torch": _torch,
}

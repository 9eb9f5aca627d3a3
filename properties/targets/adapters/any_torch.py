"""Anybody's batch norm in PyTorch as a target: a module, or a function of tensors."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction

from ...model.contract import FUNCTIONS
from . import words
from .from_torch import target
from .words import KEPT, Unfit

Found = tuple[dict[str, Callable[..., Any]], dict[str, Any], Any]
_MADE_OF = ("channels", "ndim", "eps", "momentum", "affine", "tracked")
_CALLED = ("x", "training", "inference", "mode")
_ARGUMENTS = ("gamma", "beta", "running_mean", "running_var", "eps", "momentum", *_CALLED)


def found_in(found: Any) -> Found:
    """Return the contract's functions over a module, its class or an instance, or over a function.

    A class that is called like a module counts as one, a torch.autograd.Function as a function.

    Raises:
        Unfit: there is none, several, or what it takes has no known meaning.
    """
    rules = [(n, v) for n, v in words.own(found) if _is_rule(v)]
    layers = [(n, v) for n, v in words.own(found) if _is_layer(v)]
    tried = ((layers, _module), (words.functions(found), _function), (rules, _function))
    why = Unfit("it has no module and no function of tensors")
    for candidates, read in tried:
        if candidates:
            try:
                return words.only(candidates, read)
            except Unfit as error:
                why = max(why, error, key=lambda e: e.near)
    raise why


def _is_rule(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, torch.autograd.Function)


def _is_layer(found: Any) -> bool:
    if isinstance(found, torch.nn.Module):
        return True
    named = inspect.isclass(found) and not issubclass(found, torch.autograd.Function)
    return named and ("__call__" in dir(found) or hasattr(found, "forward"))


# --- a module ------------------------------------------------------------------------------------


def _module(name: str, found: Any) -> Found:
    """Return the target that a module makes."""
    make, made_of = _maker(found)
    made, part, where = _tried(name, make)
    layer, switch = _part(made, part), words.first(words.WORDS["training"], made)
    called = words.meanings(_forward(made), _CALLED, "x")
    numbers = {
        key: words.first(words.WORDS[key], layer)
        for key in ("eps", "momentum")
        if key not in made_of.values()
    }

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        made = make(
            channels=words.channels_of(gamma, mean, x, 1),
            ndim=x.ndim,
            eps=eps,
            momentum=momentum,
            affine=gamma is not None,
            tracked=mean is not None,
        )
        if isinstance(made, torch.nn.Module):
            made.to(x.device)
        layer = _part(made, part)
        held = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        for key, number in (("eps", eps), ("momentum", momentum)):
            if numbers.get(key):
                _put(layer, str(numbers[key]), number)
        for key, attribute in where.items():
            if held[key] is not None:
                _put(layer, attribute, held[key])
        if callable(getattr(made, "train", None)):
            made.train(training)
        elif switch:
            setattr(made, switch, training)
        args, named = words.given(_forward(made), called, {"x": x, **words.modes(training)})
        y = (made if callable(made) else made.forward)(*args, **named)
        y = y[0] if isinstance(y, tuple) else y
        state = [where.get(key) for key in ("running_mean", "running_var")]
        return y, *(getattr(layer, a).flatten() if a and mean is not None else None for a in state)

    kept = {attribute: key for key, attribute in where.items()}
    kept |= {str(attribute): key for key, attribute in numbers.items() if attribute}
    say = words.told(name, made_of) if made_of else name
    say += f".{words.told('forward', called)}" if len(called) > 1 else ""
    say += f"; {words.listed(kept)}"
    fixed = "eps" not in made_of.values() and not numbers.get("eps")
    return *of_run(run, say, fixed, flagged=True), found


def _forward(made: Any) -> Any:
    return made.forward if hasattr(made, "forward") else made.__call__


def _part(made: Any, name: str) -> Any:
    return made.get_submodule(name) if name else made


def _maker(found: Any) -> tuple[Callable[..., Any], dict[str, str]]:
    """Return what makes a fresh module, and what its parameters stand for."""
    if isinstance(found, torch.nn.Module):
        return lambda **values: _copied(found, values), {}
    made_of = words.meanings(found, _MADE_OF)
    if "channels" not in made_of.values():
        raise Unfit(f"{found.__name__}(...) takes no number of channels such as num_features", 2)

    def make(**values: Any) -> Any:
        _refuse(values, made_of.values())
        args, named = words.given(found, made_of, values)
        return found(*args, **named)

    return make, made_of


def _copied(found: Any, values: Mapping[str, Any]) -> Any:
    _refuse(values, ())
    return copy.deepcopy(found)


def _refuse(values: Mapping[str, Any], taken: Any) -> None:
    """Raise NotImplementedError where gamma or the running statistics cannot be left out."""
    for key, what in (("affine", "gamma and beta"), ("tracked", "running statistics")):
        if not values[key] and key not in taken:
            raise NotImplementedError(f"a module that makes its own {what}")


def _tried(name: str, make: Callable[..., Any]) -> tuple[Any, str, dict[str, str]]:
    """Return an instance, the name of its part that has gamma, and that part's attributes.

    Raises:
        Unfit: it cannot be made, or no part has gamma and beta.
    """
    values = {"channels": 3, "eps": 0.5, "momentum": 0.25, "affine": True, "tracked": True}
    why = Unfit("")
    for ndim in (2, 4, 3, 5):
        try:
            made = make(ndim=ndim, **values)
            break
        except Exception as error:
            why = Unfit(f"{name} cannot be made: {type(error).__name__}: {error}", 3)
    else:
        raise why
    parts = made.named_modules() if isinstance(made, torch.nn.Module) else [("", made)]
    for part, layer in parts:
        where = {key: words.first(names, layer) for key, names in KEPT.items()}
        if where["gamma"] and where["beta"]:
            return made, part, {key: name for key, name in where.items() if name}
    raise Unfit(f"{name} has no weight and bias, gamma and beta, or scale and shift", 3)


def _put(layer: Any, name: str, value: Any) -> None:
    """Set a parameter, buffer or attribute, a tensor in the shape of the one that is there."""
    old = getattr(layer, name)
    if isinstance(old, torch.Tensor):
        if not torch.is_tensor(value):
            value = torch.as_tensor(value, dtype=old.dtype, device=old.device)
        if old.ndim != value.ndim:
            value = value.reshape([1 if size == 1 else -1 for size in old.shape])
    for held in (getattr(layer, "_parameters", {}), getattr(layer, "_buffers", {})):
        if name in held:
            held[name] = value
            return
    setattr(layer, name, value)


# --- a function ----------------------------------------------------------------------------------


def _function(name: str, found: Any) -> Found:
    """Return the target that a function makes."""
    rule = inspect.isclass(found)
    if rule:  # its apply takes what its forward takes, ctx apart
        old = found.setup_context is torch.autograd.Function.setup_context
        signed = partial(found.forward, None) if old else found.forward
        call = found.apply
    else:
        signed = call = found
    taken = words.meanings(signed, _ARGUMENTS, "x")
    for key in ("x", "gamma", "beta"):
        if key not in taken.values():
            raise Unfit(f"{name} takes no {key}", 1)
    tracks = {"running_mean", "running_var"} <= set(taken.values())

    def run(
        training: bool, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any
    ) -> Any:
        values = {"x": x, "gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        values |= {"eps": eps, "momentum": momentum, **words.modes(training)}
        args, named = words.given(signed, taken, values)
        y = call(*args, **named)
        y, *rest = y if isinstance(y, (tuple, list)) else (y,)
        if mean is None or not tracks:
            return y, None, None
        if mean._version or var._version:  # updated in place
            return y, mean, var
        new = [t for t in words.flat(rest) if torch.is_tensor(t) and t.numel() == mean.numel()]
        return (y, *(t.flatten() for t in new[:2])) if len(new) > 1 else (y, mean, var)

    flagged = bool({"training", "inference", "mode"} & set(taken.values()))
    return *of_run(run, words.told(name, taken), "eps" not in taken.values(), flagged), found


# --- both ----------------------------------------------------------------------------------------


def of_run(
    run: Callable[..., Any], say: str, fixed: bool, flagged: bool
) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """Return the functions of the contract, and what is known besides.

    Args:
        fixed: whether eps is written in.
        flagged: whether it is told that it infers.
    """
    by_grad = _goes_by_grad(run)

    def quiet(training: bool, *rest: Any) -> Any:
        with torch.set_grad_enabled(training or not by_grad):
            return run(training, *rest)

    def pure(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *rest: float) -> Any:
        state = (None if t is None else t.clone() for t in (mean, var))
        return run(True, x, gamma, beta, *state, *rest)[0]

    made = target(quiet, pure)
    offered = {name: getattr(made, name) for name in FUNCTIONS if hasattr(made, name)}
    offered["double_backward_train"] = partial(_second, made.double_backward_train)
    if by_grad or not flagged:
        del offered["backward_eval"]
    if not by_grad and not flagged:
        del offered["forward_eval"]
    return offered, {"style": say, "dtypes": "no halves"} | ({"eps": "fixed"} if fixed else {})


def _second(double_backward: Callable[..., Any], *given: Any) -> Any:
    """Return the second derivative, where no rule written by hand is in between.

    The numbers that such a rule has kept count as constants for PyTorch.
    """
    waiting, seen = [given[-1][1].grad_fn], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, BackwardCFunction):
            raise NotImplementedError("a torch.autograd.Function: its backward has none of its own")
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return double_backward(*given)


def _goes_by_grad(run: Callable[..., Any]) -> bool:
    """Return whether torch.no_grad() is what tells it to infer, as in Dive into Deep Learning."""
    for shape in ((4, 3), (4, 3, 2, 2), (4, 3, 2), (4, 3, 2, 2, 2)):
        x = torch.arange(4.0 * 3 * 2 ** (len(shape) - 2)).reshape(shape)
        found = []
        try:
            for on in (True, False):
                state = (torch.full((3,), value) for value in (1.0, 0.0, 8.0, 3.0))
                with torch.set_grad_enabled(on):
                    found.append(run(False, x, *state, 0.5, 0.25)[0].detach())
        except Exception:
            continue
        return not torch.equal(*map(torch.nan_to_num, found))
    return False

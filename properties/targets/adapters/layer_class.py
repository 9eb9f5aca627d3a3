"""A NumPy layer class as a target: one new instance per forward, which is what it saves."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from reference import styles

from ...model.contract import Array
from ...model.living import living
from .words import Unfit, meanings, own, told


def found_in(found: Any) -> tuple[dict[str, Callable[..., Any]], dict[str, Any], Any]:
    """Return the contract's functions over a layer class, what is known of it besides, and it.

    An eps that it does not take is marked as fixed, for the probe to find out.

    Raises:
        Unfit: there is no such class, or more than one.
    """
    layers = [value for _, value in own(found) if styles.is_layer(value)]
    if len(layers) != 1:
        several = f"{len(layers)} layer classes; name one with :NAME"
        raise Unfit(several if layers else "no class with forward and backward", 2 * bool(layers))
    layer = layers[0]

    def forward_train(
        x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float, momentum: float
    ) -> Any:
        values = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        instance = styles.made(layer, {**values, "eps": eps, "momentum": momentum})
        y = styles.called(instance, x, True)
        state = {} if mean is None else styles.state_of(instance)
        return y, state.get("running_mean"), state.get("running_var"), instance

    def forward_eval(x: Array, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float) -> Any:
        values = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_var": var}
        instance = styles.made(layer, {**values, "eps": eps})
        return styles.called(instance, x, False), instance

    def backward_train(dy: Array, saved: Any) -> Any:
        return styles.gone_back(saved, dy)

    def backward_eval(dy: Array, saved: Any) -> Any:
        try:
            return styles.gone_back(saved, dy)
        except AttributeError as error:  # what a forward in training would have left
            raise NotImplementedError(f"no backward of inference: {error}") from error

    functions: dict[str, Callable[..., Any]] = {
        "forward_train": forward_train,
        "backward_train": backward_train,
        "forward_eval": forward_eval,
        "backward_eval": backward_eval,
        **living(partial(_Living, layer)),
    }
    known: dict[str, Any] = {"style": _taken(layer)}
    known |= {} if styles.takes_eps(layer) else {"eps": "fixed"}
    if _averages_cumulatively(layer):
        known |= {"average": "cumulative", "fixed_momentum": 0.0}  # of the first batch
    return functions, known | ({"remark": _AT_ZERO} if _starts_at_zero(layer) else {}), layer


def _taken(layer: Any) -> str:
    """Return in words what is called, and with what."""
    keys = ("channels", "gamma", "beta", "running_mean", "running_var", "eps", "momentum")
    made = told(layer.__name__, meanings(layer, keys, optional=True))
    flag = meanings(layer.forward, ("self", "x", "training", "mode"), "x", optional=True)
    return f"{made}, {told('forward', {k: v for k, v in flag.items() if v != 'self'})}, backward"


class _Living:
    """An instance of a class that is made once and keeps its state."""

    def __init__(self, layer: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any):
        self.layer, self.values = layer, {"gamma": gamma, "beta": beta, **options}
        if mean is not None:
            self.values |= {"running_mean": mean, "running_var": var}
        self.instance = styles.made(layer, self.values)

    def run(self, x: Array, training: bool) -> Any:
        return styles.called(self.instance, x, training)

    def back(self, dy: Array) -> Any:
        return styles.gone_back(self.instance, dy)

    def state(self) -> Any:
        state = styles.state_of(self.instance)
        count = styles.count_of(self.instance)
        return state.get("running_mean"), state.get("running_var"), count

    def another(self, how: str) -> _Living:
        if how == "deepcopy":
            return copy.deepcopy(self)
        if how == "pickle":
            found: _Living = pickle.loads(pickle.dumps(self))
            return found
        other = copy.copy(self)
        other.instance = styles.made(self.layer, {**self.values, **styles.state_of(self.instance)})
        styles.set_count(other.instance, styles.count_of(self.instance))
        return other


def _averages_cumulatively(layer: Any) -> bool:
    """Return whether the statistics after k batches are the means of the k batches'.

    Three batches are shown: the first weighs 1, the second 1/2, the third 1/3. The layers that are
    told apart by it differ by whole numbers; no verdict rests on its resolution.
    """
    x = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 0.0]])
    try:
        values = {"running_mean": np.ones(2), "running_var": np.ones(2)}
        instance = styles.made(layer, {"gamma": np.ones(2), "beta": np.zeros(2), **values})
        for k, batch in enumerate((x, 2 * x + 1, 5 - x), 1):
            styles.called(instance, batch.copy(), True)
            wanted = np.mean([x.mean(0), (2 * x + 1).mean(0), (5 - x).mean(0)][:k], axis=0)
            if np.abs(styles.state_of(instance)["running_mean"] - wanted).max() > 1e-6:
                return False
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return True


_AT_ZERO = "its own running variance starts at 0, so early inference divides by too little"


def _starts_at_zero(layer: Any) -> bool:
    """Return whether a running variance that the class starts itself starts at 0.

    Two equal batches b from a start s give v1 = k s + (1 - k) b and v2 = k v1 + (1 - k) b.
    """
    x = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 0.0]])
    try:
        instance = styles.made(layer, {"gamma": np.ones(2), "beta": np.zeros(2)})
        first, second = (_variance_after(instance, x.copy()) for _ in range(2))
        batch = x.var(axis=0) * (1.5 if np.all(second > x.var(axis=0)) else 1.0)
        with np.errstate(all="ignore"):
            keep = (second - batch) / (first - batch)
            start = (first - (1 - keep) * batch) / keep
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return start.shape == (2,) and bool(np.all(np.abs(start) < 1e-6))


def _variance_after(instance: Any, x: Array) -> Array:
    styles.called(instance, x, True)
    return np.array(styles.state_of(instance)["running_var"], dtype=np.float64)

"""Layers that live, over the functions of the contract: a right one, and wrong ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ..model.contract import Array

Functions = dict[str, Callable[..., Any]]


class Layer:
    """A layer with parameters, running statistics and a count of the batches it has seen."""

    cumulative = False  # whether each batch weighs as much as any other

    def __init__(
        self, functions: Functions, update: bool, *arrays: Any, eps: float, momentum: float
    ) -> None:
        self.functions, self.update = functions, update
        self.gamma, self.beta, self.mean, self.var = arrays
        self.eps, self.momentum, self.count = eps, momentum, 0
        self.saved: Any = None
        self.mode = "train"

    def _momentum(self) -> float:
        if not self.cumulative:
            return self.momentum
        return 1 / self.count if self.update else (self.count - 1) / self.count

    def train(self, x: Array) -> Array:
        """Normalize with the statistics of x, and average them in."""
        self.count += 1
        y, self.mean, self.var, self.saved = self.functions["forward_train"](
            x, self.gamma, self.beta, self.mean, self.var, eps=self.eps, momentum=self._momentum()
        )
        self.mode = "train"
        return y

    def infer(self, x: Array) -> Array:
        """Normalize with the running statistics."""
        y, self.saved = self.functions["forward_eval"](
            x, self.gamma, self.beta, self.mean, self.var, eps=self.eps
        )
        self.mode = "eval"
        return y

    def run(self, x: Array, training: bool) -> Array:
        """Train or infer."""
        return (self.train if training else self.infer)(x)

    def state(self) -> Any:
        """Return the running statistics and the count of batches."""
        return self.mean, self.var, self.count

    def back(self, dy: Array) -> Any:
        """Return dx, dgamma and dbeta of the last forward."""
        return self.functions[f"backward_{self.mode}"](dy, self.saved)

    def another(self, how: str) -> Layer:
        """Return a copy, or a new layer with this one's state."""
        if how != "state":
            return copy.deepcopy(self)
        arrays = (self.gamma, self.beta, self.mean, self.var)
        options = {"eps": self.eps, "momentum": self.momentum}
        other = type(self)(self.functions, self.update, *arrays, **options)
        other.count = self.count
        return other

    def __deepcopy__(self, memory: Any) -> Layer:
        other = copy.copy(self)
        held = ("gamma", "beta", "mean", "var")
        for name in held:
            setattr(other, name, copy.deepcopy(getattr(self, name)))
        return other


class Cumulative(Layer):
    """The running statistics are the means of those of all batches so far."""

    cumulative = True


class RecomputesInBackward(Layer):
    """Keeps x alone, and runs its forward in training again when it goes back."""

    def train(self, x: Array) -> Array:
        self.x = x
        return super().train(x)

    def back(self, dy: Array) -> Any:
        if self.mode == "train":
            super().train(self.x)
        return super().back(dy)


class AveragesInBackward(Layer):
    """Averages the statistics in when it goes back, and not before."""

    def train(self, x: Array) -> Array:
        held = self.mean, self.var, self.count
        y = super().train(x)
        self.pending = self.mean, self.var, self.count
        self.mean, self.var, self.count = held
        return y

    def back(self, dy: Array) -> Any:
        if self.mode == "train":
            self.mean, self.var, self.count = self.pending
        return super().back(dy)


class AveragesInInference(Layer):
    """Averages the statistics of x in when it infers, too."""

    def infer(self, x: Array) -> Array:
        y = super().infer(x)
        saved = self.saved
        self.train(x)
        self.saved, self.mode = saved, "eval"
        return y


class SharesItsState(Layer):
    """Averages in place, and its copies have the very arrays."""

    def train(self, x: Array) -> Array:
        mean, var = self.mean, self.var
        y = super().train(x)
        if mean is not None:
            mean[...], var[...] = self.mean, self.var
            self.mean, self.var = mean, var
        return y

    def another(self, how: str) -> Layer:
        return copy.copy(self)


class ForgetsItsCount(Cumulative):
    """A new layer that is given the state starts to count again."""

    def another(self, how: str) -> Layer:
        other = super().another(how)
        if how == "state":
            other.count = 0
        return other


class CountsOneTooMany(Cumulative):
    """The first batch weighs a half, the second a third."""

    def _momentum(self) -> float:
        return 1 / (self.count + 1) if self.update else self.count / (self.count + 1)

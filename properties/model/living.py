"""A layer that lives as functions of the contract: an object that is made once, and then called."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from .contract import Array


class Living(Protocol):
    """A layer that is made once and keeps its own state."""

    def run(self, x: Array, training: bool) -> Any:
        """Return y; training moves the state."""

    def back(self, dy: Array) -> Any:
        """Return dx, dgamma and dbeta of the last forward."""

    def state(self) -> Any:
        """Return running_mean, running_var and the count of batches, None where not counted."""

    def another(self, how: str) -> Any:
        """Return a copy, in one of the ways of `contract.COPIES`."""


def living(make: Callable[..., Living]) -> dict[str, Any]:
    """Return the functions of a layer that lives, those of `contract.LAYER`.

    Args:
        make: (gamma, beta, running_mean, running_var, *, eps, momentum) -> layer.
    """

    def run_layer(x: Array, layer: Living, training: bool, elsewhere: bool) -> Any:
        if not elsewhere:
            return layer.run(x, training)
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(layer.run, x, training).result()

    return {
        "new_layer": lambda *arrays, **options: (make(*arrays, **options),),
        "run_layer": run_layer,
        "go_back": lambda dy, layer: layer.back(dy),
        "layer_state": lambda layer: layer.state(),
        "copy_layer": lambda layer, how: (layer.another(how),),
    }

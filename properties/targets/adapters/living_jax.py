"""A layer of JAX as a layer that lives: its state is what each call returns."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...model.living import living as contract_functions


@dataclass(frozen=True)
class Pure:
    """A layer as a pure function of x and its parameters.

    call: (x, parameters, state, training) -> y, state; read: state -> running_mean, running_var;
    parameters are gamma and beta, or none.
    """

    call: Callable[..., Any]
    parameters: tuple[Any, ...]
    state: Any
    read: Callable[[Any], Any]


class Living:
    """A pure layer, its present state, and the backward of its last forward."""

    def __init__(self, pure: Pure) -> None:
        self.pure, self.pullback = pure, None

    def run(self, x: Any, training: bool) -> Any:
        """Return y, and put the new state in place of the old one."""
        pure = self.pure

        def of(x: Any, parameters: Any) -> Any:
            return pure.call(x, parameters, pure.state, training)

        y, self.pullback, state = jax.vjp(of, _own(x), pure.parameters, has_aux=True)
        if training:
            self.pure = replace(pure, state=state)
        return np.asarray(y)

    def back(self, dy: Any) -> Any:
        """Return the gradients by x and the parameters."""
        assert self.pullback is not None
        dx, of_parameters = self.pullback(_own(dy))
        return np.asarray(dx), *(of_parameters or (None, None))

    def state(self) -> Any:
        """Return the running statistics; there is no count."""
        return *map(np.asarray, self.pure.read(self.pure.state)), None

    def another(self, how: str) -> Living:
        """Return a copy of the state by this way, in a layer of its own."""
        leaves, shape = jax.tree.flatten(self.pure.state)
        if how == "deepcopy":
            leaves = copy.deepcopy(leaves)
        elif how == "pickle":
            leaves = pickle.loads(pickle.dumps(leaves))
        else:
            leaves = [jnp.array(np.array(a)) for a in leaves]
        return Living(replace(self.pure, state=jax.tree.unflatten(shape, leaves)))


def _own(a: Any) -> Any:
    return jnp.array(a.astype(a.dtype.newbyteorder("=")))


def living(make: Callable[..., Pure]) -> dict[str, Any]:
    """Return the functions of a layer that lives.

    Args:
        make: (gamma, beta, running_mean, running_var, eps, momentum), arrays of JAX -> layer.
    """

    def made(*arrays: Any, eps: float, momentum: float) -> Living:
        held = (None if a is None else _own(a) for a in arrays)
        return Living(make(*held, eps, momentum))

    return contract_functions(made)

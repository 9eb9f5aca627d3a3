"""A layer of JAX as a layer that lives: its state is what each call returns, all is compiled."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...model.living import living as contract_functions
from .from_jax import SHAPES


class Pure(NamedTuple):
    """A layer as pure functions; its parameters are gamma and beta, or none.

    start: (gamma, beta, running_mean, running_var) -> state, a tree of arrays.
    call: (training, x, parameters, state, eps, momentum) -> y, state.
    read: state -> running_mean, running_var and the count of batches, None where not counted.
    """

    start: Callable[..., Any]
    call: Callable[..., Any]
    read: Callable[[Any], Any]


def living(pure: Pure) -> dict[str, Any]:
    """Return the functions of a layer that lives; a call is compiled once for each shape."""
    run = jax.jit(pure.call, static_argnums=0)

    def gradients(training: bool, x: Any, parameters: Any, rest: Any, dy: Any) -> Any:
        def output(x: Any, parameters: Any) -> Any:
            return pure.call(training, x, parameters, *rest)[0]

        return jax.vjp(output, x, parameters)[1](dy)

    return contract_functions(partial(Living, pure, run, jax.jit(gradients, static_argnums=0)))


class Living:
    """A pure layer, its present state, and what its last forward was called with."""

    def __init__(
        self, pure: Pure, run: Any, gradients: Any, *arrays: Any, eps: float, momentum: float
    ) -> None:
        held = [None if a is None else _own(a) for a in arrays]
        self.pure, self.compiled, self.gradients = pure, run, gradients
        self.parameters = () if held[0] is None else tuple(held[:2])
        self.now, self.numbers = pure.start(*held), (eps, momentum)
        self.last: Any = None

    def run(self, x: Any, training: bool) -> Any:
        """Return y, and put the new state in place of the old one."""
        SHAPES.seen(x, *self.parameters)
        self.last = training, _own(x), self.parameters, (self.now, *self.numbers)
        training, x, parameters, rest = self.last
        y, self.now = self.compiled(training, x, parameters, *rest)
        self.dtype = y.dtype  # of what goes back; not always x's
        return np.asarray(y)

    def back(self, dy: Any) -> Any:
        """Return the gradients by x and the parameters."""
        dx, of_parameters = self.gradients(*self.last, _own(dy).astype(self.dtype))
        return np.asarray(dx), *(of_parameters or (None, None))

    def state(self) -> Any:
        """Return the running statistics and the count of batches."""
        mean, var, count = self.pure.read(self.now)
        return np.asarray(mean), np.asarray(var), count

    def another(self, how: str) -> Living:
        """Return a copy of the state by this way, in a layer of its own."""
        leaves, shape = jax.tree.flatten(self.now)
        if how == "deepcopy":
            leaves = copy.deepcopy(leaves)
        elif how == "pickle":
            leaves = pickle.loads(pickle.dumps(leaves))
        else:
            leaves = [jnp.array(np.array(a)) for a in leaves]
        other = copy.copy(self)
        other.now, other.last = jax.tree.unflatten(shape, leaves), None
        return other


def _own(a: Any) -> Any:
    return jnp.array(a.astype(a.dtype.newbyteorder("=")))

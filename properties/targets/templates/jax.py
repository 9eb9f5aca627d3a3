"""An adapter for bncheck: a function in JAX; bncheck run THIS_FILE.py checks it.

Edit what is marked. Most functions run without an adapter: bncheck run YOUR_FILE.py:batch_norm.
"""

from functools import partial

import jax
import jax.numpy as jnp

# --- yours


def batch_norm(params, state, x, train, eps, momentum):
    mean, var = state["mean"], state["var"]
    if train:
        mean, var = jnp.mean(x, axis=0), jnp.var(x, axis=0)
        state = {
            "mean": momentum * state["mean"] + (1 - momentum) * mean,
            "var": momentum * state["var"] + (1 - momentum) * var,
        }
    return params["scale"] * (x - mean) / jnp.sqrt(var + eps) + params["bias"], state


# --- the adapter
# what it takes; few shapes are tried, as each is compiled for
CONVENTIONS = {"ndim": [2], "dtypes": ["float32"], "compiled": "per shape"}


def output(leaves, rest):  # edit: what yours takes and returns
    (x, gamma, beta), (train, mean, var, eps, momentum) = leaves, rest
    params, state = {"scale": gamma, "bias": beta}, {"mean": mean, "var": var}
    y, state = batch_norm(params, state, x, train, eps, momentum)
    return y, (state["mean"], state["var"])


@partial(jax.jit, static_argnums=0)
def forward(train, leaves, rest):
    return output(leaves, (train, *rest))


@partial(jax.jit, static_argnums=0)
def backward(train, leaves, rest, dy):
    return jax.vjp(lambda p: output(p, (train, *rest))[0], leaves)[1](dy)[0]


def native(a):
    return a.astype(a.dtype.name)  # a copy in the machine's byte order


def run(train, x, gamma, beta, *rest):
    if gamma is None or rest[0] is None:
        raise NotImplementedError("without gamma and beta, or without running statistics")
    saved = train, (native(x), gamma.copy(), beta.copy()), rest
    y, state = forward(*saved)
    return y, *state, saved


def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    return run(True, x, gamma, beta, running_mean, running_var, eps, momentum)


def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    y, _, _, saved = run(False, x, gamma, beta, running_mean, running_var, eps, 0.9)
    return y, saved


def backward_train(dy, saved):
    return backward(*saved, native(dy))


backward_eval = backward_train

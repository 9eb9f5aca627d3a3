"""How the batch norms that stand on JAX are called by their own users."""

from __future__ import annotations

from .frameworks_common import GIVEN, STATE, X64, Given, wanted


def _jax(g: Given, module: str, run: tuple[str, ...], **state: str) -> list[str]:
    """Return lines whose `run` defines f(x, gamma, beta) -> y, state; state names parts of it."""
    lines = [f"import jax, jax.numpy as jnp, {module}"]
    lines += [X64] if "float64" in (g.dtype, g.state) else []
    arrays = [
        "None" if text == "None" else f'jnp.array({text}, "{g.state}")'
        for text in (g.gamma, g.beta, g.mean, g.var)
    ]
    lines.append(f'x = jnp.array({g.x}, "{g.dtype}")')
    lines += [f"gamma, beta, mean, var = {', '.join(arrays)}", *run]
    if g.dy == "None":
        lines.append("y, state = jax.jit(f)(x, gamma, beta)")
    else:
        lines += [
            "back = jax.jit(lambda dy: jax.vjp(lambda *p: f(*p)[0], x, gamma, beta)[1](dy))",
            f'dx, dgamma, dbeta = back(jnp.array({g.dy}, "{g.dtype}"))',
        ]
    return lines + wanted(g, {**GIVEN, **state})


def linen(g: Given) -> list[str] | None:
    """Return the lines for flax.linen.BatchNorm."""
    params = '{"scale": gamma, "bias": beta}' if g.affine else "{}"
    bn = (
        f"bn = nn.BatchNorm({not g.training}, momentum={g.momentum}, epsilon={g.eps}, "
        f'dtype="{g.dtype}", use_scale={g.affine}, use_bias={g.affine})'
    )
    given = f'{{"params": {params}, "batch_stats": {{"mean": mean, "var": var}}}}'
    run = (
        bn,
        "def f(x, gamma, beta):",
        f'    return bn.apply({given}, x, mutable=["batch_stats"])',
    )
    names = {q: f'state["batch_stats"]["{name}"]' for q, name in STATE.items()}
    return _jax(g, "flax.linen as nn", run, **names)


def nnx(g: Given) -> list[str] | None:
    """Return the lines for flax.nnx.BatchNorm."""
    made = (
        f"    bn = nnx.BatchNorm({g.channels}, momentum={g.momentum}, epsilon={g.eps}, "
        f'dtype="{g.dtype}", use_scale={g.affine}, use_bias={g.affine}, rngs=nnx.Rngs(0))'
    )
    pairs = "(bn.mean, mean), (bn.var, var)"
    pairs += ", (bn.scale, gamma), (bn.bias, beta)" if g.affine else ""
    run = (
        "def f(x, gamma, beta):",
        made,
        f"    for held, a in ({pairs}): held.set_value(a)",
        f"    return bn(x, {not g.training}), (bn.mean.get_value(), bn.var.get_value())",
    )
    names = {"running_mean": "state[0]", "running_var": "state[1]"}
    return _jax(g, "flax.nnx as nnx", run, **names)


def haiku(g: Given) -> list[str] | None:
    """Return the lines for haiku.BatchNorm in training."""
    if not g.training or g.quantity in STATE:
        return None
    made = f"hk.BatchNorm({g.affine}, {g.affine}, {g.momentum}, {g.eps})(x, True)"
    wide = (1,) * (g.rank - 1) + (-1,)
    given = f'{{"scale": gamma.reshape{wide}, "offset": beta.reshape{wide}}}' if g.affine else "{}"
    run = (
        f"bn = hk.transform_with_state(lambda x: {made})",
        "fresh = bn.init(None, x)[1]",
        "def f(x, gamma, beta):",
        f'    return bn.apply({{"batch_norm": {given}}}, fresh, None, x)',
    )
    return _jax(g, "haiku as hk", run)


def equinox(g: Given, mode: str) -> list[str] | None:
    """Return the lines for equinox.nn.BatchNorm in one of its modes."""
    hidden = mode == "batch" and (g.quantity in STATE or not g.training)
    if hidden or g.mean == "None":
        return None  # what mode batch keeps is no running mean and variance as the others have it
    made = (
        f'eqx.nn.make_with_state(eqx.nn.BatchNorm)({g.channels}, "batch", {g.eps}, {g.affine}, '
        f'{g.momentum}, dtype="{g.state}", mode="{mode}")'
    )
    held = "eqx.tree_at(lambda n: (n.weight, n.bias), bn, (gamma, beta))" if g.affine else "bn"
    axes = "in_axes=(0, None), out_axes=(0, None)"
    call = f"lambda a, s: {held}(a, s, inference={not g.training})"
    state = "state.get(bn.ema_state_index)"
    kept = (
        "fresh = fresh.set(bn.ema_first_time_index, jnp.array(False))"
        ".set(bn.ema_state_index, (mean, var))"
    )
    run = (
        f"bn, fresh = {made}",
        *((kept,) if mode == "ema" else ()),
        "def f(x, gamma, beta):",
        f'    return jax.vmap({call}, axis_name="batch", {axes})(x, fresh)',
    )
    names = {"running_mean": f"{state}[0]", "running_var": f"{state}[1]"}
    return _jax(g, "equinox as eqx", run, **names)

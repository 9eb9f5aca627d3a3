"""Flax: flax.nnx.BatchNorm with its defaults."""

from __future__ import annotations

from typing import Any

from flax import nnx

from .from_jax import target
from .living_nnx import living_of

CONVENTIONS = {"momentum": "keep", "statistics": "per_channel", "channel_axis": -1}


def layer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> nnx.BatchNorm:
    """Return a layer that holds these parameters and statistics, of which it always has some."""
    if mean is None:
        raise TypeError("flax.nnx.BatchNorm keeps running statistics: expected arrays")
    affine = gamma is not None
    norm = nnx.BatchNorm(
        x.shape[-1], dtype=x.dtype, use_scale=affine, use_bias=affine, rngs=nnx.Rngs(0), **options
    )
    norm.mean.set_value(mean)
    norm.var.set_value(var)
    if affine:
        norm.scale.set_value(gamma)
        norm.bias.set_value(beta)
    return norm


def train(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any, mask: Any = None
) -> Any:
    """Return y and the new running statistics."""
    norm = layer(x, gamma, beta, mean, var, epsilon=eps, momentum=momentum)
    y = norm(x, use_running_average=False, mask=None if mask is None else mask[..., None])
    return y, norm.mean.get_value(), norm.var.get_value()


def infer(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any) -> Any:
    """Return y at the running statistics."""
    return layer(x, gamma, beta, mean, var, epsilon=eps)(x, use_running_average=True)


def initial_state(channels: int, dtype: Any) -> Any:
    """Return the running statistics of a new layer."""
    norm = nnx.BatchNorm(channels, rngs=nnx.Rngs(0))
    return norm.mean.get_value().astype(dtype), norm.var.get_value().astype(dtype)


TARGET = target(
    train,
    infer,
    masks=True,
    CONVENTIONS=CONVENTIONS,
    initial_state=initial_state,
    **living_of(layer),
)

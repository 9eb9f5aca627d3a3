"""What each adapter is held against: a direct call of the framework, and where an error goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Direct = Callable[..., Any]


# --- a call in training: (x, gamma, beta, mean, var, eps, momentum) -> y -----


def _torch(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float) -> Any:
    import torch

    args = [torch.from_numpy(a.copy()) for a in (x, mean, var, gamma, beta)]
    y = torch.nn.functional.batch_norm(*args, training=True, momentum=momentum, eps=eps)
    return y.numpy()


def _torch_layer(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    import torch

    layer = torch.nn.BatchNorm2d(3, eps=eps, momentum=momentum)
    layer.weight.data[:], layer.bias.data[:] = torch.from_numpy(gamma), torch.from_numpy(beta)
    return layer(torch.from_numpy(x)).detach().numpy()


def _torch_last(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    import torch

    g, b = torch.from_numpy(gamma), torch.from_numpy(beta)
    x = torch.from_numpy(x).to(memory_format=torch.channels_last)
    return torch.nn.functional.batch_norm(x, None, None, g, b, True, momentum, eps).numpy()


def _torch_compiled(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    import torch

    def call(x: Any, g: Any, b: Any, mean: Any, var: Any) -> Any:
        return torch.nn.functional.batch_norm(x, mean, var, g, b, True, momentum, eps)

    args = [torch.from_numpy(a.copy()) for a in (x, gamma, beta, mean, var)]
    return torch.compile(call, dynamic=True)(*args).numpy()


def _linen(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float) -> Any:
    import flax.linen as nn
    import jax

    def call(x: Any, params: Any, stats: Any, eps: Any, momentum: Any) -> Any:
        layer = nn.BatchNorm(use_running_average=False, epsilon=eps, momentum=momentum)
        return layer.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])[0]

    params, stats = {"scale": gamma, "bias": beta}, {"mean": mean, "var": var}
    return jax.jit(call)(x, params, stats, eps, momentum)


def _linen_in_shards(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    import flax.linen as nn
    import jax

    layer = nn.BatchNorm(
        use_running_average=False, epsilon=eps, momentum=momentum, axis_name="batch"
    )
    params, stats = {"scale": gamma, "bias": beta}, {"mean": mean, "var": var}
    variables = {"params": params, "batch_stats": stats}
    call = jax.pmap(
        lambda a: layer.apply(variables, a, mutable=["batch_stats"])[0], axis_name="batch"
    )
    return np.asarray(call(x.reshape(3, 2, *x.shape[1:]))).reshape(x.shape)


def _nnx(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float) -> Any:
    import jax
    from flax import nnx

    def call(x: Any, gamma: Any, beta: Any, eps: Any, momentum: Any) -> Any:
        layer = nnx.BatchNorm(3, epsilon=eps, momentum=momentum, rngs=nnx.Rngs(0))
        layer.scale[...], layer.bias[...] = gamma, beta
        return layer(x)

    return jax.jit(call)(x, gamma, beta, eps, momentum)


def _haiku(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float) -> Any:
    import haiku as hk
    import jax

    def call(x: Any, gamma: Any, beta: Any, eps: Any, momentum: Any) -> Any:
        norm = hk.transform_with_state(
            lambda a: hk.BatchNorm(True, True, momentum, eps)(a, is_training=True)
        )
        params, state = norm.init(None, x)
        params = {
            "batch_norm": {"scale": gamma[None, None, None], "offset": beta[None, None, None]}
        }
        return norm.apply(params, state, None, x)[0]

    return jax.jit(call)(x, gamma, beta, eps, momentum)


def _equinox(mode: str) -> Direct:
    def direct(
        x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
    ) -> Any:
        import equinox as eqx
        import jax

        def call(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, m: Any) -> Any:
            norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(
                3, "batch", eps, momentum=m, mode=mode, dtype=x.dtype
            )
            if mode == "ema":
                state = state.set(norm.ema_first_time_index, jax.numpy.array(False))
                state = state.set(norm.ema_state_index, (mean, var))
            norm = eqx.tree_at(lambda n: (n.weight, n.bias), norm, (gamma, beta))
            return jax.vmap(norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(
                x, state
            )[0]

        return jax.jit(call)(x, gamma, beta, mean, var, eps, momentum)

    return direct


def _keras_layer(gamma: Any, beta: Any, mean: Any, var: Any, eps: Any, momentum: Any) -> Any:
    import keras

    layer = keras.layers.BatchNormalization(epsilon=eps, momentum=momentum)
    layer.build((None, None, None, 3))
    layer.set_weights([gamma, beta, mean, var])
    return layer


def _keras(x: Any, *given: Any) -> Any:
    import keras

    return keras.ops.convert_to_numpy(_keras_layer(*given)(x, training=True))


def _keras_jax(x: Any, *given: Any) -> Any:
    import jax

    layer = _keras_layer(*given)
    held = [v.value for v in layer.trainable_variables]
    rest = [v.value for v in layer.non_trainable_variables]

    def call(x: Any, held: Any, rest: Any, eps: Any, momentum: Any) -> Any:
        layer.epsilon, layer.momentum = eps, momentum
        return layer.stateless_call(held, rest, x, training=True)[0]

    return jax.jit(call)(x, held, rest, *given[-2:])


def _tensorflow(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    import tensorflow as tf

    batch = tf.nn.moments(x, [0, 1, 2])
    return tf.nn.batch_normalization(x, *batch, beta, gamma, eps).numpy()


def _fused(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float) -> Any:
    import tensorflow as tf

    y = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=eps, is_training=True)[0]
    return y.numpy()


def _onnx_text(eps: float, momentum: float) -> str:
    return f"""<ir_version: 8, opset_import: ["": 15]>
    norm (float[N,C,H,W] x, float[C] s, float[C] b, float[C] m, float[C] v) => (float[N,C,H,W] y) {{
      y, nm, nv = BatchNormalization<epsilon={eps}, momentum={momentum}, training_mode=1>
                  (x, s, b, m, v)
    }}"""


def _onnx(x: Any, s: Any, b: Any, m: Any, v: Any, eps: float, momentum: float) -> Any:
    import onnx.parser
    from onnx.reference import ReferenceEvaluator

    model = onnx.parser.parse_model(_onnx_text(eps, momentum))
    return ReferenceEvaluator(model).run(["y"], {"x": x, "s": s, "b": b, "m": m, "v": v})[0]


def _onnxruntime(x: Any, s: Any, b: Any, m: Any, v: Any, eps: float, momentum: float) -> Any:
    import onnx.parser
    import onnxruntime

    model = onnx.parser.parse_model(_onnx_text(eps, momentum)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x, "s": s, "b": b, "m": m, "v": v})[0]


def _tinygrad(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    from tinygrad import Context, Tensor
    from tinygrad.nn import BatchNorm

    layer = BatchNorm(3, eps=eps, momentum=momentum)
    layer.weight, layer.bias = Tensor(gamma), Tensor(beta)
    with Context(TRAINING=1):
        return layer(Tensor(x)).numpy()


def _mlx(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float) -> Any:
    import mlx.core as mx
    import mlx.nn as nn

    layer = nn.BatchNorm(3, eps=eps, momentum=momentum)
    layer.weight, layer.bias = mx.array(gamma), mx.array(beta)
    return np.array(layer(mx.array(x)))


def _keras_in_replicas(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float, momentum: float
) -> Any:
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        import keras

        layer = keras.layers.BatchNormalization(
            synchronized=True, momentum=momentum, epsilon=eps, dtype=x.dtype.name
        )
        layer.build(x.shape)
        layer.set_weights([gamma, beta, mean, var])
    return strategy.run(lambda a: layer(a, training=True), (tf.constant(x),)).numpy()


DIRECT: dict[str, Direct] = {
    "torch": _torch,
    "torch:layer": _torch_layer,
    "torch:channels_last": _torch_last,
    "torch:autocast": _torch,
    "torch:compile": _torch_compiled,
    "flax:linen": _linen,
    "flax:nnx": _nnx,
    "flax:sync": _linen_in_shards,
    "haiku": _haiku,
    "equinox:batch": _equinox("batch"),
    "equinox:ema": _equinox("ema"),
    "keras:jax": _keras_jax,
    "keras:torch": _keras,
    "keras:tensorflow": _keras,
    "keras:sync": _keras_in_replicas,
    "tensorflow": _tensorflow,
    "tensorflow:fused": _fused,
    "onnxruntime": _onnxruntime,
    "onnx": _onnx,
    "tinygrad": _tinygrad,
    "mlx": _mlx,
}


# --- an error in what the adapter calls -----


def _wrap(module: str, path: str, first: bool = False, copy: bool = False) -> Callable[..., None]:
    """Return what replaces module.path by itself with `change` on its result, or its first one."""

    def patch(monkeypatch: Any, change: Callable[[Any], Any]) -> None:
        import importlib

        holder: Any = importlib.import_module(module)
        *between, name = path.split(".")
        for part in between:
            holder = getattr(holder, part)
        right = getattr(holder, name)

        def wrong(*args: Any, **kwargs: Any) -> Any:
            result = right(*args, **kwargs)
            if not first:
                return change(result)
            return type(result)([change(result[0]), *result[1:]])

        def wrong_named(*args: Any, **kwargs: Any) -> Any:
            result = list(right(*args, **kwargs))
            return [change(result[0]), *result[1:]]

        monkeypatch.setattr(holder, name, wrong_named if copy else wrong)

    return patch


_HERE = "properties.targets.adapters"
PATCHED: dict[str, Callable[..., None]] = {
    "torch": _wrap(f"{_HERE}.torch", "batch_norm"),
    "torch:layer": _wrap("torch.nn.functional", "batch_norm"),
    "torch:channels_last": _wrap(f"{_HERE}.torch", "batch_norm"),
    "torch:autocast": _wrap(f"{_HERE}.torch", "batch_norm"),
    "torch:compile": _wrap(f"{_HERE}.torch", "batch_norm"),
    "flax:linen": _wrap("flax.linen", "BatchNorm.__call__"),
    "flax:nnx": _wrap("flax.nnx", "BatchNorm.__call__"),
    "flax:sync": _wrap("flax.linen", "BatchNorm.__call__"),
    "haiku": _wrap("haiku", "BatchNorm.__call__"),
    "equinox:batch": _wrap("equinox.nn", "BatchNorm.__call__", first=True),
    "equinox:ema": _wrap("equinox.nn", "BatchNorm.__call__", first=True),
    "keras:jax": _wrap("keras.layers", "BatchNormalization.call"),
    "keras:torch": _wrap("keras.layers", "BatchNormalization.call"),
    "keras:tensorflow": _wrap("keras.layers", "BatchNormalization.call"),
    "keras:sync": _wrap("keras.layers", "BatchNormalization.call"),
    "tensorflow": _wrap("tensorflow", "nn.batch_normalization"),
    "tensorflow:fused": _wrap("tensorflow", "raw_ops.FusedBatchNormV3", copy=True),
    "onnxruntime": _wrap("onnxruntime", "InferenceSession.run", first=True),
    "onnx": _wrap("onnx.reference", "ReferenceEvaluator.run", copy=True),
    "tinygrad": _wrap("tinygrad.nn", "BatchNorm.__call__"),
    "mlx": _wrap("mlx.nn", "BatchNorm.__call__"),
}

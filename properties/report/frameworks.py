"""How each framework is called by its own users: a template of a few lines for each target."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .frameworks_common import GIVEN, STATE, X64, Given, wanted
from .frameworks_jax import equinox, haiku, linen, nnx

Template = Callable[[Any], list[str] | None]


def _torch(g: Given, call: str, before: tuple[str, ...] = (), after: str = "") -> list[str]:
    def tensor(text: str, dtype: str, grad: bool = False) -> str:
        if text == "None":
            return text
        return f"torch.tensor({text}, dtype=torch.{dtype}{', requires_grad=True' if grad else ''})"

    back = g.dy != "None"
    lines = [
        "import torch",
        *before,
        f"x = {tensor(g.x, g.dtype, back)}{after}",
        f"gamma, beta = {tensor(g.gamma, g.state, back)}, {tensor(g.beta, g.state, back)}",
        f"mean, var = {tensor(g.mean, g.state)}, {tensor(g.var, g.state)}",
        call.format(training=g.training, eps=g.eps, momentum=g.momentum),
    ]
    if back:
        wrt = "x, gamma, beta" if g.affine else "x"
        names = "dx, dgamma, dbeta" if g.affine else "dx,"
        dy = tensor(g.dy, g.dtype)
        lines.append(f"{names} = torch.autograd.grad(y, [{wrt}], {dy})")
    return lines + wanted(g, GIVEN)


_FUNCTION = (
    "torch.nn.functional.batch_norm(x, mean, var, gamma, beta, {training}, {momentum}, {eps})"
)


def _torch_layer(g: Given) -> list[str]:
    kind = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}[g.rank]
    made = (
        f"bn = torch.nn.BatchNorm{kind}({g.channels}, {g.eps}, {g.momentum}, {g.affine}, "
        f"{g.mean != 'None'}).train({g.training})"
    )
    held = "dict(weight=gamma, bias=beta, running_mean=mean, running_var=var)"
    given = f"{{{{k: t for k, t in {held}.items() if t is not None}}}}"  # formatted once more
    call = f"y = torch.func.functional_call(bn, {given}, x)"
    return _torch(g, call, (made,))


def _keras(g: Given, backend: str) -> list[str] | None:
    if g.dy != "None" or g.mean == "None":
        return None
    policy = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}.get(g.dtype, g.dtype)
    params = f'[keras.ops.array({g.gamma}, "{g.state}"), keras.ops.array({g.beta}, "{g.state}")]'
    lines = [
        f'import os; os.environ["KERAS_BACKEND"] = "{backend}"',
        "import keras",
        *(["import jax", X64] if backend == "jax" and g.dtype == "float64" else []),
        f'x = keras.ops.array({g.x}, "{g.dtype}")',
        f"bn = keras.layers.BatchNormalization(momentum={g.momentum}, epsilon={g.eps}, "
        f'center={g.affine}, scale={g.affine}, dtype="{policy}")',
        "bn.build(x.shape)",
        f"params = {params if g.affine else '[]'}",
        f'state = [keras.ops.array({g.mean}, "{g.state}"), keras.ops.array({g.var}, "{g.state}")]',
        f"y, (mean, var) = bn.stateless_call(params, state, x, training={g.training})",
    ]
    return lines + wanted(g, {"y": "y", **STATE})


def _tensorflow(g: Given, fused: bool) -> list[str] | None:
    def tensor(text: str, dtype: str) -> str:
        return "None" if text == "None" else f'tf.constant({text}, "{dtype}")'

    if g.quantity in STATE and not fused:
        return None
    state = [tensor(text, g.state) for text in (g.gamma, g.beta, g.mean, g.var)]
    lines = [
        "import tensorflow as tf",
        f"x = {tensor(g.x, g.dtype)}",
        f"gamma, beta, mean, var = {', '.join(state)}",
        "with tf.GradientTape(persistent=True) as tape:",
        "    tape.watch([a for a in (x, gamma, beta) if a is not None])",
    ]
    if fused:
        layout = {4: "NHWC", 5: "NDHWC"}[g.rank]
        lines.append(
            "    y, mean, var, *_ = tf.raw_ops.FusedBatchNormV3(x=x, scale=gamma, offset=beta, "
            f"mean=mean, variance=var, epsilon={g.eps}, exponential_avg_factor={g.momentum}, "
            f'data_format="{layout}", is_training={g.training})'
        )
    else:
        stats = f"*tf.nn.moments(x, {list(range(g.rank - 1))})" if g.training else "mean, var"
        lines.append(f"    y = tf.nn.batch_normalization(x, {stats}, beta, gamma, {g.eps})")
    if g.dy != "None":
        wrt = {"dx": "x", "dgamma": "gamma", "dbeta": "beta"}[g.quantity]
        lines.append(f"{g.quantity} = tape.gradient(y, {wrt}, {tensor(g.dy, g.dtype)})")
    return lines + wanted(g, GIVEN)


def _onnx(g: Given, runtime: bool) -> list[str] | None:
    if not g.affine or g.dy != "None" or g.mean == "None" or g.dtype == "bfloat16":
        return None
    kinds = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "FLOAT16"}
    kind, state = (f"onnx.TensorProto.{kinds[d]}"
                   for d in (g.dtype, g.state))  # fmt: skip
    outs = '["y", "m", "v"]' if g.training else '["y"]'
    given = ", ".join(
        f'"{name}": np.array({text}, "{dtype}")'
        for name, text, dtype in (
            ("x", g.x, g.dtype), ("s", g.gamma, g.state), ("b", g.beta, g.state),
            ("mean", g.mean, g.state), ("var", g.var, g.state),
        )
    )  # fmt: skip
    node = (
        f'onnx.helper.make_node("BatchNormalization", ["x", "s", "b", "mean", "var"], {outs}, '
        f"epsilon={g.eps}, momentum={g.momentum}, training_mode={int(g.training)})"
    )
    module = "onnxruntime as ort" if runtime else "onnx.reference"
    runner = (
        "ort.InferenceSession(model.SerializeToString())"
        if runtime
        else "onnx.reference.ReferenceEvaluator(model)"
    )
    lines = [
        f"import numpy as np, onnx, {module}",
        f"node = {node}",
        'I, names = onnx.helper.make_tensor_value_info, ["x", "s", "b", "mean", "var"]',
        f'ins = [I("x", {kind}, {[None] * g.rank}), *(I(n, {state}, [None]) for n in names[1:])]',
        f'outs = [I("y", {kind}, {[None] * g.rank}), *(I(n, {state}, [None]) for n in {outs}[1:])]',
        'graph = onnx.helper.make_graph([node], "g", ins, outs)',
        'opset = [onnx.helper.make_opsetid("", 15)]',
        "model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)",
        f"y, *state = {runner}.run(None, {{{given}}})",
    ]
    return lines + wanted(g, {"y": "y", "running_mean": "state[0]", "running_var": "state[1]"})


def _tinygrad(g: Given) -> list[str] | None:
    if g.dy != "None":
        return None

    def tensor(text: str, dtype: str) -> str:
        return "None" if text == "None" else f"Tensor({text}, dtype=dtypes.{dtype})"

    lines = [
        "from tinygrad import Context, Tensor, dtypes",
        "from tinygrad.nn import BatchNorm",
        f"bn = BatchNorm({g.channels}, {g.eps}, {g.affine}, {g.mean != 'None'}, {g.momentum})",
        f"bn.weight, bn.bias = {tensor(g.gamma, g.state)}, {tensor(g.beta, g.state)}",
        f"bn.running_mean, bn.running_var = {tensor(g.mean, g.state)}, {tensor(g.var, g.state)}",
        f"with Context(TRAINING={int(g.training)}):",
        f"    y = bn({tensor(g.x, g.dtype)}).float().numpy()",
        "mean, var = bn.running_mean, bn.running_var",
    ]
    if g.dtype == "float64":
        lines[6] = lines[6].replace(".float()", "")
    names = {"y": "y", "running_mean": "mean.numpy()", "running_var": "var.numpy()"}
    return lines + wanted(g, names)


def _mlx(g: Given) -> list[str] | None:
    def array(text: str, dtype: str) -> str:
        return f"mx.array({text}, dtype=mx.{dtype})"

    lines = [
        "import mlx.core as mx, mlx.nn as nn",
        "mx.set_default_device(mx.cpu)",
        f"x = {array(g.x, g.dtype)}",
        f"bn = nn.BatchNorm({g.channels}, {g.eps}, {g.momentum}, {g.affine}, {g.mean != 'None'})",
        f"bn.train({g.training})",
    ]
    if g.affine:
        lines.append(f"bn.weight, bn.bias = {array(g.gamma, g.state)}, {array(g.beta, g.state)}")
    if g.mean != "None":
        lines.append(
            f"bn.running_mean, bn.running_var = {array(g.mean, g.state)}, {array(g.var, g.state)}"
        )
    if g.dy != "None":
        if g.quantity != "dx":
            return None
        lines.append(f"dx = mx.vjp(bn, [x], [{array(g.dy, g.dtype)}])[1][0]")
    else:
        lines.append("y = bn(x)")
    names = {
        "y": "y",
        "dx": "dx",
        "running_mean": "bn.running_mean",
        "running_var": "bn.running_var",
    }
    return [*lines, f"print({names[g.quantity]}[{g.at}].item())"]


TEMPLATES: dict[str, Template] = {
    "torch": partial(_torch, call=f"y = {_FUNCTION}"),
    "torch:layer": _torch_layer,
    "torch:autocast": partial(
        _torch, call=f'with torch.autocast("cpu", torch.bfloat16): y = {_FUNCTION}'
    ),
    "torch:compile": partial(
        _torch,
        call="y = bn(x, mean, var, gamma, beta, {training}, {momentum}, {eps})",
        before=("bn = torch.compile(torch.nn.functional.batch_norm, dynamic=True)",),
    ),
    "flax:linen": linen,
    "flax:nnx": nnx,
    "haiku": haiku,
    "equinox:batch": partial(equinox, mode="batch"),
    "equinox:ema": partial(equinox, mode="ema"),
    "keras:jax": partial(_keras, backend="jax"),
    "keras:torch": partial(_keras, backend="torch"),
    "keras:tensorflow": partial(_keras, backend="tensorflow"),
    "tensorflow": partial(_tensorflow, fused=False),
    "tensorflow:fused": partial(_tensorflow, fused=True),
    "onnxruntime": partial(_onnx, runtime=True),
    "onnx": partial(_onnx, runtime=False),
    "tinygrad": _tinygrad,
    "mlx": _mlx,
}


def _channels_last(g: Given) -> list[str] | None:
    if g.rank not in (4, 5):
        return None
    form = "channels_last" if g.rank == 4 else "channels_last_3d"
    call = _FUNCTION.replace("(x,", f"(x.contiguous(memory_format=torch.{form}),")
    return _torch(g, f"y = {call}")


TEMPLATES["torch:channels_last"] = _channels_last

"""The table of built-in targets: where each is, what it needs, and how to install that."""

from __future__ import annotations

from dataclasses import dataclass, replace

ORDERS = (
    "reverse_over_reverse",
    "forward_over_reverse",
    "reverse_over_forward",
    "forward_over_forward",
)


@dataclass(frozen=True)
class BuiltIn:
    """A built-in target.

    where is module:NAME; needs are the distributions it needs, as in the extra of this name; pip
    is a line that is known to install them; differentiates says that it has the second derivative
    in all of `ORDERS`, each as a target of its own, TARGET:ORDER; compiles says that it starts
    compilers, so that a child process, or a word to it in the environment, is no fault of it;
    copies, that x and dy are brought into C order before the framework sees them.
    """

    where: str
    says: str
    extra: str = ""
    needs: tuple[str, ...] = ()
    pip: str = ""
    differentiates: bool = False
    compiles: bool = False
    copies: bool = False


def _torch(where: str, says: str, differentiates: bool = True) -> BuiltIn:
    pip = "torch==2.13.0 ml_dtypes"  # an unpinned torch may bring gigabytes of CUDA
    return BuiltIn(f"{_HERE}.{where}", says, "torch", ("torch>=2.6",), pip, differentiates)


def _jax(where: str, says: str, extra: str, *needs: str) -> BuiltIn:
    names = (need.partition(">")[0] for need in needs)
    pip = " ".join(("jax", "jaxlib", *names))
    return BuiltIn(f"{_HERE}.{where}", says, extra, ("jax>=0.8", *needs), pip, True, copies=True)


def _keras(where: str, backend: str, *needs: str, pip: str) -> BuiltIn:
    says = f"keras.layers.BatchNormalization on the {backend} backend"
    needs = ("keras>=3.15", *needs)
    extra, pip, copies = f"keras-{backend}", f"keras {pip}", backend != "torch"
    return BuiltIn(f"{_HERE}.{where}", says, extra, needs, pip, True, copies=copies)


def _tensorflow(where: str, says: str) -> BuiltIn:
    needs = ("tensorflow>=2.20",)
    pip = "tensorflow-cpu"
    return BuiltIn(f"{_HERE}.{where}", says, "tensorflow", needs, pip, True, copies=True)


_HERE = "properties.targets.adapters"
BUILT_IN: dict[str, BuiltIn] = {
    "bn": BuiltIn("bn", "the built-in, per channel"),
    "bn:per_activation": BuiltIn("bn.per_activation", "the built-in, as the seed flattens it"),
    "torch": _torch("torch:PLAIN", "torch.nn.functional.batch_norm"),
    "torch:layer": _torch("torch_layer:TARGET", "torch.nn.BatchNorm1d, 2d and 3d"),
    "torch:channels_last": _torch("torch:CHANNELS_LAST", "the function, x in channels_last"),
    "torch:autocast": _torch("torch:AUTOCAST", "the function under autocast"),
    "torch:compile": replace(
        _torch("torch_compile:TARGET", "the function through torch.compile", False), compiles=True
    ),
    "flax:linen": _jax("flax_linen:TARGET", "flax.linen.BatchNorm", "flax", "flax>=0.12"),
    "flax:nnx": _jax("flax_nnx:TARGET", "flax.nnx.BatchNorm", "flax", "flax>=0.12"),
    "flax:sync": _jax(
        "flax_sync:TARGET", "the same over an axis_name on four CPU devices", "flax", "flax>=0.12"
    ),
    "haiku": _jax("haiku:TARGET", "haiku.BatchNorm", "haiku", "dm-haiku>=0.0.16"),
    "equinox:batch": _jax(
        "equinox:BATCH", 'equinox.nn.BatchNorm(mode="batch")', "equinox", "equinox>=0.13"
    ),
    "equinox:ema": _jax(
        "equinox:EMA", 'equinox.nn.BatchNorm(mode="ema")', "equinox", "equinox>=0.13"
    ),
    "keras:jax": _keras("keras_jax:TARGET", "jax", "jax>=0.8", pip="jax jaxlib"),
    "keras:torch": _keras("keras_torch:TARGET", "torch", "torch>=2.6", pip="torch==2.13.0"),
    "keras:tensorflow": _keras(
        "keras_tensorflow:TARGET", "tensorflow", "tensorflow>=2.20", pip="tensorflow-cpu"
    ),
    "keras:sync": replace(
        _keras("keras_sync:TARGET", "tensorflow", "tensorflow>=2.20", pip="tensorflow-cpu"),
        says="the same with synchronized=True, in replicas on four CPU devices",
        differentiates=False,
    ),
    "tensorflow": _tensorflow("tensorflow:PLAIN", "tf.nn.batch_normalization with tf.nn.moments"),
    "tensorflow:fused": _tensorflow("tensorflow:FUSED", "tf.raw_ops.FusedBatchNormV3"),
    "onnxruntime": BuiltIn(
        f"{_HERE}.onnxruntime:TARGET",
        "BatchNormalization of ONNX in ONNX Runtime",
        "onnxruntime",
        ("onnx>=1.16", "onnxruntime>=1.20"),
        "onnx onnxruntime",
        copies=True,
    ),
    "onnx": BuiltIn(
        f"{_HERE}.onnx:TARGET",
        "BatchNormalization in ONNX's reference evaluator",
        "onnx",
        ("onnx>=1.16",),
        "onnx",
        copies=True,
    ),
    "tinygrad": BuiltIn(
        f"{_HERE}.tinygrad:TARGET",
        "tinygrad.nn.BatchNorm (its CPU backend needs clang)",
        "tinygrad",
        ("tinygrad>=0.14",),
        "tinygrad",
        compiles=True,
        copies=True,
    ),
    "mlx": BuiltIn(
        f"{_HERE}.mlx:TARGET",
        "mlx.nn.BatchNorm on the CPU",
        "mlx",
        ("mlx[cpu]>=0.32",),
        "'mlx[cpu]'",
        True,
        copies=True,
    ),
}

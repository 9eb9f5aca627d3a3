"""What people write in PyTorch, JAX, Flax, Equinox and Keras is a target without an adapter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from properties.targets.styles import NAMES, STYLES, split


class Written(NamedTuple):
    """Right code, the packages it needs, what its heading says, and a mistake with its cause."""

    needs: tuple[str, ...]
    source: str
    taken: str
    old: str
    new: str
    cause: str


TORCH_MODULE = """
import torch
from torch import nn

class MyBatchNorm(nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, input):
        dims, shape = [0, *range(2, input.dim())], [1, -1] + [1] * (input.dim() - 2)
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = input.mean(dims), input.var(dims, unbiased=False)
            n = input.numel() / input.shape[1]
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * n / max(n - 1, 1), self.momentum)
        y = (input - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)
        return y if self.weight is None else self.weight.view(shape) * y + self.bias.view(shape)
"""
DIVE = """
import torch
from torch import nn

def batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum):
    if not torch.is_grad_enabled():
        X_hat = (X - moving_mean) / torch.sqrt(moving_var + eps)
    else:
        assert len(X.shape) in (2, 4)
        dims = 0 if len(X.shape) == 2 else (0, 2, 3)
        mean = X.mean(dim=dims, keepdim=True)
        var = ((X - mean) ** 2).mean(dim=dims, keepdim=True)
        X_hat = (X - mean) / torch.sqrt(var + eps)
        moving_mean = momentum * moving_mean + (1.0 - momentum) * mean
        moving_var = momentum * moving_var + (1.0 - momentum) * var
    return gamma * X_hat + beta, moving_mean.data, moving_var.data

class BatchNorm(nn.Module):
    def __init__(self, num_features, num_dims):
        super().__init__()
        shape = (1, num_features) if num_dims == 2 else (1, num_features, 1, 1)
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.moving_mean, self.moving_var = torch.zeros(shape), torch.ones(shape)

    def forward(self, X):
        Y, self.moving_mean, self.moving_var = batch_norm(
            X, self.gamma, self.beta, self.moving_mean, self.moving_var, eps=1e-5, momentum=0.9)
        return Y
"""
TORCH_CLASS = """
import torch

class BatchNorm1d:
    def __init__(self, dim, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = torch.ones(dim), torch.zeros(dim)
        self.running_mean, self.running_var = torch.zeros(dim), torch.ones(dim)

    def __call__(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(0, keepdim=True), x.var(0, keepdim=True, unbiased=False)
            m = self.momentum
            with torch.no_grad():
                self.running_mean = (1 - m) * self.running_mean + m * mean
                self.running_var = (1 - m) * self.running_var + m * var
        return self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta
"""
TORCH_FUNCTION = """
import torch
import torch.nn.functional as F

def batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
"""
AUTOGRAD = """
import torch

class BatchNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        rstd = torch.rsqrt(x.var(0, unbiased=False) + eps)
        xhat = (x - x.mean(0)) * rstd
        ctx.save_for_backward(xhat, rstd, gamma)
        return gamma * xhat + beta

    @staticmethod
    def backward(ctx, dy):
        xhat, rstd, gamma = ctx.saved_tensors
        dgamma, dbeta, n = (dy * xhat).sum(0), dy.sum(0), len(dy)
        return gamma * rstd * (dy - dbeta / n - xhat * dgamma / n), dgamma, dbeta, None
"""
RANK = 'CONVENTIONS = {"ndim": [2]}  # each further rank is compiled for\n'
JAX_FUNCTION = f"""
import jax.numpy as jnp
{RANK}
def batch_norm(x, gamma, beta, running_mean, running_var, train=True, momentum=0.9, eps=1e-5):
    mean, var = running_mean, running_var
    if train:
        mean, var = jnp.mean(x, axis=0), jnp.var(x, axis=0)
        running_mean = momentum * running_mean + (1 - momentum) * mean
        running_var = momentum * running_var + (1 - momentum) * var
    y = gamma * (x - mean) / jnp.sqrt(var + eps) + beta
    return y, running_mean, running_var
"""
JAX_PARAMS = f"""
from functools import partial

import jax
import jax.numpy as jnp
{RANK}
def init_params(dim):
    params = {{"scale": jnp.ones((dim,)), "offset": jnp.zeros((dim,))}}
    return params, {{"mean": jnp.zeros((dim,)), "var": jnp.ones((dim,))}}

@partial(jax.jit, static_argnames=("train", "eps"))
def batchnorm_apply(params, state, inputs, train, momentum=0.9, eps=1e-5):
    if train:
        mean = jnp.mean(inputs, axis=0)
        var = jnp.mean(jnp.square(inputs - mean), axis=0)
        state = {{"mean": momentum * state["mean"] + (1 - momentum) * mean,
                  "var": momentum * state["var"] + (1 - momentum) * var}}
    else:
        mean, var = state["mean"], state["var"]
    return params["scale"] * (inputs - mean) / jnp.sqrt(var + eps) + params["offset"], state
"""
CUSTOM_VJP = f"""
import jax
import jax.numpy as jnp
{RANK}
@jax.custom_vjp
def batch_norm(x, gamma, beta, eps):
    return _forward(x, gamma, beta, eps)[0]

def _forward(x, gamma, beta, eps):
    rstd = 1 / jnp.sqrt(x.var(0) + eps)
    xhat = (x - x.mean(0)) * rstd
    return gamma * xhat + beta, (xhat, rstd, gamma)

def _backward(saved, dy):
    xhat, rstd, gamma = saved
    dgamma, dbeta, n = (dy * xhat).sum(0), dy.sum(0), len(dy)
    return gamma * rstd * (dy - dbeta / n - xhat * dgamma / n), dgamma, dbeta, jnp.zeros(())

batch_norm.defvjp(_forward, _backward)
"""
STAX = f"""
import jax.numpy as jnp
{RANK}
def BatchNorm(axis=(0, 1, 2), epsilon=1e-5):
    def init_fun(rng, input_shape):
        shape = tuple(d for i, d in enumerate(input_shape) if i not in axis)
        return input_shape, (jnp.zeros(shape), jnp.ones(shape))

    def apply_fun(params, x, **kwargs):
        beta, gamma = params
        mean, var = jnp.mean(x, axis, keepdims=True), jnp.var(x, axis, keepdims=True)
        return gamma * (x - mean) / jnp.sqrt(var + epsilon) + beta

    return init_fun, apply_fun
"""
LINEN = f"""
import flax.linen as nn
import jax.numpy as jnp
{RANK}
class BatchNorm(nn.Module):
    epsilon: float = 1e-5
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train: bool):
        c, axes = x.shape[-1], tuple(range(x.ndim - 1))
        scale = self.param("scale", nn.initializers.ones, (c,))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        ra_mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(c))
        ra_var = self.variable("batch_stats", "var", lambda: jnp.ones(c))
        if train:
            mean, var = jnp.mean(x, axes), jnp.var(x, axes)
            if not self.is_initializing():
                ra_mean.value = self.momentum * ra_mean.value + (1 - self.momentum) * mean
                ra_var.value = self.momentum * ra_var.value + (1 - self.momentum) * var
        else:
            mean, var = ra_mean.value, ra_var.value
        return (x - mean) / jnp.sqrt(var + self.epsilon) * scale + bias
"""
NNX = f"""
import jax.numpy as jnp
from flax import nnx
{RANK}
class BatchNorm(nnx.Module):
    def __init__(self, num_features, *, momentum=0.9, epsilon=1e-5, rngs=None):
        self.scale = nnx.Param(jnp.ones(num_features))
        self.bias = nnx.Param(jnp.zeros(num_features))
        self.mean = nnx.BatchStat(jnp.zeros(num_features))
        self.var = nnx.BatchStat(jnp.ones(num_features))
        self.momentum, self.epsilon = momentum, epsilon

    def __call__(self, x, use_running_average=False):
        if use_running_average:
            mean, var = self.mean[...], self.var[...]
        else:
            mean, var, m = jnp.mean(x, 0), jnp.var(x, 0), self.momentum
            self.mean[...] = m * self.mean[...] + (1 - m) * mean
            self.var[...] = m * self.var[...] + (1 - m) * var
        return (x - mean) / jnp.sqrt(var + self.epsilon) * self.scale[...] + self.bias[...]
"""
EQUINOX = f"""
import equinox as eqx
import jax
import jax.numpy as jnp
{RANK}
class BatchNorm(eqx.Module):
    weight: jax.Array
    bias: jax.Array
    stats: eqx.nn.StateIndex
    axis_name: str = eqx.field(static=True)
    eps: float
    momentum: float

    def __init__(self, input_size, axis_name, eps=1e-5, momentum=0.9):
        self.weight, self.bias = jnp.ones(input_size), jnp.zeros(input_size)
        self.stats = eqx.nn.StateIndex((jnp.zeros(input_size), jnp.ones(input_size)))
        self.axis_name, self.eps, self.momentum = axis_name, eps, momentum

    def __call__(self, x, state, *, key=None, inference=False):
        mean, var = state.get(self.stats)
        if not inference:
            m, old_mean, old_var = self.momentum, mean, var
            mean = jax.lax.pmean(x, self.axis_name)
            var = jax.lax.pmean((x - mean) ** 2, self.axis_name)
            new = m * old_mean + (1 - m) * mean, m * old_var + (1 - m) * var
            state = state.set(self.stats, new)
        return (x - mean) / jnp.sqrt(var + self.eps) * self.weight + self.bias, state
"""
KERAS = f"""
import keras
from keras import ops
{RANK}
class BatchNorm(keras.layers.Layer):
    def __init__(self, momentum=0.99, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        kept = {{"shape": shape, "trainable": False}}
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")
        self.mean = self.add_weight(name="moving_mean", initializer="zeros", **kept)
        self.variance = self.add_weight(name="moving_variance", initializer="ones", **kept)

    def call(self, inputs, training=False):
        mean, var = self.mean, self.variance
        if training:
            m, axes = self.momentum, list(range(len(inputs.shape) - 1))
            mean = ops.mean(inputs, axis=axes)
            var = ops.mean(ops.square(inputs - mean), axis=axes)
            self.mean.assign(m * self.mean + (1 - m) * mean)
            self.variance.assign(m * self.variance + (1 - m) * var)
        return self.gamma * (inputs - mean) / ops.sqrt(var + self.epsilon) + self.beta
"""
UNBIASED = "the output is normalized by the unbiased variance: divide by n, not n - 1"
SWAPPED = "momentum counts the other way"
WRITTEN = {
    "pytorch, a module": Written(
        ("torch",), TORCH_MODULE,
        "pytorch: MyBatchNorm(num_features=channels, eps, momentum, affine); weight=gamma,",
        "input.var(dims, unbiased=False)", "input.var(dims)",
        "unbiased already normalizes the output and is corrected again: divide by n"),
    "pytorch, as in Dive into Deep Learning": Written(
        ("torch",), DIVE, "pytorch: BatchNorm(num_features=channels, num_dims=ndim); gamma, beta,",
        "momentum * moving_var + (1.0 - momentum) * var",
        "momentum * moving_var + (1.0 - momentum) * torch.sqrt(var)",
        "the running variance averages the standard deviation in"),
    "pytorch, a class that is no module": Written(
        ("torch",), TORCH_CLASS, "pytorch: BatchNorm1d(dim=channels, eps, momentum); gamma, beta,",
        "import torch\n", 'import torch\nCONVENTIONS = {"momentum": "keep"}\n', SWAPPED),
    "pytorch, a function": Written(
        ("torch",), TORCH_FUNCTION, "pytorch: batch_norm(x, weight=gamma, bias=beta, running_mean",
        "import torch\n", 'import torch\nCONVENTIONS = {"running_var": "biased"}\n',
        "the running variance averages the unbiased variance in"),
    "pytorch, an autograd.Function": Written(
        ("torch",), AUTOGRAD, "pytorch: BatchNormFunction(x, gamma, beta, eps)",
        "dy - dbeta / n - ", "dy - ", "dx misses the path through the mean"),
    "jax, a function": Written(
        ("jax",), JAX_FUNCTION, "jax: batch_norm(x, gamma, beta, running_mean, running_var, train",
        "jnp.var(x, axis=0)", "jnp.var(x, axis=0, ddof=1)", UNBIASED),
    "jax, params and state": Written(
        ("jax",), JAX_PARAMS,
        "jax: batchnorm_apply(params, state, inputs=x, train=training, momentum, eps); params",
        '"ndim": [2]', '"ndim": [2], "momentum": "update"', SWAPPED),
    "jax, a custom_vjp": Written(
        ("jax",), CUSTOM_VJP, "jax: batch_norm(x, gamma, beta, eps)",
        " - xhat * dgamma / n", "", "dx misses the path through the variance"),
    "stax": Written(
        ("jax",), STAX, "stax: BatchNorm(axis, epsilon=eps): params=(beta, gamma)",
        "jnp.sqrt(var + epsilon)", "(jnp.sqrt(var) + epsilon)", "eps is added outside the root"),
    "flax, linen": Written(
        ("flax",), LINEN, "flax: BatchNorm(epsilon=eps, momentum)(x, train=training);",
        "ra_var.value + (1 - self.momentum) * var",
        "ra_var.value + (1 - self.momentum) * jnp.sqrt(var)",
        "the running variance averages the standard deviation in"),
    "flax, nnx": Written(
        ("flax",), NNX, "(x, use_running_average=inference);",
        "mean, var = self.mean[...], self.var[...]", "mean, var = jnp.mean(x, 0), jnp.var(x, 0)",
        "inference is normalized by the batch: use the running statistics"),
    "equinox": Written(
        ("equinox",), EQUINOX, "equinox: BatchNorm(input_size=channels, axis_name, eps, momentum)(",
        '"ndim": [2]', '"ndim": [2], "momentum": "update"', SWAPPED),
    "keras on jax": Written(
        ("keras", "jax"), KERAS, "keras: BatchNorm(momentum, epsilon=eps)(inputs=x, training);",
        "(1 - m) * var)", "(1 - m) * (var + self.epsilon))",
        "the running variance averages var + eps in"),
    "keras on torch": Written(
        ("keras", "torch"), KERAS, "keras: BatchNorm(momentum, epsilon=eps)(inputs=x, training);",
        "ops.square(inputs - mean), axis=axes)",
        "ops.square(inputs - mean), axis=axes) * inputs.shape[0] / max(inputs.shape[0] - 1, 1)",
        UNBIASED),
    "keras on tensorflow": Written(
        ("keras", "tensorflow"), KERAS,
        "keras: BatchNorm(momentum, epsilon=eps)(inputs=x, training);",
        "(1 - m) * var)", "(1 - m) * ops.sqrt(var))",
        "the running variance averages the standard deviation in"),
}  # fmt: skip


def needed(*packages: str) -> None:
    """Skip the test where a package is not installed."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"needs {package}")


@pytest.fixture
def written(saved: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Save a file of a style, with its mistake if that is asked for."""

    def save(name: str, wrong: bool = False) -> Path:
        style = WRITTEN[name]
        needed(*style.needs)
        monkeypatch.setenv("KERAS_BACKEND", style.needs[-1])
        assert style.source.count(style.old) >= 1
        source = style.source.replace(style.old, style.new, 1) if wrong else style.source
        return saved(source, "styled.py")

    return save


@pytest.mark.parametrize("name", WRITTEN)
def test_right_code_passes(bncheck: Callable[..., Any], written: Any, name: str) -> None:
    """What is right exits 0, and the heading says what each name was taken for."""
    ran = bncheck("run", written(name), "--examples", 10, "--seed", 1)
    assert ran.status == 0, ran.out + ran.err
    assert WRITTEN[name].taken in ran.out, ran.out
    assert ran.out.count("\nremark: ") <= 3, ran.out
    assert len(ran.out.splitlines()) <= 40


@pytest.mark.parametrize("name", WRITTEN)
def test_a_mistake_is_told(bncheck: Callable[..., Any], written: Any, name: str) -> None:
    """A planted mistake exits 1 with its cause, on one screen."""
    ran = bncheck("run", written(name, wrong=True), "--examples", 10, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert WRITTEN[name].cause in " ".join(ran.out.split()), ran.out
    assert len(ran.out.splitlines()) <= 40


# --- the style by name, and what is none --------------------------------------------------------


def test_a_style_can_be_named(bncheck: Callable[..., Any], written: Any) -> None:
    """--style takes the same style as is recognised, and the command to see it again has it."""
    path = written("pytorch, an autograd.Function", wrong=True)
    ran = bncheck("run", path, "--style", "pytorch", "--examples", 5, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert f"bncheck run pytorch:{path} --only " in ran.out


WRONG_STYLES = {
    ("--style", "pytroch"): "--style=pytroch: expected one of contract, keras, pytorch, ",
    ("--style", "cs231n"): "is not of --style cs231n: no NAMEforward with a NAMEbackward of dy",
    ("--style", "jax"): "is not of --style jax: there is none in it",
}


@pytest.mark.parametrize("options", WRONG_STYLES, ids=" ".join)
def test_a_style_that_does_not_fit_is_one_line(
    bncheck: Callable[..., Any], saved: Any, options: tuple[str, ...]
) -> None:
    """A style that is not known, and one that the file is not of, with the reason."""
    if "jax" in options:
        needed("jax")
    ran = bncheck("run", saved("class Net: ...\n"), *options)
    assert ran.status == 2 and WRONG_STYLES[options] in ran.err, ran.err
    assert ran.err.count("\n") == 1


def test_probe_takes_a_style(bncheck: Callable[..., Any], saved: Any) -> None:
    """A style that the file is not of is refused by its name, and the right one is probed."""
    path = saved("from bn import forward_train, forward_eval\n")
    ran = bncheck("probe", path, "--style", "cs231n", "--up-to", 16)
    assert ran.status == 2 and "is not of --style cs231n" in ran.err, ran.err
    ran = bncheck("probe", path, "--style", "contract", "--up-to", 16, "--in-process")
    assert ran.status == 0 and "contract:" in ran.out and "keep" in ran.out, ran.out


def test_a_style_needs_a_file(bncheck: Callable[..., Any]) -> None:
    """A named target has its style already."""
    ran = bncheck("run", "bn", "--style", "pytorch")
    assert ran.status == 2 and "target=bn is no file; expected FILE.py" in ran.err


NEAREST = {
    "a module without parameters": (
        "class Net(nn.Module):\n    def __init__(self, dim): super().__init__()",
        "pytorch: Net has no weight and bias, gamma and beta, or scale and shift"),
    "what a parameter is for": (
        "def batch_norm(x, gamma, beta, alpha): return x",
        "pytorch: batch_norm wants alpha, of no known meaning"),
    "two of them": (
        "def bn_a(x, gamma, beta): return x\ndef bn_b(x, gamma, beta): return x",
        "pytorch: 2 of it: bn_a, bn_b; name one with :NAME"),
}  # fmt: skip


@pytest.mark.parametrize("case", NEAREST)
def test_why_it_is_of_no_style_is_said(bncheck: Callable[..., Any], saved: Any, case: str) -> None:
    """The nearest style comes first, with what keeps the file from being of it; three at most."""
    needed("torch")
    source, why = NEAREST[case]
    ran = bncheck("run", saved(f"import torch\nfrom torch import nn\n{source}\n"))
    assert ran.status == 2 and f"; nearest: {why}; " in ran.err, ran.err
    assert ran.err.count("\n") == 1
    nearest = ran.err.partition("nearest: ")[2]
    assert sum(f"{style.name}: " in nearest for style in STYLES) == 3


def test_a_style_stands_before_a_file_alone() -> None:
    """Each name splits off a file; built-in names and modules stay whole."""
    for name in NAMES:
        assert split(f"{name}:a/mine.py:Net") == (name, "a/mine.py:Net")
    for spec in ("keras:jax", "flax:linen", "mine.py:jax", "jax:numpy", "bn"):
        assert split(spec) == ("", spec)


def test_halves_are_looked_at_where_they_are_stated(saved: Any) -> None:
    """Code for float32 is right without them; CONVENTIONS asks for them."""
    needed("torch", "ml_dtypes")
    found = []
    for stated in ("", '\nCONVENTIONS = {"dtypes": ["float32", "float16"]}\n'):
        path = saved(TORCH_CLASS + stated, "styled.py")
        code = f"from properties.targets.open import loaded; t = loaded({str(path)!r}); "
        code += "print(*t.conventions.dtypes)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        found.append(done.stdout.split())
    assert found == [["float32", "float64"], ["float32", "float16"]]


# --- adapters to begin with ---------------------------------------------------------------------

NEW = {
    "contract": (), "cs231n": (), "numpy-class": (), "c": (), "pytorch": ("torch",),
    "jax": ("jax",), "keras": ("keras", "torch"),
}  # fmt: skip


@pytest.mark.parametrize("style", NEW)
def test_a_printed_adapter_runs(
    bncheck: Callable[..., Any], saved: Any, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    """It exits 0 as printed, with nothing but what it does to an empty batch remarked."""
    needed(*NEW[style])
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    printed = bncheck("new", style)
    assert printed.status == 0
    ran = bncheck("run", saved(printed.out, "adapter.py"), "--examples", 10, "--seed", 1)
    assert ran.status == 0, ran.out + ran.err
    assert ran.out.count("\nremark: ") <= 1, ran.out


@pytest.mark.parametrize("style", ["contract", "cs231n", "numpy-class", "c"])
def test_a_printed_adapter_calls_a_file(
    bncheck: Callable[..., Any], saved: Any, tmp_path: Path, style: str
) -> None:
    """With FILE:NAME it calls that: what is right passes, and a mistake in it is found."""
    code = bncheck("new", style).out.partition("# --- yours\n")[2].partition("# --- the adapter")[0]
    names = {"contract": "batch_norm", "cs231n": "batchnorm_forward", "numpy-class": "BatchNorm"}
    if style == "c":
        code, suffix, name = code.partition('r"""')[2].partition('"""')[0], "c", "batch_norm"
    else:
        code, suffix, name = f"import numpy as np\n{code}", "py", names[style]
    for old, new, status in (("", "", 0), ("gamma", "2 * gamma", 1)):
        yours = code
        if status:
            yours = (
                code.replace("self.gamma * ", "2 * self.gamma * ")
                .replace("gamma * xhat + beta", "2 * gamma * xhat + beta")
                .replace("= gamma[j] * ", "= 2 * gamma[j] * ")
            )
            assert yours != code, (old, new)
        file = saved(yours, f"users_{style.replace('-', '_')}_{status}.{suffix}")
        printed = bncheck("new", style, f"{file}:{name}")
        ran = bncheck("run", saved(printed.out, "adapter.py"), "--examples", 10, "--seed", 1)
        assert ran.status == status, ran.out + ran.err


def test_an_adapter_of_no_file_or_style_is_one_line(bncheck: Callable[..., Any]) -> None:
    """What is expected is said, status 2."""
    ran = bncheck("new", "contract", "nowhere.py:f")
    assert ran.status == 2 and "no file nowhere.py; expected FILE or FILE:NAME" in ran.err
    ran = bncheck("new", "fortran")
    assert ran.status == 2 and "invalid choice: 'fortran'" in ran.err

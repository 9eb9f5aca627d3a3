"""NumPy code as people write it is a target without an adapter, and its mistakes are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties.targets.open import loaded

PAIR = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mean, var = bn_param["running_mean"], bn_param["running_var"]
    if bn_param["mode"] == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)
        for name, now in (("running_mean", mean), ("running_var", var)):
            old = bn_param[name]
            bn_param[name] = (momentum * old + (1 - momentum) * now).astype(x.dtype)
    std = np.sqrt(var + eps).astype(x.dtype)
    xhat = (x - mean) / std
    return (gamma * xhat + beta).astype(x.dtype), (xhat, gamma, std)

def batchnorm_backward(dout, cache):
    xhat, gamma, std = cache
    n = len(dout)
    dbeta, dgamma = dout.sum(axis=0), (dout * xhat).sum(axis=0)
    return gamma / std * (dout - dbeta / n - xhat * dgamma / n), dgamma, dbeta

def batchnorm_backward_alt(dout, cache):
    return batchnorm_backward(dout, cache)
"""
SIZED = """
import numpy as np

class BatchNorm:
    def __init__(self, num_features, momentum=0.9, eps=1e-5):
        self.weight, self.bias = np.ones(num_features), np.zeros(num_features)
        self.moving_mean, self.moving_var = np.zeros(num_features), np.ones(num_features)
        self.momentum, self.eps, self.grads = momentum, eps, {}

    def forward(self, x, is_training=True):
        mean, var, t = self.moving_mean, self.moving_var, x.dtype.type
        self.is_training = is_training
        if is_training:
            mean, var, m = x.mean(axis=0), x.var(axis=0), t(self.momentum)
            self.moving_mean = m * self.moving_mean + (1 - m) * mean
            self.moving_var = m * self.moving_var + (1 - m) * var
        self.std = np.sqrt(var + t(self.eps))
        self.xhat = (x - mean) / self.std
        return self.weight * self.xhat + self.bias

    def backward(self, grad):
        self.grads = {"weight": (grad * self.xhat).sum(axis=0), "bias": grad.sum(axis=0)}
        if not self.is_training:
            return self.weight / self.std * grad
        paths = grad.mean(axis=0) + self.xhat * (grad * self.xhat).mean(axis=0)
        return self.weight / self.std * (grad - paths)
"""
COURSE = """
import numpy as np

class BatchNorm:
    def __init__(self, gamma, beta, momentum=0.9):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean = self.running_var = None

    def forward(self, x, train_flg=True):
        t = x.dtype.type
        if self.running_mean is None:
            self.running_mean, self.running_var = 0 * x[0], 0 * x[0]
        if not train_flg:
            std = np.sqrt(self.running_var + t(1e-6))
            return self.gamma * (x - self.running_mean) / std + self.beta
        mean, var, m = x.mean(axis=0), x.var(axis=0), t(self.momentum)
        self.xc, self.std = x - mean, np.sqrt(var + t(1e-6))
        self.xn = self.xc / self.std
        self.running_mean = m * self.running_mean + (1 - m) * mean
        self.running_var = m * self.running_var + (1 - m) * var
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        n, t = len(dout), dout.dtype.type
        self.dbeta, self.dgamma = dout.sum(axis=0), (self.xn * dout).sum(axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -(dxn * self.xc / (self.std * self.std)).sum(axis=0)
        dvar = t(0.5) * dstd / self.std
        dxc = dxc + t(2.0 / n) * self.xc * dvar
        return dxc - dxc.sum(axis=0) / t(n)
"""
STYLES = {"a pair and a dict": PAIR, "sized, a dict of gradients": SIZED, "the course's": COURSE}
WRONG = {
    "a pair and a dict": ("dbeta / n - ", "", "dx misses the path through the mean"),
    "sized, a dict of gradients": (
        "(1 - m) * var", "(1 - m) * np.sqrt(var)", "the running variance"),
    "the course's": (
        "t(2.0 / n)", "t(2.0 / (n - 1))", "the variance path of dx divides by n - 1"),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_a_right_style_passes(bncheck: Callable[..., Any], saved: Any, style: str) -> None:
    """What is right exits 0, with training, inference and gradients among what is judged."""
    ran = bncheck("run", saved(STYLES[style], "styled.py"), "--examples", 10, "--seed", 1)
    assert ran.status == 0, ran.out + ran.err
    assert ran.out.count("\nremark: ") <= 3, ran.out
    target = loaded(str(saved(STYLES[style], "styled.py")))
    assert {"forward_eval", "backward_train", "dgamma", "running statistics"} <= target.offers


@pytest.mark.parametrize("style", STYLES)
def test_a_wrong_style_is_told_why(bncheck: Callable[..., Any], saved: Any, style: str) -> None:
    """A planted mistake in each style exits 1 with its cause."""
    old, new, cause = WRONG[style]
    assert old in STYLES[style]
    path = saved(STYLES[style].replace(old, new), "styled.py")
    ran = bncheck("run", path, "--examples", 10, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert cause in " ".join(ran.out.split()), ran.out


def test_what_is_no_style_gets_one_line(bncheck: Callable[..., Any], saved: Path) -> None:
    """Two functions that are no pair: what is expected is said."""
    path = saved("def forward(x): return x\ndef other(x): return x\n", "styled.py")  # type: ignore[operator]
    ran = bncheck("run", path)
    assert ran.status == 2 and "it has no forward_train; expected " in ran.err
    assert "a pair such as batchnorm_forward and batchnorm_backward" in ran.err

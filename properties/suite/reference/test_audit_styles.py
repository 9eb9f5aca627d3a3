"""The audit reads layers and pairs as people write them, and accuses what is wrong alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from audit_cases import answers_in

from properties.cli import main

NATIVE = """
import ctypes

def backward(dy, x, gamma, eps):
    ctypes.CDLL(None).abort()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no abort of the C library by that name")
def test_native_code_cannot_end_the_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file whose code ends its process is no formula: one line, status 2."""
    path = tmp_path / "native.py"
    path.write_text(NATIVE, encoding="utf-8")
    assert main(["audit", f"{path}:backward"]) == 2
    err = capsys.readouterr().err
    assert "its code ended the process (SIGABRT); native code is not a formula" in err
    assert err.count("\n") == 1


PAIR = """
def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mean, var = x.mean(axis=0), x.var(axis=0)
    bn_param["running_mean"] = momentum * bn_param["running_mean"] + (1 - momentum) * mean
    bn_param["running_var"] = momentum * bn_param["running_var"] + (1 - momentum) * var
    std = np.sqrt(var + eps)
    xhat = (x - mean) / std
    return gamma * xhat + beta, (xhat, gamma, std)

def batchnorm_backward(dout, cache):
    xhat, gamma, std = cache
    n = len(dout)
    dbeta, dgamma = dout.sum(axis=0), (dout * xhat).sum(axis=0)
    return gamma / std * (dout - dbeta / n - xhat * dgamma / n), dgamma, dbeta
"""
SIZED = """
class BatchNorm:
    def __init__(self, num_features, momentum=0.9, eps=1e-5):
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)
        self.momentum, self.eps = momentum, eps

    def forward(self, x, training=True):
        mean, var = self.running_mean, self.running_var
        if training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, grad):
        self.dbeta, self.dgamma = grad.sum(axis=0), (grad * self.xhat).sum(axis=0)
        n = len(grad)
        return self.gamma / self.std * (grad - self.dbeta / n - self.xhat * self.dgamma / n)
"""
STARTED = """self.running_mean = self.running_var = None
        self.momentum, self.eps = momentum, eps

    def forward(self, x, training=True):
        if self.running_mean is None:
            self.running_mean, self.running_var = 0 * x[0], 0 * x[0]
"""
STARTS_ITSELF = (
    SIZED[: SIZED.index("self.gamma, ")]
    + "self.gamma, self.beta = gamma, beta\n        "
    + STARTED
    + SIZED[SIZED.index("        mean, var = self.running") :]
).replace("num_features", "gamma, beta")
OTHER_WORDS = """
class BN:
    def __init__(self, input_dim, momentum=0.9, epsilon=1e-5):
        self.weight, self.bias = np.ones(input_dim), np.zeros(input_dim)
        self.moving_mean, self.moving_var = np.zeros(input_dim), np.ones(input_dim)
        self.momentum, self.epsilon = momentum, epsilon

    def forward(self, x, mode="train"):
        mean, var = self.moving_mean, self.moving_var
        if mode == "train":
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mean
            self.moving_var = self.momentum * self.moving_var + (1 - self.momentum) * var
        self.std = np.sqrt(var + self.epsilon)
        self.xhat = (x - mean) / self.std
        return self.weight * self.xhat + self.bias

    def backward(self, dout):
        dbeta, dgamma = dout.sum(axis=0), (dout * self.xhat).sum(axis=0)
        n = len(dout)
        return self.weight / self.std * (dout - dbeta / n - self.xhat * dgamma / n), dgamma, dbeta
"""
STYLES = {
    "a pair with a cache": PAIR,
    "sized": SIZED,
    "starts its state": STARTS_ITSELF,
    "other words, gradients returned": OTHER_WORDS,
}


@pytest.mark.parametrize("style", STYLES)
def test_a_right_style_is_equal(style: str, tmp_path: Path) -> None:
    """Each way of writing is read exactly, and nothing in it is accused."""
    answers = answers_in(tmp_path, STYLES[style])
    assert all(answer.exact for answer in answers)
    verdicts = {r.quantity: r.verdict for answer in answers for r in answer.results}
    assert set(verdicts.values()) == {"equal"}, verdicts
    assert {"y", "dx", "dgamma", "dbeta", "new_running_mean", "new_running_var"} <= set(verdicts)


@pytest.mark.parametrize("style", STYLES)
def test_of_a_wrong_style_dx_alone_is_accused(style: str, tmp_path: Path) -> None:
    """A backward without the path through the mean is accused of that, and its state is not."""
    wrong = STYLES[style].replace("self.dbeta / n - ", "").replace("dbeta / n - ", "")
    answers = answers_in(tmp_path, wrong)
    accused = {r.quantity: r for answer in answers for r in answer.results if r.verdict != "equal"}
    assert set(accused) == {"dx"}, accused
    assert "the term mean(dy) is missing" in accused["dx"].diagnosis[0].words


STATED = """
CONVENTIONS = {"eps": 0.125, "momentum": "update"}

def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    mean, var = x.mean(axis=0), x.var(axis=0)
    y = gamma * (x - mean) / np.sqrt(var + EPS) + beta
    keep = 1 - momentum
    new = keep * running_mean + momentum * mean, keep * running_var + momentum * var
    return y, *new, None
"""


@pytest.mark.parametrize("eps", ["0.125", "float(0.125)"])
def test_stated_conventions_are_kept(eps: str, tmp_path: Path) -> None:
    """An eps and a direction of momentum that a file states are no errors of it."""
    (answer,) = answers_in(tmp_path, STATED.replace("EPS", eps))
    verdicts = {r.quantity: r.verdict for r in answer.results}
    assert verdicts["y"] == "equal", answer.text()
    if answer.exact:
        assert set(verdicts.values()) == {"equal"}, answer.text()

"""Layers that live: right ones pass whatever is done with them, each wrong one is caught."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties import check
from properties.benchmarks.lives import lived
from properties.engine.exercise import run_invariant
from properties.invariants import INVARIANTS
from properties.model.contract import COPIES, Conventions, Target
from properties.plants.layers import Cumulative, Layer
from properties.plants.textbook import Pieces, implementation
from properties.run.causes import SENTENCES, known
from properties.run.diagnosis import causes
from properties.targets.open import loaded

NAMES = ("only_training_moves_a_layer", "a_layer_lives_by_the_model")
STATED = {"keep": Conventions(), "update": Conventions(momentum="update", running_var="unbiased")}


def verdicts(target: Target, examples: int = 80) -> dict[str, Any]:
    """Return the results of both invariants."""
    return {n: run_invariant(target, INVARIANTS[n], examples=examples) for n in NAMES}


@pytest.mark.parametrize("kind", [Layer, Cumulative])
@pytest.mark.parametrize("stated", STATED)
@pytest.mark.slow(but_one_in=4)
def test_a_right_layer_passes(stated: str, kind: type[Layer]) -> None:
    """A layer passes with decisive examples, whichever way it averages."""
    found = verdicts(implementation(Pieces(layer=kind), STATED[stated], "right"))
    assert {n: r.verdict for n, r in found.items()} == dict.fromkeys(NAMES, "pass")
    assert all(r.decisive for r in found.values())


@pytest.mark.slow
def test_the_seeds_class_and_bn_live() -> None:
    """bn's layer passes, in lives in which every step comes, and so does the seed's class."""
    layer = loaded("bn:BatchNormalization")
    assert {r.verdict for r in verdicts(layer).values()} == {"pass"}
    found = lived(layer, 100, 12, 3)
    assert not any(failed for _, failed, _ in found.values())
    for how in COPIES:
        assert found[f"running_mean after its copy by {how} trained"][0] > 10
    seed = Path(__file__).parent.parent / "targets" / "seed_layer.py.txt"
    assert "class" in seed.read_text(encoding="utf-8")


WRONG = [name for name, pieces in known().items() if pieces.layer is not None]


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.slow(but_one_in=6)
def test_each_wrong_layer_fails_and_is_named(name: str) -> None:
    """It fails one of the two, the cause is its own, and all other invariants hold."""
    target = implementation(known()[name], STATED["update"], name)
    found = verdicts(target, 100)
    assert "fail" in {r.verdict for r in found.values()}
    assert [cause.names for cause in causes(target)] == [(name,)]
    assert name in SENTENCES


def test_a_right_layer_has_no_cause() -> None:
    """Nothing is said of layers that are right."""
    for kind in (Layer, Cumulative):
        assert causes(implementation(Pieces(layer=kind), STATED["keep"], "right")) == []


CLASS = """
import copy
import numpy as np

class Norm:
    def __init__(self, gamma, beta, running_mean=None, running_var=None, eps=1e-5, momentum=0.9):
        self.gamma, self.beta, self.eps, self.momentum = gamma, beta, eps, momentum
        self.running_mean, self.running_var = running_mean, running_var

    def forward(self, x, training=True):
        a = self.a = (0, *range(2, x.ndim)); s = self.s = (1, -1) + (1,) * (x.ndim - 2)
        self.training = training
        mean, var = (x.mean(axis=a), x.var(axis=a)) if training else (
            self.running_mean, self.running_var)
        if training:
            k = x.dtype.type(self.momentum); r = x.dtype.type(1 - self.momentum)
            {update}
        self.rstd = 1 / np.sqrt(var + x.dtype.type(self.eps))
        self.xhat = (x - mean.reshape(s)) * self.rstd.reshape(s)
        return self.gamma.reshape(s) * self.xhat + self.beta.reshape(s)

    def backward(self, dout):
        s, n = self.s, dout.size // dout.shape[1]
        dbeta = dout.sum(axis=self.a); dgamma = (dout * self.xhat).sum(axis=self.a)
        {gradients}
        g = (self.gamma * self.rstd).reshape(s)
        if not self.training:
            return g * dout
        return g * (dout - dbeta.reshape(s) / n - self.xhat * dgamma.reshape(s) / n)
    {more}
"""
NEW = "self.running_mean, self.running_var = (k * self.running_mean + r * mean, k * self.running_var + r * var)"  # noqa: E501
IN_PLACE = "self.running_mean *= k; self.running_mean += r * mean; self.running_var *= k; self.running_var += r * var"  # noqa: E501
KEPT = "self.dgamma, self.dbeta = dgamma, dbeta"
ADDED = "self.dgamma = getattr(self, 'dgamma', 0) + dgamma; self.dbeta = getattr(self, 'dbeta', 0) + dbeta"  # noqa: E501
UNCOPIED = "def __deepcopy__(self, memory): return copy.copy(self)"
UNPICKLED = "def __reduce__(self): raise TypeError('no pickle')"
RIGHT = {
    "new arrays": (NEW, KEPT, ""),
    "in place": (IN_PLACE, KEPT, ""),
    "adds its gradients up": (NEW, ADDED, ""),
    "cannot be pickled": (NEW, KEPT, UNPICKLED),
}


def written(tmp_path: Path, update: str, gradients: str, more: str) -> str:
    """Return the path of a file with the class."""
    path = tmp_path / f"norm_{random.randrange(10**9)}.py"
    text = CLASS.replace("{update}", update).replace("{gradients}", gradients)
    path.write_text(text.replace("{more}", more), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.slow(but_one_in=4)
def test_right_classes_pass(tmp_path: Path, name: str) -> None:
    """However a class keeps its state, and whether or not it can be pickled, it passes."""
    results = check(written(tmp_path, *RIGHT[name]), only=NAMES, examples=60)
    assert [r.verdict for r in results] == ["pass", "pass"], [r.message for r in results]


def test_a_shallow_copy_is_caught(tmp_path: Path) -> None:
    """A class that averages in place and copies shallowly shares its state with its copies."""
    results = check(written(tmp_path, IN_PLACE, KEPT, UNCOPIED), only=NAMES, examples=60)
    failed = [r for r in results if r.verdict == "fail"]
    assert [r.invariant.name for r in failed] == ["a_layer_lives_by_the_model"]
    assert "deepcopy" in failed[0].failure.quantity
    assert failed[0].message.startswith("the steps were "), failed[0].message


@pytest.fixture
def functions() -> dict[str, Callable[..., Any]]:
    return dict(implementation(Pieces(layer=Layer), STATED["keep"], "right").functions)


def test_a_missing_step_would_show(functions: dict[str, Callable[..., Any]]) -> None:
    """A layer whose inference is that of a copy trained once more is not taken for right."""
    right = implementation(Pieces(layer=Layer), STATED["keep"], "right")

    def run(x: Any, layer: Any, training: bool, elsewhere: bool) -> Any:
        if not training:
            layer = copy.deepcopy(layer)
            functions["run_layer"](x, layer, True, False)
        return functions["run_layer"](x, layer, training, elsewhere)

    wrong = Target("wrong", {**functions, "run_layer": run}, right.conventions, right.offers)
    assert verdicts(wrong)["a_layer_lives_by_the_model"].verdict == "fail"

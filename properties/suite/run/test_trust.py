"""Right code as people write it passes with few remarks; wrong code is told its cause."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties.bugs.catalogue import mutants
from properties.engine.tally import LARGE
from properties.invariants import INVARIANTS
from properties.invariants.levels import EDGE, EDGE_LAYOUTS
from properties.model.contract import Target
from properties.model.layouts import LAYOUTS
from properties.run.api import check
from properties.run.cancellation import cancels
from properties.run.causes import (
    BODIES,
    EXTRA,
    OF_MASKS_AND_RANKS,
    PLANTED,
    SENTENCES,
    known,
)
from properties.run.diagnosis import causes
from properties.run.screen import screen
from properties.run.session import Options, session
from properties.targets.isolate.limits import Limits
from properties.targets.load import load
from properties.targets.offers import probed
from properties.targets.open import loaded

SHAPE = """
import numpy as np

def axes(x): return (0, *range(2, x.ndim))
def wide(v, x): return v.reshape((1, -1) + (1,) * (x.ndim - 2))
"""

TWO_PASS = f"""{SHAPE}
def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    t = x.dtype.type
    mean, var = x.mean(axis=axes(x)), x.var(axis=axes(x))
    rstd = 1 / np.sqrt(var + t(eps))
    xhat = (x - wide(mean, x)) * wide(rstd, x)
    keep, rest = t(momentum), t(1 - momentum)
    y = wide(gamma, x) * xhat + wide(beta, x)
    new = keep * running_mean + rest * mean, keep * running_var + rest * var
    return y, *new, (xhat, rstd, gamma)

def backward_train(dy, saved):
    xhat, rstd, gamma = saved
    n = dy.size // dy.shape[1]
    dbeta, dgamma = dy.sum(axis=axes(dy)), (dy * xhat).sum(axis=axes(dy))
    dx = wide(gamma * rstd, dy) / n * (n * dy - wide(dbeta, dy) - xhat * wide(dgamma, dy))
    return dx, dgamma, dbeta

def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    scale = gamma / np.sqrt(running_var + x.dtype.type(eps))
    return x * wide(scale, x) + wide(beta - running_mean * scale, x), scale
"""
FLAT = """
import numpy as np

def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + x.dtype.type(eps))
    keep, rest = x.dtype.type(momentum), x.dtype.type(1 - momentum)
    new = keep * running_mean + rest * mean, keep * running_var + rest * var
    return gamma * ((x - mean) / std) + beta, *new, (x, mean, std, gamma)

def backward_train(dy, saved):
    x, mean, std, gamma = saved
    n, dxhat = len(x), dy * gamma
    dvar = (dxhat * (x - mean)).sum(axis=0) * x.dtype.type(-0.5) / std**3
    dmean = (-dxhat / std).sum(axis=0) + dvar * (x.dtype.type(-2) * (x - mean)).mean(axis=0)
    dx = dxhat / std + dvar * 2 * (x - mean) / n + dmean / n
    return dx, (dy * (x - mean) / std).sum(axis=0), dy.sum(axis=0)
"""
LAYER = """
import numpy as np

class BatchNorm:
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var

    def forward(self, x, train_flg=True):
        t = x.dtype.type
        if not train_flg:
            self.std = np.sqrt(self.running_var + t(1e-5))
            return self.gamma * (x - self.running_mean) / self.std + self.beta
        mean, var = x.mean(axis=0), x.var(axis=0)
        self.std = np.sqrt(var + t(1e-5))
        self.xhat = (x - mean) / self.std
        m = t(self.momentum)
        self.running_mean = m * self.running_mean + (1 - m) * mean
        self.running_var = m * self.running_var + (1 - m) * var
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        self.dgamma, self.dbeta = (dout * self.xhat).sum(axis=0), dout.sum(axis=0)
        n = len(dout)
        paths = self.dbeta + self.xhat * self.dgamma
        return self.gamma / self.std * (dout - paths / n)
"""


def changed(source: str, *pairs: tuple[str, str]) -> str:
    """Return a source with some of it put otherwise."""
    for old, new in pairs:
        assert old in source, old
        source = source.replace(old, new)
    return source


REFUSED = "    raise NotImplementedError('not here')\n"
LAST_LINE = TWO_PASS[TWO_PASS.index("    return x * wide(scale") :]
RIGHT = {
    "two passes": TWO_PASS,
    "two dimensions, the course's staged backward": FLAT,
    "forward only": FLAT[: FLAT.index("def backward_train")],
    "training only": TWO_PASS[: TWO_PASS.index("def forward_eval")],
    "eps written in": changed(FLAT, ("x.dtype.type(eps)", "x.dtype.type(1e-8)")),
    "momentum written in": changed(FLAT, ("(momentum)", "(0.95)"), ("(1 - momentum)", "(0.05)")),
    "running statistics as they came": changed(
        FLAT, ("keep * running_mean + rest * mean, keep * running_var + rest * var",
               "running_mean, running_var")),
    "no running statistics at all": changed(
        FLAT, ("keep * running_mean + rest * mean, keep * running_var + rest * var", "None, None")),
    "no gradients of the parameters": changed(
        FLAT, ("(dy * (x - mean) / std).sum(axis=0), dy.sum(axis=0)", "None, None")),
    "float64 inside and out": changed(
        FLAT, ("    mean, var = x", "    x = x.astype(np.float64)\n    mean, var = x")),
    "float64 inside": changed(
        TWO_PASS,
        ("    t = x.dtype.type\n", "    given = x.dtype\n    x, t = x.astype(np.float64), float\n"),
        ("    return y, *new", "    y = y.astype(given)\n    return y, *new"),
        ("    return dx, dgamma", "    dx = dx.astype(dy.dtype)\n    return dx, dgamma")),
    "PyTorch's conventions": changed(
        TWO_PASS, ("t(momentum), t(1 - momentum)", "t(1 - momentum), t(momentum)"),
        ("rest * var\n", "rest * x.var(axis=axes(x), ddof=min(1, x.size // x.shape[1] - 1))\n")),
    "byte order refused": changed(
        TWO_PASS, ("    t = x", "    if not x.dtype.isnative:\n"
                   "        raise TypeError('native byte order')\n    t = x")),
    "half precision refused": changed(
        TWO_PASS, ("    t = x", "    if x.dtype == np.float16:\n"
                   "        raise TypeError('float16 is not supported')\n    t = x")),
    "empty batch refused": changed(
        TWO_PASS, ("    t = x", "    if not x.size:\n        raise ValueError('no')\n    t = x")),
    "y alone in inference": changed(TWO_PASS, ("wide(beta - running_mean * scale, x), scale",
                                               "wide(beta - running_mean * scale, x)")),
    "a backward of inference that is refused": (
        f"{TWO_PASS}\ndef backward_eval(dy, saved):\n{REFUSED}"),
    "a layer class": LAYER,
}  # fmt: skip

WRONG = {
    "eps outside the root": (
        changed(TWO_PASS, ("1 / np.sqrt(var + t(eps))", "1 / (np.sqrt(var) + t(eps))")),
        "eps is added outside the root in training"),
    "n - 1 in the variance path": (
        changed(TWO_PASS, ("    dx = wide(gamma * rstd, dy) / n * (n * dy - wide(dbeta, dy) - xhat "
                           "* wide(dgamma, dy))",
                           "    dx = wide(gamma * rstd, dy) * (dy - wide(dbeta, dy) / n - xhat "
                           "* wide(dgamma, dy) / max(n - 1, 1))")),
        "the variance path of dx divides by n - 1"),
    "gamma lost in dx": (
        changed(TWO_PASS, ("wide(gamma * rstd, dy) / n", "wide(rstd, dy) / n")),
        "gamma is missing in dx"),
    "inference off by one": (
        changed(TWO_PASS, (LAST_LINE, LAST_LINE.rstrip().removesuffix(", scale") + " + 1\n")),
        "the output of inference is 1 too large"),
    "a backward of inference that breaks": (
        f"{TWO_PASS}\ndef backward_eval(dy, saved):\n    raise RuntimeError('index 3')\n",
        "backward_eval raised RuntimeError: index 3"),
    "a wrong variance in half, behind a float32 result": (
        changed(TWO_PASS, ("    rstd = 1", "    if t is np.float16:\n        var = var * t(1.1)\n"
                                           "    rstd = 1")),
        "# float16"),
    "per activation forward, per channel backward": (
        changed(
            TWO_PASS,
            ("mean, var = x.mean(axis=axes(x)), x.var(axis=axes(x))",
             "mean, var = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)"),
            ("wide(mean, x)", "mean"), ("wide(rstd, x)", "rstd"),
            ("rest * mean", "rest * mean.reshape(mean.shape[1], -1).mean(axis=1)"),
            ("rest * var", "rest * var.reshape(var.shape[1], -1).mean(axis=1)"),
            ("wide(gamma * rstd, dy)", "wide(gamma, dy) * rstd"),
        ), "cause not known"),
}  # fmt: skip


def test_a_start_at_zero_is_remarked(bncheck: Callable[..., Any], saved: Any) -> None:
    """A layer whose own running variance starts at 0 is told so, one that starts at 1 is not."""
    only = ("--only", "output_agrees_with_reference", "--examples", 5)
    for start, count in (("0 * x[0]", 1), ("0 * x[0] + 1", 0)):
        begun = f"""        if self.running_mean is None:
            self.running_mean, self.running_var = 0 * x[0], {start}
        t = x.dtype.type
"""
        path = saved(changed(LAYER, ("        t = x.dtype.type\n", begun)), f"start_{count}.py")
        ran = bncheck("run", path, *only)
        assert ran.status == 0, ran.out + ran.err
        assert ran.out.count("remark: its own running variance starts at 0") == count, ran.out


MERGED = "merged_statistics_are_those_of_the_whole"


def shown(path: Path, examples: int = 10) -> str:
    """Return what a run prints after its heading."""
    options = Options(str(path), Limits(in_process=True), examples, 1)
    with session(options) as held:
        results = [r for name in INVARIANTS for r in held.results(name)]
        failed = any(r.failure is not None and r.verdict == "fail" for r in results)
        return screen(held.target, results, held.causes if failed else [], 1, examples)


@pytest.mark.parametrize("style", RIGHT)
def test_right_code_passes(saved: Callable[..., Path], style: str) -> None:
    """Each right style has no failure, evidence, and at most three remarks."""
    text = shown(saved(RIGHT[style], "styled.py"))
    assert text.startswith("PASS: "), text
    assert len(re.findall("^remark: ", text, re.MULTILINE)) <= 3, text


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_code_is_told_why(saved: Callable[..., Path], mistake: str) -> None:
    """Each mistake fails on one screen that names it."""
    source, cause = WRONG[mistake]
    text = shown(saved(source, "styled.py"))
    assert text.startswith("FAIL: "), text
    assert cause in text.replace("\n   ", " "), text
    assert len(text.splitlines()) <= 40, text


@pytest.mark.parametrize(("name", "given"), [
    ("ultralytics-deconv-axis", ("weight = ", "transposed = True", "groups = ", "running_var = ")),
    ("syncbn-mean-of-vars", ("counts = ", "means = ", "variances = ")),
])  # fmt: skip
def test_the_arguments_of_the_very_call_are_shown(
    bncheck: Callable[..., Any], name: str, given: tuple[str, ...]
) -> None:
    """A fold or a merge that fails prints what it was given, not the batch it was made from."""
    invariant = "folding_preserves_inference" if "weight = " in given else MERGED
    ran = bncheck("run", f"mutants:{name}", "--only", invariant, "--seed", 1)
    assert ran.status == 1
    assert all(f"\n     {text}" in ran.out for text in given), ran.out
    assert "\n     x = " not in ran.out


@pytest.mark.parametrize("error", [
    "TypeError('only length-1 arrays can be converted to Python scalars')",
    "TypeError('unsupported operand type(s) for *: NoneType and float')",
])  # fmt: skip
def test_an_accident_is_no_refusal(bncheck: Callable[..., Any], saved: Any, error: str) -> None:
    """NumPy's words for code that goes wrong do not say that something is not offered."""
    path = saved(f"{TWO_PASS}\ndef backward_eval(dy, saved):\n    raise {error}\n")
    name = "inference_gradients_agree_with_reference"
    ran = bncheck("run", path, "--only", name, "--examples", 5)
    assert ran.status == 1 and "1. backward_eval raised TypeError: " in ran.out, ran.out


def test_strict_makes_remarks_failures(bncheck: Callable[..., Any], saved: Any) -> None:
    """What was a remark fails with --strict, and is gone with --skip, which says so."""
    path, only = saved(TWO_PASS), ("--only", "empty_batch_leaves_the_state", "--examples", 5)
    ran = bncheck("run", path, *only)
    assert "remark: empty_batch_leaves_the_state: running_mean is nan" in ran.out
    assert bncheck("run", path, *only, "--strict").status == 1
    other = ("--only", "output_agrees_with_reference", "--skip", "empty_batch_leaves_the_state")
    ran = bncheck("run", path, *only, *other)
    assert ran.status == 0 and "skipped: empty_batch_leaves_the_state" in ran.out


def test_the_table_of_levels_names_what_exists() -> None:
    """Each edge is an invariant or a memory layout, and says why."""
    assert set(EDGE) <= set(INVARIANTS) and set(EDGE_LAYOUTS) <= set(LAYOUTS)
    assert all(reason for reason in (*EDGE.values(), *EDGE_LAYOUTS.values()))


def test_an_edge_hides_no_core_failure() -> None:
    """Of the memory layouts the misaligned ones alone are forgiven; a strided one fails."""
    (result,) = check("mutants:assumes_c_order", only=["memory_layout_does_not_matter"])
    assert result.verdict == "fail"


def test_every_sentence_is_of_a_known_error() -> None:
    """The table of causes has no name that is no error."""
    assert set(SENTENCES) <= {*PLANTED, *BODIES, *OF_MASKS_AND_RANKS, *EXTRA}


@pytest.mark.parametrize("name", EXTRA)
def test_an_error_is_not_taken_for_another(name: str) -> None:
    """Each further error, as a target, is told by a sentence that is its own."""
    from properties.bugs.catalogue import SEED, built

    found = causes(built(name, known()[name], SEED))
    assert name in {n for cause in found for n in cause.names}, found


def test_right_code_has_no_cause() -> None:
    """Nothing is said of what is right."""
    assert causes(loaded("bn")) == []


def changed_bn(name: str, change: Callable[..., Any]) -> Target:
    """Return bn with the results of one function changed."""
    functions, stated = load("bn")
    right = functions[name]

    def wrong(*args: Any, **options: Any) -> Any:
        return change(*args, *right(*args, **options))

    return probed("wrong", {**functions, name: wrong}, stated)


def test_what_nothing_reproduces_is_not_explained() -> None:
    """A number added to dx is no known error and no coefficient: no cause is printed."""
    wrong = changed_bn(
        "backward_train", lambda dy, saved, dx, *rest: (dx + dx.dtype.type(1), *rest)
    )
    assert causes(wrong) == []


DX = "    dx = wide(gamma * rstd, dy) / n * (n * dy - wide(dbeta, dy) - xhat * wide(dgamma, dy))"
COEFFICIENTS = {
    "1.37 times": (DX, f"{DX} * dy.dtype.type(1.37)", "dx is 1.37 times what it should be"),
    "a half of one path": (
        "xhat * wide(dgamma, dy))", "xhat * wide(dgamma, dy) * dy.dtype.type(0.5))",
        "-gamma * rstd * xhat * mean(dy * xhat), is taken 1/2 times, not 1"),
    "n - 1 in one path": (
        "n * dy - wide(dbeta, dy)", "n * dy - wide(dbeta, dy) * dy.dtype.type(n / (n - 1))",
        "the path through the mean, -gamma * rstd * mean(dy), is taken (n / (n - 1)) times"),
    "beta twice": (
        "wide(beta, x)\n    new", "wide(beta, x) + wide(beta, x)\n    new",
        "in y, beta is taken 2 times"),
    "variance a little off": (
        "x.var(axis=axes(x))", "x.var(axis=axes(x)) * x.dtype.type(1.001)",
        "what is under the root of y, var is taken 1.001 times"),
    "a mean for a sum": (
        "dy.sum(axis=axes(dy)), (dy * xhat).sum(axis=axes(dy))",
        "dy.sum(axis=axes(dy)), (dy * xhat).sum(axis=axes(dy))\n    db, dg = dbeta / n, dgamma / n",
        "dgamma is (1 / n) times what it should be"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", COEFFICIENTS)
def test_a_coefficient_is_found(saved: Callable[..., Path], mistake: str) -> None:
    """What a term is multiplied by is found, also where no known bug does so."""
    old, new, words = COEFFICIENTS[mistake]
    pairs = [(old, new)]
    if mistake == "a mean for a sum":
        pairs.append(("return dx, dgamma, dbeta", "return dx, dg, db"))
    (cause,) = causes(loaded(str(saved(changed(TWO_PASS, *pairs), "off.py"))))
    assert words in cause.sentence, cause.sentence


ONE_PASS = {
    "of the squares' mean": "(x**2).mean(axis=axes(x)) - x.mean(axis=axes(x)) ** 2",
    "of sums": "(x * x).sum(axis=axes(x)) / t(x.size // x.shape[1]) - x.mean(axis=axes(x)) ** 2",
}


@pytest.mark.parametrize("way", ONE_PASS)
def test_a_variance_that_cancels_is_seen_whatever_its_sums(
    saved: Callable[..., Path], way: str
) -> None:
    """No known bug rounds as these do; their errors grow as those of a difference of squares."""
    source = changed(TWO_PASS, ("x.var(axis=axes(x))", ONE_PASS[way]))
    (cause,) = causes(loaded(str(saved(source, "one_pass.py"))))
    assert cause.sentence.startswith("the variance is mean(x * x) - mean * mean"), cause


@pytest.mark.parametrize("name", ["welford", "shifted", "chunked_merge", "two_pass_pairwise"])
def test_a_variance_that_does_not_cancel_is_not_accused(name: str) -> None:
    """The right ways to take a variance are told from the one that cancels."""
    assert not cancels(loaded(f"mutants:{name}"))


def test_the_audit_is_asked(bncheck: Callable[..., Any], saved: Any) -> None:
    """A run on a file prints the term that the exact audit finds, and the line."""
    path = saved(changed(TWO_PASS, ("xhat * wide(dgamma, dy))", "xhat * wide(dgamma, dy) * 3)")))
    only = ("--only", "input_gradient_agrees_with_reference", "--seed", 1, "--examples", 20)
    ran = bncheck("run", path, *only)
    assert ran.status == 1
    assert "   audit: dx: the term xhat*mean(dy*xhat) is 3 times what it should be" in ran.out


def test_a_screen_is_never_longer_than_forty_lines() -> None:
    """A long example is cut so far that the verdict, the audit and the rest stay in sight."""
    target = mutants()["coreml-axis-last"].target()
    results = check("mutants:coreml-axis-last", examples=3, only=list(INVARIANTS)[:12])
    rows = [f"audit: dx: {'long ' * 30}"] * 4
    text = screen(target, list(results), causes(target), 1, 10, audit=rows)
    assert len(text.splitlines()) <= 38, text


SIDE = f"""{TWO_PASS.replace("def forward_train", "def right", 1)}
def forward_train(*args, **options):
    np.random.seed(0)
    return right(*args, **options)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process of its own there")
def test_a_side_effect_is_one_finding(bncheck: Callable[..., Any], saved: Any) -> None:
    """Who seeds the world's random numbers fails where that is asked; the numbers are judged."""
    ran = bncheck("run", saved(SIDE), "--examples", 5, "--seed", 1)
    assert ran.status == 1 and "FAIL: 1 finding, 1 of " in ran.out, ran.out
    assert "1. forward_train changed the random state of numpy.random" in ran.out
    assert "training_leaves_its_inputs_unchanged" in ran.out


def test_an_arithmetic_fault_is_no_fault_of_memory(saved: Callable[..., Path]) -> None:
    """Memory layouts are compared with the target's own in C order: a wrong formula passes."""
    path = saved(changed(TWO_PASS, ("xhat * wide(dgamma, dy))", "xhat * wide(dgamma, dy) * 3)")))
    names = ["memory_layout_does_not_matter", "input_gradient_agrees_with_reference"]
    limits = Limits(in_process=True)
    found = {r.invariant.name: r for r in check(str(path), only=names, limits=limits)}
    assert found[names[0]].verdict != "fail" and found[names[1]].verdict == "fail"


def test_the_example_convinces(saved: Callable[..., Path]) -> None:
    """Where an error may be small or large, a large one is made small, with no gamma of 0."""
    old = "    xhat = (x - wide(mean, x))"
    more = "    rstd = 1 / np.sqrt(var + t(0.2) * abs(mean) / (1 + abs(mean)) + t(eps))\n"
    source = changed(TWO_PASS, (old, more + old))
    (result,) = check(
        str(saved(source)),
        only=["output_agrees_with_reference"],
        limits=Limits(in_process=True),
    )
    assert result.failure is not None and result.case is not None
    assert result.failure.share > LARGE and (result.case.gamma != 0).all()

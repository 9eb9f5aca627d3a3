"""Code that cannot run over exact numbers: audited in float64, within the certified radius.

PyTorch, compiled code, or NumPy code that turns values into floats. What passes here agrees with
the reference within rounding on the batches tried; that is evidence, not proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import rounding
from ..ball import precision
from ..float64 import Reference, reference_eval, reference_train
from .formula import Formula, WrongShape, shaped
from .language import NotAFormula
from .trials import Question

Array = Any
SHAPES = ((2, 1), (3, 2), (5, 3), (8, 1), (33, 2))
EPSILONS = (1e-5, 0.25)
QUANTITIES = ("y", "dx", "dgamma", "dbeta")


@dataclass(frozen=True)
class Evidence:
    """What float64 says of one quantity.

    Attributes:
        worst: the largest error as a multiple of the radius.
        seen: the relative error of the whole quantity that would have been seen.
        message: where it was wrong, "" if nowhere.
    """

    quantity: str
    verdict: str
    worst: float = 0.0
    seen: float = float("inf")
    message: str = ""


def judge_float64(
    formula: Formula, question: Question, seed: int, eps: float | None = None
) -> dict[str, Evidence]:
    """Return a finding per quantity of code that takes float64 arrays.

    Args:
        eps: the one the code has built in; None to try several.

    Raises:
        NotAFormula: it raises on plain float64 input, or returns something of another structure.
    """
    findings: dict[str, Evidence] = {}
    for given in _batches(seed, question, eps):
        outputs = _run(formula, given)
        wanted = _wanted(given, question)
        for quantity, value in outputs.items():
            before = findings.get(quantity, Evidence(quantity, "equal"))
            if before.verdict != "equal":
                continue
            if quantity not in wanted:
                why = "no radius is known for it in float64"
                findings[quantity] = Evidence(quantity, "unknown", message=why)
            else:
                findings[quantity] = _compare(before, value, wanted[quantity], given)
    return findings


def _batches(seed: int, question: Question, eps: float | None) -> Iterator[dict[str, Array]]:
    random = np.random.default_rng(seed % 2**63)
    for n, c in SHAPES:
        for e in EPSILONS if eps is None else (eps,):
            yield _given(random, question, n, c, e)


def _given(
    random: np.random.Generator, question: Question, n: int, c: int, eps: float
) -> dict[str, Array]:
    draw = random.standard_normal
    x, dy, tx, ddx = (draw((n, c)) for _ in range(4))
    x = x * 2.0 ** random.integers(-2, 3, c) + draw(c)
    rows: dict[str, Array] = {"x": x, "dy": dy, "tx": tx, "ddx": ddx}
    row = ("gamma", "beta", "running_mean", "tgamma", "tbeta", "ddgamma", "ddbeta")
    rows |= {name: draw((1, c)) for name in row}
    rows |= {"running_var": draw((1, c)) ** 2 + 0.1, "momentum": 0.9, "eps": eps, "n": n}
    training = question.mode == "train"
    mean = x.mean(axis=0, keepdims=True) if training else rows["running_mean"]
    var = x.var(axis=0, keepdims=True) if training else rows["running_var"]
    std = np.sqrt(var + eps)
    rows |= {"mean": mean, "var": var, "std": std, "rstd": 1 / std, "xc": x - mean}
    rows["xhat"] = rows["xc"] / std
    return rows | {"y": rows["gamma"] * rows["xhat"] + rows["beta"]}


def _run(formula: Formula, given: Mapping[str, Array]) -> Mapping[str, Any]:
    if formula.floating is None:
        raise NotAFormula(f"formula={formula.label!r}: it cannot be run in float64")
    try:
        return formula.floating(given)
    except NotAFormula:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise NotAFormula(f"formula={formula.label!r}: raises {reason}") from None


def _wanted(given: Mapping[str, Array], question: Question) -> dict[str, tuple[Array, Array]]:
    """Return (value, radius) per quantity."""
    x, dy, gamma, beta = (given[name] for name in ("x", "dy", "gamma", "beta"))
    p, eps = precision("float64", "same", "kept"), float(given["eps"])
    if question.mode == "train":
        ref = reference_train(x, dy, gamma, beta, eps)
        spread = rounding.statistics_spread(x, ref, eps, p)
        radii = rounding.gradient_radii(x, dy, ref, gamma, spread, p)
    else:
        mean, var = given["running_mean"], given["running_var"]
        ref = reference_eval(x, dy, gamma, beta, mean, var, eps)
        spread = rounding.eval_spread(var, eps, p)
        radii = rounding.parameter_radii(x, dy, ref, spread, p)
        radii["dx"] = rounding.eval_gradient_radius(dy, ref, gamma, spread, p)
    radii["y"] = rounding.output_radius(x, ref, gamma, beta, spread, p)
    return {name: _pair(ref, name, radii[name]) for name in QUANTITIES}


def _pair(ref: Reference, name: str, radius: Array) -> tuple[Array, Array]:
    return ref.value[name], radius + ref.bound[name]


def _compare(
    before: Evidence, value: Any, wanted: tuple[Array, Array], given: Mapping[str, Array]
) -> Evidence:
    name, (n, c) = before.quantity, given["x"].shape
    try:
        got = shaped(name, np.asarray(_plain(value), dtype=np.float64), n, c)
    except (WrongShape, TypeError, ValueError) as error:
        return Evidence(name, "not equal", message=str(error))
    right, radius = wanted
    off = np.where(np.isfinite(got), np.abs(got - right), np.inf) / radius
    worst = max(before.worst, float(off.max()))
    seen = min(before.seen, float(2 * radius.max() / np.abs(right).max()))
    if worst <= 1:
        return Evidence(name, "equal", worst, seen)
    at = tuple(int(i) for i in np.unravel_index(off.argmax(), off.shape))
    place = f"{name}{list(at)} at (n, c) = ({n}, {c}), eps = {given['eps']}"
    values = f"got {float(got[at])!r}, wanted {float(right[at])!r}"
    message = f"{place}: {values}, {off[at]:.3g} times what is allowed"
    return Evidence(name, "not equal", worst, seen, message)


def _plain(value: Any) -> Any:
    """Return a tensor's values: frameworks offer detach() and numpy()."""
    value = value.detach() if hasattr(value, "detach") else value
    return value.numpy() if hasattr(value, "numpy") else value

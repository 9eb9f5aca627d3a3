"""Coefficients of a target's formulas by least squares: what a term is multiplied by.

Each result is a sum of known terms. Where a target's has the same terms with other coefficients,
such as n / (n - 1) for the path through the variance, they are found from fresh batches, and the
formula with them is tried like any other known error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..model.cases import Case
from ..model.contract import Array
from ..plants.textbook import Pieces, root_of_sum, two_pass_variance

Rows = dict[str, Array]

# what a coefficient may be a multiple of, the simplest first
_OF_N: dict[str, Callable[[float], float]] = {
    "": lambda n: 1.0,
    "n": lambda n: n,
    "1 / n": lambda n: 1 / n,
    "n / (n - 1)": lambda n: n / (n - 1),
    "(n - 1) / n": lambda n: (n - 1) / n,
    "1 / (n - 1)": lambda n: 1 / (n - 1),
    "1 / sqrt(n)": lambda n: n**-0.5,
    "sqrt(n)": lambda n: n**0.5,
}


@dataclass(frozen=True)
class Formula:
    """A result as a sum of terms; each term with its words, and whether it belongs there."""

    result: str
    piece: str
    terms: tuple[tuple[str, bool, Callable[..., Array]], ...]
    given: Callable[[Case, Rows], tuple[Any, ...]]


def _mean(a: Array) -> Array:
    return a.mean(axis=0, keepdims=True)


def _back(case: Case, r: Rows) -> tuple[Any, ...]:
    return r["dy"], r["x"], r["gamma"], r["mean"], r["rstd"]


def _through_variance(dy: Array, x: Array, gamma: Any, mean: Array, rstd: Array) -> Array:
    xhat = (x - mean) * rstd
    return -gamma * rstd * xhat * _mean(dy * xhat)


FORMULAS = (
    Formula(
        "y",
        "output",
        (
            ("gamma * xhat", True, lambda x, g, b, m, s: g * (x - m) * s),
            ("beta", True, lambda x, g, b, m, s: b + 0 * x),
            ("xhat", False, lambda x, g, b, m, s: (x - m) * s),
            ("gamma", False, lambda x, g, b, m, s: g + 0 * x),
        ),
        lambda case, r: (r["x"], r["gamma"], r["beta"], r["mean"], r["rstd"]),
    ),
    Formula(
        "y in inference",
        "eval_output",
        (
            ("gamma * xhat", True, lambda x, g, b, m, s: g * (x - m) * s),
            ("beta", True, lambda x, g, b, m, s: b + 0 * x),
            ("a constant", False, lambda x, g, b, m, s: 1 + 0 * x),
        ),
        lambda case, r: (r["x"], r["gamma"], r["beta"], r["running_mean"], r["eval_rstd"]),
    ),
    Formula(
        "dx",
        "input_gradient",
        (
            ("gamma * rstd * dy", True, lambda dy, x, g, m, s: g * s * dy),
            (
                "the path through the mean, -gamma * rstd * mean(dy),",
                True,
                lambda dy, x, g, m, s: -g * s * _mean(dy) + 0 * dy,
            ),
            (
                "the path through the variance, -gamma * rstd * xhat * mean(dy * xhat),",
                True,
                _through_variance,
            ),
        ),
        _back,
    ),
    Formula(
        "dgamma",
        "gamma_gradient",
        (
            ("sum(dy * xhat)", True, lambda dy, x, m, s: (dy * (x - m) * s).sum(0, keepdims=True)),
            ("sum(dy)", False, lambda dy, x, m, s: dy.sum(0, keepdims=True)),
        ),
        lambda case, r: (r["dy"], r["x"], r["mean"], r["rstd"]),
    ),
    Formula(
        "dbeta",
        "beta_gradient",
        (("sum(dy)", True, lambda dy: dy.sum(axis=0, keepdims=True)),),
        lambda case, r: (r["dy"],),
    ),
    Formula(
        "running_var",
        "running_variance",
        (("the batch's variance", True, lambda var, n, convention, eps: var),),
        lambda case, r: (r["var"], len(r["x"]), "", case.eps),
    ),
)


def fitted_variance(
    cases: Sequence[Case], got: Sequence[dict[str, Array]], resolution: float
) -> tuple[list[str], list[Pieces]] | None:
    """Return what var and eps are multiplied by in y, and the pieces that may do so.

    y is a line in x of slope gamma / sqrt(var + eps), (6): its slope gives what is under the root.
    """
    var, eps, seen, sizes = [], [], [], []
    for case, g in zip(cases, got, strict=True):
        if "y" not in g or g["y"].shape != case.x.shape:
            return None
        r, y = _rows(case), case.conventions.rows(g["y"])
        xc = r["x"] - r["mean"]
        with np.errstate(all="ignore"):
            slope = (xc * y).sum(axis=0, keepdims=True) / (xc * xc).sum(axis=0, keepdims=True)
            line = np.abs(y - y.mean(axis=0) - slope * xc).max()
            under = (r["gamma"] / slope) ** 2
        if not line <= resolution * np.abs(y).max() or not np.isfinite(under).all():
            return None
        var.append(r["var"])
        eps.append(np.full_like(r["var"], case.eps))
        seen.append(under)
        sizes.append(float(len(xc)))
    found = _solved(_ROOT, list(zip(var, eps, strict=True)), seen, sizes, 64 * resolution)
    if found is None or found[1][0]:  # eps is no function of n
        return None
    of, (value, _) = found[0][0], _simple(found[0][1])
    more = _simple(found[1][1])[0]

    def variance(x: Array, mean: Array) -> Array:
        return two_pass_variance(x, mean) * (value * _OF_N[of](len(x)))

    def rstd(v: Array, eps: Any) -> Array:
        return root_of_sum(v, more * eps)

    def output(x: Array, gamma: Any, beta: Any, mean: Array, rs: Array) -> Array:
        v = two_pass_variance(x, mean)
        e = 1 / (rs * rs) - v
        return gamma * (x - mean) * rstd(variance(x, mean), e) + beta

    pieces = [
        Pieces(variance=variance, rstd=rstd), Pieces(variance=variance, rstd=rstd, eval_rstd=rstd),
        Pieces(output=output),
    ]  # fmt: skip
    return _sentences(_ROOT, found, False), pieces


_ROOT = Formula(
    "what is under the root of y",
    "",
    (("var", True, lambda var, eps: var), ("eps", True, lambda var, eps: eps)),
    lambda case, r: (),
)


def _rows(case: Case) -> Rows:
    """Return what the formulas are made of, in rows and in float64."""

    def row(a: Any, fill: float) -> Array:
        return np.full((1, 1), fill) if a is None else a.astype(np.float64).reshape(1, -1)

    x = case.conventions.rows(case.x).astype(np.float64)
    dy = case.conventions.rows(case.dy).astype(np.float64)
    var = x.var(axis=0, keepdims=True)
    return {
        "x": x, "dy": dy, "mean": _mean(x), "var": var, "rstd": 1 / np.sqrt(var + case.eps),
        "gamma": row(case.gamma, 1), "beta": row(case.beta, 0),
        "running_mean": row(case.running_mean, 0),
        "eval_rstd": 1 / np.sqrt(row(case.running_var, 1) + case.eps),
    }  # fmt: skip


def _wanted(formula: Formula, case: Case, value: Array, keep: bool) -> Array:
    """Return what the terms must add up to; of the running variance, what was averaged in."""
    if formula.piece == "running_variance":
        assert case.running_var is not None
        m = case.momentum
        old, new = (m, 1 - m) if keep else (1 - m, m)
        value = (value - old * case.running_var.astype(np.float64)) / new
    if value.shape == case.x.shape:
        return case.conventions.rows(value)
    return value.reshape(1, -1)


def fitted(
    cases: Sequence[Case], got: Sequence[dict[str, Array]], wrong: set[str], resolution: float
) -> tuple[list[str], Pieces] | None:
    """Return the sentences and the pieces of the coefficients that fit what is wrong, if any do."""
    keep = cases[0].conventions.momentum == "keep"
    unbiased = cases[0].conventions.running_var == "unbiased"
    sentences: list[str] = []
    pieces: dict[str, Any] = {}
    rows = [_rows(case) for case in cases]
    sizes = [float(len(r["x"])) for r in rows]
    for formula in FORMULAS:
        name = formula.result
        if name not in wrong or any(name not in g for g in got):
            continue
        given = [formula.given(case, r) for case, r in zip(cases, rows, strict=True)]
        values = [_wanted(formula, c, g[name], keep) for c, g in zip(cases, got, strict=True)]
        found = _solved(formula, given, values, sizes, resolution)
        if found is None:
            continue
        sentences += _sentences(formula, found, unbiased)
        pieces[formula.piece] = _piece(formula, found)
    return (sentences, Pieces(**pieces)) if sentences else None


Found = list[tuple[str, float]]  # per term: the function of n, and what it is multiplied by


def _solved(
    formula: Formula,
    given: Sequence[tuple[Any, ...]],
    values: Sequence[Array],
    sizes: Sequence[float],
    resolution: float,
) -> Found | None:
    """Return the coefficients of the first functions of n that leave no residual."""
    columns = []
    for _, _, term in formula.terms:
        made = [np.broadcast_to(term(*g), v.shape) for g, v in zip(given, values, strict=True)]
        columns.append(
            {
                of: np.concatenate([(a * f(n)).ravel() for a, n in zip(made, sizes, strict=True)])
                for of, f in _OF_N.items()
            }
        )
    target = np.concatenate([v.ravel() for v in values])
    if not np.isfinite(target).all():
        return None
    own = [k for k, (_, belongs, _) in enumerate(formula.terms) if belongs]
    for used in (own, list(range(len(formula.terms)))):
        if used == own or len(used) > len(own):
            for choice in itertools.product(_OF_N, repeat=len(own)):
                functions = [*choice, *[""] * (len(used) - len(own))]
                matrix = np.stack([columns[k][f] for k, f in zip(used, functions, strict=True)], 1)
                size = np.abs(matrix).max(axis=0)
                solution = np.linalg.lstsq(matrix / size, target, rcond=None)[0] / size
                if np.abs(matrix @ solution - target).max() <= resolution * np.abs(target).max():
                    by_term = dict(zip(used, zip(functions, solution, strict=True), strict=True))
                    return [by_term.get(k, ("", 0.0)) for k in range(len(formula.terms))]
    return None


def _piece(formula: Formula, found: Found) -> Callable[..., Array]:
    terms = [term for _, _, term in formula.terms]
    rounded = [(of, _simple(value)[0]) for of, value in found]

    def wrong(*args: Any) -> Any:
        n = float(args[1] if formula.piece == "running_variance" else len(args[0]))
        total: Any = 0.0
        for term, (of, value) in zip(terms, rounded, strict=True):
            if value:
                total = total + value * _OF_N[of](n) * term(*args)
        return total

    return wrong


def _simple(value: float) -> tuple[float, str]:
    """Return a number near value, and its text: a fraction where one of small terms is near."""
    near = Fraction(value).limit_denominator(12)
    if abs(float(near) - value) <= 1e-6 * max(1.0, abs(value)):
        return float(near), str(near)
    return value, f"{value:.7g}"


def _sentences(formula: Formula, found: Found, unbiased: bool) -> list[str]:
    """Return what is said of each coefficient that is not 1, or not 0 where there is no term."""
    unbiased = unbiased and formula.piece == "running_variance"
    right = ("n / (n - 1)" if unbiased else "", 1.0)
    told = [(words, belongs, of, *_simple(value)) for (words, belongs, _), (of, value)
            in zip(formula.terms, found, strict=True)]  # fmt: skip
    own = {(of, text) for _, belongs, of, _, text in told if belongs}
    others = any(number for _, belongs, _, number, _ in told if not belongs)
    name = formula.result
    if len(own) == 1 and not others and formula.piece != "running_variance":
        of, text = told[0][2], told[0][4]
        return [f"{name} is {_times(of, text)} times what it should be"]
    said = []
    for words, belongs, of, number, text in told:
        if not belongs and number:
            said.append(f"{name} holds {text} times {words}, which does not belong there")
        elif belongs and not number:
            said.append(f"{name} lacks {words.rstrip(',')}")
        elif belongs and (of, number) != right:
            wanted = right[0] or "1"
            said.append(f"in {name}, {words} is taken {_times(of, text)} times, not {wanted}")
    return said


def _times(of: str, text: str) -> str:
    return f"({of})" if of and text == "1" else f"{text} * ({of})" if of else text

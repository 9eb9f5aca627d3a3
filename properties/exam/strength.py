"""How many of the known gradient bugs one input and one loss can show."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bugs.gradients import BUGS, source_of
from ..model.contract import Array

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum, "mean": np.mean, "sin": np.sin, "cos": np.cos, "exp": np.exp,
    "sqrt": np.sqrt, "tanh": np.tanh, "abs": np.abs,
}  # fmt: skip
NAMES = ("y", "w", "t")  # the output, fixed normal weights, a fixed normal target
STEP = 2.0**-17  # of the central difference that gives dy: near the cube root of a float64's ulp
_OPERATIONS: dict[type, Callable[..., Any]] = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b, ast.Pow: lambda a, b: a**b, ast.USub: lambda a: -a,
}  # fmt: skip


class NotALoss(Exception):
    """The text is no loss; one line says why."""


@dataclass(frozen=True)
class Strength:
    """Which gradient bugs an input shows at a tolerance, and the size of each in units of it."""

    loss: str
    seen: tuple[str, ...]
    missed: tuple[str, ...]


def loss_of(text: str) -> Callable[[Array, Array, Array], float]:
    """Return the loss that a text writes in y, w and t; the text is parsed and never run.

    Raises:
        NotALoss: it is no formula of these names, or not a number.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotALoss(f"--loss={text!r}: expected a formula such as sum(y**2)") from error

    def value(node: ast.AST, names: dict[str, Any]) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return float(node.value)
        if isinstance(node, ast.Name) and node.id in names:
            return names[node.id]
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.left, names), value(node.right, names))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.operand, names))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            function = _FUNCTIONS.get(node.func.id)
            if function is not None and len(node.args) == 1 and not node.keywords:
                return function(value(node.args[0], names))
        raise NotALoss(
            f"--loss={text!r}: expected y, w, t, numbers, + - * / ** and "
            f"{', '.join(_FUNCTIONS)} of one argument"
        )

    def loss(y: Array, w: Array, t: Array) -> float:
        try:
            with np.errstate(all="ignore"):
                found = value(tree, {"y": y, "w": w, "t": t})
        except ArithmeticError as error:
            raise NotALoss(f"--loss={text!r}: {error}") from error
        if np.ndim(found) or not np.isfinite(found):
            raise NotALoss(f"--loss={text!r}: expected one finite number, such as sum(y**2)")
        return float(found)

    return loss


def _batch(shape: tuple[int, int], seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    x, w, t = random.standard_normal((3, *shape))
    gamma, beta = random.standard_normal((2, shape[1]))
    return {"x": x, "w": w, "t": t, "gamma": gamma, "beta": beta}


def _slope(loss: Callable[..., float], y: Array, w: Array, t: Array) -> Array:
    """Return the gradient of a loss by y, by central differences."""
    dy = np.empty_like(y)
    for index in np.ndindex(y.shape):
        step = np.zeros_like(y)
        step[index] = STEP * np.maximum(1.0, np.abs(y[index]))
        dy[index] = (loss(y + step, w, t) - loss(y - step, w, t)) / (2 * step[index])
    return dy


def _backward(name: str | None) -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec(compile(source_of(name), "<a gradient bug of ours>", "exec"), names)
    found: Callable[..., Any] = names["backward"]
    return found


def strength(
    text: str,
    shape: tuple[int, int],
    rtol: float,
    atol: float = 0.0,
    seed: int = 0,
    plain: bool = False,
    eps: float = 1e-5,
) -> Strength:
    """Return which bugs a check of x, gamma and beta sees: |wrong - right| > atol + rtol * |right|.

    Args:
        text: the loss, in y, normal weights w and a normal target t.
        shape: (n, c) of x, which is normal.
        plain: gamma is 1 and beta 0, as a new layer has them; normal otherwise.

    Raises:
        NotALoss: the text is none.
    """
    loss, b = loss_of(text), _batch(shape, seed)
    gamma, beta = (np.ones(shape[1]), np.zeros(shape[1])) if plain else (b["gamma"], b["beta"])
    x = b["x"]
    xhat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)
    dy = _slope(loss, gamma * xhat + beta, b["w"], b["t"])
    right = _backward(None)(dy, x, gamma, beta, eps)
    floor = _noise(dy, x, gamma, beta, eps)
    seen: list[str] = []
    missed: list[str] = []
    for name in BUGS:
        with np.errstate(all="ignore"):
            wrong = _backward(name)(dy, x, gamma, beta, eps)
        apart = any(
            not np.all(np.abs(w - r) <= atol + rtol * np.abs(r) + f)
            for w, r, f in zip(wrong, right, floor, strict=True)
        )
        (seen if apart else missed).append(name)
    return Strength(text, tuple(seen), tuple(missed))


def _noise(dy: Array, x: Array, gamma: Array, beta: Array, eps: float) -> list[Array]:
    """Return how far dx, dgamma and dbeta may lie off for the rounding of dy and of themselves.

    A difference of a loss carries about its ulp over the step; where the right gradient is 0, as
    under sum(y), what is left of a bug is this and shows nothing.
    """
    noise = 2.0**-52 / STEP * np.abs(dy).max(initial=1.0) * dy.size
    rstd = 1 / np.sqrt(x.var(axis=0) + eps)
    size = noise * (1 + np.abs(gamma) * rstd * len(x))
    xhat = np.abs((x - x.mean(axis=0)) * rstd).sum(axis=0)
    return [np.broadcast_to(size, x.shape), noise * xhat, np.full(x.shape[1], noise * len(x))]


def better(shape: tuple[int, int], rtol: float, atol: float, seed: int, plain: bool) -> Strength:
    """Return the strongest of a few losses that are easy to write."""
    tried = ("sum(w*y)", "sum(w*y**2)", "sum(w*sin(y))", "sum((y-t)**2)", "sum(w*(y-t)**3)")
    return max(
        (strength(text, shape, rtol, atol, seed, plain) for text in tried),
        key=lambda s: len(s.seen),
    )

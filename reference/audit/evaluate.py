"""Evaluating a parsed formula over arrays of Numbers, without Python's own evaluation."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .events import events
from .literals import constant, exponent
from .numbers import Number

OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


Values = Mapping[str, Any]


@dataclass(frozen=True)
class Text:
    """A parsed formula: its statements in order, (name, expression); the last one is its value."""

    source: str
    statements: tuple[tuple[str, ast.expr], ...]

    def run(self, given: Values) -> Any:
        """Return the value: rows (n, c), or one row (1, c) where nothing depends on the row."""
        names: dict[str, Any] = dict(given)
        for name, expression in self.statements:
            value = _evaluate(expression, names, np.shape(given["x"]))
            names[name] = value
            events().lines.setdefault(name, []).append((ast.unparse(expression), value))
        return names[self.statements[-1][0]]


def _evaluate(node: ast.expr, names: Values, shape: tuple[int, ...]) -> Any:
    """Return the value of a checked expression; every array is (n, c) or (1, c)."""
    if isinstance(node, ast.Constant):
        return Number(constant("", node))
    if isinstance(node, ast.Name):
        value = names[node.id]
        return Number(value) if isinstance(value, int) else value  # n/n must not become a float
    if isinstance(node, ast.UnaryOp):
        value = _evaluate(node.operand, names, shape)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Call):
        return _call(node, _evaluate(node.args[0], names, shape), shape)
    assert isinstance(node, ast.BinOp)
    left = _evaluate(node.left, names, shape)
    if isinstance(node.op, ast.Pow):
        return left ** Number(exponent("", node.right))
    return OPERATORS[type(node.op)](left, _evaluate(node.right, names, shape))


def _call(node: ast.Call, value: Any, shape: tuple[int, ...]) -> Any:
    assert isinstance(node.func, ast.Name)
    if node.func.id == "square":
        return value * value
    if node.func.id == "sqrt":
        return np.sqrt(value) if isinstance(value, np.ndarray) else (Number(0) + value).sqrt()
    rows = np.broadcast_to(np.asarray(value, dtype=object), shape)
    total = rows.sum(axis=0, keepdims=True)  # (1, c)
    result = total / Number(rows.shape[0]) if node.func.id == "mean" else total
    note_sum(ast.unparse(node), result)
    return result


def note_sum(text: str, result: Any) -> None:
    """Remember whether this sum or mean was zero wherever it was tried."""
    cells = [cell.value for cell in np.ravel(result) if isinstance(cell, Number)]
    if cells and all(isinstance(cell, Fraction) for cell in cells):
        zero = all(cell == 0 for cell in cells)
        events().sums[text] = events().sums.get(text, True) and zero

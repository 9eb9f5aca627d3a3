"""Formulas as text: parsed with `ast`, checked against a white list, never run as Python.

gamma/std*(dy - mean(dy) - xhat*mean(dy*xhat))
dvar = -0.5*gamma*sum(dy*xc)*rstd**3; dx = gamma*dy*rstd + 2/n*xc*dvar - mean(gamma*dy*rstd)
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from .names import ALIASES, GIVEN, GRADIENTS
from .numbers import Number, events, note_sum

MAX_CHARACTERS = 4000
MAX_DEPTH = 60
MAX_EXPONENT = 16
MAX_DIGITS = 40
FUNCTIONS = ("sum", "mean", "sqrt", "square")
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


class NotAFormula(ValueError):
    """The text or file is no formula; the message is one line that says why and what to do."""


def refusal(text: str, reason: str) -> NotAFormula:
    flat = " ".join(text.split())
    shown = flat if len(flat) <= 60 else flat[:57] + "..."
    return NotAFormula(f"formula={shown!r}: {reason}")


@dataclass(frozen=True)
class Text:
    """A parsed formula: its statements in order, (name, expression); the last one is its value."""

    source: str
    statements: tuple[tuple[str, ast.expr], ...]

    def run(self, given: Mapping[str, Any]) -> Any:
        """Return the value: rows (n, c), or one row (1, c) where nothing depends on the row."""
        names: dict[str, Any] = dict(given)
        for name, expression in self.statements:
            value = _evaluate(expression, names, np.shape(given["x"]))
            names[name] = value
            events().assigned.setdefault(name, []).append((ast.unparse(expression), value))
        return names[self.statements[-1][0]]


def parse(text: str, name: str = "result") -> Text:
    """Parse statements `name = expression`, separated by `;` or new lines; the last needs no name.

    Args:
        name: what the value is called where the last statement names nothing.

    Raises:
        NotAFormula: the text holds anything that is not on the white list.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotAFormula(
            f"formula of {len(text)} characters: expected at most {MAX_CHARACTERS}; "
            "name intermediate values to make it shorter"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's about text that is refused anyway
            tree = ast.parse(_joined(text), mode="exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or type(error).__name__
        raise refusal(text, f"{reason}; expected an expression such as gamma*dy/std") from None
    if not tree.body:
        raise refusal(text, "nothing there; expected an expression such as gamma*dy/std")
    _check_depth(text, tree)
    known = set(GIVEN)
    statements = []
    for position, statement in enumerate(tree.body):
        last = position == len(tree.body) - 1
        target, expression = _statement(text, statement, name if last else None)
        expression = _Usual(known).visit(expression)
        _check(text, expression, known)
        known.add(target)
        statements.append((target, expression))
    return Text(text, tuple(statements))


class _Usual(ast.NodeTransformer):
    """Puts the documented names for the usual ones, as in files: dy for dout, n for N."""

    def __init__(self, known: set[str]) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id in self.known or node.id not in ALIASES:
            return node
        return ast.copy_location(ast.Name(ALIASES[node.id], node.ctx), node)


def quantity_of(text: str) -> str:
    """Return the quantity that a text states by its last `name =`, "dx" where it names none."""
    try:
        last = ast.parse(_joined(text)).body[-1]
    except (SyntaxError, ValueError, RecursionError, MemoryError, IndexError):
        return "dx"
    target = last.targets[0] if isinstance(last, ast.Assign) else None
    return GRADIENTS.get(target.id, target.id) if isinstance(target, ast.Name) else "dx"


def _joined(text: str) -> str:
    """Statements at the margin, whatever the indentation they were pasted with."""
    return "\n".join(line.strip() for line in text.replace(";", "\n").splitlines())


def _statement(text: str, statement: ast.stmt, name: str | None) -> tuple[str, ast.expr]:
    if isinstance(statement, ast.Expr) and name:
        return name, statement.value
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        (target,) = statement.targets
        if isinstance(target, ast.Name):
            return target.id, statement.value
    kind = type(statement).__name__.lower()
    if isinstance(statement, ast.Expr):
        raise refusal(text, "a value that is not used; expected `name = expression` before a `;`")
    raise refusal(text, f"a statement of kind {kind}; expected `name = expression`")


def _check_depth(text: str, tree: ast.AST) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise refusal(text, f"nested deeper than {MAX_DEPTH}; name intermediate values")


def _check(text: str, node: ast.expr, known: set[str]) -> None:
    """Walk the expression; whatever is not on the white list is refused."""
    if isinstance(node, ast.Constant):
        constant(text, node)
    elif isinstance(node, ast.Name):
        if node.id not in known:
            raise refusal(text, f"unknown name {node.id!r}{_suggestion(node.id, known)}")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        _check(text, node.operand, known)
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        _check(text, node.left, known)
        _check(text, node.right, known)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        _check(text, node.left, known)
        exponent(text, node.right)
    elif isinstance(node, ast.Call):
        for argument in _arguments(text, node):
            _check(text, argument, known)
    else:
        raise refusal(text, _what_it_is(node))


def _what_it_is(node: ast.AST) -> str:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        return "the operator ^; a power is written a**2"
    if isinstance(node, ast.Attribute):
        return f"the attribute .{node.attr[:20]}; expected names, numbers, + - * / ** and functions"
    kind = type(node).__name__.lower()
    functions = ", ".join(FUNCTIONS)
    return f"{kind} is not part of a formula; expected names, numbers, + - * / ** and {functions}"


def _suggestion(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    asked = f"did you mean {close[0]!r}? " if close else ""
    return f"; {asked}known are {' '.join(GIVEN)}"


def _arguments(text: str, node: ast.Call) -> Iterator[ast.expr]:
    if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        called = ast.unparse(node.func)[:30] if not isinstance(node.func, ast.Call) else "a call"
        raise refusal(text, f"a call of {called}; the functions are {', '.join(FUNCTIONS)}")
    if len(node.args) != 1 or node.keywords:
        raise refusal(text, f"{node.func.id} takes one argument; rows are always what is summed")
    yield from node.args


def constant(text: str, node: ast.Constant) -> Fraction:
    """Return the number exactly as it is typed: 0.1 is one tenth."""
    if type(node.value) not in (int, float):
        raise refusal(text, f"{type(node.value).__name__} is not a number of a formula")
    if isinstance(node.value, int):
        if node.value.bit_length() > 4 * MAX_DIGITS:
            raise refusal(text, f"a number of more than {MAX_DIGITS} digits")
        return Fraction(node.value)
    typed = repr(node.value)
    if "inf" in typed or "nan" in typed:
        raise refusal(text, "a number that is not finite")
    return Fraction(typed)


def literal(text: str, node: ast.expr) -> Fraction:
    """Return a number, its negative, or a quotient of two: 2, -0.5, 3/2."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -literal(text, node.operand)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        below = literal(text, node.right)
        if below:
            return literal(text, node.left) / below
    if isinstance(node, ast.Constant):
        return constant(text, node)
    raise refusal(text, f"an exponent that is not a number; expected at most {MAX_EXPONENT}")


def exponent(text: str, node: ast.expr) -> Fraction:
    power = literal(text, node)
    if power.denominator > 2 or abs(power) > MAX_EXPONENT:
        shown = ast.unparse(node)[:20]
        raise refusal(text, f"exponent {shown}; expected a multiple of 1/2 up to {MAX_EXPONENT}")
    return power


def _evaluate(node: ast.expr, names: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
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

"""Formulas as text: parsed with `ast`, checked against a white list, never run as Python.

gamma/std*(dy - mean(dy) - xhat*mean(dy*xhat))
dvar = -0.5*gamma*sum(dy*xc)*rstd**3; dx = gamma*dy*rstd + 2/n*xc*dvar - mean(gamma*dy*rstd)
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Iterator

from .evaluate import OPERATORS, Text
from .literals import NotAFormula, constant, exponent, refusal
from .names import ALIASES, GRADIENTS
from .points import GIVEN

MAX_CHARACTERS = 4000
MAX_DEPTH = 60
FUNCTIONS = ("sum", "mean", "sqrt", "square")


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


def meant(text: str) -> str:
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

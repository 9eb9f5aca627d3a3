"""Mechanical mutation of a NumPy function: any one operator, constant, axis, function or name."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
FUNCTIONS = {"sum": "mean", "mean": "sum", "sqrt": "square"}


def mutants(source: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield (what was changed, the new source) for every single change of the function.

    The description is the old and the new text of the statement's line, so it is unique enough to
    be listed by hand.
    """
    tree = ast.parse(source)
    function = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name
    )
    nodes = [node for node in ast.walk(function) if isinstance(node, (ast.stmt, ast.expr))]
    for index, node in enumerate(nodes):
        for change in range(_changes(node, function)):
            changed = copy.deepcopy(tree)
            body = next(
                n for n in changed.body if isinstance(n, ast.FunctionDef) and n.name == name
            )
            target = [n for n in ast.walk(body) if isinstance(n, (ast.stmt, ast.expr))][index]
            before = _statement(body, target)
            if before is None:
                continue
            old = ast.unparse(before)
            _apply(target, body, change)
            new = ast.unparse(before)
            if new != old:
                yield f"{old}  ->  {new}", ast.unparse(changed)


def _statement(function: ast.FunctionDef, target: ast.AST) -> ast.stmt | None:
    """The statement of the body that holds the node; None for docstring and annotations."""
    for statement in function.body[1:]:
        if any(node is target for node in ast.walk(statement)):
            return statement
    return None


def _names_before(function: ast.FunctionDef, node: ast.Name) -> list[str]:
    """Parameters and locals that are defined where the name is used, in order."""
    names = [argument.arg for argument in function.args.args]
    for statement in function.body[1:]:
        if any(child is node for child in ast.walk(statement)):
            break
        for child in ast.walk(statement):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                names.append(child.id)
    return list(dict.fromkeys(names))


def _changes(node: ast.AST, function: ast.FunctionDef) -> int:
    if isinstance(node, ast.BinOp):
        return 1
    if isinstance(node, (ast.UnaryOp, ast.Attribute)):
        return 1
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return 1
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id != "np":
        return 2
    return 0


def _apply(node: ast.AST, function: ast.FunctionDef, change: int) -> None:
    if isinstance(node, ast.BinOp):
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
    elif isinstance(node, ast.Attribute):
        node.attr = FUNCTIONS.get(node.attr, node.attr)
    elif isinstance(node, ast.Constant):
        node.value = node.value + 1  # type: ignore[operator]
    elif isinstance(node, ast.Name):
        names = _names_before(function, node)
        if node.id in names:
            step = (1, -1)[change]
            node.id = names[(names.index(node.id) + step) % len(names)]

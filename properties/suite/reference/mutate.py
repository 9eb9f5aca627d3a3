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
    ast.FloorDiv: ast.Mult,
}
FUNCTIONS = {"sum": "mean", "mean": "sum", "sqrt": "square"}
HEADER = "import numpy as np\n\n\n"


def plain(source: str, name: str) -> str:
    """The function alone, without annotations and docstring."""
    return HEADER + ast.unparse(_function(source, name))


def _function(source: str, name: str) -> ast.FunctionDef:
    found = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    found.returns, found.body = None, found.body[1:]
    for argument in found.args.args:
        argument.annotation = None
    return found


def mutants(source: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield (what was changed, the new source) for every single change of the function."""
    function = _function(source, name)
    for position, statement in enumerate(function.body):
        names = _names_before(function, position)
        for index, node in enumerate(ast.walk(statement)):
            for change in range(_changes(node, names)):
                yield from _mutant(function, position, index, change, names)


def _mutant(
    function: ast.FunctionDef, position: int, index: int, change: int, names: list[str]
) -> Iterator[tuple[str, str]]:
    old = function.body[position]
    new = copy.deepcopy(old)
    _apply(list(ast.walk(new))[index], change, names)
    before, after = ast.unparse(old), ast.unparse(new)
    if before != after:
        function.body[position] = new
        text = HEADER + ast.unparse(function)
        function.body[position] = old
        yield f"{before}  ->  {after}", text


def _names_before(function: ast.FunctionDef, position: int) -> list[str]:
    """Parameters and locals that are defined before a statement, in order."""
    names = [argument.arg for argument in function.args.args]
    for statement in function.body[:position]:
        for child in ast.walk(statement):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                names.append(child.id)
    return list(dict.fromkeys(names))


def _changes(node: ast.AST, names: list[str]) -> int:
    if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Attribute)):
        return 1
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return 1
    return 2 if isinstance(node, ast.Name) and node.id in names else 0


def _apply(node: ast.AST, change: int, names: list[str]) -> None:
    if isinstance(node, ast.BinOp):
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
    elif isinstance(node, ast.Attribute):
        node.attr = FUNCTIONS.get(node.attr, node.attr)
    elif isinstance(node, ast.Constant):
        node.value = node.value + 1  # type: ignore[operator]
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        step = (1, -1)[change]
        node.id = names[(names.index(node.id) + step) % len(names)]

"""NumPy source made exact: literals become rationals, int/int a rational, a typed eps the free one.

The source is changed through `ast` before it runs: `2.0/n` and `0.5*dstd` are right and must not be
accused of rounding. Sums and named intermediates are watched, so that the answer can say which
line is wrong and which sum is zero whatever the data are.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from fractions import Fraction
from types import CodeType
from typing import Any

import numpy as np

from .arithmetic import TurnedFloat
from .numbers import Number, events, note_sum, plain_fraction

LARGEST_EPS = 1e-2
EPS_NAMES = {"eps", "epsilon", "EPS", "EPSILON", "_eps", "bn_eps"}
CREATORS = {"zeros", "ones", "empty", "eye", "identity"}  # what they hold is exact
NUMBER, DIVIDE, POWER, WATCH, LINE, EPS, CREATED = (
    f"__bncheck_{name}__"
    for name in ("number", "divide", "power", "watch", "line", "eps", "created")
)


@dataclass(frozen=True)
class Source:
    """A rewritten module, compiled, and what was read as eps ("1e-05 in line 12")."""

    code: CodeType
    filename: str
    typed_eps: tuple[str, ...]


@dataclass
class _Rewrite(ast.NodeTransformer):
    lines: list[str]
    stated_eps: object = None
    typed_eps: list[str] = field(default_factory=list)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) is not float:
            return node
        return _call(NUMBER, ast.Constant(self._typed(node)))

    def _typed(self, node: ast.Constant) -> str:
        line = self.lines[node.lineno - 1].encode()
        text = line[node.col_offset : node.end_col_offset].decode().replace("_", "")
        return text if node.end_lineno == node.lineno else repr(node.value)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.Add):
            if self._is_eps(node.right):
                return ast.BinOp(self.visit(node.left), node.op, self._eps(node.right))
            if self._is_eps(node.left):
                return ast.BinOp(self._eps(node.left), node.op, self.visit(node.right))
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Div):
            return _call(DIVIDE, left, right)
        if isinstance(node.op, ast.Pow):
            return _call(POWER, left, right)
        return ast.BinOp(left, node.op, right)

    def _is_eps(self, node: ast.expr) -> bool:
        """A small positive float literal (or 10**-5, written as a power) that is added."""
        if isinstance(node, ast.Constant):
            small = type(node.value) is float and 0 < node.value <= LARGEST_EPS
            return small or (type(node.value) is float and node.value == self.stated_eps)
        return False

    def _eps(self, node: ast.expr) -> ast.expr:
        typed = self._typed(node) if isinstance(node, ast.Constant) else ast.unparse(node)
        self.typed_eps.append(f"{typed} in line {node.lineno}")
        return ast.Name(EPS, ast.Load())

    def _named_eps(self, name: str, value: ast.expr) -> ast.expr:
        if name in EPS_NAMES and self._is_eps(value):
            return self._eps(value)
        return self.visit(value)

    def visit_Assign(self, node: ast.Assign) -> Any:
        target = node.targets[0]
        name = getattr(target, "id", getattr(target, "attr", ""))
        text = ast.unparse(node)
        node.value = self._named_eps(name, node.value)
        return self._lined(node, target, text)

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        text = ast.unparse(node)
        node.value = self.visit(node.value)
        return self._lined(node, node.target, text)

    def _lined(self, node: ast.stmt, target: ast.expr, text: str) -> Any:
        if not isinstance(target, ast.Name):
            return node
        arguments = ast.Constant(target.id), ast.Constant(f"{text}  (line {node.lineno})")
        return [node, ast.Expr(_call(LINE, *arguments, ast.Name(target.id, ast.Load())))]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args][::-1]
        pairs = zip(named, arguments.defaults[::-1], strict=False)
        arguments.defaults = [self._named_eps(a.arg, v) for a, v in pairs][::-1]
        arguments.kw_defaults = [
            value and self._named_eps(argument.arg, value)
            for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        ]
        node.body = [new for old in node.body for new in _listed(self.visit(old))]
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        node.value = self._named_eps(node.arg or "", node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        text = ast.unparse(node)
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        self.generic_visit(node)
        if name in CREATORS:
            return _call(CREATED, node)
        return _call(WATCH, ast.Constant(text), node) if name in ("sum", "mean") else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        return node


def _listed(node: Any) -> list[ast.stmt]:
    return node if isinstance(node, list) else [node]


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def rewrite(text: str, filename: str = "<formula>", stated_eps: object = None) -> Source:
    """Return the source with its arithmetic made exact.

    Args:
        stated_eps: the number that the file itself calls its eps, however large.

    Raises:
        SyntaxError: the text is not Python.
    """
    tree = ast.parse(text, filename)
    change = _Rewrite(text.splitlines(), stated_eps)
    tree = ast.fix_missing_locations(change.visit(tree))
    return Source(compile(tree, filename, "exec"), filename, tuple(change.typed_eps))


def execute(source: Source, eps: Any) -> dict[str, Any]:
    """Run the module and return its names; a typed eps becomes the one given here."""
    names: dict[str, Any] = {
        "__name__": "bncheck_audited", "__file__": source.filename, NUMBER: _number,
        DIVIDE: _divide, POWER: _power, WATCH: _watch, CREATED: _created, LINE: _line, EPS: eps,
    }  # fmt: skip
    exec(source.code, names)
    return names


def _number(typed: str) -> Number:
    return Number(Fraction(typed))


def _divide(left: Any, right: Any) -> Any:
    """Divide, exactly where Python would round an integer or plain quotient."""
    return _exact(left) / right if _is_plain(left) and _is_plain(right) else left / right


def _power(base: Any, exponent: Any) -> Any:
    return (
        _exact(base) ** exponent if _is_plain(base) and _is_fraction(exponent) else base**exponent
    )


def _is_plain(value: Any) -> bool:
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, (bool, np.bool_))


def _is_fraction(exponent: Any) -> bool:
    return isinstance(exponent, Number) or (_is_plain(exponent) and exponent < 0)


def _exact(value: Any) -> Any:
    try:
        whole = isinstance(value, (int, np.integer))
        return Number(int(value)) if whole else Number(plain_fraction(float(value)))
    except TurnedFloat:
        return value


def _created(value: Any) -> Any:
    """Return a new float array as one that can hold exact numbers; what is unset becomes 0."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    cells = np.where(np.isin(value, (0.0, 1.0)), value, 0.0)
    return np.frompyfunc(lambda cell: Number(int(cell)), 1, 1)(cells)


def _watch(text: str, value: Any) -> Any:
    note_sum(text, value)
    return value


def _line(name: str, text: str, value: Any) -> None:
    copied = value.copy() if isinstance(value, np.ndarray) else value
    events().assigned.setdefault(name, []).append((text, copied))

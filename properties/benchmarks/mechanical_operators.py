"""The operators of mechanical mutation that cosmic-ray lacks: those of numerical code.

Each is a function from a syntax tree to (node, the text in its place), where {} is the node's own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

Change = tuple[ast.expr | ast.stmt, str]
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
COUNTS = {"n", "count", "size"}
NARROWER = {
    "np.float64": "np.float32",
    "np.float32": "np.float16",
    "FLOAT64": "FLOAT32",
    "FLOAT32": "np.dtype(np.float16)",
}
REDUCTIONS = {"sum", "any", "all", "min", "max", "mean", "take", "repeat", "reduce"}


def times_1001(tree: ast.AST) -> Iterator[Change]:
    """Multiply a constant, a summand, or the result of an operation by 1.001."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value:
            yield node, "(1.001 * {})"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ARITHMETIC):
            yield node, "(1.001 * ({}))"
            if isinstance(node.op, ast.Add | ast.Sub):
                yield node.left, "(1.001 * ({}))"
                yield node.right, "(1.001 * ({}))"


def n_minus_1(tree: ast.AST) -> Iterator[Change]:
    """Count one less: a name or attribute n, count or size, a length, a sum of counts."""
    for node in ast.walk(tree):
        if isinstance(getattr(node, "ctx", None), ast.Store):
            continue
        named = isinstance(node, ast.Name) and node.id in COUNTS
        owned = isinstance(node, ast.Attribute) and node.attr in COUNTS
        called = isinstance(node, ast.Call) and ast.unparse(node.func) in ("len", "counts.sum")
        if isinstance(node, ast.expr) and (named or owned or called):
            yield node, "({} - 1)"


def axis_changed(tree: ast.AST) -> Iterator[Change]:
    """Reduce along the axis beside, or along all."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        axes = [word.value for word in node.keywords if word.arg == "axis"]
        if isinstance(node.func, ast.Attribute) and node.func.attr in REDUCTIONS:
            axes += node.args[:1]
        for axis in axes:
            if isinstance(axis, ast.Constant) and type(axis.value) is int:
                yield axis, str(1 - axis.value)
                yield axis, "None"


def dtype_narrowed(tree: ast.AST) -> Iterator[Change]:
    """Put float32 for float64, named or by default, and float16 for float32."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in NARROWER:
            yield node, NARROWER[ast.unparse(node)]
        elif isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
            if ast.unparse(node.func) in ("np.zeros", "np.ones", "np.empty"):
                yield node, "np.asarray({}, np.float32)"
            elif isinstance(node.func, ast.Attribute) and node.func.attr == "astype":
                yield node, "{}.astype(np.float16)"


def index_off_by_one(tree: ast.AST) -> Iterator[Change]:
    """Move an index, an end of a slice or of a range by one."""
    for node in ast.walk(tree):
        places: list[ast.expr] = []
        if isinstance(node, ast.Subscript):
            inner = node.slice
            for place in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
                if isinstance(place, ast.Slice):
                    places += [end for end in (place.lower, place.upper) if end is not None]
                else:
                    places.append(place)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("range", "slice"):
            places += node.args
        for place in places:
            yield place, "({} + 1)"
            yield place, "({} - 1)"


def statement_removed(tree: ast.AST) -> Iterator[Change]:
    """Leave out a call that stands alone, or an assignment that changes what is there."""
    for node in ast.walk(tree):
        alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if isinstance(node, ast.stmt) and (alone or isinstance(node, ast.AugAssign)):
            yield node, "pass"


OPERATORS: dict[str, Callable[[ast.AST], Iterator[Change]]] = {
    "times_1001": times_1001,
    "n_minus_1": n_minus_1,
    "axis_changed": axis_changed,
    "dtype_narrowed": dtype_narrowed,
    "index_off_by_one": index_off_by_one,
    "statement_removed": statement_removed,
}


def changed(source: str, node: ast.expr | ast.stmt, text: str) -> str:
    """Return the source with a text in place of a node."""
    lines = source.encode().splitlines(keepends=True)  # columns count bytes
    assert node.end_lineno is not None and node.end_col_offset is not None
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    whole = b"".join(lines)
    own = whole[start:end].decode()
    return (whole[:start] + text.replace("{}", own).encode() + whole[end:]).decode()

"""The catalogue of published formulas: each is equal, and each single change of it is not."""

from __future__ import annotations

import ast
import inspect
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutate import mutants, plain

from reference.audit import Answer, NotAFormula, Question, audit, from_file
from reference.formulas import CATALOGUE, Published

SEED = 20150211
named = pytest.mark.parametrize("published", CATALOGUE, ids=lambda published: published.name)


def answer_of(published: Published, path: Path, **options: Any) -> Answer:
    question = Question(published.mode, published.momentum, published.running_var)
    (formula,) = from_file(path, published.name, published.returns, published.mode)
    return audit(formula, question, seed=SEED, **options)


@named
@pytest.mark.slow(but_one_in=3)
def test_published_formula_is_equal(published: Published) -> None:
    """Every published formula is equal, exactly, with a probability that is stated and small."""
    start = time.process_time()
    answer = answer_of(published, published.path)
    seconds = time.process_time() - start
    assert answer.verdict == "equal", answer.text()
    assert answer.exact, f"{published.name}: audited in float64"
    assert answer.sizes == tuple(range(2, 17)), f"sizes={answer.sizes}"
    assert answer.log2_probability is not None, "no probability is stated"
    assert answer.log2_probability <= -100, f"2**{answer.log2_probability}: expected below 2**-100"
    assert [result.quantity for result in answer.results] == list(published.returns)
    assert seconds < 1, f"{published.name}: took {seconds:.2f} s, expected under 1 s"


@named
def test_published_formula_names_its_source(published: Published) -> None:
    """Each formula has a source in one line, and its file says more."""
    assert re.search(r"\d{4}|equation|PyTorch", published.source), f"source={published.source!r}"
    module = ast.get_docstring(ast.parse(published.path.read_text(encoding="utf-8"))) or ""
    assert "Source" in module, f"{published.path.name}: its docstring names no source"


def test_debated_term_is_zero_and_the_answer_says_why() -> None:
    """With dvar mean(-2 (x - mean)) or without it the formula is right; the answer explains it."""
    answers = {p.name: answer_of(p, p.path) for p in CATALOGUE[:2]}
    (note,) = answers["ioffe_szegedy"].zero_terms
    assert "np.sum(-2 * (x - mean), axis=0) is exactly zero" in note, note
    assert "with this term or without it a formula is right" in note, note
    assert answers["ioffe_szegedy_without_zero_term"].zero_terms == ()


# Single changes that leave the formula algebraically what it is, with the reason. Sympy confirms
# each of them below; the audit has no say in this list.
ZERO = "its factor, the sum of the deviations, is zero"
ROWS = "x, dy and y have the same number of rows"
ONES = "an array of ones: only its last axis matters here, and 1/1 is 1"
_DMEAN = "dmean = direct + dvar * np.sum(-2 * (x - mean), axis=0) / m  ->  dmean = direct "
_DSQ = "dsq = 1 / n * np.ones_like(x) * dvar  ->  dsq = 1 / n "
_DX = "dx = dxmu + 1 / n * np.ones_like(x) * dmu  ->  dx = dxmu + 1 / n "
SAME: dict[str, dict[str, str]] = {
    "ioffe_szegedy": {
        "m = x.shape[0]  ->  m = dy.shape[0]": ROWS,
        _DMEAN + "- dvar * np.sum(-2 * (x - mean), axis=0) / m": ZERO,
        _DMEAN + "+ dvar * np.sum(-2 * (x - mean), axis=0) * m": ZERO,
        _DMEAN + "+ dvar * np.sum(-2 * (x - mean), axis=0) / mean": ZERO,
        _DMEAN + "+ dvar * np.sum(-2 * (x - mean), axis=0) / eps": ZERO,
        _DMEAN + "+ direct * np.sum(-2 * (x - mean), axis=0) / m": ZERO,
        _DMEAN + "+ dxhat * np.sum(-2 * (x - mean), axis=0) / m": ZERO,
        _DMEAN + "+ dvar * np.mean(-2 * (x - mean), axis=0) / m": ZERO,
        _DMEAN + "+ dvar * np.sum(+2 * (x - mean), axis=0) / m": ZERO,
        _DMEAN + "+ dvar * np.sum(-3 * (x - mean), axis=0) / m": ZERO,
        "dx = dxhat * (1 / np.sqrt(var + eps)) + dvar * 2 * (x - mean) / m + dmean / m  ->  "
        "dx = dxhat * (1 / np.sqrt(var + eps)) + dvar * 2 * (x - mean) / m + direct / m": ZERO,
    },
    "ioffe_szegedy_without_zero_term": {"m = x.shape[0]  ->  m = dy.shape[0]": ROWS},
    "saito": {
        "dxc = dxc + 2.0 / x.shape[0] * xc * dvar  ->  dxc = dxc + 2.0 / dy.shape[0] * xc * dvar":
            ROWS,
        "dx = dxc - dmu / x.shape[0]  ->  dx = dxc - dmu / dy.shape[0]": ROWS,
    },
    "kratzert": {
        "n = x.shape[0]  ->  n = dy.shape[0]": ROWS,
        "dvar = 0.5 * 1 / np.sqrt(var + eps) * dsqrtvar  ->  "
        "dvar = 0.5 / 1 / np.sqrt(var + eps) * dsqrtvar": "dividing by 1 is multiplying by 1",
        _DSQ + "/ np.ones_like(x) * dvar": ONES,
        _DSQ + "* np.ones_like(gamma) * dvar": ONES,
        _DSQ + "* np.ones_like(dy) * dvar": ONES,
        _DX + "/ np.ones_like(x) * dmu": ONES,
        _DX + "* np.ones_like(gamma) * dmu": ONES,
        _DX + "* np.ones_like(dy) * dmu": ONES,
    },
    "thorey": {"n = x.shape[0]  ->  n = dy.shape[0]": ROWS},
    "from_saved_statistics": {"n = x.shape[0]  ->  n = dy.shape[0]": ROWS},
    "from_output": {"n = y.shape[0]  ->  n = dy.shape[0]": ROWS},
    "synchronised": {"half = x.shape[0] // 2  ->  half = dy.shape[0] // 2": ROWS},
    "double_backward": {
        "n = x.shape[0]  ->  n = dy.shape[0]": ROWS,
        "p, q = (np.mean(ddx * xhat, axis=0), np.mean(dy * xhat, axis=0))  ->  "
        "p, q = (np.mean(ddx * xhat, axis=0), np.mean(v * xhat, axis=0))":
            "v is dy without its mean, and xhat has mean zero",
    },
    "double_backward_from_sums": {"m = x.shape[0]  ->  m = dy.shape[0]": ROWS},
}  # fmt: skip


@named
@pytest.mark.slow(but_one_in=7)
def test_every_single_change_is_not_equal(published: Published, tmp_path: Path) -> None:
    """Any one operator, constant, axis, function or name changed: not equal, but for SAME.

    A change after which the code raises on plain data is no formula, and is told so.
    """
    equal, tried = set(), 0
    for number, (change, source) in enumerate(mutants(_source(published), published.name)):
        path = tmp_path / f"m{number}.py"
        path.write_text(source, encoding="utf-8")
        verdict = _verdict(published, path)
        tried += 1
        assert verdict in ("equal", "not equal", "raises"), f"{change}: {verdict}"
        if verdict == "equal":
            equal.add(change)
    assert tried >= 35, f"{published.name}: only {tried} changes"
    assert equal == set(SAME.get(published.name, {})), f"{published.name}: differs from SAME"


def _source(published: Published) -> str:
    return published.path.read_text(encoding="utf-8")


def _verdict(published: Published, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, about what the mutant does
        try:
            return answer_of(published, path, sizes=(2, 5), explain=False).verdict
        except NotAFormula as error:
            return "raises" if ": raises " in str(error) else str(error)


class _NumPy:
    """NumPy with a root for sympy's expressions."""

    def __init__(self, sympy: Any) -> None:
        self.sqrt = np.frompyfunc(lambda e: sympy.sqrt(sympy.expand(e)), 1, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class _Rationals(ast.NodeTransformer):
    """Literals as sympy's rationals, but for axes and indices."""

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.Subscript:
        return node

    def visit_FloorDiv(self, node: ast.FloorDiv) -> ast.FloorDiv:
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        return node if isinstance(node.op, ast.FloorDiv) else self.generic_visit(node)  # type: ignore[return-value]

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) not in (int, float):
            return node
        return ast.Call(ast.Name("rational", ast.Load()), [ast.Constant(repr(node.value))], [])


def _symbols(sympy: Any, n: int = 3) -> dict[str, Any]:
    """A batch of symbols whose root is the symbol r."""

    def column(name: str, rows: int) -> Any:
        cells = [[sympy.Symbol(f"{name}{i}")] for i in range(rows)]
        return np.array(cells, dtype=object) if rows > 1 else np.array(cells[0], dtype=object)

    given = {name: column(name, n) for name in ("x", "dy", "ddx", "tx")}
    rows = "gamma beta ddgamma ddbeta tgamma tbeta running_mean running_var momentum"
    given |= {name: column(name, 1) for name in rows.split()}
    r = sympy.Symbol("r", positive=True)
    given["mean"] = given["x"].sum(axis=0) / n
    given["var"] = ((given["x"] - given["mean"]) ** 2).sum(axis=0) / n
    given["eps"], given["rstd"] = (r**2 - given["var"])[0], np.array([1 / r], dtype=object)
    given["y"] = given["gamma"] * (given["x"] - given["mean"]) / r + given["beta"]
    return given


def _symbolic(sympy: Any, source: str, name: str, given: dict[str, Any]) -> list[Any]:
    tree = ast.fix_missing_locations(_Rationals().visit(ast.parse(source)))
    names: dict[str, Any] = {"rational": sympy.Rational}
    exec(compile(tree, "<symbolic>", "exec"), names)
    names["np"] = _NumPy(sympy)
    parameters = inspect.signature(names[name]).parameters
    result = names[name](**{parameter: given[parameter] for parameter in parameters})
    results = result if isinstance(result, tuple) else (result,)
    return [cell for value in results for cell in np.ravel(value)]


def _is_zero(sympy: Any, difference: Any) -> bool:
    def is_root(e: Any) -> bool:
        return bool(e.is_Pow and e.exp.is_Rational and not e.exp.is_Integer)

    rooted = sympy.sympify(difference).replace(is_root, lambda e: sympy.expand(e.base) ** e.exp)
    return bool(sympy.cancel(rooted) == 0)


@named
@pytest.mark.slow(but_one_in=3)
def test_sympy_confirms_the_changes_that_change_nothing(published: Published) -> None:
    """Each listed change is algebraically the same formula, as judged by sympy."""
    sympy = pytest.importorskip("sympy")
    listed = SAME.get(published.name, {})
    found = {
        change: source
        for change, source in mutants(_source(published), published.name)
        if change in listed
    }
    assert set(found) == set(listed), f"{published.name}: listed changes that do not occur"
    given = _symbols(sympy)
    original = plain(_source(published), published.name)
    wanted = _symbolic(sympy, original, published.name, given)
    for change, source in found.items():
        cells = _symbolic(sympy, source, published.name, given)
        pairs = zip(cells, wanted, strict=True)
        assert all(_is_zero(sympy, a - b) for a, b in pairs), f"{change}: sympy says it differs"


def test_sympy_tells_a_changed_formula() -> None:
    """The judge itself sees a difference: the first listed formula with one sign changed."""
    sympy = pytest.importorskip("sympy")
    published = next(p for p in CATALOGUE if p.name == "closed_form")
    source = plain(_source(published), published.name)
    given = _symbols(sympy)
    cells = _symbolic(sympy, source.replace("- np.mean(dy", "+ np.mean(dy"), published.name, given)
    wanted = _symbolic(sympy, source, published.name, given)
    pairs = zip(cells, wanted, strict=True)
    assert not all(_is_zero(sympy, a - b) for a, b in pairs), "sympy calls them equal"

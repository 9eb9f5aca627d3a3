"""What each right formula is made of: its terms as text, their right factors, and likely strangers.

A wrong formula of one of these quantities is, nearly always, the same terms with other factors, or
with one term exchanged for a stranger.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .language import Text, parse


@dataclass(frozen=True)
class Term:
    """One term: the name it is called by, its text, and its right coefficient."""

    name: str
    text: str
    right: str = "1"


@dataclass(frozen=True)
class Span:
    """The right formula of a quantity as one line, taken apart into terms."""

    line: str
    terms: tuple[Term, ...]
    strangers: tuple[str, ...] = ()
    scale: str = "1"  # every stranger is multiplied by this


_DX_STRANGERS = (
    "x*mean(dy*xhat)", "xhat*mean(dy*x)", "x*mean(dy*x)", "xhat*mean(dy)", "mean(dy*xhat)",
    "mean(dy*x)", "x*mean(dy)", "dy*xhat", "dy*xhat**2", "dy*x", "y*mean(dy*xhat)",
    "xhat*mean(dy*y)", "y*mean(dy*y)", "xhat**2*mean(dy)", "xhat**2*mean(dy*xhat)",
    "xhat*mean(dy*xhat**2)", "mean(dy*xhat**2)", "xhat", "x", "xhat**0",
)  # fmt: skip


def _three(v: str) -> tuple[Term, ...]:
    """The three paths of (15), for dy, tx or ddx."""
    return (
        Term(v, f"gamma*rstd*{v}"),
        Term(f"mean({v})", f"gamma*rstd*mean({v})", "-1"),
        Term(f"xhat*mean({v}*xhat)", f"gamma*rstd*xhat*mean({v}*xhat)", "-1"),
    )


def _strangers(v: str) -> tuple[str, ...]:
    return tuple(text.replace("dy", v) for text in _DX_STRANGERS)


def _line(v: str) -> str:
    return f"gamma*rstd*({v} - mean({v}) - xhat*mean({v}*xhat))"


_GX = "gamma*rstd**2"
_SECOND = (
    Term("xhat*mean(ddx*dy)", f"{_GX}*xhat*mean(ddx*dy)", "-1"),
    Term("xhat*mean(ddx)*mean(dy)", f"{_GX}*xhat*mean(ddx)*mean(dy)"),
    Term("xhat*p*q", f"{_GX}*xhat*mean(ddx*xhat)*mean(dy*xhat)", "3"),
    Term("q*ddx", f"{_GX}*mean(dy*xhat)*ddx", "-1"),
    Term("q*mean(ddx)", f"{_GX}*mean(dy*xhat)*mean(ddx)"),
    Term("p*dy", f"{_GX}*mean(ddx*xhat)*dy", "-1"),
    Term("p*mean(dy)", f"{_GX}*mean(ddx*xhat)*mean(dy)"),
    Term("ddgamma*dy", "ddgamma*rstd*dy"),
    Term("ddgamma*mean(dy)", "ddgamma*rstd*mean(dy)", "-1"),
    Term("ddgamma*xhat*q", "ddgamma*rstd*xhat*mean(dy*xhat)", "-1"),
)
_SECOND_LINE = (
    "p = mean(ddx*xhat); q = mean(dy*xhat); a = mean(ddx*dy) - mean(ddx)*mean(dy); "
    "grad_x = -gamma*rstd**2*(xhat*(a - 3*p*q) + q*(ddx - mean(ddx)) + p*(dy - mean(dy)))"
    " + ddgamma*rstd*(dy - mean(dy) - xhat*q)"
)
_SUM_STRANGERS = (
    "sum(dy)", "sum(dy*x)", "sum(dy*y)", "sum(dy*xhat)", "sum(dy*xhat**2)", "sum(dy**2)", "mean(x)",
    "mean(xhat**0)",
)  # fmt: skip


def _one(name: str, text: str, right: str, line: str) -> Span:
    strangers = tuple(s for s in _SUM_STRANGERS if s != name)
    return Span(line, (Term(name, text, right),), strangers)


def _affine(v: str, tail: tuple[Term, ...], line: str) -> Span:
    return Span(line, (*_three(v), *tail), _strangers(v), "gamma*rstd")


def _running(quantity: str, old: str, new: str, keep: str, right_new: str) -> Span:
    renewed = "(1 - momentum)" if keep == "momentum" else "momentum"
    terms = (Term(old, f"{keep}*{old}"), Term(new, f"{renewed}*{new}", right_new))
    line = f"{quantity} = {keep}*{old} + {renewed}*{new}"
    if right_new != "1":
        line += f"*{right_new}"
    return Span(line, terms, ("std", "mean", "var", "momentum"))


TRAIN = {
    "dx": Span(_line("dy"), _three("dy"), _DX_STRANGERS, "gamma*rstd"),
    "dgamma": _one("sum(dy*xhat)", "sum(dy*xhat)", "1", "sum(dy*xhat)"),
    "dbeta": _one("sum(dy)", "sum(dy)", "1", "sum(dy)"),
    "dxhat": Span("gamma*dy", (Term("dy", "gamma*dy"),), ("dy*xhat", "dy*x", "mean(dy)")),
    "dstd": _one("sum(dy*xc)", "gamma*sum(dy*xc)*rstd**2", "-1", "-sum(gamma*dy*xc)/std**2"),
    "dvar": _one("sum(dy*xc)", "gamma*sum(dy*xc)*rstd**3", "-1/2",
                 "-sum(gamma*dy*xc)/(2*std**3)"),
    "dmean": _one("sum(dy)", "gamma*rstd*sum(dy)", "-1", "-gamma*rstd*sum(dy)"),
    "dxc": Span("gamma*rstd*(dy - xhat*mean(dy*xhat))", (_three("dy")[0], _three("dy")[2]),
                _DX_STRANGERS, "gamma*rstd"),
    "mean": Span("sum(x)/n", (Term("mean(x)", "mean"),), ("var", "std")),
    "var": Span("sum((x - mean)**2)/n", (Term("mean(xc**2)", "var"),), ("mean**2", "eps", "std")),
    "std": Span("sqrt(var + eps)", (Term("std", "std"),), ("var", "eps", "mean")),
    "rstd": Span("1/sqrt(var + eps)", (Term("rstd", "rstd"),), ("var", "eps", "mean")),
    "xc": Span("x - mean", (Term("x", "x"), Term("mean", "mean*xhat**0", "-1")), ("dy",)),
    "xhat": Span("(x - mean)/std", (Term("xhat", "xhat"),), ("xhat**0", "x**2")),
    "y": Span("gamma*xhat + beta", (Term("gamma*xhat", "gamma*xhat"),
                                    Term("beta", "beta*xhat**0")), ("x**2", "dy")),
    "ty": _affine("tx", (Term("tgamma", "tgamma*xhat"), Term("tbeta", "tbeta*xhat**0")),
                  f"{_line('tx')} + tgamma*xhat + tbeta"),
    "grad_dy": _affine("ddx", (Term("ddgamma", "ddgamma*xhat"), Term("ddbeta", "ddbeta*xhat**0")),
                       f"{_line('ddx')} + ddgamma*xhat + ddbeta"),
    "grad_gamma": Span(
        "n*rstd*(mean(ddx*dy) - mean(ddx)*mean(dy) - mean(ddx*xhat)*mean(dy*xhat))",
        (Term("mean(ddx*dy)", "n*rstd*mean(ddx*dy)"),
         Term("mean(ddx)*mean(dy)", "n*rstd*mean(ddx)*mean(dy)", "-1"),
         Term("p*q", "n*rstd*mean(ddx*xhat)*mean(dy*xhat)", "-1")),
        ("sum(ddgamma*dy)", "sum(ddgamma*dy*xhat)", "sum(ddx)", "sum(dy)")),
    "grad_x": Span(_SECOND_LINE, _SECOND, ("mean(ddx*dy)", "ddgamma*xhat", "ddx*dy*xhat")),
}  # fmt: skip
EVAL = {
    "dx": Span("gamma*rstd*dy", (Term("dy", "gamma*rstd*dy"), Term("mean(dy)",
               "gamma*rstd*mean(dy)", "0"), Term("xhat*mean(dy*xhat)",
               "gamma*rstd*xhat*mean(dy*xhat)", "0")), _DX_STRANGERS, "gamma*rstd"),
    **{name: TRAIN[name] for name in ("dgamma", "dbeta", "dxhat", "xhat", "xc", "y")},
    **{name: TRAIN[name] for name in ("std", "rstd")},
}  # fmt: skip


def span_of(quantity: str, mode: str, momentum: str, running_var: str) -> Span | None:
    """Return the span of a quantity, None where none is listed."""
    if quantity.startswith("new_running"):
        keep = "momentum" if momentum == "keep" else "(1 - momentum)"
        unbiased = quantity == "new_running_var" and running_var == "unbiased"
        name = quantity.removeprefix("new_running_")
        return _running(quantity, f"running_{name}", name, keep, "n/(n - 1)" if unbiased else "1")
    return (TRAIN if mode == "train" else EVAL).get(quantity)


@lru_cache(maxsize=512)
def parsed(text: str) -> Text:
    """Return the parsed text of a term."""
    return parse(text)


_SHARED = {
    "-1": "its sign is wrong",
    "1/gamma": "gamma is lost",
    "gamma": "gamma is multiplied twice",
    "std": "one division by std is lost",
    "std**2": "two divisions by std are lost",
    "1/std": "it is divided by std once too often (var + eps for its root)",
    "1/std**2": "it is divided by std twice too often (rstd**3 for rstd)",
    "std/sqrt(var)": "eps is left out of the root",
    "std/(sqrt(var) + eps)": "eps is added outside the root",
    "std/(std + eps)": "eps is added a second time, outside the root",
    "std/sqrt(var - eps)": "eps is subtracted under the root",
    "std/sqrt(var + eps**2)": "eps is squared",
    "std/sqrt(std)": "the root is taken twice",
    "std/sqrt(var*n/(n - 1) + eps)": "the variance under the root divides by n - 1",
    "std**3/sqrt(var)**3": "eps is left out of the root, three times",
    "std**3/(sqrt(var) + eps)**3": "eps is added outside the root, three times",
    "std**3/sqrt(var*n/(n - 1) + eps)**3": "the variance under the root divides by n - 1",
    "n": "a sum stands where a mean belongs (1/n is lost)",
    "1/n": "it is divided by n once too often (a mean where a sum belongs)",
    "n/(n - 1)": "it divides by n - 1 instead of n",
    "(n - 1)/n": "it is multiplied by (n - 1)/n, which belongs to no part of it",
    "n/(n + 1)": "it divides by n + 1 instead of n",
    "2": "it is counted twice",
    "1/2": "it is halved",
}
_BY_TERM = {
    "mean(dy)": {
        "0": "the mean path is missing: mean is a Repeat node, so its gradient is a Sum",
        "2": "the mean path is counted twice",
        "-1": "the sign of the mean path is wrong: x - mean hands -1 to the mean",
        "n": "the mean path lost its 1/n: sum(dy) where mean(dy) belongs",
        "1/n": "the mean path is divided by n twice",
        "n/(n - 1)": "the mean path divides by n - 1",
    },
    "xhat*mean(dy*xhat)": {
        "0": "the variance path is missing",
        "2": "the 1/2 of the root is lost: dvar = dstd/(2*std)",
        "1/2": "the 2 of the square is lost: dxc += 2/n*xc*dvar",
        "-1": "the sign of the variance path is wrong: dstd = -sum(dxhat*xc)/std**2",
        "n": "the variance path lost its 1/n: sum(dy*xhat) where mean(dy*xhat) belongs",
        "n/(n - 1)": "the variance path divides by n - 1; the variance of (3) divides by n",
        "1/n": "the variance path is divided by n twice",
        "std": "one division by std is lost in the variance path",
        "1/std": "the variance path is divided by std once too often",
        "(var + eps)/var": "eps is left out in the variance path: var for var + eps",
        "1/gamma": "gamma is lost in the variance path",
        "var/(var + eps)": "the variance path is multiplied by var/(var + eps): rstd taken twice",
    },
    "dvar": {"2": "the 1/2 of the root is lost: dvar = dstd/(2*std)"},
    "dmean": {"-1": "this is -dmean, which the seed calls dmu and subtracts"},
    "std": {
        "(sqrt(var) + eps)/std": "eps is added outside the root",
        "sqrt(var)/std": "eps is left out of the root",
        "std": "the root is not taken",
    },
    "var": {
        "n/(n - 1)": "it is the unbiased variance; expected is the biased one, divided by n",
        "(n - 1)/n": "it is the biased variance; expected is the unbiased one",
    },
    "xhat*p*q": {"1/3": "the factor 3 of p*q is lost", "2/3": "2 stands where 3*p*q belongs"},
}


def cause(term: str, factor: str) -> str:
    """Return why this term most likely has this factor, "" if no usual mistake is known."""
    for v in ("tx", "ddx"):
        term = {f"mean({v})": "mean(dy)", f"xhat*mean({v}*xhat)": "xhat*mean(dy*xhat)"}.get(
            term, term
        )
    return _BY_TERM.get(term, {}).get(factor) or _SHARED.get(factor, "")

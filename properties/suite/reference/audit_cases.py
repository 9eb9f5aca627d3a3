"""Formulas handed in to the audit by the tests: right ones, and named mistakes."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

from properties.commands import audit as audit_cli
from reference.audit import Answer, Question, audit, from_file, from_text

SEED = 31
RIGHT = "gamma/std*(dy - mean(dy) - xhat*mean(dy*xhat))"


def answer_to(quantity: str, text: str, **options: Any) -> Answer:
    question = Question(**options)
    return audit(from_text(quantity, text, question.mode), question, seed=SEED)


def answers_in(
    tmp_path: Path, source: str, name: str | None = None, **options: Any
) -> list[Answer]:
    path = tmp_path / "handed_in.py"
    path.write_text("import numpy as np\n" + textwrap.dedent(source), encoding="utf-8")
    return [audit(formula, seed=SEED, **options) for formula in from_file(path, name)]


def in_file(tmp_path: Path, source: str, **options: Any) -> Answer:
    (answer,) = answers_in(tmp_path, source, "f", **options)
    return answer


def with_mean(mean: str) -> str:
    """The closed form of dx with this for the mean of dy."""
    return f"""
    def f(dy, x, gamma, xhat, rstd):
        return gamma * rstd * (dy - {mean} - xhat * np.mean(dy * xhat, axis=0))
    """


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    audit_cli.add_arguments(parser)
    return audit_cli.run(parser.parse_args(arguments))


EQUAL = {
    "the closed form": RIGHT,
    "with sums": "gamma/(n*std)*(n*dy - sum(dy) - xhat*sum(dy*xhat))",
    "with a power": "gamma*(var + eps)**-0.5*(dy - mean(dy) - xc*mean(dy*xc)/(var + eps))",
    "node by node": (
        "dxhat = gamma*dy; dstd = -sum(dxhat*xc)/std**2; dvar = 0.5*dstd/std;"
        "dxc = dxhat/std + 2.0/n*xc*dvar; dmu = sum(dxc); dx = dxc - dmu/n"
    ),
    "with mean from x": "m = sum(x)/n; r = 1/sqrt(mean((x - m)**2) + eps);"
    "h = (x - m)*r; dx = gamma*r*(dy - mean(dy) - h*mean(dy*h))",
    "a root that is multiplied away": f"{RIGHT}*sqrt(var)*sqrt(var)/var",
    "a power of a root": f"{RIGHT}*sqrt(var)**4/var**2",
    "a root divided by itself": f"{RIGHT}*sqrt(var)/sqrt(var)",
}
UNDECIDED = f"{RIGHT}*sqrt(2)*sqrt(3)/sqrt(6)"


# The name of the mistake; what it is a formula of; the text; the term and the factor to be named.
MISTAKES: list[tuple[str, str, str, str, str]] = [
    ("n - 1 in the variance path", "dx",
     "gamma*rstd*(dy - mean(dy) - xhat*sum(dy*xhat)/(n - 1))", "xhat*mean(dy*xhat)", "n/(n - 1)"),
    ("n - 1 in the mean path", "dx",
     "gamma*rstd*(dy - sum(dy)/(n - 1) - xhat*mean(dy*xhat))", "mean(dy)", "n/(n - 1)"),
    ("mean path lost", "dx", "gamma*rstd*(dy - xhat*mean(dy*xhat))", "mean(dy)", "0"),
    ("variance path lost", "dx", "gamma*rstd*(dy - mean(dy))", "xhat*mean(dy*xhat)", "0"),
    ("both paths lost", "dx", "gamma*rstd*dy", "mean and variance", "0"),
    ("the 1/2 of the root lost", "dx",
     "dvar = -gamma*sum(dy*xc)*rstd**3; dxc = gamma*dy*rstd + 2/n*xc*dvar; dxc - mean(dxc)",
     "xhat*mean(dy*xhat)", "2"),
    ("the 2 of the square lost", "dx",
     "dvar = -gamma*sum(dy*xc)*rstd**3/2; dxc = gamma*dy*rstd + xc*dvar/n; dxc - mean(dxc)",
     "xhat*mean(dy*xhat)", "1/2"),
    ("sign of the variance path", "dx",
     "gamma*rstd*(dy - mean(dy) + xhat*mean(dy*xhat))", "xhat*mean(dy*xhat)", "-1"),
    ("sign of the mean path", "dx",
     "gamma*rstd*(dy + mean(dy) - xhat*mean(dy*xhat))", "mean(dy)", "-1"),
    ("gamma lost", "dx", "rstd*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx", "1/gamma"),
    ("gamma twice", "dx", "gamma**2*rstd*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx", "gamma"),
    ("rstd lost", "dx", "gamma*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx", "std"),
    ("root forgotten", "dx", "gamma/(var + eps)*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx",
     "1/std"),
    ("rstd cubed", "dx", "gamma*rstd**3*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx", "1/std**2"),
    ("eps left out of the root", "dx",
     "gamma/sqrt(var)*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx", "std/sqrt(var)"),
    ("eps outside the root", "dx",
     "gamma/(sqrt(var) + eps)*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx",
     "std/(sqrt(var) + eps)"),
    ("root taken twice", "dx",
     "gamma/sqrt(std)*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx", "std/sqrt(std)"),
    ("unbiased variance under the root", "dx",
     "gamma/sqrt(var*n/(n - 1) + eps)*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx",
     "std/sqrt(var*n/(n - 1) + eps)"),
    ("var for var + eps in the variance path", "dx",
     "gamma*rstd*(dy - mean(dy) - xc*mean(dy*xc)/var)", "xhat*mean(dy*xhat)", "(var + eps)/var"),
    ("sum for mean", "dx", "gamma*rstd*(dy - sum(dy) - xhat*mean(dy*xhat))", "mean(dy)", "n"),
    ("mean of dy divided by n again", "dx",
     "gamma*rstd*(dy - mean(dy)/n - xhat*mean(dy*xhat))", "mean(dy)", "1/n"),
    ("0.1 % too large", "dx", "1.001*gamma*rstd*(dy - mean(dy) - xhat*mean(dy*xhat))", "dx",
     "1001/1000"),
    ("x for xhat", "dx", "gamma*rstd*(dy - mean(dy) - x*mean(dy*xhat))", "xhat*mean(dy*xhat)",
     "-x*mean(dy*xhat)"),
    ("x for xhat inside the mean", "dx", "gamma*rstd*(dy - mean(dy) - xhat*mean(dy*x))",
     "xhat*mean(dy*xhat)", "-xhat*mean(dy*x)"),
    ("the mean over dy*xhat forgotten", "dx", "gamma*rstd*(dy - mean(dy) - xhat*dy*xhat)",
     "xhat*mean(dy*xhat)", "-dy*xhat**2"),
    ("outer xhat lost", "dx", "gamma*rstd*(dy - mean(dy) - mean(dy*xhat))", "xhat*mean(dy*xhat)",
     "-mean(dy*xhat)"),
    ("inner xhat lost", "dx", "gamma*rstd*(dy - mean(dy) - xhat*mean(dy))", "xhat*mean(dy*xhat)",
     "-xhat*mean(dy)"),
    ("y for xhat", "dx", "gamma*rstd*(dy - mean(dy) - y*mean(dy*y))", "xhat*mean(dy*xhat)",
     "-y*mean(dy*y)"),
    ("dgamma without rstd", "dgamma", "sum(dy*xc)", "dgamma", "std"),
    ("dgamma from x", "dgamma", "sum(dy*x)", "sum(dy*xhat)", "sum(dy*x)"),
    ("dgamma from y", "dgamma", "sum(dy*y)", "sum(dy*xhat)", "sum(dy*y)"),
    ("dgamma as a mean", "dgamma", "mean(dy*xhat)", "dgamma", "1/n"),
    ("dbeta as a mean", "dbeta", "mean(dy)", "dbeta", "1/n"),
    ("sign of dstd", "dstd", "sum(gamma*dy*xc)/std**2", "dstd", "-1"),
    ("the 1/2 lost in dvar", "dvar", "-sum(gamma*dy*xc)*rstd**3", "dvar", "2"),
    ("variance path lost in dxc", "dxc", "gamma*dy*rstd", "xhat*mean(dy*xhat)", "0"),
    ("the seed's dmu for dmean", "dmean", "gamma*rstd*sum(dy)", "dmean", "-1"),
    ("forward mode without tbeta", "ty",
     "gamma*rstd*(tx - mean(tx) - xhat*mean(tx*xhat)) + tgamma*xhat", "tbeta", "0"),
    ("double backward, 2 for 3 p q", "grad_x",
     "p = mean(ddx*xhat); q = mean(dy*xhat); a = mean(ddx*dy) - mean(ddx)*mean(dy);"
     "-gamma*rstd**2*(xhat*(a - 2*p*q) + q*(ddx - mean(ddx)) + p*(dy - mean(dy)))"
     " + ddgamma*rstd*(dy - mean(dy) - xhat*q)", "xhat*p*q", "2/3"),
    ("double backward by gamma without p q", "grad_gamma", "rstd*sum(ddx*(dy - mean(dy)))", "p*q",
     "0"),
    ("momentum in the other convention", "new_running_mean",
     "(1 - momentum)*running_mean + momentum*mean", "momentum", "1 - momentum"),
    ("unbiased running variance", "new_running_var",
     "momentum*running_var + (1 - momentum)*var*n/(n - 1)", "var", "n/(n - 1)"),
    ("unbiased variance", "var", "sum(xc**2)/(n - 1)", "var", "n/(n - 1)"),
    ("eps outside the root of std", "std", "sqrt(var) + eps", "std", "(sqrt(var) + eps)/std"),
]  # fmt: skip

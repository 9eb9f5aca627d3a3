"""The usual mistake behind a wrong factor, in words."""

from __future__ import annotations

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

"""Whether exactly representable data give exact results: integers, and a root of 4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..model.cases import dtype_of, state_dtype
from ..model.contract import Misbehaved
from .accuracy import QUANTITIES, places, results
from .subject import Probing


@dataclass(frozen=True)
class Exact:
    """Whether one quantity of exactly representable data came out exact."""

    quantity: str
    dtype: str
    layout: str
    n: int
    exact: bool


_FORMS = {  # deviation and eps with which std is 4; in the last three eps does not count
    "inside the root": (3.0, 7.0),
    "outside the root": (3.0, 1.0),
    "maximum of variance and eps": (4.0, 2.0**-4),
    "floor of the standard deviation": (4.0, 2.0**-4),
    "ignored": (4.0, 2.0**-4),
}


def exact(p: Probing, sizes: tuple[int, ...] = (16, 1024)) -> Iterator[Exact]:
    """Yield whether integers with exact statistics and a root of 4 give exact results."""
    form, fixed = p.eps_form or ("", None)
    deviation, eps = _FORMS.get(form, (4.0, 2.0**-4))
    for n in sizes:
        for dtype in p.conventions.dtypes:
            for layout, place in places(p).items():
                try:
                    yield from _exact(p, dtype, n, layout, place, deviation, eps,
                                      form in _FORMS and fixed is None)  # fmt: skip
                except Misbehaved:
                    continue


def _exact(
    p: Probing, dtype: str, n: int, layout: str, place: tuple[int, str], deviation: float,
    eps: float, with_y: bool,
) -> Iterator[Exact]:  # fmt: skip
    rng = p.random(n)
    c = 4
    mean = np.array([1.0, 5.0, -9.0, 40.0])
    sign = rng.permuted(np.repeat([[-1.0], [1.0]] * (n // 2), c - 1, axis=1), axis=0)
    xc = np.concatenate([np.zeros((n, 1)), sign * deviation], axis=1)
    x = mean + xc
    # dy = a + b sign + what is orthogonal to both: in a half of each sign, +1 and -1 in turn
    dy = np.zeros((n, c))
    for j in range(1, c):
        for side in (-1.0, 1.0):
            at = np.flatnonzero(sign[:, j - 1] == side)
            dy[at, j] = 2.0 + 3.0 * side + np.where(np.arange(len(at)) % 2, 1.0, -1.0)
    gamma, beta = np.full(c, 2.0), np.full(c, 3.0)
    got = results(p, dtype, place, x, dy, gamma, beta, eps)
    rstd, xhat = 0.25, xc * 0.25  # (n, c)
    factor = n / (n - 1) if p.divisor == "unbiased" else 1.0
    want = {"mean": mean.reshape(1, -1), "variance": np.full((1, c), deviation**2 * factor)}
    if with_y:
        dgamma, dbeta = (dy * xhat).sum(0, keepdims=True), dy.sum(0, keepdims=True)
        dx = 2.0 * rstd * (dy - dbeta / n - xhat * dgamma / n)
        want |= {"y": 2.0 * xhat + 3.0, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
    if p.divisor not in ("biased", "unbiased"):
        del want["variance"]
    for quantity in (q for q in QUANTITIES if q in want and q in got):
        kind = dtype_of(dtype) if quantity in ("y", "dx") else state_dtype(dtype)
        rounded = want[quantity].astype(kind).astype(np.float64)
        same = np.array_equal(got[quantity][:, 1:], rounded[:, 1:])
        yield Exact(quantity, dtype, layout, n, bool(same))

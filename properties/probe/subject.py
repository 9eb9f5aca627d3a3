"""The target under the probe, and the batches it is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reference.ball import Precision, precision

from ..model import contract
from ..model.cases import Case, Recipe, dtype_of, state_dtype
from ..model.contract import Array, Conventions, Target, Trained
from .answers import REFUSED, Answer

WIDE = {"float64": 3, "float32": 2, "float16": 1, "bfloat16": 0}  # the wider, the larger
FREE_SCALE = {"float64": 2.0**45, "float32": 2.0**45, "bfloat16": 2.0**45, "float16": 2.0**9}
FREE_EPS = {"float64": 2.0**-40, "float32": 2.0**-40, "bfloat16": 2.0**-40, "float16": 2.0**-14}


@dataclass
class Probing:
    """A target with its calls counted, the seed, and what is known of its arithmetic so far.

    inner holds per dtype the one that results are really computed in; eps_form where eps stands
    and its value if that is fixed; divisor what enters the running variance; weight that of
    the batch in the running statistics at momentum 1/2, None where the count of calls decides.
    """

    target: Target
    seed: int = 0
    tick: Callable[[str], None] = lambda text: None
    inner: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    eps_form: tuple[str, float | None] | None = None
    divisor: str = ""
    weight: float | None = None

    def __post_init__(self) -> None:
        self.target = replace(
            self.target,
            functions={name: self._counted(f) for name, f in self.target.functions.items()},
        )

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return function(*args, **kwargs)

        return call

    @property
    def conventions(self) -> Conventions:
        return self.target.conventions

    @property
    def dtype(self) -> str:
        """The widest dtype that the target takes."""
        return max(self.conventions.dtypes, key=lambda name: WIDE[name])

    @property
    def rank(self) -> int:
        """The least rank that the target takes."""
        return self.conventions.ndim[0]

    def lacks(self, question: str, function: str) -> Answer:
        """Return that a question needs a function that is not offered, and why it is not."""
        why = self.target.refused.get(function, f"it has no {function}")
        return Answer(question, REFUSED, why)

    def radius_dtype(self, dtype: str) -> str:
        """Return the dtype whose radius is due to results of this one."""
        inner = self.inner.get(dtype, dtype)
        return inner if WIDE[inner] < WIDE[dtype] else dtype

    def random(self, stream: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, stream]))


_SPATIAL = {2: (), 3: (4,), 4: (2, 2), 5: (1, 2, 2)}


def shape_of(conventions: Conventions, rank: int, n: int, c: int) -> tuple[int, ...]:
    """Return a shape of this rank with n values for each of c statistics."""
    spatial = _SPATIAL[rank]
    size = math.prod(spatial)
    if conventions.statistics == "per_activation" or n % size:
        return (n, c, *(1,) * len(spatial))
    return (n // size, c, *spatial)


def case_of(p: Probing, dtype: str, rows: Array, rank: int | None = None, **given: Any) -> Case:
    """Return a case with these rows (n, c); what is not given is gamma 1, beta 0, fresh state.

    Its radii are those of the dtype that the target is known to compute in.
    """
    n, c = rows.shape
    shape = shape_of(p.conventions, p.rank if rank is None else rank, n, c)
    state = state_dtype(dtype)
    row = {
        "gamma": np.ones(c), "beta": np.zeros(c),
        "running_mean": np.zeros(c), "running_var": np.zeros(c),
    }  # fmt: skip
    row.update({name: value for name, value in given.items() if name in row})
    dy = given.get("dy")
    return Case(
        Recipe(dtype=p.radius_dtype(dtype)),
        p.conventions,
        np.ascontiguousarray(p.conventions.shaped(rows, shape)).astype(dtype_of(dtype)),
        np.zeros(shape, dtype_of(dtype))
        if dy is None
        else np.ascontiguousarray(p.conventions.shaped(dy, shape)).astype(dtype_of(dtype)),
        **{name: value.astype(state) for name, value in row.items()},
        eps=given.get("eps", FREE_EPS[dtype]),
        momentum=given.get("momentum", 0.5),
    )


def train(p: Probing, case: Case, keep_layout: bool = False) -> Trained:
    """Call forward_train on a case."""
    arrays = (case.x, case.gamma, case.beta, case.running_mean, case.running_var)
    options: Mapping[str, Any] = {"eps": case.eps, "momentum": case.momentum}
    return contract.train(p.target, *arrays, **options, keep_layout=keep_layout)


def row(a: Array | None) -> Array:
    """Return running statistics as a float64 row, (1, c).

    Raises:
        Misbehaved: there are none.
    """
    if a is None:
        raise contract.Misbehaved("forward_train returned no running statistics")
    return a.astype(np.float64).reshape(1, -1)


def weight_of(p: Probing, result: Trained, one: float) -> float:
    """Return the weight of the batch in running statistics that started from 0, at momentum 1/2.

    Args:
        p: knows it, or not.
        result: of a call whose first channel is constant.
        one: that constant, whose running mean tells the weight where it is not known.
    """
    return float(row(result.running_mean)[0, 0]) / one if p.weight is None else p.weight


def arithmetic(inner: str, stored: str) -> Precision:
    """Return the precision of results computed in one dtype and stored in another."""
    kept, wide = precision(stored), precision(inner)
    p = replace(wide, u=wide.out_u, sum_u=wide.out_u, eta=wide.out_eta, largest=wide.out_largest)
    return replace(p, out_u=kept.out_u, out_eta=kept.out_eta, out_largest=kept.out_largest)

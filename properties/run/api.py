"""The suite from Python: what `import properties` offers to other people's tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..engine import strategies
from ..engine.exercise import Result
from ..invariants import INVARIANTS
from ..model import expected
from ..model.cases import Case, Recipe
from ..model.contract import Array, Conventions
from ..targets.isolate.limits import Limits
from .session import Options, session
from .text import failure_text, verdict_of


def check(
    target: Any,
    *,
    examples: int = 100,
    seed: int = 0,
    only: Iterable[str] = (),
    limits: Limits | None = None,
) -> list[Result]:
    """Run the invariants on a batch norm and return what came of each.

        >>> from properties import check
        >>> result, = check("bn", only=["output_agrees_with_reference"], examples=5)
        >>> result.verdict
        'pass'

    Args:
        target: a spec as `bncheck run` takes it, or a module, object or layer class.
        examples: per invariant.
        seed: the same seed draws the same examples.
        only: names of invariants; all where left out.
        limits: what a call may take, and whether the target has a process of its own; an object
            is called in this process.

    Returns:
        One result per invariant, and per registered expectation of it, in the order of
        `properties.invariants.INVARIANTS`: its verdict, failure, case, examples, decisive
        examples and strength.

    Raises:
        ValueError: only names what is no invariant.
        TargetError: there is no such target, or its first plain call fails in structure.
    """
    with session(_options(target, examples, seed, only, limits)) as held:
        return [r for name in INVARIANTS if not only or name in only for r in held.results(name)]


def _options(
    target: Any, examples: int, seed: int, only: Iterable[str], limits: Limits | None
) -> Options:
    for name in only:
        if name not in INVARIANTS:
            raise ValueError(f"only={name!r}: expected names of properties.invariants.INVARIANTS")
    return Options(target, limits or Limits(), examples, seed)


def assert_batch_norm(
    target: Any,
    *,
    examples: int = 100,
    seed: int = 0,
    only: Iterable[str] = (),
    limits: Limits | None = None,
) -> None:
    """Raise an AssertionError with every failure of a batch norm, and do nothing if it has none.

        >>> from properties import assert_batch_norm
        >>> assert_batch_norm("bn", examples=2, only=["beta_gradient_is_sum_of_dy"])

    Args:
        target, examples, seed, only, limits: as for `check`.

    Raises:
        AssertionError: an invariant failed, or nothing could be decided.
        ValueError, TargetError: as for `check`.
    """
    with session(_options(target, examples, seed, only, limits)) as held:
        names = [name for name in INVARIANTS if not only or name in only]
        results = [r for name in names for r in held.results(name)]
        failed = [r for r in results if r.verdict in ("fail", "unexpected pass")]
        texts = [
            f"{r.invariant.name}: {r.verdict}: {r.message}"
            if r.case is None
            else failure_text(r, held.target, seed, examples, cause=held.cause_of(r))
            for r in failed
        ]
    if texts:
        raise AssertionError("\n\n".join(texts))
    if verdict_of(results) == "undecided" and not any(r.verdict == "pass" for r in results):
        raise AssertionError(f"target={target!r}: nothing was decided; raise examples={examples}")


def batches(
    kind: str = "batch",
    *,
    dtypes: Sequence[str] = ("float32", "float64"),
    ndim: Sequence[int] = (2, 3, 4, 5),
    eps: float | None = None,
) -> st.SearchStrategy[Case]:
    """Return a Hypothesis strategy of batches, over all regimes that the invariants are tried on.

        >>> from hypothesis import given
        >>> from properties import batches
        >>> @given(batches(dtypes=["float64"], ndim=[2]))
        ... def test_mean_is_beta(case):
        ...     assert case.x.shape == case.dy.shape and case.gamma.shape == case.x.shape[1:]
        >>> test_mean_is_beta()

    A batch has x and dy (n, c, ...), gamma, beta, running_mean and running_var (c,), eps and
    momentum. It shrinks to two small integers in one channel.

    Args:
        kind: batch, well (no regime that is ill-conditioned on purpose), large, empty, one_value,
            not_finite or another key of `properties.engine.strategies.INPUTS`.
        dtypes: of x; the others follow the contract.
        ndim: ranks of x.
        eps: where it is fixed; drawn otherwise.

    Raises:
        ValueError: kind, dtypes or ndim are none of those there are.
    """
    if kind not in strategies.INPUTS:
        raise ValueError(f"kind={kind!r}: expected one of {', '.join(strategies.INPUTS)}")
    conventions = Conventions(dtypes=tuple(dtypes), ndim=tuple(ndim), eps=eps)
    wrong = [d for d in dtypes if d not in ("float16", "bfloat16", "float32", "float64")]
    if wrong or not dtypes or not set(ndim) <= {2, 3, 4, 5} or not ndim:
        raise ValueError(
            f"dtypes={tuple(dtypes)}, ndim={tuple(ndim)}: expected floating dtypes and ranks 2 to 5"
        )
    return strategies.cases(
        kind, conventions, frozenset([*dtypes, *(f"rank {r}" for r in ndim), "eps"])
    )


def radius(
    x: Array,
    *,
    gamma: Array | None = None,
    beta: Array | None = None,
    dy: Array | None = None,
    eps: float = 1e-5,
    accumulator: str = "same",
) -> dict[str, Array]:
    """Return how far each result of training may lie from the exact one, by rounding alone.

        >>> import numpy as np
        >>> from properties import radius
        >>> x = np.array([[1.0], [2.0], [4.0]], np.float32)
        >>> allowed = radius(x)
        >>> y = (x - x.mean(0)) / np.sqrt(x.var(0) + np.float32(1e-5))
        >>> exact = (x.astype(float) - 7 / 3) / np.sqrt(14 / 9 + 1e-5)
        >>> bool((abs(y - exact) <= allowed["y"]).all())
        True

    The radius covers every named right form, in any order of summation: equations (40) to (48) of
    `reference/derivation.md`.

    Args:
        x: (n, c, ...), of the dtype that the results have.
        gamma, beta: (c,); 1 and 0 where left out.
        dy: like x; zeros where left out.
        eps: added to the variance.
        accumulator: what statistics are summed in: same, float32 or float64.

    Returns:
        y and dx like x; mean, var (biased), dgamma and dbeta (c,): float64, infinite where an
        intermediate may overflow.

    Raises:
        ValueError: shapes or dtypes that the contract does not have.
    """
    x = np.asarray(x)
    dtype = x.dtype.name
    if dtype not in ("float16", "bfloat16", "float32", "float64") or not 2 <= x.ndim <= 5:
        raise ValueError(f"x of {dtype} {x.shape}: expected a floating dtype and 2 to 5 dimensions")
    c = x.shape[1]
    dy = np.zeros_like(x) if dy is None else np.asarray(dy)
    for name, array, shape in (("gamma", gamma, (c,)), ("beta", beta, (c,)), ("dy", dy, x.shape)):
        if array is not None and np.shape(array) != shape:
            raise ValueError(f"{name}.shape={np.shape(array)}: expected {shape}")
    conventions = Conventions(accumulator=accumulator)
    case = Case(Recipe(dtype=dtype), conventions, x, dy, gamma, beta, None, None, eps, 0.0)
    mean, var = expected.batch_statistics(case)
    wanted = {"y": expected.output(case), **expected.gradients(case), "mean": mean, "var": var}
    like_x = ("y", "dx")
    return {
        name: conventions.shaped(w.radius, x.shape) if name in like_x else w.radius[0]
        for name, w in wanted.items()
    }

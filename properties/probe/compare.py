"""One batch norm in two targets: how far their results lie apart, and which convention says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

from ..model import contract, expected
from ..model.cases import Case
from ..model.contract import Array, Conventions, Misbehaved, Target, TargetError
from ..model.expected import Wanted
from ..plants.planted import PLANTED
from ..plants.textbook import Pieces, implementation
from ..run.causes import known
from .subject import WIDE, Probing, case_of, train

STEPS = 10
EPS, KEEP = 2.0**-10, 0.875  # few bits, as all numbers here: each dtype holds them
SIZE = 8  # values per channel: n / (n - 1) is far from 1
_STATE: dict[str, Any] = {
    "gamma": np.array([1.0, -0.5, 2.0, 1.5]),
    "beta": np.array([0.5, -1.0, 0.0, 2.0]),
    "running_mean": np.array([0.0, 0.5, -0.25, 0.125]),
    "running_var": np.array([1.0, 0.25, 2.0**-6, 2.0**-10]),
}
_SCALES = np.array([1.0, 0.25, 2.0**-4, 2.0**-6])  # the least variance is below eps

Results = dict[tuple[str, int], Wanted]  # by quantity and rank: what came, and its radius


@dataclass(frozen=True)
class Given:
    """The numbers that one of the two is called with."""

    eps: float
    momentum: float


@dataclass(frozen=True)
class Gap:
    """The largest difference in a quantity, as a multiple of what is allowed there."""

    quantity: str
    difference: float
    allowed: float

    @property
    def same(self) -> bool:
        return self.difference <= self.allowed


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    missing holds the quantities that one of them does not offer; why, the conventions that make
    all of it agree once they are applied, empty where nothing differs or none does.
    """

    dtype: str
    ranks: tuple[int, ...]
    given: tuple[Given, Given]
    gaps: tuple[Gap, ...]
    missing: tuple[str, ...]
    why: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        return tuple(gap.quantity for gap in self.gaps if not gap.same)


def compare(one: Target, other: Target, as_is: bool = False, dtype: str = "") -> Comparison:
    """Carry one batch norm over: call both on the same batches, and hold the results together.

    They agree where no result lies further apart than the sum of the two derived radii.

    Args:
        as_is: whether momentum is copied as a number; else as what it means.
        dtype: of all arrays; left out float32, in which weights move, or the widest of both.

    Raises:
        TargetError: they do not both take it, have no rank in common, or a plain call fails.
    """
    dtype, ranks = _common(one, other, dtype)
    numbers = given(one.conventions, other.conventions, as_is)
    a, b = (_results(t, g, dtype, ranks) for t, g in zip((one, other), numbers, strict=True))
    gaps = tuple(_gaps(a, b))
    missing = dict.fromkeys(name for name, _ in a.keys() ^ b.keys())
    found = Comparison(dtype, ranks, numbers, gaps, tuple(sorted(missing)), ())
    if not found.differing:
        return found
    return replace(found, why=_why((one, other), numbers, (a, b), dtype, ranks))


def _common(one: Target, other: Target, dtype: str) -> tuple[str, tuple[int, ...]]:
    """Return a dtype and the ranks that both take."""
    a, b = one.conventions, other.conventions
    dtypes = [d for d in a.dtypes if d in b.dtypes and dtype in ("", d)]
    alike = a.statistics == b.statistics
    ranks = tuple(r for r in a.ndim if r in b.ndim and (alike or r == 2))
    if not dtypes or not ranks:
        takes = [
            f"{t.spec} takes {', '.join(c.dtypes)} in ranks {', '.join(map(str, c.ndim))}"
            f" ({c.statistics})"
            for t, c in ((one, a), (other, b))
        ]
        wanted = dtype or "a dtype"
        raise TargetError(f"{'; '.join(takes)}: expected {wanted} and a rank in common")
    return "float32" if "float32" in dtypes else max(dtypes, key=lambda d: WIDE[d]), ranks


def given(a: Conventions, b: Conventions, as_is: bool) -> tuple[Given, Given]:
    """Return eps and momentum for both; what is written into one of them counts for the other."""
    eps = next((e for e in (a.eps, b.eps) if e is not None), EPS)
    keep = next((k for k in (a.fixed_momentum, b.fixed_momentum) if k is not None), KEEP)
    first, second = (_given(c, eps, keep) for c in (a, b))
    if as_is and b.fixed_momentum is None:
        second = replace(second, momentum=first.momentum)
    return first, second


def _given(c: Conventions, eps: float, keep: float) -> Given:
    keep = keep if c.fixed_momentum is None else c.fixed_momentum
    momentum = keep if c.momentum == "keep" else 1.0 - keep
    return Given(eps if c.eps is None else c.eps, momentum)


# --- what one of them gives ----------------------------------------------------------------------


def _case(p: Probing, dtype: str, rank: int, step: int, numbers: Given) -> Case:
    random = np.random.Generator(np.random.PCG64(step))
    rows = random.integers(-32, 97, (SIZE, len(_SCALES))) / 64.0 * _SCALES
    dy = random.integers(-32, 33, rows.shape) / 16.0
    called = {"eps": numbers.eps, "momentum": numbers.momentum, "dy": dy}
    return case_of(p, dtype, rows, rank, **_STATE, **called)


def _results(target: Target, numbers: Given, dtype: str, ranks: Sequence[int]) -> Results:
    p = Probing(target)
    found: Results = {}
    try:
        for rank in ranks:
            cases = [_case(p, dtype, rank, step, numbers) for step in range(STEPS)]
            for name, got, wanted in (*_once(p, cases[0]), *_averages(p, cases)):
                if got is not None:
                    found[name, rank] = Wanted(expected.rows(cases[0], got), wanted.radius)
    except Misbehaved as error:
        raise TargetError(f"target={target.spec}: {error}") from error
    return found


def _once(p: Probing, case: Case) -> Iterator[tuple[str, Array | None, Wanted]]:
    """Yield the outputs and gradients of one batch."""
    target, offers = p.target, p.target.offers
    trained = train(p, case)
    yield "y in training", trained.y, expected.output(case)
    if "backward_train" in offers:
        back = contract.backward(target, case.dy, trained.saved, case.gamma)
        yield from _gradients(back, expected.gradients(case), "training")
    if "forward_eval" not in offers:
        return
    mean, var = case.running_mean, case.running_var
    assert mean is not None and var is not None
    y, saved = contract.evaluate(target, case.x, case.gamma, case.beta, mean, var, eps=case.eps)
    yield "y in inference", y, expected.eval_output(case, mean, var)
    if "backward_eval" in offers:
        back = contract.backward(target, case.dy, saved, case.gamma, mode="eval")
        yield from _gradients(back, expected.eval_gradients(case, mean, var), "inference")


def _gradients(
    back: contract.Gradients, wanted: dict[str, Wanted], mode: str
) -> Iterator[tuple[str, Array | None, Wanted]]:
    for name in ("dx", "dgamma", "dbeta"):
        got = getattr(back, name)
        yield f"{name} in {mode}", got if name == "dx" else _row(got), wanted[name]


def _averages(p: Probing, cases: Sequence[Case]) -> Iterator[tuple[str, Array | None, Wanted]]:
    """Yield the running statistics after one step and after all."""
    if "running statistics" not in p.target.offers:
        return
    mean, var = cases[0].running_mean, cases[0].running_var
    wanted = expected.initial(cases[0])
    for step, case in enumerate(cases, 1):
        case = replace(case, running_mean=mean, running_var=var)
        trained = train(p, case)
        mean, var = trained.running_mean, trained.running_var
        wanted = expected.running(case, *wanted)
        if step in (1, len(cases)):
            after = "one step" if step == 1 else f"{step} steps"
            yield f"running_mean after {after}", _row(mean), wanted[0]
            yield f"running_var after {after}", _row(var), wanted[1]


def _row(a: Array | None) -> Array | None:
    return None if a is None else a.reshape(1, -1)


# --- how far apart -------------------------------------------------------------------------------


def _gaps(a: Results, b: Results) -> Iterator[Gap]:
    """Yield the largest difference of each quantity that both have, in terms of the radii."""
    worst: dict[str, Gap] = {}
    for name, rank in a:
        if (name, rank) in b:
            gap = _gap(name, a[name, rank], b[name, rank])
            if name not in worst or _ratio(gap) > _ratio(worst[name]):
                worst[name] = gap
    yield from worst.values()


def _gap(name: str, a: Wanted, b: Wanted) -> Gap:
    with np.errstate(all="ignore"):
        apart = np.abs(a.value - b.value)
        allowed = a.radius + b.radius + np.zeros_like(apart)
        ratio = np.where(apart == 0, 0.0, apart / allowed)
    at = int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio)))
    return Gap(name, float(apart.flat[at]), float(allowed.flat[at]))


def _ratio(gap: Gap) -> float:
    if gap.same:
        return gap.difference / gap.allowed if gap.allowed else 0.0
    return gap.difference / gap.allowed if gap.allowed and gap.difference < np.inf else np.inf


# --- why -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """A batch norm by the book: the share of the old average, the divisor, eps, and its place."""

    keep: float
    divisor: str
    eps: float
    place: str = "inside"


@dataclass(frozen=True)
class _Convention:
    """Something in which the two may differ: what changes in the reading of which of them."""

    says: str
    which: int
    field: str
    value: Any


@cache
def _places() -> dict[str, tuple[str, Pieces]]:
    """Return where eps may stand, as a phrase and as pieces; gradients of two kinds."""
    own = known()["eps_outside_root_with_its_own_gradient"]
    in_inference = PLANTED["eval_eps_outside_root"].eval_rstd
    inside, outside = "inside the root", "outside the root, sqrt(var) + eps,"
    return {
        "inside": (inside, Pieces()),
        "outside": (outside, replace(own, eval_rstd=in_inference)),
        "outside, plain gradient": (outside, known()["eps_outside_root_everywhere"]),
        "outside in training": (f"{outside} in training", own),
        "outside in inference": (f"{outside} in inference", Pieces(eval_rstd=in_inference)),
    }


def _why(
    targets: tuple[Target, Target],
    numbers: tuple[Given, Given],
    results: tuple[Results, Results],
    dtype: str,
    ranks: tuple[int, ...],
) -> tuple[str, ...]:
    """Return the fewest conventions that make everything agree once they are applied.

    Each result is taken relative to a batch norm by the book that has the conventions in question:
    A - book(A's) and B - book(B's) must agree, where both books were one.
    """
    plain = replace(
        targets[0].conventions, momentum="keep", eps=None, fixed_momentum=None, dtypes=(dtype,)
    )

    @cache
    def book(reading: Reading) -> Results:
        c = replace(plain, running_var=reading.divisor)
        made = implementation(_places()[reading.place][1], c, "by the book", exact=True)
        return _results(made, Given(reading.eps, reading.keep), dtype, ranks)

    shared = _reading(targets[0].conventions, numbers[0])
    options = list(_conventions(targets, numbers))
    for count in range(1, 5):
        for chosen in combinations(options, count):
            if len({(c.which, c.field) for c in chosen}) < count:
                continue
            readings = [shared, shared]
            for c in chosen:
                changed: Any = {c.field: c.value}
                readings[c.which] = replace(readings[c.which], **changed)
            rest = [_less(r, book(reading)) for r, reading in zip(results, readings, strict=True)]
            if all(gap.same for gap in _gaps(rest[0], rest[1])):
                return tuple(c.says for c in chosen)
    return ()


def _reading(c: Conventions, numbers: Given) -> Reading:
    keep = numbers.momentum if c.momentum == "keep" else 1.0 - numbers.momentum
    return Reading(keep, c.running_var, numbers.eps)


def _conventions(
    targets: tuple[Target, Target], numbers: tuple[Given, Given]
) -> Iterator[_Convention]:
    """Yield what the two are known to differ in, then where eps may stand in each."""
    names = [t.spec for t in targets]
    a, b = (_reading(t.conventions, n) for t, n in zip(targets, numbers, strict=True))
    if a.keep != b.keep:
        turned = f": give {names[1]} 1 - momentum" if np.isclose(a.keep, 1 - b.keep) else ""
        says = f"momentum: {names[0]} keeps {a.keep:g} of the old average, {names[1]} {b.keep:g}"
        yield _Convention(says + turned, 1, "keep", b.keep)
    if a.divisor != b.divisor:
        by = {"biased": "n", "unbiased": "n - 1"}
        says = f"running_var: {names[0]} divides by {by[a.divisor]}, {names[1]} by {by[b.divisor]}"
        yield _Convention(says, 1, "divisor", b.divisor)
    if a.eps != b.eps:
        says = f"eps: {a.eps:g} is written into {names[0]}, {b.eps:g} into {names[1]}"
        yield _Convention(says, 1, "eps", b.eps)
    for place, (phrase, _) in list(_places().items())[1:]:
        for which in (1, 0):
            says = f"eps: {phrase} in {names[which]}, inside the root in {names[1 - which]}"
            yield _Convention(says, which, "place", place)


def _less(got: Results, book: Results) -> Results:
    """Return results minus those by the book, with the radii of both."""
    return {
        key: Wanted(got[key].value - book[key].value, got[key].radius + book[key].radius)
        for key in got
    }

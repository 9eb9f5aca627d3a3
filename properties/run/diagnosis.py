"""What is wrong with a target, found by trying known errors on fresh, well-conditioned batches.

A cause is one error, or several at once, that reproduces every result of the target on the batches
of the first kind on which it is wrong, and on the ordinary ones. If none does, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.exercise import Result
from ..model.cases import Case
from ..model.contract import Array, Died, Misbehaved, Target
from ..model.verdict import Claim, judge
from ..plants.layers import Cumulative, Layer
from ..plants.masked import Masking
from ..plants.textbook import Pieces, implementation
from ..targets.styles import by_framework
from .batches import KINDS, Results, batches
from .batches import results as all_results
from .cancellation import cancels
from .causes import LAST_AXIS, SENTENCES, known, pairs
from .coefficients import fitted, fitted_variance
from .storage import kept_from_call_to_call

# the resolution of a comparison, by what is computed in; no verdict rests on it
_RESOLUTION = {"float64": 2.0**-32, "float32": 2.0**-13, "float16": 2.0**-8, "bfloat16": 2.0**-5}

_DERIVED = ("jvp_train", "double_backward_train")  # of the other results, by a framework


@dataclass(frozen=True)
class Cause:
    """An error, or several at once, as sentences, and the wrong batch norm that has it."""

    names: tuple[str, ...]
    sentences: tuple[str, ...]
    pieces: Pieces
    rounding: bool = False  # it reproduces the size of the errors, not the numbers
    spoils: bool = False  # every later result is in doubt: what else fails is a consequence

    @property
    def sentence(self) -> str:
        return "; and ".join(self.sentences)


@dataclass(frozen=True)
class _Seen:
    """A kind of batches, what the target gave on them, and what is right."""

    target: Target
    kind: str
    cases: Sequence[Case]
    got: Sequence[Results]

    @cached_property
    def wanted(self) -> list[Results]:
        return list(self.of(Pieces()))

    def of(self, pieces: Pieces) -> Iterator[Results]:
        """Yield what these pieces give on the batches, one after the other."""
        made = _made(pieces, self.target)
        for case in self.cases:
            try:
                yield _results(made, case, self.target, self.kind)
            except (ValueError, IndexError, TypeError):
                yield {}

    def wrong(self) -> set[str]:
        """Return the results in which the target is wrong on some batch."""
        return set().union(*map(_apart, self.got, self.wanted, self.cases))

    def reproduced(self, pieces: Pieces) -> bool:
        """Return whether these pieces give what the target gave, on every batch."""
        if not self._likely(pieces):
            return False
        given = self.of(pieces)
        return all(not _apart(g, next(given), c) for g, c in zip(self.got, self.cases, strict=True))

    def _likely(self, pieces: Pieces) -> bool:
        """Return whether they do on the first batch, in the results of the layer itself."""
        made = _made(pieces, self.target)
        for given, case in zip(self.got[:1], self.cases[:1], strict=True):
            try:
                found = all_results(made, case, self.kind, optional=False)
            except (ValueError, IndexError, TypeError):
                return False
            if any(k not in given or _far(v, given[k], case).any() for k, v in found.items()):
                return False
        return True


def causes(target: Target) -> list[Cause]:
    """Return the causes that reproduce the target, alternatives; none where it cannot be told."""
    try:
        ordinary = _seen(target, "ordinary")
        by_itself = "forward_train" not in target.offers
        if not ordinary.cases or not (by_itself or any("y" in got for got in ordinary.got)):
            return []
        if name := kept_from_call_to_call(target):
            return [replace(_named((name,), known()[name]), spoils=True)]
        if wrong := ordinary.wrong():
            return _of_formulas(ordinary, wrong)
        for kind in KINDS:
            if kind != "ordinary" and (found := _of_kind(ordinary, _seen(target, kind))):
                return found
        if cancels(target):
            name = "one_pass_variance"
            return [replace(_named((name,), known()[name]), rounding=True)]
    except Died:
        pass
    return []


def _seen(target: Target, kind: str) -> _Seen:
    cases = batches(target, kind)
    return _Seen(target, kind, cases, [_results(target, case, target, kind) for case in cases])


def _results(one: Target, case: Case, target: Target, kind: str = "ordinary") -> Results:
    """Return the results of one that tell of a target.

    Where a framework takes derivatives, those of its wrong backward or forward are consequences.
    """
    found = all_results(one, case, kind)
    if by_framework(target.style):
        return {key: value for key, value in found.items() if not key.startswith(_DERIVED)}
    return found


def _of_formulas(ordinary: _Seen, wrong: set[str]) -> list[Cause]:
    """Return the known errors, fitted coefficients or pairs of errors that show anywhere."""
    found = [_named((n,), p) for n, p in known().items() if ordinary.reproduced(p)]
    if found:
        return _told_apart(_distinct(found), ordinary)
    if "forward_train" not in ordinary.target.offers:
        return []
    resolution = _RESOLUTION[ordinary.cases[0].recipe.dtype]
    given = ordinary.cases, ordinary.got
    if (fit := fitted(*given, wrong, resolution)) is not None:
        found += [Cause(("coefficients",), tuple(fit[0]), fit[1])]
    if (root := fitted_variance(*given, resolution)) is not None:
        found += [Cause(("coefficients",), tuple(root[0]), pieces) for pieces in root[1]]
    if found := [cause for cause in found if ordinary.reproduced(cause.pieces)]:
        return found[:1]
    for names, pieces in pairs(_touching(ordinary, wrong)):
        if ordinary.reproduced(pieces):
            found.append(_named(names, pieces))
    return _distinct(found)[:3]


def _touching(ordinary: _Seen, wrong: set[str]) -> set[str]:
    """Return the known errors that explain some of what is wrong on the first batch."""
    got, right, case = ordinary.got[0], ordinary.wanted[0], ordinary.cases[0]
    found = set()
    for name, pieces in known().items():
        given = next(ordinary.of(pieces))
        if _apart(given, right, case) & wrong - _apart(got, given, case):
            found.add(name)
    return found


def _of_kind(ordinary: _Seen, seen: _Seen) -> list[Cause]:
    """Return the known errors that show on this kind of batches alone."""
    if not seen.wrong():
        return []
    found = (
        _named((name,), pieces)
        for name, pieces in known().items()
        if seen.reproduced(pieces) and ordinary.reproduced(pieces)
    )
    return _told_apart(_distinct(found), ordinary)


def _told_apart(found: list[Cause], ordinary: _Seen) -> list[Cause]:
    """Return those of several causes that reproduce the other kinds of batches too, if any do."""
    for kind in KINDS:
        if len(found) > 1 and kind != "ordinary":
            seen = _seen(ordinary.target, kind)
            found = [c for c in found if seen.reproduced(c.pieces)] or found
    return found[:3]


def _named(names: tuple[str, ...], pieces: Pieces) -> Cause:
    return Cause(names, tuple(SENTENCES[name] for name in names), pieces)


def _distinct(found: Any) -> list[Cause]:
    """Return each sentence once."""
    return list({cause.sentence: cause for cause in found}.values())


def _made(pieces: Pieces, target: Target, exact: bool = True) -> Target:
    moved = any(pieces is known()[name] for name in LAST_AXIS)
    if "new_layer" in target.offers and pieces.layer is None:
        counts = "cumulative average" in target.offers
        pieces = replace(pieces, layer=Cumulative if counts else Layer)
    if "mask" in target.offers and pieces.masking is None:
        pieces = replace(pieces, masking=Masking())
    made = implementation(pieces, target.conventions, "cause", exact=exact)
    return replace(
        made, offers=target.offers, conventions=target.conventions if moved else made.conventions
    )


def _apart(one: Results, two: Results, case: Case) -> set[str]:
    """Return the quantities in which two differ on a batch, by more than rounding."""
    both = one.keys() & two.keys()
    return (one.keys() ^ two.keys()) | {k for k in both if _far(one[k], two[k], case).any()}


def _far(a: Array, b: Array, case: Case) -> Array:
    """Return where two results differ by more than rounding; True where their shapes do."""
    if a.shape != b.shape:
        return np.array(True)
    with np.errstate(all="ignore"):
        scale = np.abs(b[np.isfinite(b)]).max(initial=0.0)
        far = np.abs(a - b) > _RESOLUTION[case.recipe.dtype] * max(scale, 1e-3)
    return (far & (a != b)) | (np.isnan(a) != np.isnan(b))


def explains(cause: Cause, target: Target, result: Result) -> bool:
    """Return whether a failure is a consequence: the target does there what the cause does.

    It misbehaves there too, or gives the same results, or deviates alike in the claims. The cause
    is computed in float64, and in the dtype of the case, as errors may grow without bound there.
    """
    if result.case is None or cause.spoils:
        return cause.spoils
    try:
        return any(
            _does(_made(cause.pieces, target, exact), cause, target, result)
            for exact in (True, False)
        )
    except Died:
        return False


def _does(made: Target, cause: Cause, target: Target, result: Result) -> bool:
    case, invariant = result.case, result.invariant
    assert case is not None
    derived = by_framework(target.style) and set(_DERIVED) & set(invariant.needs)
    if invariant.inputs == "sequence" or derived:
        same = not _apart(*_both(target, made, case), case)
        return result.failure is not None and same
    try:
        theirs = judge(invariant.check(made, case))
    except Died:
        raise
    except Misbehaved:
        return result.failure is None
    if result.failure is None or (theirs.failure is None and not cause.rounding):
        return False
    if not _apart(*_both(target, made, case), case):
        return True
    try:
        ours = judge(invariant.check(target, case))
    except Misbehaved:
        return False
    if cause.rounding:
        return ours.worst <= 64 * theirs.worst
    alike = [
        replace(b, got=_deviation(b), want=_deviation(a), bits=False)
        for b, a in zip(theirs.claims, ours.claims, strict=False)
    ]
    return judge(alike).failure is None


def _both(target: Target, made: Target, case: Case) -> tuple[Results, Results]:
    return _results(target, case, target), _results(made, case, target)


def _deviation(claim: Claim) -> Array:
    """Return got - want, zero where both are the same infinity."""
    got, want = np.asarray(claim.got, np.float64), np.asarray(claim.want, np.float64)
    with np.errstate(all="ignore"):
        return np.where(got == want, 0.0, got - want)

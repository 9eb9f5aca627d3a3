"""What holds of y in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..model import expected
from ..model.cases import Case, state_dtype
from ..model.contract import Array, Target
from ..model.expected import rows
from ..model.verdict import Claim, is_true, same_bits
from .calls import agrees, inner, own, plain, total, trained, with_x
from .registry import invariant


@invariant("mean_divides_by_n_minus_1")
def normalized_output_has_mean_zero(target: Target, case: Case) -> Iterable[Claim]:
    """The normalized output has mean zero.

    Subtracting the mean makes the sum of xhat vanish, (28).
    """
    wanted = expected.normalized(case)
    xhat = rows(case, trained(target, plain(case)).y)
    scale = np.abs(wanted.value).sum(axis=0, keepdims=True)
    radius = wanted.radius.sum(axis=0, keepdims=True)
    yield Claim("sum of xhat", total(xhat), 0 * scale, radius, scale)


@invariant("eps_outside_root")
def normalized_output_has_variance_var_over_var_plus_eps(
    target: Target, case: Case
) -> Iterable[Claim]:
    """The normalized output has variance var / (var + eps).

    xhat is xc / sqrt(var + eps), and var is the mean of xc squared, (29).
    """
    wanted, p = expected.normalized(case), expected.training(case)
    n = p.x.shape[0]
    xhat = rows(case, trained(target, plain(case)).y)
    square, rounding = inner(xhat, xhat)
    mean = total(xhat) / n
    value = p.ref.var / (p.ref.var + case.eps)
    radius = (wanted.radius * (2 * np.abs(wanted.value) + wanted.radius)).mean(0, keepdims=True)
    radius = (
        radius + wanted.radius.mean(axis=0, keepdims=True) ** 2 + rounding / n + 2.0**-50 * value
    )
    # each step here may vanish once, and so may the variance
    radius = radius + p.ref.bound["var"] / (p.ref.var + case.eps) + 4 * 2.0**-1074
    yield Claim("variance of xhat", square / n - mean * mean, value, radius)


@invariant("variance_divides_by_n_minus_1")
def output_agrees_with_reference(target: Target, case: Case) -> Iterable[Claim]:
    """The output agrees with the float64 reference.

    y = gamma * xhat + beta, (1) to (6).
    """
    yield agrees("y", case, trained(target, case).y, expected.output(case))


def _exact_shift(case: Case) -> Array | None:
    """Return x + c for the largest power of two c that adds exactly, up to 2**12 max|x|."""
    top = float(np.abs(case.x.astype(np.float64)).max())
    for exponent in range(12 - case.recipe.option % 8, -2, -1):
        c = case.x.dtype.type(np.ldexp(1.0, int(np.frexp(top or 1.0)[1]) + exponent))
        with np.errstate(all="ignore"):
            shifted: Array = case.x + c
            back = shifted - c
        exact = np.isfinite(shifted).all() and (back == case.x).all()
        if exact and (shifted - case.x == c).all():
            return shifted
    return None


@invariant("mean_too_large")
def output_is_invariant_to_shift(target: Target, case: Case) -> Iterable[Claim]:
    """Adding a number to every value leaves the output as it was.

    The mean moves by the same number, (33); taken where x + c is exact.
    """
    x = case.memo("shifted x", lambda: _exact_shift(case))
    if x is None:
        return
    other = with_x(case, "shift", x)
    one, two = expected.output(case), expected.output(other)
    want = rows(case, trained(target, case).y)
    yield Claim("y of x + c", rows(case, trained(target, other).y), want, one.radius + two.radius)


def scaled(case: Case) -> tuple[float, Case]:
    """Return a power of two a, of either sign, and the case of a * x and a**2 * eps."""
    choices = (2.0, -2.0, 0.5, -1.0, 4.0, -0.25)
    a = choices[case.recipe.seed % len(choices)]
    with np.errstate(all="ignore"):
        x = case.x * case.x.dtype.type(a)
    return a, with_x(case, "scaled", x, eps=case.eps * a * a)


def exact_scale(case: Case, a: float, other: Case) -> bool:
    """Return whether a * x lost no bit to the subnormals or to overflow."""
    with np.errstate(all="ignore"):
        return bool((other.x.astype(np.float64) == case.x.astype(np.float64) * a).all())


@invariant("eps_is_constant", "eps")
def output_follows_scale(target: Target, case: Case) -> Iterable[Claim]:
    """Scaling x by a and eps by a squared leaves xhat as it was, but for the sign of a.

    Both parts of var + eps scale by a squared, (33); for a < 0 y is mirrored about beta.
    """
    a, other = scaled(case)
    if not exact_scale(case, a, other):
        return
    one, two = expected.output(case), expected.output(other)
    y, got = rows(case, trained(target, case).y), rows(case, trained(target, other).y)
    beta = expected.training(case).beta
    want = y if a > 0 else 2 * beta - y
    radius = one.radius + two.radius + 2.0**-52 * (2 * np.abs(beta) + np.abs(y))
    yield Claim("y of a * x", got, want, radius)


@invariant("beta_scaled_by_gamma")
def output_is_affine_in_gamma_and_beta(target: Target, case: Case) -> Iterable[Claim]:
    """The output is gamma times the normalized output plus beta.

    By definition, (6).
    """
    p, one, xhat = expected.training(case), expected.output(case), expected.normalized(case)
    base = rows(case, trained(target, plain(case)).y)
    want = p.gamma * base + p.beta
    radius = one.radius + np.abs(p.gamma) * xhat.radius
    radius = radius + 2.0**-51 * (np.abs(p.gamma * base) + np.abs(p.beta))
    yield Claim("y", rows(case, trained(target, case).y), want, radius)


@invariant("first_row_left_out_of_mean")
def output_follows_order_of_batch(target: Target, case: Case) -> Iterable[Claim]:
    """Reordering the values of a channel reorders the output alike.

    Mean and variance are symmetric in their values: samples and pixels alike.
    """
    x = case.conventions.rows(case.x)
    order = case.random(1).permutation(x.shape[0])
    other = with_x(case, "order", case.conventions.shaped(x[order], case.x.shape))
    one, two = expected.output(case), expected.output(other)
    want = rows(case, trained(target, case).y)[order]
    radius = one.radius[order] + two.radius
    yield Claim("y of the reordered batch", rows(case, trained(target, other).y), want, radius)


@invariant("variance_divides_by_n_minus_1")
def output_is_invariant_to_repetition(target: Target, case: Case) -> Iterable[Claim]:
    """A batch that is given twice in one call has the output of the batch, twice.

    Mean and biased variance of the doubled batch are those of the batch.
    """
    twice = np.concatenate([case.x, case.x])
    other = with_x(case, "repeat", twice, dy=np.concatenate([case.dy, case.dy]))
    one, two = expected.output(case), expected.output(other)
    want = rows(case, trained(target, case).y)
    radius = np.concatenate([one.radius, one.radius]) + two.radius
    got = rows(case, trained(target, other).y)
    yield Claim("y of the doubled batch", got, np.concatenate([want, want]), radius)


def _calmed(case: Case) -> Case:
    """Return the case with its last channel replaced by finite numbers."""

    def make() -> Case:
        x = case.x.copy()
        x[:, -1] = case.like_x(2)[:, -1]
        return replace(case, x=x)

    return case.memo("calmed", make)


@invariant("mean_over_all_channels", inputs="not_finite")
def channels_are_independent(target: Target, case: Case) -> Iterable[Claim]:
    """A channel's results do not change by a bit with what another channel holds, NaN included.

    No sum runs across channels.
    """
    one, two = trained(target, case), trained(target, _calmed(case))
    yield same_bits("y of the other channels", one.y[:, :-1], two.y[:, :-1])
    if one.running_mean is not None and two.running_mean is not None:
        assert one.running_var is not None and two.running_var is not None
        kept = slice(0, case.conventions.columns((1, case.x.shape[1] - 1, *case.x.shape[2:])))
        yield same_bits("running_mean of them", one.running_mean[kept], two.running_mean[kept])
        yield same_bits("running_var of them", one.running_var[kept], two.running_var[kept])


@invariant("nan_becomes_zero", inputs="not_finite")
def nan_stays_visible_in_its_channel(target: Target, case: Case) -> Iterable[Claim]:
    """A channel that holds a NaN has no finite output where its statistics are shared.

    The mean of numbers among which one is NaN is NaN.
    """
    x = rows(case, case.x)
    poisoned = np.isnan(x).any(axis=0)
    y = rows(case, trained(target, case).y)[:, poisoned]
    yield same_bits("whether y is NaN", np.isnan(y) * 1.0, np.ones_like(y))


@invariant("returns_another_dtype")
def results_have_the_given_dtypes(target: Target, case: Case) -> Iterable[Claim]:
    """The output has the dtype of x, the running statistics keep theirs.

    The contract's table of dtypes; shapes are held at every call.
    """
    t = trained(target, case)
    yield is_true(f"y has dtype {t.y.dtype}, x has {case.x.dtype}", t.y.dtype == case.x.dtype)
    for name in ("running_mean", "running_var"):
        new, old = getattr(t, name), getattr(case, name)
        if old is not None:
            yield is_true(
                f"{name} comes back as {new.dtype}, it was {old.dtype}", new.dtype == old.dtype
            )


@invariant("counts_its_calls")
def same_call_gives_the_same_bits(target: Target, case: Case) -> Iterable[Claim]:
    """The same call on the same buffers gives the same bits.

    Nothing is kept between calls but what is handed back.
    """
    fixed = case.memo("buffers", lambda: replace(case, x=case.x.copy()))
    one, two = trained(target, fixed, True), trained(target, fixed, True)
    yield same_bits("y of the second call", two.y, one.y)
    if one.running_mean is not None and two.running_mean is not None:
        assert one.running_var is not None and two.running_var is not None
        yield same_bits("running_mean of the second call", two.running_mean, one.running_mean)
        yield same_bits("running_var of the second call", two.running_var, one.running_var)


@invariant("normalizes_with_running_statistics", inputs="tracked")
def training_output_ignores_running_statistics(target: Target, case: Case) -> Iterable[Claim]:
    """The training output is free of the running statistics and of momentum.

    Only the batch enters (1) to (6).
    """
    assert case.running_mean is not None and case.running_var is not None
    momentum = 1.0 - case.momentum if case.momentum != 0.5 else 0.25
    mean, var = case.running_mean + 3, case.running_var * 4
    other = case.memo(
        "other state",
        lambda: replace(case, running_mean=mean, running_var=var, momentum=momentum),
    )
    yield same_bits("y", trained(target, other).y, trained(target, case).y)


@invariant("missing_gamma_is_zero", "no affine")
def missing_affine_is_one_and_zero(target: Target, case: Case) -> Iterable[Claim]:
    """Without gamma and beta the output is the normalized output.

    gamma = 1 and beta = 0 in (6): the target's own, where it takes them.
    """
    bare = case.memo("bare", lambda: replace(case, gamma=None, beta=None))
    wanted = expected.normalized(case)
    if "only no affine" not in target.offers:
        one, zero = case.memo("one and zero", lambda: _filled(case, 1.0, 0.0))
        given = case.memo("given", lambda: replace(case, gamma=one, beta=zero))
        wanted = own(case, trained(target, given).y, wanted)
    yield agrees("y", case, trained(target, bare).y, wanted)


def _filled(case: Case, *values: float) -> tuple[Array, ...]:
    """Return an array per statistic for each of these numbers."""
    columns = case.conventions.columns(case.x.shape)
    return tuple(np.full(columns, v, state_dtype(case.recipe.dtype)) for v in values)


@invariant("untracked_output_is_not_centered", "no running statistics")
def tracking_does_not_change_the_output(target: Target, case: Case) -> Iterable[Claim]:
    """Without running statistics the training output is the same.

    They do not enter (1) to (6): the target's own with them, where they are there.
    """
    bare = case.memo("untracked", lambda: replace(case, running_mean=None, running_var=None))
    mean, var = case.memo("zero and one", lambda: _filled(case, 0.0, 1.0))
    given = case.memo("tracked", lambda: replace(case, running_mean=mean, running_var=var))
    wanted = own(case, trained(target, given).y, expected.output(case))
    yield agrees("y", case, trained(target, bare).y, wanted)


@invariant("rows_beyond_1024_left_out", inputs="large", weight=0.1)
def large_batches_lose_no_row(target: Target, case: Case) -> Iterable[Claim]:
    """Every row of a large batch is counted and normalized.

    On integers whose sums are exact in any order, so that only a wrong index can show.
    """
    yield agrees("y", case, trained(target, case).y, expected.output(case))

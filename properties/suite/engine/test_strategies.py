"""What the strategies reach and what they shrink to, and the memory layouts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings

from properties.engine import strategies
from properties.engine.strategies import EPSILONS, INPUTS, MOMENTA, Inputs, cases, coarse, recipes
from properties.model.cases import FINITE, GAMMAS, GRADIENTS, REGIMES, Case, Recipe, build
from properties.model.contract import Conventions
from properties.model.layouts import LAYOUTS, arrange

DTYPES = ("float32", "float64", "float16")
CONVENTIONS = Conventions(dtypes=DTYPES)
OFFERS = frozenset(DTYPES) | {f"rank {k}" for k in (2, 3, 4, 5)}
OFFERS |= {"no affine", "no running statistics"}


def drawn(strategy: Any, count: int = 300) -> list[Any]:
    """Return what a strategy draws with a fixed seed."""
    found: list[Any] = []

    @seed(1)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


@cache
def sample(kind: str) -> tuple[Case, ...]:
    """Return cases of a kind of inputs."""
    return tuple(drawn(cases(kind, CONVENTIONS, OFFERS)))


@cache
def regime(name: str, dtype: str = "float32") -> tuple[Case, ...]:
    """Return cases of one regime in one dtype."""
    inputs = replace(INPUTS["batch"], regimes=(name,), channels=(1, 3), wide=False)
    conventions = replace(CONVENTIONS, dtypes=(dtype,))
    found = drawn(recipes(inputs, conventions, OFFERS), 200)
    return tuple(build(recipe, conventions) for recipe in found)


def rows(case: Case) -> Any:
    """Return x in float64 rows (n, c)."""
    return case.conventions.rows(case.x).astype(np.float64)


def statistics(case: Case) -> tuple[Any, Any]:
    """Return mean and variance per channel of the numbers as they are."""
    x = rows(case)
    with np.errstate(all="ignore"):
        return x.mean(axis=0), x.var(axis=0)


def unit_roundoff(dtype: str) -> float:
    return float(np.finfo(dtype).eps) / 2


def ratios(name: str, dtype: str = "float32") -> Any:
    """Return |mean| / sd of every channel that is not constant."""
    found = []
    for case in regime(name, dtype):
        mean, var = statistics(case)
        found.extend(np.abs(mean[var > 0]) / np.sqrt(var[var > 0]))
    return np.array(found)


def variance_over_eps(name: str) -> Any:
    return np.concatenate([statistics(case)[1] / case.eps for case in regime(name)])


# --- what the regimes reach ----------------------------------------------------------------------


def test_small_integers_are_small_integers() -> None:
    """x holds whole numbers from -16 to 16 alone, and both signs and zero among them."""
    x = np.concatenate([case.x.ravel() for case in regime("small_integers")])
    assert (x == np.rint(x)).all()
    assert {-16, -1, 0, 1, 16} <= set(x.tolist())
    assert np.abs(x).max() == 16


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_statistics_are_exact(dtype: str) -> None:
    """Mean and biased variance, in rational arithmetic, are numbers of the dtype, for every n."""
    seen = set()
    for case in regime("exact_statistics", dtype):
        for column in rows(case).T:
            x = [Fraction(float(v)) for v in column]
            mean = sum(x) / len(x)
            var = sum((v - mean) ** 2 for v in x) / len(x)
            for value in (mean, var):
                rounded = np.dtype(dtype).type(float(value))
                assert Fraction(float(rounded)) == value, f"n={len(x)}: {value} is no {dtype}"
            assert var > 0, f"n={len(x)}: the channel is constant"
            seen.add(len(x) % 4)
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.slow(but_one_in=2)
def test_the_offsets_cover_mean_over_sd_up_to_1_over_u(dtype: str) -> None:
    """Near 0 at unit scale, then up to u**(-1/4), then beyond 1 / (4 u): the bits run out."""
    u = unit_roundoff(dtype)
    assert ratios("unit_scale", dtype).min() < 0.25
    near, far = ratios("offset", dtype), ratios("far_offset", dtype)
    assert near.min() < 4
    assert u**-0.25 / 2 < near.max() < 64 * u**-0.25, "the largest mean/sd of the regime `offset`"
    assert far.max() >= 1 / (4 * u), f"mean/sd reaches {far.max():.3g}, 1/u is {1 / u:.3g}"
    assert REGIMES["far_offset"].ill_conditioned
    assert not REGIMES["offset"].ill_conditioned


def test_offset_fills_every_octave() -> None:
    """No octave of mean/sd from 1 to 1 / (8 u) is left out as the level rises."""
    found = set()
    for name in ("offset", "far_offset"):
        for level in range(0, 1025, 16):
            mean, var = statistics(of(PLAIN, regime=name, level=level, n=40, channels=4))
            found |= set(np.log2(np.abs(mean) / np.sqrt(var)).astype(int).tolist())
    assert found >= set(range(1, 22)), sorted(set(range(1, 22)) - found)


def test_variance_below_eps() -> None:
    """var is at most eps / 4 and comes down to a 2**19th of it."""
    ratio = variance_over_eps("variance_below_eps")
    assert ratio.max() <= 0.25
    assert ratio[ratio > 0].min() < 2.0**-19


def test_variance_near_eps() -> None:
    """var lies about eps, on either side of it, and never above 16 eps."""
    ratio = variance_over_eps("variance_near_eps")
    assert ratio.max() <= 16
    assert 0.25 < np.median(ratio) < 4
    assert (ratio < 1).any()
    assert (ratio > 1).any()


def test_variance_above_eps() -> None:
    """var is some times eps and goes up to 2**19 times it."""
    ratio = variance_over_eps("variance_above_eps")
    assert np.median(ratio) > 16
    assert ratio.max() > 2.0**19
    assert np.quantile(ratio[ratio > 0], 0.05) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_magnitude_reaches_both_ends_of_the_format(dtype: str) -> None:
    """|x| comes within a factor 8 of overflow, its squares overflow, and subnormals appear."""
    info = np.finfo(dtype)
    x = np.abs(
        np.concatenate([case.x.ravel().astype(np.float64) for case in regime("magnitude", dtype)])
    )
    assert np.isfinite(x).all(), "an infinity belongs to the regime not_finite"
    assert x.max() >= float(info.max) / 8
    assert x.max() > math.sqrt(float(info.max))
    assert ((x > 0) & (x < float(info.tiny))).any(), "no subnormal number"
    assert REGIMES["magnitude"].ill_conditioned


@pytest.mark.parametrize("name", ["constant_channel", "far_constant_channel"])
def test_constant_channels_are_constant(name: str) -> None:
    """The first channel is constant in every case, zero in some and not in others; others vary."""
    first = [rows(case)[:, 0] for case in regime(name)]
    assert all((column == column[0]).all() for column in first)
    assert {bool(column[0]) for column in first} == {False, True}
    assert any(statistics(case)[1].max() > 0 for case in regime(name))


def test_an_outlier_is_one_value_far_from_the_rest() -> None:
    """One value per channel is at least twice, in some cases 200 times, as large as the rest."""
    farthest = 0.0
    for case in regime("outlier"):
        for column in np.abs(rows(case)).T:
            *_, second, largest = np.sort(column)
            assert largest >= 2 * second, column
            farthest = max(farthest, largest / max(second, 1))
    assert farthest > 200


@pytest.mark.parametrize(
    ("dtype", "reach"), [("float32", 1e12), ("float64", 1e12), ("float16", 1e4)]
)
def test_mixed_scales_differ_by_1e12(dtype: str, reach: float) -> None:
    """The largest values of two channels of one batch differ by 1e12 (1e4 in float16)."""
    widest = 0.0
    for case in regime("mixed_scales", dtype):
        top = np.abs(rows(case)).max(axis=0)
        if (top > 0).all():
            widest = max(widest, top.max() / top.min())
    assert widest >= reach * 0.99, f"{widest:.3g}"


def test_what_is_not_finite_stands_in_one_channel() -> None:
    """NaN, inf and -inf each occur, one value in the last channel, and nothing else is touched."""
    seen = set()
    for case in sample("not_finite"):
        bad = ~np.isfinite(case.x)
        assert bad.sum() == 1, "more than one value"
        assert not bad[:, :-1].any(), "another channel is touched"
        seen.add(str(case.x[bad][0]))
    assert seen == {"nan", "inf", "-inf"}


def test_large_batches_are_balanced_integers() -> None:
    """Large batches reach beyond 2**16 values per channel; their sums are exact in any order."""
    largest = 0
    for recipe in drawn(recipes(INPUTS["large"], CONVENTIONS, OFFERS), 30):
        case = build(recipe, CONVENTIONS)
        x = rows(case)
        largest = max(largest, len(x))
        assert (x == np.rint(x)).all()
        assert np.abs(x.sum(axis=0)).max() < 2**24, "a float32 sum is not exact"
    assert largest > 2**16


@pytest.mark.parametrize("name", [*FINITE, "balanced"])
@pytest.mark.slow(but_one_in=2)
def test_finite_regimes_are_finite(name: str) -> None:
    """Only the regime of that name holds what is not finite; gradients and parameters never do."""
    for case in regime(name):
        for field in ("x", "dy", "gamma", "beta", "running_mean", "running_var"):
            a = getattr(case, field)
            assert a is None or np.isfinite(a).all(), f"{field} of {case.recipe}"


# --- what the fields reach -----------------------------------------------------------------------


def test_every_choice_is_drawn() -> None:
    """Each regime, dtype, rank, gamma, dy, eps, momentum, size and capability occurs."""
    found = [case.recipe for case in sample("batch")]
    assert {r.regime for r in found} == set(FINITE)
    assert {r.dtype for r in found} == set(DTYPES)
    assert {len(r.spatial) + 2 for r in found} == {2, 3, 4, 5}
    small = [r for r in found if r.channels <= 4 and max(r.spatial, default=1) <= 3 and r.n <= 40]
    assert len(small) > len(found) / 3, "the small ones are no large part"
    assert {k for r in found for k in r.spatial} >= {1, 2, 3, 17}
    assert {r.gamma for r in found} == set(GAMMAS)
    assert {r.dy for r in found} == set(GRADIENTS)
    assert {r.eps for r in found} == set(EPSILONS)
    assert {min(EPSILONS), max(EPSILONS)} == {1e-12, 1.0}
    assert {r.momentum for r in found} == set(MOMENTA)
    assert {0.0, 1.0} <= set(MOMENTA), "momentum has both ends"
    assert min(r.n for r in found) == 2 and 64 < max(r.n for r in found) <= 257
    assert {r.n % 2 for r in found} == {0, 1}
    assert {1, 2, 3, 4} <= {r.channels for r in found} <= {1, 2, 3, 4, *strategies.WIDE}
    wide = [case for case in sample("batch") if case.recipe.channels > 4]
    assert max(case.x.size for case in wide) <= strategies.ELEMENTS
    assert {r.affine for r in found} == {r.tracked for r in found} == {False, True}


@pytest.mark.parametrize(("kind", "sizes"), [("one_value", {1}), ("empty", {0})])
def test_edges_of_the_batch_are_reached(kind: str, sizes: set[int]) -> None:
    """One value per channel is one in every rank; an empty batch has no row in any."""
    found = sample(kind)
    assert {case.conventions.rows(case.x).shape[0] for case in found} == sizes
    assert {case.x.ndim for case in found} == {2, 3, 4, 5}


def test_eps_of_the_target_is_taken() -> None:
    """A target with a fixed eps is drawn for with that eps alone."""
    fixed = replace(CONVENTIONS, eps=1e-3)
    assert {case.eps for case in drawn(cases("batch", fixed, OFFERS), 50)} == {1e-3}


def test_what_is_not_offered_is_not_drawn() -> None:
    """Ranks, dtypes and missing parameters come only where the target takes them."""
    offers = frozenset({"float64", "rank 4"})
    found = drawn(recipes(INPUTS["batch"], CONVENTIONS, offers), 50)
    assert {(r.dtype, len(r.spatial), r.affine, r.tracked) for r in found} == {
        ("float64", 2, True, True)
    }
    with pytest.raises(
        ValueError, match=r"dtypes=\[\], ranks=\[4\]: expected a target that takes at"
    ):
        recipes(INPUTS["batch"], CONVENTIONS, frozenset({"rank 4"}))


def test_missing_parameters_can_be_the_rule() -> None:
    """Where only the calls without gamma and beta are asked for, every case lacks them."""
    found = drawn(recipes(INPUTS["batch"], CONVENTIONS, OFFERS | {"only no affine"}), 50)
    assert {recipe.affine for recipe in found} == {False}


def of(recipe: Recipe, **changes: Any) -> Case:
    return build(replace(recipe, **changes), CONVENTIONS)


PLAIN = Recipe(n=8, channels=3, bits=6, seed=5, regime="unit_scale")


def test_gamma_of_each_kind() -> None:
    """One, zero, negative, huge, both signs, and None with beta None."""
    kinds = {name: of(PLAIN, gamma=name, channels=4, seed=3).gamma for name in GAMMAS}
    mixed = of(PLAIN, gamma="one", channels=40).gamma
    assert {*np.sign(mixed)} == {-1.0, 0.0, 1.0} and mixed.max() > 2.0**19
    assert (kinds["one"] == 1).all()
    assert (kinds["zero"] == 0).all()
    assert (kinds["negative"] < 0).all()
    assert kinds["huge"].min() >= 2.0**19
    assert {-1.0, 1.0} == set(np.sign(kinds["ordinary"]))
    bare = of(PLAIN, affine=False)
    assert bare.gamma is None
    assert bare.beta is None
    assert of(PLAIN, tracked=False).running_mean is None
    assert of(PLAIN, tracked=False).running_var is None


def test_dy_of_each_kind() -> None:
    """Off the span of 1 and xhat, along xhat, along 1, one-hot: each is what its name says."""
    dy = {
        name: rows(replace(case, x=case.dy)) for name in GRADIENTS for case in [of(PLAIN, dy=name)]
    }
    x = rows(of(PLAIN))
    basis = [np.stack([np.ones(8), column - column.mean()], axis=1) for column in x.T]

    def outside(g: Any) -> Any:
        """Return what is left of each column beside 1 and xhat."""
        fits = [
            b @ np.linalg.lstsq(b, column, rcond=None)[0]
            for b, column in zip(basis, g.T, strict=True)
        ]
        return np.abs(np.stack(fits, axis=1) - g).max(axis=0)

    assert (dy["constant"] == dy["constant"][:1]).all()
    assert (dy["constant"] != 0).all()
    assert (dy["one_hot"] != 0).sum() == 1
    assert (outside(dy["generic"]) > 1).all()
    assert (outside(dy["ones_and_generic"]) > 1).all()
    assert (dy["ones_and_generic"] >= 0).all(), "the part along 1 outweighs the rest"
    along = outside(dy["along_xhat"]) / np.abs(dy["along_xhat"]).max(axis=0)
    assert (along < np.finfo("float32").eps * 8).all(), "8 values, each rounded to float32"
    assert (np.abs(dy["along_xhat"]).max(axis=0) > 1).all()


def test_a_recipe_always_gives_the_same_case() -> None:
    """The seed fixes every number; another seed, and another stream, give others."""
    one, two, other = of(PLAIN), of(PLAIN), of(PLAIN, seed=6)
    assert (one.x == two.x).all()
    assert (one.dy == two.dy).all()
    assert (one.x != other.x).any()
    assert (one.another(1).x != one.x).any()
    assert one.another(1) is one.another(1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_shapes_and_dtypes_are_the_contract_s(dtype: str, rank: int) -> None:
    """x and dy have the dtype drawn and C order; the rest too, or float32 beside float16."""
    case = of(PLAIN, dtype=dtype, spatial=(2, 3, 1)[: rank - 2])
    state = np.dtype("float32" if dtype == "float16" else dtype)
    for a in (case.x, case.dy):
        assert (a.shape, a.dtype, a.flags.c_contiguous) == (
            (8, 3, *(2, 3, 1)[: rank - 2]),
            dtype,
            True,
        )
    for a in (case.gamma, case.beta, case.running_mean, case.running_var):
        assert a is not None
        assert (a.shape, a.dtype) == ((3,), state)
    assert (case.running_var > 0).all()


def test_per_activation_has_a_statistic_per_activation() -> None:
    """Per activation every parameter is as long as a sample."""
    conventions = replace(CONVENTIONS, statistics="per_activation")
    case = build(replace(PLAIN, spatial=(2, 2)), conventions)
    assert case.gamma is not None
    assert case.gamma.shape == (12,)
    assert conventions.rows(case.x).shape == (8, 12)
    assert (conventions.shaped(conventions.rows(case.x), case.x.shape) == case.x).all()


# --- what they shrink to -------------------------------------------------------------------------


def least(condition: Callable[[Case], bool], kind: str = "batch") -> Recipe:
    """Return what a failure on this condition of a case shrinks to."""
    return least_recipe(lambda recipe: condition(build(recipe, CONVENTIONS)), kind)


def least_recipe(condition: Callable[[Recipe], bool], kind: str = "batch") -> Recipe:
    """Return what a failure on this condition of a recipe shrinks to."""
    options = settings(
        max_examples=1000, database=None, deadline=None, phases=(Phase.generate, Phase.shrink)
    )
    strategy = recipes(INPUTS[kind], CONVENTIONS, OFFERS)
    return find(strategy, condition, settings=options, random=Random(0))


def test_everything_shrinks_to_two_small_integers_in_one_channel() -> None:
    """The least case of all: float32, rank 2, one channel, n = 2, gamma one, eps one."""
    recipe = least(lambda case: True)
    assert recipe == Recipe()
    assert recipe == Recipe(
        "small_integers", 2, 1, (), "float32", 1, 0, 0, "one", "generic", 1.0, 0.5
    )


SHRINKS: dict[str, tuple[Callable[[Recipe], bool], dict[str, Any]]] = {
    "seven samples": (lambda r: r.n >= 7, {"n": 7}),
    "three channels in float64": (
        lambda r: r.channels >= 3 and r.dtype == "float64", {"channels": 3, "dtype": "float64"}),
    "rank 4": (lambda r: len(r.spatial) == 2, {"spatial": (1, 1)}),
    "a pixel": (lambda r: math.prod(r.spatial) > 1, {"spatial": (2,)}),
    "a small eps": (lambda r: r.eps < 2e-5, {"eps": 1e-5}),
    "no gamma": (lambda r: not r.affine, {"affine": False}),
    "a constant dy": (lambda r: r.dy == "constant", {"dy": "constant"}),
    "momentum 1": (lambda r: r.momentum == 1, {"momentum": 1.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHRINKS)
def test_only_what_matters_is_left(name: str) -> None:
    """A failure that needs one thing keeps that thing, and all else is at its simplest."""
    condition, kept = SHRINKS[name]
    assert least_recipe(condition) == Recipe(**kept)


def test_an_offset_is_left_where_the_failure_needs_it() -> None:
    """A mean that is large beside the deviations comes down to the least case that has it."""
    recipe = least(lambda case: bool(np.abs(statistics(case)[0]).ravel()[0] > 1e5))
    assert (recipe.n, recipe.channels, recipe.spatial) == (2, 1, ()), recipe
    assert recipe.regime in ("far_offset", "magnitude")
    assert (recipe.bits, recipe.gamma, recipe.dy, recipe.eps) == (1, "one", "generic", 1.0)


def test_the_numbers_of_a_least_case_are_small_and_round() -> None:
    """A variance is what a failure needs most: two integers of one bit are left."""
    case = build(least(lambda case: bool(statistics(case)[1].max() > 0)), CONVENTIONS)
    assert case.x.shape == (2, 1)
    assert np.abs(case.x).max() <= 2
    assert np.abs(case.dy).max() <= 2
    assert (case.x == np.rint(case.x)).all()


@pytest.mark.parametrize("kind", INPUTS)
def test_every_kind_of_inputs_shrinks_to_its_least(kind: str) -> None:
    """Each kind of inputs has the least n, the fewest channels and its first regime in the end."""
    inputs = INPUTS[kind]
    recipe = least_recipe(lambda recipe: True, kind)
    assert (recipe.n, recipe.channels, recipe.regime) == (
        inputs.n[0],
        inputs.channels[0],
        inputs.regimes[0],
    )
    assert (recipe.dtype, recipe.spatial) == ("float32", ())


def test_a_kind_that_does_not_exist_is_an_error() -> None:
    """An impossible argument raises."""
    with pytest.raises(KeyError, match="everything"):
        cases("everything", CONVENTIONS, OFFERS)
    assert Inputs().regimes == FINITE == strategies.INPUTS["batch"].regimes


# --- memory layouts ------------------------------------------------------------------------------

SHAPES = [(4, 3), (4, 3, 2), (2, 3, 2, 5), (2, 2, 3, 1, 2)]


def is_strided(a: Any) -> bool:
    return bool(a.strides[-1] == 2 * a.itemsize)


NAMED: dict[str, Callable[[Any], bool]] = {
    "in C order": lambda a: a.flags.c_contiguous,
    "in Fortran order": lambda a: a.flags.f_contiguous and not a.flags.c_contiguous,
    "channels last": lambda a: np.moveaxis(a, 1, -1).flags.c_contiguous,
    "strided": is_strided,
    "reversed": lambda a: a.strides[0] < 0,
    "broadcast": lambda a: a.strides[0] == 0,
    "samples innermost": lambda a: a.strides[0] == a.itemsize,
    "channels outermost": lambda a: a.strides[1] == max(a.strides),
    "reversed channels": lambda a: a.strides[1] < 0,
    "gaps between channels": lambda a: (
        a.strides[1] == 2 * math.prod(a.shape[2:]) * a.itemsize and a.strides[0] > a.strides[1]
    ),
    "inside a larger buffer": lambda a: a.base is not None and a.base.size == a.size + 14,
    "odd strides of single places": lambda a: (
        a.flags.c_contiguous and (1 not in a.shape or max(a.strides) > a.nbytes)
    ),
    "misaligned": lambda a: not a.flags.aligned,
    "byte-swapped": lambda a: not a.dtype.isnative,
    "read-only": lambda a: not a.flags.writeable,
}


def test_every_layout_has_a_test() -> None:
    """The table of what a name means and the layouts themselves name the same."""
    assert NAMED.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMED)
def test_a_layout_is_what_it_is_named(name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Strides, alignment, byte order or flags are as named, and the numbers are kept."""
    a = np.arange(math.prod(shape), dtype=dtype).reshape(shape) + 1
    before = a.copy()
    b = arrange(a, name)
    assert NAMED[name](b), f"{name}: strides {b.strides}, {b.dtype!r}, {b.flags}"
    wanted = np.broadcast_to(a[:1], shape) if name == "broadcast" else a
    assert b.shape == shape
    assert b.dtype == np.dtype(dtype) or b.dtype.newbyteorder("=") == np.dtype(dtype)
    assert (b == wanted).all(), "the numbers changed"
    assert (a == before).all(), "the array it was made of changed"
    if b.flags.writeable:
        b[...] = 0
        assert (a == before).all(), "it shares the memory of its source"


@pytest.mark.parametrize("name", NAMED)
def test_no_layout_shares_the_memory_of_its_source(name: str) -> None:
    """Not even of one value, which is in every order at once: a target may write into it."""
    a = np.ones((1, 1))
    b = arrange(a, name)
    assert not np.shares_memory(a, b)


def test_the_planted_plain_array_is_no_other_layout() -> None:
    """The checks of this table can fail: a plain array is none of the others."""
    plain = np.zeros((4, 3, 2), "float32")
    odd = "odd strides of single places"  # it has none
    assert [name for name in NAMED if NAMED[name](plain)] == ["in C order", odd]


def test_all_pairs_of_layouts_can_be_drawn() -> None:
    """The option of a recipe reaches every layout of x beside every layout of dy."""
    count = len(LAYOUTS)
    options = {case.recipe.option for case in sample("layout")}
    assert max(options) > count**2
    pairs = {(k % count, k // count % count) for k in range(1024)}
    assert len(pairs) == count**2


def test_examples_are_not_copies_of_one_another() -> None:
    """Of 300 examples most have a seed, an option and a level of their own."""
    found = [case.recipe for case in sample("batch")]
    for field in ("seed", "option", "level"):
        assert len({getattr(r, field) for r in found}) > len(found) / 2, field


def test_who_compiles_for_each_shape_is_shown_few() -> None:
    """All kinds of batches come in 9 shapes of rank 2 and 5 of each other."""
    sizes = {2: [()], 3: [(1,), (3,), (17,)], 4: [(2, 2), (1, 17)], 5: [(1, 2, 3), (17, 1, 2)]}
    shapes: dict[int, set[Any]] = {}
    for rank, spatials in sizes.items():
        for spatial, n, c in itertools.product(spatials, (0, 2, 3, 40, 65), (1, 2, 4, 5, 512)):
            found = {"spatial": spatial, **coarse(c, n, spatial)}
            assert (found["n"] == 0) == (n == 0)
            assert len(found["spatial"]) == rank - 2
            shapes.setdefault(rank, set()).add((found["n"], found["channels"], found["spatial"]))
    counts = {rank: sum(n > 0 for n, *_ in kinds) for rank, kinds in shapes.items()}
    assert counts == {2: 9, 3: 5, 4: 5, 5: 5}
    assert {c for kinds in shapes.values() for _, c, _ in kinds} == {1, 3, 17}
    assert coarse(4, 1, (1, 1)) == {"channels": 2}
    assert coarse(2, 70000, ()) == {"channels": 2}

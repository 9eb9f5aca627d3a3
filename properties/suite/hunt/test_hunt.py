"""The hunt: what it searches, what it measures against, and that it finds what is planted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from properties.hunt import quantities
from properties.hunt.cells import Cell, cell_as_json, joined, read_cell, seen
from properties.hunt.measure import CONSTANT, Point, decade_of, measure, read_point, unit
from properties.hunt.quantities import QUANTITIES
from properties.hunt.result import verdict
from properties.hunt.search import search
from properties.hunt.shards import Shard, placed, shards, situations
from properties.hunt.show import begins
from properties.hunt.space import shrunk, space_of
from properties.hunt.table import Table
from properties.model.cases import Case, Recipe, build
from properties.model.contract import Conventions, Target
from properties.plants.forms import COMBINED
from properties.plants.textbook import Pieces, implementation
from properties.run.expectations import only_dtypes
from properties.targets.open import loaded

BOTH = Conventions(dtypes=("float32", "float64"))
SAMPLES = [
    Recipe(
        regime=regime, n=n, channels=2, dtype=dtype, bits=12, level=512, seed=n, gamma="ordinary"
    )
    for regime in ("offset", "unit_scale", "variance_near_eps")
    for dtype in ("float32", "float64", "float16")
    for n in (2, 9)
]


def one_pass(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return mean(x * x) - mean * mean, which cancels where the mean is large."""
    n = x.dtype.type(len(x))
    return np.maximum((x * x).sum(axis=0, keepdims=True) / n - mean * mean, 0)


@pytest.fixture(scope="module")
def right() -> Target:
    return loaded("bn")


@pytest.fixture(scope="module")
def wrong() -> Target:
    return implementation(Pieces(variance=one_pass), BOTH, "one pass")


def hunted(target: Target, quantity: str, dtype: str, examples: int, *only: str) -> Table:
    """Return the table of one quantity and dtype, searched here."""
    found = Table()
    for shard in shards(target, [quantity], [dtype]):
        if only and shard.situation not in only:
            continue
        result = search(target, shard, examples, 0)
        for decade, cell in result.cells.items():
            where = (quantity, dtype, decade)
            found.cells[where] = joined(found.cells.get(where, Cell()), cell)
        smallest = found.smallest.get((quantity, dtype), result.smallest)
        if result.smallest is not None and smallest is not None:
            least = min(smallest, result.smallest, key=lambda failing: failing.size)
            found.smallest[quantity, dtype] = least
    return found


# --- what is right -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUANTITIES)
def test_sums_in_pairs_have_the_smaller_radius(name: str) -> None:
    """The pairwise radius is within that of any order; for several rows of sums it is smaller."""
    smaller = 0
    for recipe in SAMPLES:
        found = quantities.certified(build(recipe, BOTH), name)
        assert (found.pairwise <= found.radius).all()
        assert (found.term > 0).all()
        smaller += bool((found.pairwise < found.radius).any())
    assert smaller > 0 or name.startswith("eval"), f"{name} is graded like its verdict"


def test_a_unit_is_the_spacing_of_the_dtype() -> None:
    """One ulp is NumPy's spacing, also among the subnormals."""
    for dtype in ("float16", "float32", "float64"):
        kind = np.dtype(dtype).type
        numbers = np.array([1.0, 1.99, 2.0, 3e-5, 1e-7, 6e4]).astype(dtype)
        np.testing.assert_array_equal(
            unit(numbers.astype(np.float64), dtype), np.spacing(kind(1) * numbers).astype(float)
        )


@pytest.mark.parametrize(
    ("ratio", "decade"),
    [(0.0, -1), (0.99, -1), (1.0, 0), (99.0, 1), (1e8, 8), (1e12, 8), (np.inf, CONSTANT)],
)
def test_each_channel_has_its_decade(ratio: float, decade: object) -> None:
    """Below one, one decade after the other, all beyond 1e8 in the last, constants apart."""
    assert decade_of(ratio) == decade


# --- what is searched ----------------------------------------------------------------------------


def test_every_offered_quantity_is_searched_in_every_dtype(right: Target) -> None:
    """bn has shards of all quantities in all dtypes; each shard has a name and a seed alone."""
    found = shards(right)
    assert {s.quantity for s in found} == set(QUANTITIES)
    assert {s.dtype for s in found} == set(right.conventions.dtypes)
    assert len({s.name for s in found}) == len(found)
    assert len({s.seed(7) for s in found}) == len(found)
    forward = replace(right, offers=right.offers - {"backward_train", "jvp_train"})
    assert not {"dx", "dgamma", "ty"} & {s.quantity for s in shards(forward)}


def test_decades_reach_what_the_dtype_holds() -> None:
    """float64 is searched to 1e8, float32 to 1/u; second order as far as it is certified."""

    def last(name: str, dtype: str) -> int:
        found = situations(QUANTITIES[name], dtype)
        return max(int(s[-1]) for s in found if s.startswith("mean/sd"))

    assert [last("y", d) for d in ("float16", "float32", "float64")] == [3, 7, 8]
    assert [last("ty", d) for d in ("float16", "float32", "float64")] == [1, 2, 4]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_shard_of_a_decade_draws_batches_of_that_decade(dtype: str) -> None:
    """Most channels of a decade's shard have their mean/sd there."""
    for situation in situations(QUANTITIES["y"], dtype):
        if not situation.startswith("mean/sd"):
            continue
        shard, hits = Shard("y", dtype, situation), []
        for level in range(0, 1025, 64):
            recipe = Recipe(n=40, dtype=dtype, bits=20, level=level, seed=level)
            case = build(placed(shard, recipe), BOTH)
            hits += list(np.atleast_1d(np.floor(np.log10(_ratio(case)))))
        assert np.mean(np.array(hits) == int(situation[-1])) > 0.5, f"{situation}: {hits}"


def _ratio(case: Case) -> np.ndarray:
    x = case.x.astype(np.float64)
    return np.abs(x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-300)


def test_a_shard_draws_its_regime_alone(right: Target) -> None:
    """All that a regime's shard draws or changes is of that regime, with gamma and statistics."""
    space, rng = space_of(Shard("dx", "float32", "outlier"), right), np.random.default_rng(0)
    at = space.drawn(rng)
    for _ in range(50):
        at = space.changed(rng, at)
        recipe = space.recipe(at)
        assert (recipe.regime, recipe.affine, recipe.tracked) == ("outlier", True, True)
        assert 2 <= recipe.n <= 40


def test_a_shrunk_case_is_the_simplest_that_fails(right: Target) -> None:
    """Shrinking ends where nothing simpler fails: here at n = 5 and a dy that is one-hot."""
    space = space_of(Shard("dx", "float32", "outlier"), right)

    def fails(at: tuple[int, ...]) -> bool:
        recipe = space.recipe(at)
        return recipe.n >= 5 and recipe.dy == "one_hot"

    rng = np.random.default_rng(1)
    start = next(at for at in iter(lambda: space.drawn(rng), None) if fails(at))
    least = space.recipe(shrunk(space, start, fails))
    simplest = Recipe(regime="outlier", n=5, dy="one_hot")
    assert least == replace(simplest, eps=least.eps, momentum=least.momentum)
    assert (least.eps, least.momentum) == (1.0, 0.5)


# --- how parts are joined ------------------------------------------------------------------------


def point(**changes: object) -> Point:
    """Return a point that lies within its radius, but for what is given."""
    numbers = {"ulp": 2.0, "relative": 1e-7, "radius_ulp": 4.0, "pairwise_ulp": 3.0}
    plain = Point(3, 1500.0, **numbers, multiple=0.5, pairwise_multiple=0.7, recipe=Recipe())
    return replace(plain, **changes)


def test_cells_keep_the_worst_of_all_parts() -> None:
    """Joined in any order, cells count all examples and keep the largest of each measure."""
    parts = [
        seen([point(ulp=9.0)])[3],
        seen([point(multiple=3.0)])[3],
        seen([point(radius_ulp=np.inf, ulp=70.0, recipe=Recipe(regime="offset"))])[3],
        seen([point(), point(pairwise_multiple=1.5)])[3],
    ]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        cell = Cell()
        for k in order:
            cell = joined(cell, parts[k])
        assert (cell.examples, cell.decided, cell.failing) == (4, 3, 1)
        assert cell.largest is not None and cell.largest.ulp == 9.0
        assert cell.closest is not None and cell.closest.multiple == 3.0
        assert cell.beyond is not None and cell.beyond.ulp == 70.0
        assert (cell.pairwise_multiple, cell.verdict, cell.accuracy) == (1.5, "fail", "C")


def test_classes_are_by_radius() -> None:
    """A within the pairwise radius, B within that of any order, none without a finite radius."""
    assert seen([point()])[3].accuracy == "A"
    assert seen([point(pairwise_multiple=1.1)])[3].accuracy == "B"
    undecided = seen([point(radius_ulp=np.inf)])[3]
    assert (undecided.accuracy, undecided.verdict) == (None, "undecided")


def test_cells_survive_the_disk() -> None:
    """A cell read back from JSON is the cell that was written, infinities included."""
    recipe = Recipe(spatial=(2, 3), level=7)
    cell = seen([point(ulp=np.inf, multiple=np.inf, recipe=recipe)])[3]
    assert read_cell(json.loads(json.dumps(cell_as_json(cell), allow_nan=False))) == cell
    assert read_point(point(recipe=recipe).as_json()) == point(recipe=recipe)


# --- what it finds -------------------------------------------------------------------------------

SWEEP = tuple(f"mean/sd 1e{k}" for k in range(5))


def test_a_one_pass_variance_is_found_with_its_decade(wrong: Target) -> None:
    """A planted one-pass variance fails from mean/sd 1e1 or 1e2 on, with a case of few numbers."""
    found = hunted(wrong, "running_var", "float32", 30, *SWEEP, "unit_scale")
    assert verdict(found) == "fail"
    assert begins(found, "running_var", "float32") in (
        "from mean/sd 1e1 on",
        "from mean/sd 1e2 on",
    )
    cells = found.of("running_var", "float32")
    assert cells[-1].verdict == cells[0].verdict == "pass"
    assert cells[2].verdict == cells[3].verdict == "fail"
    worst = [cells[k].closest for k in (0, 2, 3)]
    assert all(p is not None for p in worst)
    assert worst[0].multiple < 1 < worst[1].multiple < worst[2].multiple
    smallest = found.smallest["running_var", "float32"]
    assert smallest.size[0] <= 4, f"{smallest} is not small"
    points, _ = measure(
        wrong, QUANTITIES["running_var"], build(smallest.point.recipe, wrong.conventions)
    )
    assert max(p.multiple for p in points) == smallest.point.multiple > 1


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.slow(but_one_in=5)
def test_a_right_target_gives_no_failing_case(right: Target, name: str) -> None:
    """bn stays within its radius in every quantity, and its evidence is not empty."""
    found = hunted(right, name, "float32", 5)
    assert not found.smallest
    assert verdict(found) == "pass"
    decided = [decade for decade, cell in found.of(name, "float32").items() if cell.decided]
    assert {-1, 0, 1}.issubset(decided)


@pytest.mark.parametrize("form", COMBINED)
def test_other_right_forms_give_none_either(form: str) -> None:
    """Welford, chunks and the rest stay within their radii where the mean is large."""
    target = implementation(COMBINED[form], BOTH, form)
    for name in ("y", "running_var", "dx"):
        found = hunted(target, name, "float32", 10, "mean/sd 1e1", "mean/sd 1e2", "mean/sd 1e3")
        assert not found.smallest, f"{form}: {found.smallest}"


@pytest.mark.parametrize(
    ("name", "dtype"), [("y", "float16"), ("dx", "float16"), ("eval_dx", "float16")]
)
@pytest.mark.slow(but_one_in=3)
def test_a_radius_two_thirds_as_wide_is_too_small(
    right: Target, name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search comes close to the radius: divided by 1.5 it accuses bn, as it is it does not."""
    places = ("small_integers", "magnitude")
    assert not hunted(right, name, dtype, 40, *places).smallest

    def narrow(case: Case, name: str) -> quantities.Certified:
        wanted = quantities.certified(case, name)
        return wanted._replace(radius=wanted.radius / 1.5)

    monkeypatch.setattr("properties.hunt.measure.certified", narrow)
    assert hunted(right, name, dtype, 40, *places).smallest


@pytest.mark.slow
def test_the_search_finds_larger_errors_than_drawing_alone() -> None:
    """Changing the worst and climbing beat as many cases drawn evenly, on the whole."""
    target = implementation(COMBINED["two passes in order, y direct, dx by means"], BOTH, "right")
    places = [("dx", "unit_scale"), ("dgamma", "outlier"), ("y", "mean/sd 1e1")]
    gained = []
    for name, situation in [*places, ("running_var", "mean/sd 1e2"), ("dx", "small_integers")]:
        shard = Shard(name, "float32", situation)
        for k in range(3):
            cells = search(target, shard, 60, k).cells.values()
            closest = max(c.closest.multiple for c in cells if c.closest)
            largest = max(c.largest.ulp for c in cells if c.largest)
            even = search_evenly(target, shard, 60, k)
            gained += [np.log(closest / even[0]), np.log(largest / even[1])]
    assert np.mean(gained) > 0, gained


def search_evenly(target: Target, shard: Shard, examples: int, k: int) -> tuple[float, float]:
    """Return the largest multiple of the radius and error in ulp among cases drawn evenly."""
    rng, space = np.random.default_rng(k), space_of(shard, only_dtypes(target, [shard.dtype]))
    cases = [build(space.recipe(space.drawn(rng)), BOTH) for _ in range(examples)]
    found = [p for case in cases for p in measure(target, QUANTITIES[shard.quantity], case)[0]]
    return max(p.multiple for p in found), max(p.ulp for p in found if p.decided)


def test_a_target_that_raises_is_a_finding(right: Target) -> None:
    """What raises on some inputs fails the quantity, with what it said."""

    def touchy(x: np.ndarray, *args: object, **options: object) -> object:
        if x.shape[0] > 6:
            raise ValueError("more than six")
        return right.functions["forward_train"](x, *args, **options)

    functions = {**right.functions, "forward_train": touchy}
    found = hunted(replace(right, functions=functions), "y", "float32", 20, "unit_scale")
    failing = found.smallest["y", "float32"]
    assert "more than six" in failing.message
    assert failing.point.recipe.n * int(np.prod(failing.point.recipe.spatial)) >= 7
    assert failing.point.recipe.n == 7, "it was not made small"


def test_the_same_seed_finds_the_same(wrong: Target) -> None:
    """A shard's result follows from its seed; another seed searches elsewhere."""
    shard = Shard("y", "float32", "mean/sd 1e2")
    one, two, other = (search(wrong, shard, 25, k) for k in (3, 3, 4))
    assert one == two
    assert one.cells != other.cells


def test_every_quantity_says_what_it_contradicts() -> None:
    """Each quantity has a sentence of its own, and needs that the contract has."""
    from properties.model.contract import FUNCTIONS

    sentences = [q.sentence for q in quantities.QUANTITIES.values()]
    assert len(set(sentences)) == len(sentences)
    assert all(set(q.needs) <= set(FUNCTIONS) for q in quantities.QUANTITIES.values())

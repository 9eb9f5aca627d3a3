"""How bn goes through memory: the cuts, the sums and the combinations, exact on small integers."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest

from bn import blocks
from bn.blocks import FLOAT32, FLOAT64, Columns, Term

Array = Any
SHIPPED = {name: getattr(blocks, name) for name in ("BLOCK", "ROW", "SMALL")}
SHAPES = [*itertools.product((1, 2, 3, 9, 40), (1, 2, 7), (1, 2, 5, 100))]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into blocks of 64 elements, and fold rows of fewer than 16 in batches of more than 8."""
    for name, value in (("BLOCK", 64), ("ROW", 16), ("SMALL", 8)):
        monkeypatch.setattr(blocks, name, value)


def integers(*shape: int, seed: int = 0) -> Array:
    """Return small integers, of which float16 sums thousands exactly."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(float)


@pytest.mark.parametrize("n", sorted({n for n, _, _ in SHAPES}))
def test_columns_cut_each_place_once(n: int) -> None:
    """Columns cover every place of every channel once, and say how many they hold."""
    for c, s in {(10, 5), *(shape[1:] for shape in SHAPES)}:
        seen = np.zeros((c, s), int)
        for part in blocks.columns((n, c, s)):
            seen[part.channels, part.places] += 1
            size = seen[part.channels, part.places].shape
            assert part.size == size, f"{n, c, s}: {part} holds {size}"
        assert (seen == 1).all(), f"{n, c, s}: {seen}"


@pytest.mark.parametrize("n", sorted({n for n, _, _ in SHAPES}))
def test_blocks_fit_their_memory(n: int) -> None:
    """A block is at least half full, and has four rows where there are, so that pairs can be."""
    for c, s in {shape[1:] for shape in SHAPES}:
        for part in blocks.columns((n, c, s)):
            width = part.size[0] * part.size[1]
            assert width * part.rows <= 64, f"{n, c, s}: {part} is too large"
            assert part.rows >= min(n, 4), f"{n, c, s}: {part} has too few rows"
            assert width * part.rows > 32, f"{n, c, s}: {part} is too small"


@pytest.mark.parametrize("n", sorted({n for n, _, _ in SHAPES}))
def test_there_are_no_more_columns_than_needed(n: int) -> None:
    """Every two columns of a batch hold more than what fits a block in four rows, or in all."""
    for c, s in {shape[1:] for shape in SHAPES}:
        count, fits = len(list(blocks.columns((n, c, s)))), 64 / min(n, 4)
        assert count <= 1 + 2 * c * s / fits, f"{n, c, s}: {count} columns"
        assert (count == 1) == (c * s <= fits), f"{n, c, s}: {count} columns, {fits} places fit"


def test_only_short_whole_rows_are_folded() -> None:
    """Rows that hold all channels, and are short, are taken as one up to ROW elements."""
    for n, c, s in SHAPES:
        for part in blocks.columns((n, c, s)):
            width = part.size[0] * part.size[1]
            whole = width == c * s and n * width > 8
            wanted = max(1, 16 // width) if whole else 1
            assert part.fold == wanted, f"{n, c, s}: {part}, wanted fold={wanted}"
            assert part.rows % part.fold == 0, f"{n, c, s}: {part} has a broken fold"


def test_rows_of_hundreds_are_folded_as_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 300 values are taken 27 at once, which is what fits 8192."""
    for name, value in SHIPPED.items():
        monkeypatch.setattr(blocks, name, value)
    (part,) = blocks.columns((100, 300, 1))
    assert part.fold == 8192 // 300, f"{part}"


def test_row_slices_cut_each_row_once() -> None:
    """Slices of rows follow each other without a gap, and all but the last are full."""
    for n, step in itertools.product(range(10), range(1, 5)):
        rows = list(range(n))
        cut = [rows[part] for part in blocks.row_slices(n, step)]
        assert [row for piece in cut for row in piece] == rows, (
            f"{n} rows in steps of {step}: {cut}"
        )
        assert all(len(piece) == step for piece in cut[:-1]), f"{cut}"


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_a_vector_reaches_every_row_of_a_block(dtype: Any) -> None:
    """apply with a spread vector is the ufunc with a value per channel, for any part of a fold."""
    for (c, s), fold, n in itertools.product(
        [(1, 1), (1, 4), (3, 1), (3, 4)], (1, 2, 5), (1, 5, 10)
    ):
        vector = 2.0 ** np.arange(c)
        part = Columns(slice(0, c), slice(0, s), (c, s), 10, fold)
        flat = blocks.spread(vector, part, dtype)
        assert flat.dtype == dtype, f"{flat.dtype}"
        assert len(flat) == (1 if c == 1 else fold * c * s), f"{c, s, fold}: {len(flat)} values"
        block = integers(n, c, s).astype(dtype)
        out = np.full((n, c * s), np.nan, dtype)
        got = blocks.apply(np.subtract, block.reshape(n, -1), flat, out)
        assert got is out, "the result is elsewhere"
        wanted = (block - vector[:, None]).reshape(n, -1)
        assert np.array_equal(out, wanted), f"{c, s, fold, n}: {out}, wanted {wanted}"


@pytest.mark.parametrize(("rows", "taken"), [(1, (1, 6)), (4, (2, 12)), (5, (5, 6)), (6, (3, 12))])
def test_short_rows_are_taken_as_one(rows: int, taken: tuple[int, int]) -> None:
    """apply takes as many rows at once as the vector holds, where these divide the block."""
    shapes = []

    def ufunc(block: Array, vector: Array, out: Array) -> None:
        shapes.append((block.shape, out.shape, len(vector)))

    block = np.ones((rows, 6))
    blocks.apply(ufunc, block, np.ones(12), block)  # type: ignore[arg-type]
    assert shapes == [(taken, taken, taken[1])], f"{shapes}"


def test_a_vector_is_that_of_its_channels() -> None:
    """spread takes the channels of the part."""
    part = Columns(slice(1, 3), slice(0, 2), (2, 2), 1, 2)
    got = blocks.spread(np.array([1.0, 2, 3, 4]), part, FLOAT32)
    assert got.tolist() == [2, 2, 3, 3] * 2, f"{got}"


PLAIN = integers(6, 3, 4).astype(np.float32)
MEMORY = {
    "plain": (PLAIN, True),
    "plain by another name": (PLAIN.view(PLAIN.dtype.newbyteorder("=")), True),
    "float64": (PLAIN.astype(float), False),
    "float16": (PLAIN.astype(np.float16), False),
    "swapped": (PLAIN.astype(PLAIN.dtype.newbyteorder()), False),
    "fortran": (np.asfortranarray(PLAIN), False),
}


@pytest.mark.parametrize("name", MEMORY)
def test_plain_memory_is_not_copied(name: str) -> None:
    """load gives rows of the working dtype: a view of plain memory, else a copy in scratch."""
    values, plain = MEMORY[name]
    scratch = np.empty(64, np.float32)
    part = Columns(slice(1, 3), slice(0, 4), (2, 4), 2, 1)
    got = blocks.load(values, None, slice(2, 4), part, scratch)
    assert np.array_equal(got, PLAIN[2:4, 1:3].reshape(2, 8)), f"{got}"
    shared = np.shares_memory(got, scratch), np.shares_memory(got, values)
    assert shared == (not plain, plain), f"in scratch, in values: {shared}"
    assert got.dtype == np.float32, f"{got.dtype}"
    got = blocks.load(values, np.ones(8, np.float32), slice(2, 4), part, scratch)
    assert np.array_equal(got, PLAIN[2:4, 1:3].reshape(2, 8) - 1), f"less 1: {got}"
    assert np.shares_memory(got, scratch), "less 1: the values may have been written to"
    assert np.array_equal(values, PLAIN), "the values were written to"


@pytest.mark.parametrize("places", [1, 2, 5])
@pytest.mark.parametrize("rows", range(1, 10))
def test_rows_and_places_are_added_in_pairs(rows: int, places: int) -> None:
    """channel_sums are exact on integers, in memory of its own or in the block itself."""
    data = integers(rows, 3, places)
    wanted = data.sum(axis=(0, 2))
    block = data.reshape(rows, -1).copy()
    got = blocks.channel_sums(block, np.empty_like(block), (3, places)).copy()
    assert np.array_equal(got, wanted), f"{got}, wanted {wanted}"
    assert np.array_equal(block, data.reshape(rows, -1)), "the block was written to"
    got = blocks.channel_sums(block, block, (3, places))
    assert np.array_equal(got, wanted), f"in the block itself: {got}, wanted {wanted}"


def test_pairs_round_log2_of_n_times() -> None:
    """Added in pairs, each of 2**k equal values is rounded k times: their sum is exact."""
    for k in range(1, 12):
        block = np.full((2**k, 1), np.float32(0.1))
        got = blocks.channel_sums(block, np.empty_like(block), (1, 1))
        assert got[0] == 2.0**k * np.float32(0.1), f"2**{k} times 0.1 is {got[0]}"


def test_what_rounding_takes_away_is_carried() -> None:
    """add_carrying keeps 1 beside 2**53 until enough of them are there."""
    total, carry = np.array([[2.0**53, 0.0], [0.0, 0.0]])
    for _ in range(4):
        blocks.add_carrying(total, carry, np.array([1.0, 1.0]))
    assert (total - carry).tolist() == [2.0**53 + 4, 4.0], f"{total}, {carry}"


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("c", sorted({c for _, c, _ in SHAPES}))
def test_sums_of_any_shape(c: int, shifted: bool, dtype: Any) -> None:
    """sum(dy) and sum(dy * (x - pivot)) are exact on integers, whatever the cut."""
    for n, s in {(n, s) for n, _, s in SHAPES}:
        x, dy = integers(n, c, s).astype(np.float32), integers(n, c, s, seed=1).astype(np.float16)
        pivot = np.arange(1.0, c + 1) * shifted
        xc = x.astype(float) - pivot[:, None]
        for other, name in ((dy, "dy"), (None, "x - pivot")):
            first = xc if other is None else dy.astype(float)
            wanted = [first.sum((0, 2)), (first * xc).sum((0, 2))]
            got = blocks.paired_sums(x, pivot, other, dtype)
            assert got.dtype == np.float64, f"{got.dtype}"
            assert np.array_equal(got, wanted), f"{n, c, s} {name}: {got}, wanted {wanted}"


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("c", sorted({c for _, c, _ in SHAPES}))
def test_combinations_of_any_shape(c: int, kind: Any, dtype: Any) -> None:
    """constant + sum of scale * (values - pivot - rest) is exact on integers, whatever the cut."""
    one, two = np.arange(1.0, c + 1), 2.0 ** np.arange(c)
    for n, s in {(n, s) for n, _, s in SHAPES}:
        a, b = integers(n, c, s).astype(kind), integers(n, c, s, seed=1).astype(np.float32)
        a_part, b_part = a.astype(float) - one[:, None] - 1, b.astype(float) - two[:, None]
        cases = {
            "one term": ([Term(a, one, np.ones(c), two)], None, two[:, None] * a_part),
            "two terms": (
                [Term(a, one, np.ones(c), two), Term(b, None, two, -one)],
                one,
                one[:, None] + two[:, None] * a_part - one[:, None] * b_part,
            ),
            "no rest": ([Term(b, two, None, one)], None, one[:, None] * b_part),
        }
        for name, (terms, constant, wanted) in cases.items():
            out = np.full((n, c, s), np.nan, kind)
            got = blocks.combine(terms, constant, out, dtype)
            assert got is out, "the result is elsewhere"
            assert np.array_equal(out, wanted), f"{n, c, s} {name}: {out}, wanted {wanted}"


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_results_of_the_working_dtype_are_not_copied(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """combine writes to out itself where that has the working dtype, and else copies each block."""
    copies: list[Any] = []
    monkeypatch.setattr(np, "copyto", lambda *arrays, casting: copies.append(arrays))
    values, one = integers(9, 3, 5).astype(dtype), np.ones(3)
    for kind in ("float16", "float32", "float64"):
        del copies[:]
        out = np.zeros((9, 3, 5), np.dtype(kind).newbyteorder("="))
        blocks.combine([Term(values, None, None, one)], None, out, dtype)
        assert bool(copies) == (kind != dtype), f"{dtype} to {kind}: {len(copies)} copies"


def test_what_is_done_again_in_float64_is_rounded_once() -> None:
    """A channel done again in float64 has the bits of float64, rounded to float16 and not twice."""
    values = np.linspace(1, 2, 1024, endpoint=False, dtype=np.float16)[:, None, None]
    values, scale = np.tile(values, (1, 100, 1)), np.linspace(1, 2, 100)  # (1024, 100, 1)
    out = np.empty_like(values)
    blocks.combine([Term(values, None, None, scale)], np.full(100, 2.0**-101), out, FLOAT32)
    exact = values.astype(float) * scale[:, None]  # the constant is too small to be seen
    wrong = (out != exact.astype(np.float16)).sum()
    assert not wrong, f"{wrong} of {out.size} values are rounded twice"
    twice = exact.astype(np.float32).astype(np.float16)
    assert (twice != exact.astype(np.float16)).any(), "rounding twice would not be seen"


@pytest.fixture
def dtypes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record in which dtype each call of paired_sums and of combine works."""
    seen: list[Any] = []
    for name in ("paired_sums", "combine"):
        function = getattr(blocks, name)

        def spy(*arguments: Any, function: Any = function) -> Any:
            seen.append(arguments[3])
            return function(*arguments)

        monkeypatch.setattr(blocks, name, spy)
    return seen


@pytest.mark.parametrize("power", [-40, 0, 40])
def test_what_float32_can_do_is_done_once(power: int, dtypes: list[Any]) -> None:
    """Values and factors from 2**-40 to 2**40, and zeros, are not done again in float64."""
    x = (np.abs(integers(20, 3, 5)) + 1).astype(np.float32) * np.float32(2.0**power)
    dy = integers(20, 3, 5, seed=1).astype(np.float32) + np.float32(0.5)
    x[:, 1] = dy[:, 2] = 0
    zeros, factors = np.zeros(3), np.array([2.0**power, 0.0, -1.0])
    blocks.paired_sums(x, zeros, dy, FLOAT32)
    blocks.paired_sums(x, zeros, None, FLOAT32)
    blocks.combine([Term(x, factors, zeros, factors)], factors, np.empty_like(x), FLOAT32)
    constant = np.full((20, 3, 5), 0.1 * 2.0**power, np.float32)
    blocks.paired_sums(constant, constant[0, :, 0].astype(float), dy, FLOAT32)
    assert dtypes == [FLOAT32] * 4, f"{dtypes}"


@pytest.mark.parametrize(("x", "dy"), [*itertools.product([2.0**-80, -(2.0**-80)], repeat=2)])
def test_products_of_either_sign_are_missed(x: float, dy: float) -> None:
    """That products have vanished in float32 is seen whatever the signs of their factors."""
    one, other = (np.full((20, 1, 1), value, np.float32) for value in (x, dy))
    got = blocks.paired_sums(one, np.zeros(1), other, FLOAT32)
    assert got.tolist() == [[20 * dy], [20 * x * dy]], f"{got}"
    square = blocks.paired_sums(one, np.zeros(1), None, FLOAT32)[1]
    assert square.tolist() == [20 * x * x], f"{square}"


@pytest.mark.parametrize("bound", [2.0**-100, 2.0**100])
def test_float32_is_trusted_up_to_its_bounds(bound: float, dtypes: list[Any]) -> None:
    """A factor on a bound is left to float32, the next one beyond it is not."""
    x, beyond = np.ones((20, 1, 5), np.float32), np.nextafter(bound, bound**2)
    for place, factor in itertools.product(range(3), (bound, beyond)):
        pivot, scale, constant = np.roll([[1.0], [1.0], [factor]], place, axis=0)
        del dtypes[:]
        blocks.combine([Term(x, pivot, None, scale)], constant, np.empty_like(x), FLOAT32)
        wanted = [FLOAT32, FLOAT64] if factor == beyond else [FLOAT32]
        assert dtypes == wanted, f"{pivot, scale, constant}: {dtypes}"


@pytest.mark.parametrize("n", [1, 20])
def test_sums_from_2_to_minus_100_a_row_are_those_of_float32(n: int, dtypes: list[Any]) -> None:
    """Products of 2**-100 in the mean of all rows are left to float32, smaller ones are not."""
    x = np.full((n, 1, 1), np.float32(2.0**-50))
    for first, wanted in ((1, [FLOAT32]), (1 - 2.0**-10, [FLOAT32, FLOAT64])):
        dy = x.copy()
        dy[0] *= np.float32(first)
        del dtypes[:]
        blocks.paired_sums(x, np.zeros(1), dy, FLOAT32)
        assert dtypes == wanted, f"{n} rows, the first of them times {first}: {dtypes}"


def test_only_what_float32_cannot_do_is_done_again(dtypes: list[Any]) -> None:
    """A channel whose products vanish or overflow is done again, though its sum is none of both."""
    x = np.array([[2.0**-80, 2.0**80, 1.0, 2.0]] * 20, np.float32)[:, :, None]
    dy = np.array([1.0, 1.0, -1.0, -1.0] * 5, np.float32)[:, None, None] * np.ones_like(x)
    dy[:, 2:] *= np.float32(2.0**127)  # in pairs they overflow, in float64 they cancel
    with np.errstate(all="ignore"):
        got = blocks.paired_sums(x, np.array([0.0, 0.0, 1.0, 0.0]), dy, FLOAT32)
        square = blocks.paired_sums(x[:, :2], np.zeros(2), None, FLOAT32)[1]
    assert np.array_equal(got, np.zeros((2, 4))), f"{got}"
    assert square.tolist() == [20 * 2.0**-160, 20 * 2.0**160], f"{square}"
    assert dtypes == [FLOAT32, FLOAT64] * 2, f"{dtypes}"


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_the_scratch_is_of_two_or_three_blocks(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large an array, its sums take three blocks of memory and a combination takes two."""
    monkeypatch.setattr(blocks, "BLOCK", 1 << 14)
    x, zero, one = np.ones((1 << 17, 1, 1), np.float16), np.zeros(1), np.ones(1)
    out = np.empty_like(x)
    calls = {
        "paired_sums": (3, lambda: blocks.paired_sums(x, zero, x, dtype)),
        "combine": (2, lambda: blocks.combine([Term(x, None, None, one)], None, out, dtype)),
    }
    for name, (wanted, call) in calls.items():
        tracemalloc.start()
        call()
        taken = tracemalloc.get_traced_memory()[1] / (dtype.itemsize << 14)
        tracemalloc.stop()
        assert wanted <= taken < wanted + 0.5, f"{name} takes {taken} blocks, wanted {wanted}"


def test_a_block_is_of_two_mebibytes() -> None:
    """As shipped a block is 2 MiB of float32, and rows are folded up to 32 KiB, as measured."""
    assert 4 * SHIPPED["BLOCK"] == 2**21, f"a block is {4 * SHIPPED['BLOCK']} bytes"
    assert 4 * SHIPPED["ROW"] == 4 * SHIPPED["SMALL"] == 2**15, f"{SHIPPED}"

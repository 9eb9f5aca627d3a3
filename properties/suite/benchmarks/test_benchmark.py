"""`python -m properties.benchmarks`: its arithmetic, its tables, and what users may type."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from properties import cli
from properties.benchmarks import __main__ as benchmark
from properties.benchmarks import growth, layers, timing
from properties.benchmarks.timing import Table, interleaved, ratio
from properties.bugs.elsewhere import all_mutants
from properties.commands.run import SWEEPS
from properties.model.expected import gradients, output, training
from reference.ball import Ball, precision
from reference.double import DoubleDouble, pair

TABLE = Table("What it is", ("name", "n", "time"), [("a", 3, 0.12345), ("b", 4096, 123456.7)])


def test_a_table_is_markdown_and_json() -> None:
    """Numbers have three digits, large ones all before the point, and JSON keeps them whole."""
    assert TABLE.markdown().splitlines() == [
        "**What it is**",
        "",
        "| name | n | time |",
        "|---|---|---|",
        "| a | 3 | 0.123 |",
        "| b | 4096 | 123457 |",
    ]
    assert json.loads(json.dumps(TABLE.document()))["rows"][0] == ["a", 3, 0.12345]


def test_contenders_run_in_turn_after_one_warm_up() -> None:
    """Each round runs every contender once, in order, and the first turn is not counted."""
    order: list[str] = []
    ticks: Iterator[float] = iter(range(1000))
    times = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, lambda: next(ticks)
    )
    assert order == ["a", "b"] * 4
    assert times == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_a_ratio_is_taken_within_rounds() -> None:
    """A machine that slows down from round to round does not change a ratio."""
    assert ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == 2.0


@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 2, 5)])
def test_the_layers_that_are_timed_agree(shape: tuple[int, ...]) -> None:
    """The textbook computes what bn does, so that the times are those of the same work."""
    x, dy, gamma, beta, mean, var = layers._arrays(shape)
    gamma, beta = gamma * np.float32(1.5), beta * np.float32(0.25)
    import bn

    y, _, _, saved = bn.forward_train(x, gamma, beta, mean, var, eps=layers.EPS, momentum=0.9)
    wanted = (y, *bn.backward_train(dy, saved))
    other, kept = layers.textbook_forward(x, gamma, beta)
    got = (other, *layers.textbook_backward(dy, kept))
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=x.size * 2.0**-24 * np.abs(b).max())


def test_a_copy_by_two_threads_copies_all() -> None:
    """What the times are multiples of moves every number."""
    x = np.arange(1001, dtype=np.float32).reshape(-1, 1)
    copy = layers._copies(x, 2)
    copy()
    (y,) = [c.cell_contents for c in copy.__closure__ or () if isinstance(c.cell_contents, list)]
    assert np.array_equal(np.concatenate([part[0] for part in y]), x)


GREEDY = """
import json, bn
from properties.benchmarks import growth
right = bn.forward_train
def greedy(x, *rest, **options):
    held = x.copy()
    return right(held, *rest, **options)
bn.forward_train = greedy
print(json.dumps(growth.layer(1 << 15, 64)))
"""


def test_memory_beyond_results_is_seen() -> None:
    """A layer that copies x first takes that much more beyond what it was given and gave."""
    right = growth.measured("layer", 1 << 15, 64)
    greedy = json.loads(timing.run_python(["-c", GREEDY]))
    size = 4 * 64 << 15
    assert right["forward"] > 0 < right["backward"]
    assert greedy["forward_beyond"] - right["forward_beyond"] > size / 2
    assert right["forward_beyond"] < size


def test_run_python_tells_what_failed() -> None:
    """A command that cannot be run is one line with its last words."""
    failing = ["-c", "import os; os.write(2, b'first\\nno such file'); os._exit(2)", "file"]
    with pytest.raises(RuntimeError, match=r" file: exit status 2: no such file$"):
        timing.run_python(failing)


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--only", "speed"), "argument --only: invalid choice: 'speed'"),
        (("--rounds", "0"), "argument --rounds: '0': expected a whole number of at least 1"),
        (("--largest", "40"), "argument --largest: invalid choice: 40"),
        (("--json", "/nowhere/a.json"), "--json=/nowhere/a.json: expected a file in a folder"),
        (("--plot", "growth.doc"), "--plot=growth.doc: expected a name that ends in .svg"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is typed wrongly is named before anything is measured, with exit status 2."""
    try:
        status: object = benchmark.main(arguments)
    except SystemExit as left:
        status = left.code
    said = capsys.readouterr()
    assert status == 2
    assert text in said.err
    assert not said.out


def test_a_missing_matplotlib_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without matplotlib --plot says what to install."""
    monkeypatch.setattr(growth, "can_plot", lambda: False)
    assert benchmark.main(["--plot", "growth.svg"]) == 2
    assert "needs matplotlib; try: pip install 'bncheck[benchmark]'" in capsys.readouterr().err


def test_a_part_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A quick part prints its table with the machine and writes the same to JSON."""
    out = tmp_path / "figures.json"
    assert benchmark.main(["--only", "example", "--quick", "--json", str(out)]) == 0
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["complete"] is True
    (table,) = content["parts"]["example"]
    assert f"**{table['title']}**" in capsys.readouterr().out
    assert [row[0] for row in table["rows"]] == ["y", "y, dx, dgamma, dbeta"]
    assert all(number > 0 for row in table["rows"] for number in row[1:])
    assert {"processor", "cores", "numpy"} <= set(content["machine"])


def test_an_interruption_keeps_what_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C leaves the tables that were done in the file, said to be incomplete."""

    def cut(args: argparse.Namespace) -> Iterator[Table]:
        yield TABLE
        raise KeyboardInterrupt

    monkeypatch.setitem(benchmark.PARTS, "bn", cut)
    out = tmp_path / "figures.json"
    assert benchmark.main(["--only", "bn", "--json", str(out)]) == 130
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["complete"] is False
    assert len(content["parts"]["bn"]) == 1


def test_growth_is_drawn(tmp_path: Path) -> None:
    """With matplotlib the tables of growth become one picture."""
    pytest.importorskip("matplotlib")
    columns = ("n", "channels", "forward ns", "backward ns", "forward MiB", "backward MiB")
    tables = [
        Table(f"bn, against {way}", columns, [(64, 64, 2.0, 1.0, 0.5, 0.5)]).document()
        for way in ("values per channel", "channels")
    ]
    growth.plot(tables, tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text(encoding="utf-8")


# --- what the speed rests on ---------------------------------------------------------------------


def test_exitfirst_shows_some_examples_to_every_invariant_first(tmp_path: Path) -> None:
    """A bug that a late invariant alone sees is reported before the earlier have had them all."""
    name, out = "tinygrad-rv-biased", tmp_path / "run.json"
    assert name in all_mutants()
    assert cli.main(["run", f"mutants:{name}", "-x", "--seed", "1", "--json", str(out)]) == 1
    (row,) = json.loads(out.read_text(encoding="utf-8"))["invariants"]
    assert row["verdict"] == "fail"
    assert row["examples"] <= max(SWEEPS)
    examples = str(next(k for k in SWEEPS if k >= row["examples"]))
    again = ["--only", row["name"], "--seed", "1", "--examples", examples]
    assert cli.main(["run", f"mutants:{name}", *again]) == 1, "its command does not show it again"


def test_shared_work_of_balls_is_done_once() -> None:
    """The same operation on the same operands is the same ball, and on others it is not."""
    p = precision("float32")
    a, b, c = (Ball(np.full((4, 2), value), None, p) for value in (1.0, 2.0, 2.0))
    assert a - b is a - b
    assert a - b is not a - c
    assert a * b is not a - b
    assert a.sum() is a.sum()
    assert (a / 2).value[0, 0] == 0.5


def test_gradients_are_added_to_the_forward_that_is_there() -> None:
    """The reference of a case runs its forward once, whether or not gradients are asked for."""
    from properties.benchmarks.drawing import CONVENTIONS
    from properties.benchmarks.examples import SHOWN
    from properties.model.cases import build

    case = build(SHOWN, CONVENTIONS)
    output(case)
    gradients(case)
    forward, both = training(case), training(case, gradients=True)
    assert both.ref.y is forward.ref.y
    assert both.spread is forward.spread


@pytest.mark.parametrize("n", [1, 2, 100, 9000])
def test_sums_of_pairs_are_exact_where_they_fit(n: int) -> None:
    """Sums that two float64 can hold come out to the bit, however much cancels in them."""
    rng = np.random.default_rng(n)
    large = np.ldexp(rng.integers(-(2**52), 2**52, size=(n, 3)).astype(float), 20)
    small = np.ldexp(rng.integers(-(2**20), 2**20, size=(n, 3)).astype(float), -20)
    columns = DoubleDouble(large, small).sum()
    for k in range(3):
        wanted = sum(int(v) for v in large[:, k]) * 2**20 + sum(int(v * 2**20) for v in small[:, k])
        got = int(columns.hi[0, k] * 2.0**20) + int(columns.lo[0, k] * 2.0**20)
        assert got == wanted
    cancelled = pair(np.concatenate([large, -large, small])).sum()
    assert np.array_equal(cancelled.hi, small.sum(axis=0, keepdims=True))


@pytest.mark.parametrize("n", [5, 300, 9000])
def test_sums_of_pairs_are_right_to_2_to_the_minus_104(n: int) -> None:
    """Numbers of very different size add to 2**-104 of the largest, which 53 bits cannot do."""
    rng = np.random.default_rng(n)
    a = np.ldexp(rng.standard_normal((n, 1)), rng.integers(-120, 1, size=(n, 1)))
    got, exact = pair(a).sum(), sum(map(Fraction, a[:, 0].tolist()))
    allowed = Fraction(float(np.abs(a).max())) / 2**104
    assert abs(Fraction(float(got.hi[0, 0])) + Fraction(float(got.lo[0, 0])) - exact) <= allowed
    assert abs(Fraction(float(got.hi[0, 0])) - exact) > allowed, "53 bits would do"


def test_a_single_float_sum_would_be_seen() -> None:
    """The test above can fail: NumPy's own sum of the same numbers is not exact."""
    a = np.array([[2.0**60], [1.0], [-(2.0**60)]])
    assert a.sum() != 1.0
    assert pair(a).sum().hi[0, 0] == 1.0

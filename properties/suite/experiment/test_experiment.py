"""The experiment: its net, its images, its claims in numbers, its files and its command."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from properties.experiment import claims, network, page, training
from properties.experiment.images import BadImages, Images, from_file, split
from properties.experiment.training import Curve, Plan, Setting, begun, start, train

SCALES = (1.0, 0.1, 0.01)
PLAN = Plan(steps=20, batch=10, layers=2, width=8, every=5, epoch=10)


def images(n: int = 300, seed: int = 0) -> Images:
    """Three clusters of points in eight dimensions."""
    rng = np.random.default_rng(seed)
    t = rng.integers(0, 3, size=n)
    centres = rng.standard_normal((3, 8))
    return split(centres[t] + 0.3 * rng.standard_normal((n, 8)), t)


def design(seeds: int = 4) -> claims.Design:
    return claims.Design(images(), "points", PLAN, 0.01, seeds, SCALES)


# --- the net ---------------------------------------------------------------------------------


def loss(net: network.Net, x: Any, t: Any) -> float:
    """The mean cross-entropy of a batch in training."""
    z = network.forward(net, x, training=True)[-1][1]
    z = z - z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(t)), t]).mean())


def float64_net(normalized: bool) -> network.Net:
    """A small net in float64, its batch norms away from gamma 1 and beta 0."""
    rng = np.random.default_rng(3)
    net = network.build((8, 6, 6, 3), 0.5, None, rng)
    wide = [[a.astype(np.float64) for a in part] for part in (net.weights, net.biases)]
    norms: list[Any] = [None, None]
    if normalized:
        from bn import BatchNormalization

        norms = [BatchNormalization(rng.uniform(0.5, 2, 6), rng.normal(size=6)) for _ in norms]
    return network.Net(*wide, norms)


def parameters(net: network.Net) -> list[tuple[Any, Any]]:
    """Each parameter as a pair of a getter and a setter."""
    plain = [(lambda a=a: a, lambda v, a=a: a.__setitem__(..., v)) for part in
             (net.weights, net.biases) for a in part]  # fmt: skip
    norm = [
        (lambda n=n, k=k: getattr(n, k), lambda v, n=n, k=k: setattr(n, k, v))
        for n in net.norms
        if n is not None
        for k in ("gamma", "beta")
    ]
    return plain + norm


def worst_slope(normalized: bool) -> float:
    """Return the largest difference of a step and the slope of the loss, as a multiple of the
    error of the difference quotient: its bend, seen by halving h, and its rounding."""
    data, rng, worst = images(), np.random.default_rng(5), 0.0
    x, t = data.x[:20].astype(np.float64), data.t[:20]
    rate, h = 2.0**-10, 2.0**-20
    for number in range(len(parameters(float64_net(normalized)))):
        net = float64_net(normalized)
        get, put = parameters(net)[number]
        at = get().copy()
        along = rng.standard_normal(at.shape)
        losses = []
        for move in (2 * h, -2 * h, h, -h, 0.0):
            put(at + move * along)
            losses.append(loss(net, x, t))
        coarse, fine = (losses[0] - losses[1]) / (4 * h), (losses[2] - losses[3]) / (2 * h)
        network.step(net, x, t, rate)
        moved = float(((at - get()) * along).sum()) / rate
        rounding = 32 * np.finfo(np.float64).eps * losses[4] / h
        worst = max(worst, abs(moved - fine) / (abs(coarse - fine) + rounding))
    return worst


@pytest.mark.parametrize("normalized", [False, True])
def test_a_step_goes_along_the_gradient(normalized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each parameter moves by the rate times the slope of the loss; 0.1 % too far is noticed."""
    assert worst_slope(normalized) <= 1
    right = network.softmax_gradient
    monkeypatch.setattr(network, "softmax_gradient", lambda z, t: 1.001 * right(z, t))
    assert worst_slope(normalized) > 1


def test_a_seed_draws_alike_with_and_without_batch_norm_and_at_every_scale() -> None:
    """Pairs differ in the layer alone, and scales in the size of the weights alone."""
    data = images()
    nets = [begun(data, PLAN, Setting(0.1, 4, s, k)) for s, k in ((1.0, False), (0.5, True))]
    for one, half in zip(*(net.weights for net in nets), strict=True):
        assert np.array_equal(one, 2 * half)
    assert nets[0].norms == [None, None] and None not in nets[1].norms
    other = begun(data, PLAN, Setting(0.1, 5, 1.0, False))
    assert not np.array_equal(other.weights[0], nets[0].weights[0])


def test_the_start_tells_eps_from_variance() -> None:
    """xhat is of size 1 where the variance exceeds eps, and fades where eps swallows it."""
    data = images()
    strong, weak = (start(data, PLAN, Setting(0.1, 0, s, True)) for s in (1.0, 1e-4))
    assert abs(strong.signal - 1) < 0.05 < 0.5 and weak.signal < 0.05
    assert strong.change < start(data, PLAN, Setting(0.1, 0, 0.1, True)).change


def test_runs_are_the_same_whatever_the_number_of_processes() -> None:
    """One process and two give the curves that a plain call gives, bit by bit."""
    data, settings = images(), [Setting(0.1, s, 0.1, k) for s in (0, 1) for k in (False, True)]
    wanted = {s: train(data, PLAN, s) for s in settings}
    for jobs in (1, 2):
        done: dict[Setting, Curve] = {}
        training.sweep(data, PLAN, settings, jobs, done.__setitem__)
        assert done == wanted


# --- the images ------------------------------------------------------------------------------


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def good() -> dict[str, Any]:
    return {"x": np.ones((300, 2, 2)) * np.arange(300)[:, None, None], "t": np.arange(300) % 3}


BAD = {
    "x is missing": lambda: {"t": good()["t"]},
    "t is missing": lambda: {"x": good()["x"]},
    "expected integers (300,)": lambda: good() | {"t": np.zeros(300)},
    "expected at least 200": lambda: {k: v[:100] for k, v in good().items()},
    "expected classes from 0": lambda: good() | {"t": np.arange(300) % 3 - 1},
    "expected numbers (n, ...)": lambda: good() | {"x": np.arange(300.0)},
    "expected a finite number": lambda: good() | {"x": np.full((300, 4), np.nan)},
}


@pytest.mark.parametrize("wanted", BAD)
def test_arrays_that_do_not_fit_are_told_in_one_line(wanted: str, tmp_path: Path) -> None:
    """What is wrong with a file of arrays is said with the file's name."""
    path = tmp_path / "images.npz"
    np.savez(path, **BAD[wanted]())
    with pytest.raises(BadImages, match=r"^--data=.*images\.npz: ") as told:
        from_file(path)
    assert wanted in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_is_no_archive_of_arrays_is_told(tmp_path: Path) -> None:
    """A missing file, a folder, text, one array, a cut archive: one line each."""
    cut, one = tmp_path / "cut.npz", tmp_path / "one.npy"
    np.savez_compressed(cut, **good())
    cut.write_bytes(cut.read_bytes()[:-40])
    np.save(one, np.ones(3))
    (tmp_path / "text.npz").write_text("x, t")
    for name in ("missing.npz", ".", "text.npz", "cut.npz", "one.npy"):
        with pytest.raises(
            BadImages, match=r"expected an \.npz file with the arrays x and t"
        ) as told:
            from_file(tmp_path / name)
        assert "\n" not in str(told.value)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """An array of objects is refused before any of it is made."""
    path, left = tmp_path / "trap.npz", tmp_path / "left_behind"
    np.savez(path, x=np.array([Trap(str(left))] * 300, dtype=object), t=good()["t"])
    with pytest.raises(BadImages, match="allow_pickle"):
        from_file(path)
    assert not left.exists()


def test_images_are_split_without_a_repetition(tmp_path: Path) -> None:
    """Each image is trained on or held out, flat, in float32, the largest of magnitude 1."""
    path = tmp_path / "images.npz"
    np.savez(path, **good())
    found = from_file(path)
    assert (found.x.shape, found.held_x.shape) == ((180, 4), (120, 4))
    both = np.concatenate([found.x, found.held_x])
    assert both.dtype == np.float32 and both.max() == 1
    assert len(np.unique(both[:, 0])) == 300
    assert np.array_equal(np.rint(both[:, 0] * 299).astype(int) % 3,
                          np.concatenate([found.t, found.held_t]))  # fmt: skip


# --- the claims ------------------------------------------------------------------------------


def test_an_interval_is_that_of_t() -> None:
    """The interval is scipy's, of no width where all agree, infinite from one value."""
    values = [0.3, 0.5, 0.9]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = claims.interval(values)
    assert np.allclose([found.low, found.high], [low, high])
    assert claims.interval([0.5, 0.5]) == claims.Interval(0.5, 0.5, 0.5)
    assert claims.interval([0.5]).high == np.inf


def known_runs() -> dict[Setting, Curve]:
    """At scale 1 none trains, at 0.1 both do, at 0.01 the net with batch norm alone."""
    found = {}
    for seed in range(4):
        e = 0.01 * seed
        for scale, normalized, held in (
            (1.0, False, (0.1, 0.1, 0.1, 0.1)),
            (1.0, True, (0.1, 0.1, 0.1, 0.1)),
            (0.1, False, (0.3, 0.5, 0.7, 0.8 + e)),
            (0.1, True, (0.2, 0.4, 0.6, 0.7 - e * (seed % 2))),
            (0.01, False, (0.1, 0.1, 0.1, 0.1 + e)),
            (0.01, True, (0.5, 0.9, 0.9, 0.9)),
        ):
            found[Setting(0.01, seed, scale, normalized)] = Curve(held, held[1::2])
    return found


def test_scales_are_judged_by_intervals_that_hold_together() -> None:
    """Better, worse and undecided are told apart, at the confidence divided by the scales."""
    found = claims.by_scale(design(), known_runs())
    assert [a.verdict for a in found] == ["undecided", "worse", "better"]
    alone = claims.interval(
        [n - p for p, n in zip(found[2].plain, found[2].normalized, strict=True)]
    )
    assert found[2].difference.low < alone.low < alone.high < found[2].difference.high
    said = page.count_claim(found)
    assert "better at 1 of the 3" in said and "lies from 1 to 2" in said


def test_a_seed_that_lacks_a_run_is_left_out() -> None:
    """Only seeds with every run are compared."""
    runs = known_runs()
    del runs[Setting(0.01, 3, 0.01, True)]
    assert design().done(runs) == [0, 1, 2]
    assert len(claims.by_scale(design(), runs)[0].plain) == 3


def test_the_best_scale_is_chosen_by_the_other_seeds() -> None:
    """A seed whose own best scale is another one is judged at that of the rest."""
    perfect = Curve((1.0,) * 4, (1.0,) * 2)
    best = claims.best_scales(design(), known_runs() | {Setting(0.01, 0, 1.0, True): perfect})
    assert {best[seed, True] for seed in range(4)} == {0.01}
    assert {best[seed, False] for seed in range(4)} == {0.1}


def test_a_race_counts_the_steps_to_the_best_accuracy_without() -> None:
    """Four times fewer is found as such, and a goal that is not reached gives no quotient."""
    runs = known_runs()
    best = claims.best_scales(design(), runs)
    found, shared = claims.races(design(), runs)
    assert found.times is not None
    assert (found.plain, found.normalized) == ((20, 20, 20, 20), (10, 10, 10, 10))
    assert np.allclose(found.times, 2)
    assert shared.shared and shared.times is None
    assert "got there in 0 of 4 runs" in page.race_claim(shared, PLAN)
    assert claims.race(PLAN, runs, best, (0.01, 0.05)) is None


# --- what is written -------------------------------------------------------------------------


def test_each_run_is_made_once() -> None:
    """All scales with and without for each seed, then those at five times the rate."""
    first, second = design().first(), design().faster(known_runs())
    assert len(set(first)) == len(first) == 4 * 2 * 3
    assert {s.rate for s in second} == {0.05} and len(set(second)) == len(second) == 4 * 3


def test_the_page_says_what_the_numbers_say() -> None:
    """The intervals, the undecided scales and what was run stand in the text and in the CSV."""
    written = page.files(design(), known_runs(), 24)
    said = written["experiment.md"].decode()
    assert all(claim in said for claim in page.claims(design(), known_runs()))
    assert "Worse at 0.1. Undecided at 1." in said
    assert "180 to train on and 120 held out" in said and "Interrupted" not in said
    assert "| 0.01 | 11.5 % | 90.0 % | 78.5 [" in said
    rows = list(csv.DictReader(io.StringIO(written["runs.csv"].decode())))
    assert len(rows) == 24 * 4
    assert {row["step"] for row in rows} == {"5", "10", "15", "20"}
    assert [row["training_accuracy"] != "" for row in rows[:4]] == [False, True, False, True]
    scales = list(csv.DictReader(io.StringIO(written["scales.csv"].decode())))
    assert [row["verdict"] for row in scales[::4]] == ["undecided", "worse", "better"]


def test_a_page_of_part_of_the_runs_says_so() -> None:
    """Before all is done the text names how much is."""
    some = dict([*known_runs().items()][:5])
    said = page.page(design(), some, 24)
    assert "Interrupted: 5 of 24 runs" in said and "No seed has all its runs" in said


def test_the_same_runs_give_the_same_figures() -> None:
    """Both figures are drawn in both formats, equal bytes for equal runs, axes named."""
    pytest.importorskip("matplotlib", exc_type=ImportError)
    from properties.experiment.figures import draw

    drawn = [draw(design(), known_runs()) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == ["curves.png", "curves.svg", "summary.png", "summary.svg"]
    named = {"curves.svg": ("training steps", "training accuracy"),
             "summary.svg": ("weight scale", "held-out accuracy")}  # fmt: skip
    for name, words in named.items():
        assert all(word in drawn[0][name].decode() for word in words)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without matplotlib."""
    from properties.experiment import figures

    monkeypatch.setattr(figures, "pyplot", lambda: None)
    monkeypatch.setattr(figures, "draw", lambda *_: {"curves.svg": b"", "summary.svg": b""})


def data_file(folder: Path) -> Path:
    path = folder / "images.npz"
    np.savez(path, **good())
    return path


@pytest.mark.parametrize("module", ["matplotlib", "sklearn.datasets"])
def test_a_missing_extra_is_told_in_one_line(
    bncheck: Callable[..., Any], module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without scikit-learn or matplotlib one line says what to install."""
    from properties.experiment import figures

    if module != "matplotlib":
        monkeypatch.setattr(figures, "pyplot", lambda: None)
    monkeypatch.setitem(sys.modules, module, None)
    ran = bncheck("experiment", "--out", tmp_path / "out")
    assert ran.status == 2 and ran.err.count("\n") == 1
    assert "pip install 'bncheck[experiment]'" in ran.err


def fake_sweep(stop_after: int) -> Callable[..., None]:
    """A sweep whose runs cost nothing and which gets a signal after some of them."""

    def sweep(data: Any, plan: Plan, settings: Any, jobs: int, tick: Any) -> None:
        for number, setting in enumerate(settings):
            if number == stop_after:
                os.kill(os.getpid(), signal.SIGINT)
            good_one = 0.9 if setting.normalized else 0.5
            epochs, points = plan.steps // plan.epoch, plan.steps // plan.every
            tick(setting, Curve((good_one,) * points, (good_one,) * epochs))

    return sweep


@pytest.mark.parametrize(("after", "kept"), [(40, 40), (0, 0)])
def test_an_interrupt_keeps_what_is_done(
    bncheck: Callable[..., Any], tmp_path: Path, no_figures: None,
    monkeypatch: pytest.MonkeyPatch, after: int, kept: int,
) -> None:  # fmt: skip
    """Ctrl-C ends with 130, says how many runs are kept, and writes of these."""
    monkeypatch.setattr(training, "sweep", fake_sweep(after))
    out, before = tmp_path / "out", signal.getsignal(signal.SIGINT)
    ran = bncheck("experiment", "--data", data_file(tmp_path), "--out", out)
    assert ran.status == 130 and signal.getsignal(signal.SIGINT) is before
    if kept:
        assert f"interrupted; {kept} of 175 runs are kept" in ran.err
        assert f"{kept} of 175 runs were made" in (out / "experiment.md").read_text()
        assert (out / "runs.csv").read_text().count("\n") == 1 + kept * 100
    else:
        assert "nothing is written" in ran.err and list(out.iterdir()) == []


def test_files_are_written_whole_or_not_at_all(
    bncheck: Callable[..., Any], tmp_path: Path, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing fails the old file stays, nothing else is left, and the status is 2."""
    monkeypatch.setattr(training, "sweep", fake_sweep(1000))
    out, data = tmp_path / "out", data_file(tmp_path)
    out.mkdir()
    (out / "curves.svg").write_text("old")

    def fails(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fails)
    ran = bncheck("experiment", "--data", data, "--seeds", 2, "--out", out)
    assert ran.status == 2 and "disk full" in ran.err
    assert [p.name for p in out.iterdir()] == ["curves.svg"]
    assert (out / "curves.svg").read_text() == "old"


def test_the_whole_command(bncheck: Callable[..., Any], tmp_path: Path, no_figures: None) -> None:
    """With nothing in its way it trains all nets, prints the claims and writes its files."""
    out = tmp_path / "out"
    given = ("--seeds", 2, "--steps", 10, "--jobs", 1, "--out", out)
    ran = bncheck("experiment", "--data", data_file(tmp_path), *given)
    assert ran.status == 0, ran.err
    assert "of the 16 weight scales" in ran.out and "70 of 70 runs" in ran.err
    assert sorted(path.name for path in out.iterdir()) == [
        "curves.svg", "experiment.md", "runs.csv", "scales.csv", "steps.csv", "summary.svg"
    ]  # fmt: skip


# --- the recorded activations ----------------------------------------------------------------


def recorded() -> dict[str, Any]:
    from properties.corpus.files import CORPUS
    from properties.experiment.record import FILE

    return json.loads((CORPUS / FILE).read_text(encoding="utf-8"))


def test_recording_is_what_the_layer_was_given() -> None:
    """A layer that listens keeps x, dy and the state of its last step, and computes as ever."""
    from properties.experiment.record import listening, seen

    data, setting = images(), Setting(0.1, 0, 0.5, True)
    found = seen(data, PLAN, setting, 3, 1)
    assert found["x"].shape == found["dy"].shape == (PLAN.batch, PLAN.width)
    assert (
        found["running_mean"].any() and found["dy"].any() and not np.array_equal(found["gamma"], 1)
    )
    assert train(data, PLAN, setting, listening) == train(data, PLAN, setting)


def test_the_corpus_holds_activations_of_every_kind() -> None:
    """Variances far above, near and far below eps, and gradients that ReLU has made sparse."""
    spread, zeros = [], []
    for entry in recorded().values():
        forward, backward = entry["calls"][:2]
        x, dy = (
            np.array([float.fromhex(v) for v in call[name]["data"]]).reshape(call[name]["shape"])
            for call, name in ((forward, "x"), (backward, "dy"))
        )
        spread.append(np.median(x.var(axis=0)) / float.fromhex(forward["eps"]))
        zeros.append((dy == 0).mean())
    assert min(spread) < 1e-3 and max(spread) > 1e3 and max(zeros) > 0.3
    assert len(spread) == 6

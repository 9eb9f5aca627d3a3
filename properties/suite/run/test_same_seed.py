"""The same seed is the same run: examples, verdicts, counterexamples, on one worker and on two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties.engine.exercise import run_invariant
from properties.run.jobs import spread
from properties.run.session import Options
from properties.targets.isolate.limits import Limits

Run = Callable[..., Any]
Save = Callable[..., Path]

NAMES = (  # a batch, a gradient, a sequence of calls, a law of shards, and one that is not offered
    "output_agrees_with_reference",
    "input_gradient_agrees_with_reference",
    "calls_in_any_order_follow_the_model",
    "channels_are_independent",
    "folding_preserves_inference",
)
ONLY = [word for name in NAMES for word in ("--only", name)]
SHIFTED = """
def forward_train(x, *args, **kwargs):
    y, mean, var, saved = bn.forward_train(x, *args, **kwargs)
    return y + 1, mean, var, saved
"""
ROOT = str(Path(__file__).resolve().parents[3])
WAYS = {
    "in its own process": [],
    "here": ["--in-process"],
    "on two workers": ["--jobs", "2"],
    "on three, here": ["--jobs", "3", "--in-process"],
}


def document(path: Path) -> dict[str, Any]:
    """Return what a run wrote, without versions."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {k: v for k, v in content.items() if k not in ("bncheck", "versions")}


def test_every_way_to_run_gives_the_same(bncheck: Run, on_bn: Save, tmp_path: Path) -> None:
    """Isolated, here, on two or three workers: the same output and JSON, counterexamples too."""
    path, found = on_bn(SHIFTED), {}
    for way, options in WAYS.items():
        out = tmp_path / "x.json"
        common = ("--examples", 8, "--seed", 3, "--json", out)
        ran = bncheck("run", path, *ONLY, *common, *options)
        assert (ran.status, ran.err) == (1, ""), f"{way}: {ran.err}"
        found[way] = (ran.out, document(out))
    first = found["here"]
    rows = {row["name"]: row for row in first[1]["invariants"]}
    assert list(rows) == [name for name in rows if name in NAMES] and len(rows) == len(NAMES)
    assert rows[NAMES[0]]["counterexample"]["calls"], "no counterexample: this shows little"
    for way, (text, content) in found.items():
        assert text == first[0], way
        assert content == first[1], way


def test_the_first_failure_is_the_same_on_two_workers(
    bncheck: Run, on_bn: Save, tmp_path: Path
) -> None:
    """-x stops where one worker stops, in the usual order, whichever worker is first."""
    path, found = on_bn(SHIFTED), []
    for jobs in (1, 2):
        out = tmp_path / "x.json"
        ran = bncheck("run", path, "-x", *ONLY, "--examples", 8, "--seed", 3, "--jobs", jobs,
                      "--json", out)  # fmt: skip
        assert ran.status == 1, ran.err
        found.append((ran.out, document(out)))
    assert found[0] == found[1]
    assert [row["verdict"] for row in found[0][1]["invariants"]] == ["fail"]


@pytest.mark.parametrize("command", ["run mutants:apex-ln-65536 --jobs 2", "audit --dx dy"])
def test_it_does_not_hang_on_the_order_of_sets(command: str, tmp_path: Path) -> None:
    """Processes whose hashes of texts differ write the same bytes."""
    words = command.split()
    words += [] if words[0] == "audit" else [*ONLY, "--examples", "5"]
    texts = []
    for number in ("1", "2"):
        out = tmp_path / f"{number}.json"
        done = subprocess.run(
            [sys.executable, "-m", "properties.cli", *words, "--seed", "3", "--json", str(out)],
            capture_output=True, text=True, check=False, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": ROOT, "PYTHONHASHSEED": number},
        )  # fmt: skip
        texts.append((done.returncode, done.stdout, out.read_bytes()))
    assert texts[0] == texts[1]


def test_another_seed_is_another_run(bncheck: Run, tmp_path: Path) -> None:
    """The seed has an effect on two workers too, so that equality above says something."""
    found = []
    for number in (3, 4):
        out = tmp_path / "x.json"
        bncheck("run", "bn", "--only", NAMES[0], "--examples", 8, "--seed", number, "--jobs", 2,
                "--json", out)  # fmt: skip
        content = document(out)
        assert content.pop("seed") == number
        found.append(content)
    assert found[0] != found[1]


def test_workers_have_the_results_of_one_process() -> None:
    """What a worker sends back is what the run would have had here, invariant and case included."""
    from properties.targets.open import loaded

    options = Options("mutants:apex-ln-65536", Limits(in_process=True), 5, 3)
    found = dict(spread(options, NAMES[:2], 2))
    assert list(found) == list(NAMES[:2])
    target = loaded(options.spec)
    for name, (there,) in found.items():
        here = run_invariant(target, there.invariant, examples=5, seed_number=3)
        assert there.invariant.name == name
        assert (here.verdict, here.examples, here.worst) == (there.verdict, there.examples,
                                                            there.worst)  # fmt: skip
        if here.case is not None and there.case is not None:
            assert here.case.x.tobytes() == there.case.x.tobytes()


def test_a_worker_that_dies_is_one_line(bncheck: Run, on_bn: Save) -> None:
    """A target that ends the worker it runs in: one line, status 2, no traceback."""
    path = on_bn("""
        import multiprocessing, os
        def forward_train(x, *args, **kwargs):
            if len(x) > 5 and multiprocessing.parent_process():
                os._exit(3)
            return bn.forward_train(x, *args, **kwargs)
    """)
    ran = bncheck("run", path, "--only", NAMES[0], "--jobs", 2, "--in-process", "--seed", 1)
    assert (ran.status, ran.err.count("\n")) == (2, 1), ran.err
    assert "a worker process died" in ran.err


SLOW = """
import time
def forward_train(x, *args, **kwargs):
    time.sleep(0.05)
    return bn.forward_train(x, *args, **kwargs)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_cut_short_on_two_workers(
    on_bn: Save, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """What is known is shown and written, with "complete": false, and no process is left."""
    out = tmp_path / "x.json"
    words = ["run", str(on_bn(SLOW)), "--jobs", "2", "--seed", "1", "--json", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal, sys; from properties.cli import main; "
         "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main(sys.argv[1:]))",
         *words],
        stdout=-1, stderr=-1, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT},
    )  # fmt: skip
    assert process.stdout is not None
    while not process.stdout.readline().startswith("  running"):
        assert process.poll() is None, process.stderr
    time.sleep(1.0)  # into the start of the workers, or into their work: either must do
    process.send_signal(number)
    rest, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (status, ""), err
    assert "interrupted; so far" in rest, rest
    assert json.loads(out.read_text(encoding="utf-8"))["complete"] is False
    assert not list(tmp_path.glob(".bncheck/call-*")), "the file of a last call is left behind"

"""Replay: every core entry holds for bn, and the core alone kills every mutant that it can."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from properties.bugs.catalogue import SEED, TORCH, built
from properties.bugs.controls import controls
from properties.commands import corpus as corpus_cli
from properties.corpus.files import CORPUS, Entry, read_corpus
from properties.corpus.replay import missing, replay
from properties.kills.matrix import right_ones, subjects
from properties.model.contract import Conventions, Target
from properties.plants.textbook import Pieces
from properties.targets.open import loaded

ENTRIES = read_corpus()[0]
CORE = [entry for entry in ENTRIES if entry.core]
MASKED = [entry for entry in ENTRIES if "mask" in entry.calls[0]]
NO_CALLS = {  # what a list of calls cannot show
    "ttnn-update-before-read": "JSON has no two names for one array",
    "nnabla-sync-sums-twice": "no entry holds ranks",
    "torch-nbt-reset": "no entry holds a layer that lives",
    "yolo-checkpoint-twice": "no entry holds a layer that lives",
    "fairscale-backward-average": "no entry holds a layer that lives",
    "maml-backup-tied": "no entry holds a layer that lives",
}
EXAMPLES = CORPUS / "examples"
FILES = [str(path) for path in sorted(CORPUS.glob("*s.json"))]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What a mutant warns of is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def bn() -> Target:
    """The built-in batch norm, probed once."""
    return loaded("bn")


@pytest.mark.parametrize("entry", CORE, ids=lambda entry: entry.key)
def test_bn_holds(bn: Target, entry: Entry) -> None:
    """The built-in batch norm gives what a core entry expects."""
    found = replay(bn, entry)
    assert found.verdict == "pass", corpus_cli.failure_text(found, "bn")


def test_bn_holds_all_other_entries(bn: Target) -> None:
    """So it does with every entry that is not core."""
    failing = [found for e in ENTRIES if (found := replay(bn, e)).verdict != "pass"]
    assert failing == []


@pytest.mark.parametrize("name", sorted(subjects()))
@pytest.mark.slow(but_one_in=11)
def test_the_core_kills_a_mutant(name: str) -> None:
    """Each mutant that a list of calls can show fails some core entry, with no drawing."""
    verdicts = [replay(subjects()[name](), entry).verdict for entry in CORE]
    assert ("fail" in verdicts) != (name in NO_CALLS), NO_CALLS.get(name, "the core misses it")


@pytest.mark.parametrize("name", sorted(controls()))
@pytest.mark.slow(but_one_in=4)
def test_no_entry_accuses_a_control(name: str) -> None:
    """What is right passes every entry that it offers."""
    target = right_ones()[name]()
    failing = [found for e in ENTRIES if (found := replay(target, e)).verdict == "fail"]
    assert failing == []


@pytest.mark.slow
def test_every_core_entry_is_needed() -> None:
    """The greedy core holds no entry whose kills the others all have."""
    kills = {
        entry.key: {n for n, make in subjects().items() if replay(make(), entry).verdict == "fail"}
        for entry in CORE
    }
    for key, own in kills.items():
        others = set().union(*(kills[other] for other in kills if other != key))
        assert own - others, f"{key} kills nothing that the rest of the core does not"


@pytest.mark.parametrize("conventions", [SEED, TORCH, replace(SEED, running_var="unbiased")])
def test_running_statistics_follow_the_targets_conventions(conventions: Conventions) -> None:
    """The same entry holds for targets that average in another way, each by its own."""
    conventions = replace(conventions, dtypes=("float32", "float64", "float16"))
    target = built("right", Pieces(), conventions)
    plain = [entry for entry in ENTRIES if entry not in MASKED]  # it takes no mask
    assert {replay(target, entry).verdict for entry in plain} == {"pass"}


@pytest.mark.parametrize("other", [TORCH, replace(SEED, running_var="unbiased")])
def test_another_convention_than_stated_fails(other: Conventions) -> None:
    """A target that states the seed's conventions and follows others fails some core entry."""
    target = replace(built("wrong", Pieces(), other), conventions=SEED)
    assert "fail" in {replay(target, entry).verdict for entry in CORE}


def test_what_a_target_lacks_is_not_offered() -> None:
    """An entry that needs a function, rank, dtype or eps that is not there is left out."""
    target = built("part", Pieces(), SEED)
    half = next(e for e in ENTRIES if e.calls[0].get("x", {}).get("dtype") == "float16")
    assert missing(half, target) == "float16"
    plain = next(e for e in CORE if e.calls[0]["call"] == "forward_train" and e is not half)
    without = replace(target, offers=target.offers - {"forward_train"})
    assert replay(without, plain).verdict == "not offered"
    fixed = built("fixed", Pieces(), replace(SEED, eps=0.123))
    assert missing(plain, fixed) == "another eps"


def test_the_calls_that_a_target_can_make_are_made() -> None:
    """An entry whose last call is not offered still fails at an earlier one that is wrong."""
    long = next(e for e in ENTRIES if [c["call"] for c in e.calls][:2] == ["forward_train"] * 2 or
                [c["call"] for c in e.calls][-1] == "backward_train")  # fmt: skip
    last = long.calls[-1]["call"]
    right = built("part", Pieces(), SEED)
    part = replace(right, offers=right.offers - {last})
    assert (replay(right, long).verdict, replay(part, long).verdict) == ("pass", "not offered")
    wrong = built("wrong", Pieces(output=lambda x, g, b, m, s: g * (x - m) * s + b + 1), SEED)
    assert last != "forward_train"
    assert replay(replace(wrong, offers=part.offers), long).verdict == "fail"


def test_why_entries_are_not_offered_is_said(
    saved: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each reason stands once, with how many entries it keeps out."""
    path = saved("from bn import forward_train, forward_eval", "forward_only.py")
    assert _replayed(str(path), "--core") == 0
    assert re.search(r"^not offered: \d+ need backward_train$", capsys.readouterr().out, re.M)


def _replayed(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="bncheck replay")
    corpus_cli.add_replay_arguments(parser)
    return corpus_cli.run_replay(parser.parse_args(words))


def test_the_command_says_what_failed_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure names the sentence, the call, got and wanted, the error and the source."""
    assert _replayed("mutants:beta_scaled_by_gamma") == 1
    out = capsys.readouterr().out
    for part in ("  at      calls[0], forward_train: y[", "  got ", "  wanted ", " the allowed "):
        assert part in out
    assert " fail, " in out.splitlines()[-1]


def test_the_core_is_replayed_in_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """Replay of the core takes under 2 s of this process, however busy the machine is."""
    started = time.process_time()
    assert _replayed("bn", "--core") == 0
    assert time.process_time() - started < 2
    assert capsys.readouterr().out == f"{len(CORE)} pass, 0 fail, 0 not offered\n"


def test_a_damaged_corpus_is_replayed_as_far_as_it_goes(tmp_path: Path, capsys: Any) -> None:
    """The good entries are replayed, the bad ones said, and the status is 2."""
    content = (CORPUS / "edges.json").read_bytes()
    (tmp_path / "edges.json").write_bytes(content[: len(content) * 9 // 10])
    assert _replayed("bn", "--corpus", str(tmp_path)) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert int(captured.out.split()[0]) > 5


def _kernel(tmp_path: Path, text: str) -> list[str]:
    source, made = tmp_path / "replay.c", tmp_path / "replay"
    source.write_text(text)
    command = ["gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", made, source, "-lm"]
    subprocess.run(command, check=True)
    return [str(made)]


def _javascript(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "replay.mjs").write_text(text)
    return ["node", str(tmp_path / "replay.mjs")]


READERS = [
    pytest.param(
        "replay.c", _kernel, "sqrt(var[k] + eps)", "(sqrt(var[k]) + eps)",
        marks=pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not there"),
    ),
    pytest.param(
        "replay.mjs", _javascript, "Math.sqrt(v + eps)", "(Math.sqrt(v) + eps)",
        marks=pytest.mark.skipif(shutil.which("node") is None, reason="node is not there"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("entry", MASKED, ids=lambda entry: entry.key)
def test_a_mask_is_replayed_where_it_can_be_told(entry: Entry, bn: Target) -> None:
    """Who takes no mask, none in this rank, or lengths alone is not held to what it cannot do."""
    assert replay(bn, entry).verdict == "pass"
    without = replace(bn, offers=bn.offers - {"mask"})
    assert replay(without, entry).message == "mask"
    forward_only = replace(bn, offers=bn.offers - {"masked gradients"})
    assert (replay(forward_only, entry).verdict, replay(forward_only, entry).call) == (
        "not offered",
        1,
    )
    told = replace(bn.conventions, mask="lengths", mask_ndim=(3, 4, 5))
    by_lengths = missing(entry, replace(bn, conventions=told))
    assert (by_lengths == "") == entry.key.endswith(": lengths")
    assert by_lengths in ("", "a mask in rank 2", "a mask that is no lengths")


@pytest.mark.parametrize(("name", "make", "old", "new"), READERS)
def test_a_reader_without_python_passes_what_is_right(
    name: str, make: Any, old: str, new: str, tmp_path: Path
) -> None:
    """The example readers find nothing wrong with their own batch norm, core and all."""
    command = make(tmp_path, (EXAMPLES / name).read_text())
    for option in ([], ["-a"]):
        done = subprocess.run([*command, *option, *FILES], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ", 0 fail, " in done.stdout
        assert int(done.stdout.split()[0]) >= 10


@pytest.mark.parametrize(("name", "make", "old", "new"), READERS)
def test_a_reader_without_python_finds_what_is_wrong(
    name: str, make: Any, old: str, new: str, tmp_path: Path
) -> None:
    """With eps moved outside the root in its kernel a reader names failing entries."""
    text = (EXAMPLES / name).read_text()
    assert old in text
    done = subprocess.run(
        [*make(tmp_path, text.replace(old, new)), *FILES], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "FAIL " in done.stdout


def test_the_c_reader_fits_on_two_pages() -> None:
    """The C reader stays under 120 lines."""
    assert len((EXAMPLES / "replay.c").read_text().splitlines()) < 120

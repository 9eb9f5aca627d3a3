"""`--database`: what failed once is tried first by the next run, here or on another machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from properties.engine import database
from properties.engine.database import Part, absolute, opened, public
from properties.engine.exercise import run_invariant
from properties.invariants import INVARIANTS
from properties.model.contract import TargetError
from properties.targets.open import loaded

Run = Callable[..., Any]
Save = Callable[..., Path]

REFERENCE = "output_agrees_with_reference"
SEQUENCE = "calls_in_any_order_follow_the_model"
RARE = """
def forward_train(x, *args, **kwargs):
    y, mean, var, saved = bn.forward_train(x, *args, **kwargs)
    return y + (len(x) == {n}), mean, var, saved
"""  # wrong for one size of batch alone: one example in forty
OFTEN, SELDOM = ("--seed", 1, "--examples", 300), ("--seed", 2, "--examples", 5)


@pytest.fixture
def rows(bncheck: Run, tmp_path: Path) -> Callable[..., dict[str, dict[str, Any]]]:
    """Run a target and return what the JSON says of each invariant."""

    def run(*words: object) -> dict[str, dict[str, Any]]:
        out = tmp_path / "x.json"
        ran = bncheck("run", *words, "--json", out)
        assert ran.err == "", ran.err
        content = json.loads(out.read_text(encoding="utf-8"))
        return {row["name"]: row for row in content["invariants"]}

    return run


@pytest.fixture
def rare(on_bn: Save) -> Path:
    return on_bn(RARE.format(n=17))


@pytest.fixture
def left(rows: Any, rare: Path, tmp_path: Path) -> Path:
    """A folder in which a run of one seed has left its counterexample."""
    folder = tmp_path / "examples"
    row = rows(rare, "--only", REFERENCE, *OFTEN, "--database", folder)[REFERENCE]
    assert row["verdict"] == "fail" and row["examples"] > 5, "found at once: this shows nothing"
    return folder


WAYS = ("", "--in-process", "--jobs 2", "-x", "-x --jobs 2 --in-process")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.slow(but_one_in=5)
def test_what_failed_is_the_first_example_of_the_next_run(
    rows: Any, rare: Path, left: Path, way: str
) -> None:
    """With another seed and in every way to run, the first example is the one that failed."""
    row = rows(rare, "--only", REFERENCE, *SELDOM, "--database", left, *way.split())[REFERENCE]
    assert (row["verdict"], row["examples"]) == ("fail", 1)
    assert row["counterexample"]["calls"][0]["x"]["shape"] == [17, 1]


@pytest.mark.slow
def test_without_it_the_next_run_finds_nothing(
    rows: Any, rare: Path, left: Path, tmp_path: Path
) -> None:
    """The seed that finds it with the folder passes without, or with another: it was the folder."""
    for words in ((), ("--database", tmp_path / "another")):
        row = rows(rare, "--only", REFERENCE, *SELDOM, *words)[REFERENCE]
        assert row["verdict"] == "pass"
    assert left.exists() and not (tmp_path / "another").exists()


@pytest.mark.slow
def test_sequences_of_calls_are_kept_too(rows: Any, on_bn: Save, tmp_path: Path) -> None:
    """A sequence that failed, made small, is the first of the next run."""
    path = on_bn(RARE.format(n=7))
    words = ("--only", SEQUENCE, "--in-process", "--database", tmp_path / "examples")
    first = rows(path, *words, *OFTEN)[SEQUENCE]
    assert first["verdict"] == "fail" and first["examples"] > 5
    assert rows(path, *words, *SELDOM)[SEQUENCE]["examples"] == 1
    assert rows(path, *words[:3], *SELDOM)[SEQUENCE]["verdict"] != "fail"


@pytest.mark.slow
def test_the_line_that_shows_it_again_has_the_database(
    bncheck: Run, rare: Path, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command after `again` finds the same, which its seed alone would not."""
    monkeypatch.chdir(left.parent)
    ran = bncheck("run", rare, "--only", REFERENCE, *SELDOM, "--database", left.name)
    (line,) = (line for line in ran.out.splitlines() if line.startswith("     again"))
    assert line.endswith(f" --seed 2 --examples 5 --database {left}"), line
    monkeypatch.chdir(os.sep)
    assert bncheck(*line.split()[2:]).out == ran.out


@pytest.mark.slow
def test_the_same_content_and_seed_give_the_same(bncheck: Run, rare: Path, left: Path) -> None:
    """One worker and two, from equal folders, come to the same and leave the same."""
    found = []
    for jobs in (1, 2):
        folder = left.with_name("copy")
        shutil.copytree(left, folder)
        words = ("--only", REFERENCE, "--only", SEQUENCE, *SELDOM, "--jobs", jobs)
        ran = bncheck("run", rare, *words, "--database", folder)
        kept = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        found.append((ran.status, ran.out, kept))
        shutil.rmtree(folder)
    assert found[0] == found[1] and found[0][0] == 1


@pytest.mark.slow
def test_a_database_with_nothing_to_say_changes_nothing(
    bncheck: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same seed is the same run, and where nothing fails nothing is left."""
    monkeypatch.chdir(tmp_path)
    words = ("run", "bn", "--only", REFERENCE, "--only", SEQUENCE, "--seed", 3, "--examples", 30)
    without, with_it = bncheck(*words), bncheck(*words, "--database", "examples")
    assert with_it == without and without.status == 0
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_what_no_longer_fails_is_forgotten(
    rows: Any, on_bn: Save, rare: Path, left: Path, tmp_path: Path
) -> None:
    """A mended target passes on what it failed on, which is then tried no more."""
    mended = on_bn()
    assert mended == rare
    words = ("--only", REFERENCE, "--seed", 2, "--examples", 200, "--database", left)
    assert rows(mended, *words)[REFERENCE]["verdict"] == "pass"
    row = rows(on_bn(RARE.format(n=17)), *words[:2], *SELDOM, "--database", left)[REFERENCE]
    assert row["verdict"] == "pass"


@pytest.mark.slow
def test_targets_invariants_and_dtypes_have_places_of_their_own(left: Path, rare: Path) -> None:
    """What one has left another neither tries nor throws away."""
    from properties.run.expectations import only_dtypes

    kept = opened(str(left))
    options: dict[str, Any] = {"examples": 5, "seed_number": 2, "database": kept}
    target = loaded(str(rare))
    for tried, name in (
        (loaded("bn"), REFERENCE),
        (target, "output_follows_order_of_batch"),
        (only_dtypes(target, ["float16"]), REFERENCE),
    ):
        assert run_invariant(tried, INVARIANTS[name], **options).verdict != "fail"
    assert run_invariant(target, INVARIANTS[REFERENCE], **options).examples == 1


# --- Redis ---------------------------------------------------------------------------------------


def test_redis_shares_what_failed(rows: Any, rare: Path, server: str, tmp_path: Path) -> None:
    """Through a real server the first example of the next run is what failed, on workers too."""
    words = (rare, "--only", REFERENCE)
    both = f"{tmp_path / 'examples'},{server}"
    first = rows(*words, *OFTEN, "--database", both)[REFERENCE]
    assert first["verdict"] == "fail" and first["examples"] > 5
    for where, jobs in ((server, 2), (str(tmp_path / "examples"), 1), (both, 1)):
        row = rows(*words, *SELDOM, "--database", where, "--jobs", jobs)[REFERENCE]
        assert (row["verdict"], row["examples"]) == ("fail", 1), where


def test_a_server_that_goes_away_is_one_line(
    bncheck: Run, on_bn: Save, server: str, tmp_path: Path
) -> None:
    """A server lost in the middle ends the run with one line; what was found is shown."""
    port = server.rpartition(":")[2]
    path = on_bn(f"""
        import socket
        def forward_train(x, *args, **kwargs):
            if len(x) > 1000:
                with socket.create_connection(("127.0.0.1", {port})) as stop:
                    stop.sendall(b"SHUTDOWN NOSAVE\\r\\n")
                    stop.recv(9)
            y, mean, var, saved = bn.forward_train(x, *args, **kwargs)
            return y + (len(x) > 1000), mean, var, saved
    """)
    out = tmp_path / "x.json"
    words = ("--only", REFERENCE, "--only", "large_batches_lose_no_row", "--seed", 1)
    ran = bncheck("run", path, *words, "--database", server, "--json", out)
    assert (ran.status, ran.err.count("\n")) == (2, 1), ran.err
    assert ran.err.startswith("bncheck: --database: it no longer answers: "), ran.err
    assert "interrupted; so far PASS: 1 of 1 invariants" in ran.out, ran.out
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["complete"] is False and len(content["invariants"]) == 1


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and says nothing."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield f"127.0.0.1:{found.getsockname()[1]}"


def test_a_server_that_says_nothing_is_not_waited_for(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes a connection and is no Redis is given up, and the password is not shown."""
    pytest.importorskip("redis", reason="needs bncheck[cluster]")
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    with pytest.raises(TargetError, match=r"--bn-database=redis://\*\*\*@127.*: no answer: ") as e:
        opened(f"redis://me:secret@{silent}", "--bn-database")
    assert "secret" not in str(e.value)


# --- the text ------------------------------------------------------------------------------------


def test_a_text_names_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders become whole paths, addresses stay, passwords are not shown, nothing is none."""
    monkeypatch.chdir(tmp_path)
    assert absolute("a, b,redis://h:1") == f"{tmp_path / 'a'},{tmp_path / 'b'},redis://h:1"
    assert public("a,redis://:x@h:1,unix://u:y@/s") == "a,redis://***@h:1,unix://***@/s"
    assert public("a@b,redis://h:1/0") == "a@b,redis://h:1/0"
    assert (absolute(""), opened("")) == ("", None)


def test_parts_of_a_database_are_apart(tmp_path: Path) -> None:
    """What is kept under one name is not seen under another, and can be taken away again."""
    whole = opened(str(tmp_path / "examples"))
    assert whole is not None
    one, other = Part(whole, "t", "a"), Part(whole, "t", "b")
    for value in (b"2", b"1"):
        one.save(b"key", value)
    assert (one.fetch(b"key"), other.fetch(b"key")) == ([b"1", b"2"], [])
    one.delete(b"key", b"2")
    assert Part(whole, "t", "a").fetch(b"key") == [b"1"]

"""`bncheck hunt`: its table, its files, and that nothing is lost whoever is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hunting import ONE_PASS, QUICK, SLOW, begun, hunted, lines, table, until

from properties.hunt.state import kept

Ran = Any


@pytest.fixture
def slow(saved: Callable[..., Path]) -> Path:
    return saved(SLOW, "slow.py")


@pytest.fixture
def quick(saved: Callable[..., Path]) -> Path:
    return saved(ONE_PASS, "quick.py")


def test_a_hunt_says_what_fails_and_from_where(quick: Path, tmp_path: Path) -> None:
    """The table, the decade where an error begins, the cases and a result file come out."""
    ran = hunted(quick, "--examples", 12, "--out", "found.json", "--jobs", 2, cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "running_var in float32 exceeds its radius from mean/sd 1e" in ran.stdout
    assert "running_mean in float32 exceeds" not in ran.stdout
    content = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert (content["complete"], content["verdict"]) == (True, "fail")
    rows = {(r["quantity"], r["dtype"], r["decade"]): r for r in content["cells"]}
    good, bad = rows["running_mean", "float32", 3], rows["running_var", "float32", 3]
    assert (good["verdict"], bad["verdict"], bad["class"]) == ("pass", "fail", "C")
    assert bad["closest"]["multiple"] > 1 > good["closest"]["multiple"]
    for row in rows.values():
        assert row["examples"] >= row["decided"] >= row["failing"]
        for name in ("largest", "closest"):
            point = row[name]
            if point is not None:
                assert point["pairwise_ulp"] <= point["radius_ulp"]
                assert "recipe" in content["cases"][point["case"]]
    worst = content["cases"][bad["closest"]["case"]]
    assert [call["call"] for call in worst["calls"]] == ["forward_train"]
    assert {s["quantity"] for s in content["smallest"]} == {"y", "running_var"}
    smallest = next(s for s in content["smallest"] if s["quantity"] == "running_var")
    assert content["cases"][smallest["point"]["case"]]["calls"][0]["x"]["shape"][0] <= 4


def test_failing_cases_go_into_a_corpus_and_fail_there(
    quick: Path, tmp_path: Path, bncheck: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hunt found is added from the last run, checked, and fails the target in replay."""
    hunted(quick, *QUICK, "--jobs", 1, cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    added = bncheck("corpus", "add", "--from-last-run", "--corpus", "corpus")
    assert added.status == 0, added.err
    assert "added: The running variance agrees with the reference" in added.out
    replayed = bncheck("replay", quick, "--corpus", "corpus")
    assert replayed.status == 1, replayed.out
    assert bncheck("replay", "bn", "--corpus", "corpus").status == 0


def test_more_workers_find_the_same(quick: Path, tmp_path: Path) -> None:
    """One worker and three come to the same table, case for case; the second look is resumed."""
    for jobs in (1, 3):
        hunted(quick, *QUICK, "--jobs", jobs, "--out", f"{jobs}.json", cwd=tmp_path)
    assert table(tmp_path / "1.json") == table(tmp_path / "3.json")
    names = [sorted(line["shard"] for line in lines(tmp_path / f"{k}.jsonl")) for k in (1, 3)]
    assert names[0] == names[1] and len(set(names[0])) == len(names[0])
    again = hunted(quick, *QUICK, "--jobs", 1, "--out", "1.json", cwd=tmp_path)
    assert f"resumed: {len(names[0])} shards were done" in again.stdout
    assert table(tmp_path / "1.json") == table(tmp_path / "3.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The table of the slow target's hunt when nobody stops it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")
    hunted("slow.py", *QUICK, "--jobs", 2, "--out", "x.json", cwd=folder)
    return table(folder / "x.json")


@pytest.mark.parametrize(
    ("sent", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_a_stopped_hunt_is_resumed_with_nothing_lost(
    slow: Path, tmp_path: Path, whole: Any, sent: signal.Signals, status: int
) -> None:
    """Stopped in the middle, by whichever signal, its workers go, and it comes to the same end."""
    state = tmp_path / "x.jsonl"
    process = begun("slow.py", *QUICK, "--jobs", 2, "--out", "x.json", cwd=tmp_path)
    until(lambda: len(lines(state)) >= 3 or process.poll() is not None, "three shards")
    workers = children(process.pid)
    process.send_signal(sent)
    out, err = process.communicate()
    assert process.returncode == status, out + err
    until(lambda: not any(alive(pid) for pid in workers), "the workers' end")
    done = len(lines(state))
    if sent != signal.SIGKILL:
        assert err == ""
        assert f"interrupted after {done} of" in out
        content = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
        assert (content["complete"], content["shards"]["done"]) == (False, done)
    again = hunted("slow.py", *QUICK, "--jobs", 2, "--out", "x.json", cwd=tmp_path)
    assert f"resumed: {done} shards were done" in again.stdout, again.stderr
    assert table(tmp_path / "x.json") == whole
    names = [line["shard"] for line in lines(state)]
    assert len(set(names)) == len(names)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is not yet fetched does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_killed_worker_loses_no_shard(slow: Path, tmp_path: Path, whole: Any) -> None:
    """With a worker killed in the middle the hunt goes on and comes to the same end."""
    process = begun("slow.py", *QUICK, "--jobs", 2, "--out", "x.json", cwd=tmp_path)
    until(lambda: len(lines(tmp_path / "x.jsonl")) >= 2, "two shards")
    workers = [pid for pid in children(process.pid) if "resource_tracker" not in said(pid)]
    os.kill(workers[-1], signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1, out + err
    assert table(tmp_path / "x.json") == whole


def said(pid: int) -> str:
    """Return a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")


def test_a_target_that_kills_its_process_is_told_by_shard(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    """The shards that end their process are named and fail; all others are searched."""
    deadly = ONE_PASS.replace(
        "time.sleep(PAUSE)",
        "np.abs(x).max() > 6e6 and np.abs(x).min() > 6e6 and __import__('os')._exit(7)",
    )
    target = saved(deadly, "deadly.py")
    ran = hunted(
        target, "--only", "running_mean", "--examples", 3, "--jobs", 1, "--out", "x", cwd=tmp_path
    )
    assert ran.returncode == 1, ran.stderr
    content = json.loads((tmp_path / "x" / "hunt.json").read_text(encoding="utf-8"))
    assert content["complete"] is True
    assert "running_mean | float32 | mean/sd 1e7" in content["died"]
    assert "running_mean | float32 | mean/sd 1e2" not in content["died"]
    assert "the process died" in ran.stdout
    assert {r["verdict"] for r in content["cells"]} == {"pass"}


# --- the state file ------------------------------------------------------------------------------

HEAD = {"target": "t", "seed": 0, "fingerprint": "f"}


class Named:
    """A shard's name."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_a_torn_line_is_searched_again(tmp_path: Path) -> None:
    """What a killed process wrote in part is dropped; what it had finished stays."""
    path, found = tmp_path / "x.jsonl", {"cells": [], "smallest": None}
    with kept(path, HEAD) as state:
        state.add(Named("one"), found)
        state.add(Named("two"), found)
        state.add(Named("two"), {"cells": [1], "smallest": None})
    whole = path.read_bytes()
    for torn in (whole[:-1], whole[:-9], whole + b'{"shard": "three", "ce'):
        path.write_bytes(torn)
        with kept(path, HEAD) as state:
            done = set(state.done)
            assert "one" in done and "three" not in done
            assert ("two" in done) == (len(torn) > len(whole))
            assert state.resumed == len(done)
            state.add(Named("last"), found)
        assert [line["shard"] for line in lines(path)] == [*sorted(done), "last"]


def test_two_hunts_do_not_share_a_file(tmp_path: Path) -> None:
    """While one hunt writes, another on the same file is refused in one line; then it may."""
    from properties.model.contract import TargetError

    path = tmp_path / "x.jsonl"
    refused = pytest.raises(TargetError, match="another hunt is writing there")
    with kept(path, HEAD), refused, kept(path, HEAD):
        pass
    with kept(path, HEAD) as state:
        assert state.resumed == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed=0, not 1"),
        ({"target": "other"}, "target='t', not 'other'"),
        ({"fingerprint": "g"}, "another source or version"),
    ],
)
def test_another_hunts_file_is_left_alone(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """A file of another target, seed or source is refused, and stays as it is."""
    from properties.model.contract import TargetError

    path = tmp_path / "x.jsonl"
    with kept(path, HEAD) as state:
        state.add(Named("one"), {"cells": [], "smallest": None})
    before = path.read_bytes()
    with pytest.raises(TargetError, match=said), kept(path, {**HEAD, **change}):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["hello\n", "[1]\n", '{"a": 1}\n{"b": 2}\n'])
def test_a_file_of_something_else_is_left_alone(text: str, tmp_path: Path) -> None:
    """What is no hunt's file is never written into."""
    from properties.model.contract import TargetError

    path = tmp_path / "x.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TargetError, match="no hunt's file"), kept(path, HEAD):
        pass
    assert path.read_text(encoding="utf-8") == text


# --- wrong arguments -----------------------------------------------------------------------------


def test_a_quantity_that_is_not_offered_is_told_in_one_line(
    quick: Path, bncheck: Callable[..., Ran]
) -> None:
    """--only names one that the target has."""
    ran = bncheck("hunt", quick, "--only", "dx")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "--only=dx: expected one that" in ran.err


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("distributed", ["--scheduler", "tcp://127.0.0.1:1"]),
        ("redis", ["--database", "redis://127.0.0.1:1"]),
    ],
)
def test_a_missing_extra_is_told_in_one_line(
    missing: str,
    arguments: list[str],
    tmp_path: Path,
    bncheck: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the extra the line says what to install."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    monkeypatch.delitem(__import__("sys").modules, "hypothesis.extra.redis", raising=False)
    ran = bncheck("hunt", "bn", *arguments)
    assert ran.status == 2
    assert f"needs {missing}; try: pip install 'bncheck[cluster]'" in ran.err

"""The hunt on a Dask cluster of real processes, and examples shared by folder and by Redis."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hunting import ONE_PASS, QUICK, SLOW, begun, free_port, here, hunted, lines, table, until

from properties.engine.database import opened
from properties.hunt.search import search
from properties.hunt.shards import Shard
from properties.model.contract import Conventions, TargetError
from properties.plants.textbook import Pieces, implementation


@dataclass
class Cluster:
    """A scheduler's address and its workers' processes."""

    address: str
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A Dask scheduler and two workers, each a process of its own."""
    pytest.importorskip("distributed", reason="needs bncheck[cluster]")
    told, started = tmp_path / "scheduler.json", []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        with (tmp_path / f"{len(started)}.log").open("wb") as log:
            started.append(
                subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=here())
            )
        return started[-1]

    def ready() -> bool:
        assert started[0].poll() is None, (tmp_path / "0.log").read_text(encoding="utf-8")
        return told.exists() and told.read_bytes().endswith(b"}")

    address = ["--scheduler-file", str(told)]
    try:
        start("scheduler", "--port", "0", "--host", "127.0.0.1", *address)
        until(ready, "the scheduler")
        alone = ["--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)]
        workers = [start("worker", *address, *alone) for _ in range(2)]
        yield Cluster(json.loads(told.read_bytes())["address"], workers)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def test_a_cluster_finds_the_same_though_a_worker_is_killed(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Two real workers, one killed in the middle: no shard and no finding is lost."""
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    begin = [*QUICK, "--scheduler", cluster.address, "--out", "far.json"]
    process = begun("slow.py", *begin, cwd=tmp_path)
    until(lambda: len(lines(tmp_path / "far.jsonl")) >= 3, "three shards")
    cluster.workers[0].send_signal(signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1, out + err
    near = hunted("slow.py", *QUICK, "--jobs", 2, "--out", "near.json", cwd=tmp_path)
    assert near.returncode == 1, near.stderr
    assert table(tmp_path / "far.json") == table(tmp_path / "near.json")
    names = [line["shard"] for line in lines(tmp_path / "far.jsonl")]
    assert len(set(names)) == len(names)
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert cluster.workers[1].poll() is None


def test_a_cluster_with_another_source_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """A worker that would search another source of the target says so, in one line."""
    target = tmp_path / "quick.py"
    target.write_text(ONE_PASS, encoding="utf-8")
    begin = [*QUICK, "--scheduler", cluster.address]
    first = hunted("quick.py", *begin, "--out", "1.json", cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    target.write_text(ONE_PASS + "# changed\n", encoding="utf-8")
    second = hunted("quick.py", *begin, "--out", "2.json", cwd=tmp_path)
    assert second.returncode == 2, second.stdout
    assert "expected the same files and versions everywhere" in second.stderr
    assert second.stderr.startswith("bncheck: ") and second.stderr.count("\n") == 1


def test_a_scheduler_that_does_not_answer_is_told_in_one_line(tmp_path: Path) -> None:
    """Where no scheduler listens the command ends in status 2 and says what it expected."""
    pytest.importorskip("distributed", reason="needs bncheck[cluster]")
    ran = hunted("bn", *QUICK, "--scheduler", f"tcp://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert ran.returncode == 2
    assert "no answer" in ran.stderr and "expected tcp://HOST:PORT" in ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr


# --- examples shared -----------------------------------------------------------------------------


SHARD = Shard("running_var", "float32", "outlier")


def first_recipes(database: Any, seed_number: int = 0) -> list[Any]:
    """Return the recipes that Hypothesis's part of a search tries, in order."""
    tried: list[Any] = []

    def mean(x: Any) -> Any:
        tried.append(x.tobytes())
        return x.sum(axis=0, keepdims=True) / x.dtype.type(len(x))

    target = implementation(Pieces(mean=mean), Conventions(dtypes=("float32",)), "watched")
    search(target, SHARD, 40, seed_number, database=database)
    return tried[32:]


def shares(one: Any, other: Any) -> bool:
    """Return whether a search begins with what another, of another seed, has left."""
    left = set(first_recipes(one, 1))
    alone, shared = first_recipes(None, 2), first_recipes(other, 2)
    return len(left & set(shared[:2])) > len(left & set(alone[:2]))


def test_a_folder_shares_examples(tmp_path: Path) -> None:
    """A search in another process's folder begins with what the first found worst."""
    text = str(tmp_path / "examples")
    assert shares(opened(text), opened(text))


def test_searches_without_a_database_share_nothing(tmp_path: Path) -> None:
    """Two folders are two databases: the check of sharing can fail."""
    assert not shares(opened(str(tmp_path / "one")), opened(str(tmp_path / "two")))


def test_redis_shares_examples(server: str) -> None:
    """Two connections to one server share; each shard and target has a part of its own."""
    assert shares(opened(server), opened(server))
    import redis

    keys = redis.Redis.from_url(server).keys()
    assert keys and all(SHARD.name.encode() in key for key in keys)


def test_both_share_with_either(server: str, tmp_path: Path) -> None:
    """What goes into a folder and Redis at once comes out of each alone."""
    folder = str(tmp_path / "examples")
    left = set(first_recipes(opened(f"{folder},{server}"), 1))
    for text in (folder, server):
        assert left & set(first_recipes(opened(text), 2)[:2]), f"nothing came from {text}"


def test_the_command_takes_a_database(server: str, tmp_path: Path) -> None:
    """`--database` reaches the workers, and without one nothing is left beside the results."""
    (tmp_path / "quick.py").write_text(ONE_PASS, encoding="utf-8")
    where = f"shared,{server}"
    ran = hunted(
        "quick.py", *QUICK, "--jobs", 1, "--database", where, "--out", "x.json", cwd=tmp_path
    )
    assert ran.returncode == 1, ran.stderr
    assert any((tmp_path / "shared").iterdir())
    import redis

    assert redis.Redis.from_url(server).dbsize() > 0
    assert ".hypothesis" not in os.listdir(tmp_path)


@pytest.mark.parametrize("address", ["redis://127.0.0.1:{}", "redis://127.0.0.1:port"])
def test_a_redis_that_does_not_answer_is_told(
    address: str, tmp_path: Path, bncheck: Callable[..., Any]
) -> None:
    """Where no server listens the line says so and what was expected."""
    pytest.importorskip("redis", reason="needs bncheck[cluster]")
    text = address.format(free_port())
    with pytest.raises(TargetError, match=r"no answer: .*expected a server at redis://HOST:PORT"):
        opened(text)
    assert bncheck("hunt", "bn", "--database", text).status == 2

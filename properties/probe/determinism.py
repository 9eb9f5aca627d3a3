"""Whether the same call gives the same bits: again, and with another number of threads."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..model import contract
from ..model.cases import dtype_of, state_dtype
from ..model.contract import Array, Conventions, Misbehaved, Target
from .answers import FOUND, OPEN, Answer, asked
from .subject import Probing

SIZES = (2**6, 2**16)
_C, _PATIENCE = 5, 300
_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC",
)  # fmt: skip


@dataclass(frozen=True)
class _Batch:
    """The arrays of one call; state is gamma, beta, running_mean, running_var."""

    x: Array
    dy: Array
    state: tuple[Array, ...]


def _batch(p: Probing, dtype: str, rank: int, n: int) -> _Batch:
    rng = p.random(1000 + n + rank)
    side = 2 ** (math.ceil(math.log2(n)) // 3) if rank > 3 else 1
    spatial = (1,) * (rank - 4) + (side, side) if rank > 3 else (1,) * (rank - 2)
    shape = (n // side**2, _C, *spatial)
    x, dy = (rng.standard_normal(shape).astype(dtype_of(dtype)) for _ in range(2))
    c, kept = p.conventions.columns(shape), state_dtype(dtype)
    state = tuple((rng.random(c) + 0.5).astype(kept) for _ in range(4))
    return _Batch(x, dy, state)


def results(p: Probing, dtype: str, rank: int, n: int) -> dict[str, Array]:
    """Return every array that one training call and its backward give."""
    batch = _batch(p, dtype, rank, n)
    result = contract.train(p.target, batch.x, *batch.state, eps=2.0**-10, momentum=0.25)
    found: dict[str, Any] = {"y": result.y}
    found |= {"running_mean": result.running_mean, "running_var": result.running_var}
    if "backward_train" in p.target.offers:
        back = contract.backward(p.target, batch.dy, result.saved, batch.state[0])
        found |= {"dx": back.dx, "dgamma": back.dgamma, "dbeta": back.dbeta}
    return {name: a for name, a in found.items() if a is not None}


def _places(p: Probing) -> Iterator[tuple[str, int, int]]:
    """Yield dtype, rank and number of values of each call."""
    ranks = [rank for rank in p.conventions.ndim if rank in (2, 4)] or [p.rank]
    yield from itertools.product(p.conventions.dtypes, ranks, SIZES)


def _digests(p: Probing, dtype: str, rank: int, n: int) -> dict[str, str]:
    where = f"({dtype}, rank {rank}, n = {n})"
    return {
        f"{name} {where}": hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()
        for name, a in results(p, dtype, rank, n).items()
    }


def digests(p: Probing) -> dict[str, str]:
    """Return a digest of the bits of every array, over dtypes, ranks and sizes."""
    return {k: v for place in _places(p) for k, v in _digests(p, *place).items()}


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _verdict(question: str, differing: list[str], calls: str) -> Answer:
    if not differing:
        return Answer(question, FOUND, "yes", calls)
    names = sorted({name.partition(" (")[0] for name in differing})
    told = f"no: {', '.join(names)}"
    return Answer(question, FOUND, told, calls, numbers={"differing": differing})


def same_again(p: Probing) -> Answer:
    """Return whether the same call on copies of the same arrays gives the same bits."""
    question = "deterministic"

    def ask() -> Answer:
        p.tick(question)
        first: dict[str, str] = {}
        differing: set[str] = set()
        for place in _places(p):
            once = _digests(p, *place)
            first |= once
            differing |= {*_differing(once, _digests(p, *place))}
        differing |= {*_differing(first, digests(p))}
        told = f"{len(first)} arrays, twice in turn and once later"
        return _verdict(question, sorted(differing), told)

    return asked(question, ask)


def by_threads(p: Probing, spec: str, counts: tuple[int, int] = (1, 2)) -> Answer:
    """Return whether child processes with one thread and with two give the same bits.

    Args:
        p: what is probed; the children load it anew.
        spec: of the target, from which a child can load it.
        counts: threads of either child, as environment variables and as processors to run on.
    """
    question = "same bits by thread count"
    if (os.cpu_count() or 1) < max(counts):
        return Answer(question, OPEN, "", f"it takes {max(counts)} processors")
    found = []
    for count in counts:
        p.tick(f"{question}: {count}")
        try:
            found.append(_child(p, spec, count))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            said = " ".join(str(error).split())
            return Answer(question, OPEN, "", f"with {count} threads: {said}")
    told = f"{len(found[0])} arrays with {counts[0]} and {counts[1]} threads"
    return _verdict(question, _differing(*found), told)


def _child(p: Probing, spec: str, threads: int) -> dict[str, str]:
    """Return the digests that a process with so many threads finds.

    Raises:
        ValueError: it said something else.
        subprocess.SubprocessError: it took too long.
    """
    environment = {**os.environ, **{name: str(threads) for name in _VARIABLES}}
    told = {
        "spec": spec,
        "seed": p.seed,
        "threads": threads,
        "conventions": asdict(p.conventions),
        "offers": sorted(p.target.offers),
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=json.dumps(told),
        env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=False,
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode or not last.startswith("{"):
        raise ValueError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    found: dict[str, str] = json.loads(last)
    return found


def _main() -> int:
    """Print the digests of what is asked for; processors are set before anything counts them."""
    told = json.load(sys.stdin)
    if hasattr(os, "sched_setaffinity"):
        able = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, able[: told["threads"]])
    import warnings

    from ..targets.load import load

    warnings.simplefilter("ignore")
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in told["conventions"].items()
    }
    try:
        functions, _ = load(told["spec"])
        target = Target(told["spec"], functions, Conventions(**given), frozenset(told["offers"]))
        print(json.dumps(digests(Probing(target, told["seed"]))))
    except (contract.TargetError, Misbehaved) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())

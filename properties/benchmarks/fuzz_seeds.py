"""Valid inputs of every reader, made by what writes them."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from ..cli import main
from ..corpus.files import format_entries, read_corpus
from ..hunt.shards import shards
from ..hunt.state import kept
from ..hunt.work import fingerprint, search_shard
from ..targets.isolate import protocol
from ..targets.isolate.trace import MAGIC
from ..targets.open import loaded

HEAD = {"target": "bn", "seed": 0, "fingerprint": "f"}
WRONG = "mutants:apex-ln-65536"


@cache
def corpora() -> list[bytes]:
    """Return corpus files of one or two entries each, the short ones among those shipped."""
    entries = sorted(read_corpus()[0], key=lambda e: len(format_entries([e])))
    kinds = {tuple(call["call"] for call in e.calls): e for e in reversed(entries)}
    short = [e for e in kinds.values() if len(format_entries([e])) < 6000]
    return [
        format_entries(pair).encode() for pair in zip(short, short[1:] + short[:1], strict=True)
    ]


@cache
def results() -> tuple[bytes, bytes]:
    """Return the JSON of a run that fails and of a probe."""
    run = ["run", "mutants:paddle-momentum-swapped", "--examples", "5", "--seed", "1"]
    run += ["--only", "running_statistics_follow_the_closed_form"]
    run += ["--only", "output_agrees_with_reference"]
    return _json_of(run), _json_of(["probe", "bn", "--up-to", "16", "--in-process"])


def _json_of(words: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main([*words, "--json", "x.json"])
        return Path("x.json").read_bytes()


@cache
def reports() -> list[bytes]:
    """Return what `corpus add` takes: corpus files and a run's JSON."""
    return [*corpora(), results()[0], results()[0]]


def registries() -> list[bytes]:
    """Return registries of expected failures with every field."""
    first = """[[expected]]
target = ["torch", "bn"]
invariant = "output_agrees_with_reference"
reason = "rounds twice"
link = "https://example.org/1"
dtypes = ["float16"]
without = "gamma and beta"
rare = true
"""
    second = """[[expected]]
target = "torch"
invariant = ["jacobian_is_symmetric", "gradients_are_linear_in_dy"]
reason = "computed in half precision"
link = "https://example.org/2"
up_to = 3.5
per = "condition"
"""
    return [first.encode(), second.encode(), (first + "\n" + second).encode(), b""]


def formulas() -> list[bytes]:
    """Return gradient formulas, right and wrong ones."""
    return [
        b"gamma/std*(dy - mean(dy) - xhat*mean(dy*xhat))",
        b"gamma/(n*std)*(n*dy - sum(dy) - xhat*sum(dy*xhat))",
        b"dvar = -0.5*gamma*sum(dy*xc)*rstd**3; gamma*dy*rstd + 2/n*xc*dvar - mean(gamma*dy*rstd)",
        b"gamma*dy/sqrt(var + eps)",
        b"s = square(x - mean(x)); gamma*dy/sqrt(mean(s) + eps) - 1.5e-3*xhat**2",
    ]


@cache
def values() -> list[bytes]:
    """Return values of the protocol."""
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
    opaque = protocol.opaque("Thing", "<thing>", "no array")
    made = []
    for value in (
        [x, x[0].astype(np.float64), None, protocol.Held(7)],
        [1.5, True, 12, "text", np.dtype(np.float16), opaque],
        x.astype(">f2"),
        [[x[:0]], [None, [0.25]]],
    ):
        out = bytearray()
        protocol.put(out, value, protocol.put_inline)
        made.append(bytes(out))
    return made


@cache
def programs() -> list[bytes]:
    """Return what a program answers: its greeting, and what its calls return."""
    greeting = bytearray(b"H" + struct.pack("<HB", 1, 2))
    for text in ("forward_train", "backward_train", '{"ndim": [2], "dtypes": ["float32"]}'):
        protocol.put_text(greeting, text)
    y, one = np.zeros((5, 3), np.float32), np.ones(3, np.float32)
    answer, wrong = bytearray(b"R"), bytearray(b"E")
    protocol.put(answer, [y, one, one, protocol.Held(1)], protocol.put_inline)
    protocol.put_text(wrong, "ValueError")
    protocol.put_text(wrong, "no such shape")
    return [
        protocol.frame(greeting) + 40 * protocol.frame(answer),
        protocol.frame(greeting) + protocol.frame(answer) + protocol.frame(wrong),
    ]


@cache
def traces() -> list[bytes]:
    """Return files of a last call, with arrays in them and arrays that lie in the file."""
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    made = []
    for placed in (False, True):
        call = bytearray(b"C")
        protocol.put_text(call, "forward_train")
        call.append(2)
        protocol.put(call, None, protocol.put_inline)
        if placed:
            protocol.put_placed(call, x, 16)
        else:
            protocol.put_inline(call, x)
        call.append(1)
        protocol.put_text(call, "eps")
        protocol.put(call, 1e-5, protocol.put_inline)
        whole = protocol.frame(b"P" + bytes(28)) + protocol.frame(call)
        made.append(MAGIC + len(whole).to_bytes(8, "little") + whole + bytes(64))
    return made


@cache
def hunts() -> list[bytes]:
    """Return the state files of hunts: with what was searched, and with no more than the head."""
    target = loaded(WRONG)
    mark = fingerprint(target)
    with tempfile.TemporaryDirectory() as folder:
        for name, chosen in (("none", []), ("some", shards(target, ["y"], ["float32"])[:3])):
            with kept(Path(folder) / name, HEAD) as state:
                for shard in chosen:
                    state.add(shard, search_shard(WRONG, mark, shard, 5, 0, ""))
        return [(Path(folder) / name).read_bytes() for name in ("some", "none")]


@cache
def images() -> list[bytes]:
    """Return .npz files of images and classes, packed and plain, and a file of one array."""
    x, t = np.arange(1600, dtype=np.uint8).reshape(200, 2, 4), np.arange(200) % 3
    made = []
    for write in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        write(out, x=x, t=t)
        made.append(out.getvalue())
    out = io.BytesIO()
    np.save(out, x)
    return [*made, out.getvalue()]


def command_lines() -> list[bytes]:
    """Return command lines, words apart by a null byte."""
    lines = (
        "run bn --examples 5 --seed 1 --json out.json --only jacobian_is_symmetric -x",
        "run mine.py --in-process --timeout 2 --memory 100",
        "invariants",
        "audit mine.py:f --dx x --mode eval --momentum update --returns dx,dgamma --eps 1 --seed 3",
        "replay bn --core --corpus folder",
        "corpus add findings.json --corpus folder",
        "corpus show key --python",
        "corpus check",
        "mutants",
        "targets --json out.json",
        "hunt bn --jobs 2 --only y --dtype float32 --out x.json --database folder",
        "probe bn torch --up-to 64 --json x.json",
        "report bn --out folder --minutes 1 --python python3 --resume",
        "diff old.json new.json --json out.json",
        "kill-matrix --examples 5 --out folder --jobs 1",
        "experiment --seeds 3 --steps 20 --rate 0.1 --eps 1e-3 --data x.npz",
        "--version",
    )
    return [line.replace(" ", "\0").encode() for line in lines]

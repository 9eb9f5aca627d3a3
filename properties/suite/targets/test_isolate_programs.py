"""exec:COMMAND: programs in C and JavaScript pass, and their wrong twins are caught."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties.targets.isolate import protocol

EXAMPLES = Path(protocol.__file__).parent / "examples"
REFERENCE = "output_agrees_with_reference"
GRADIENT = "input_gradient_agrees_with_reference"
CHECKED = (
    REFERENCE, GRADIENT, "gamma_gradient_is_sum_of_dy_xhat", "missing_affine_is_one_and_zero",
    "saved_outlives_other_forwards", "memory_layout_does_not_matter",
    "running_statistics_follow_the_closed_form", "one_value_per_channel_gives_beta",
    "empty_batch_leaves_the_state", "inference_is_one_affine_map_per_channel",
    "inference_gradients_agree_with_reference", "calls_in_any_order_follow_the_model",
)  # fmt: skip
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Compile the example in C and return its spec."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    folder = tmp_path_factory.mktemp("in c")

    def build(option: str) -> str:
        path = folder / f"batch_norm{option}"
        source = str(EXAMPLES / "batch_norm.c")
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", *([option] if option else [])]
        subprocess.run(["gcc", *flags, "-o", str(path), source, "-lm"], check=True)
        return f"exec:'{path}'"

    return build


@pytest.fixture(scope="module")
def in_javascript() -> Callable[[str], str]:
    """Return the spec of the example in JavaScript."""
    if shutil.which("node") is None:
        pytest.skip("no node")
    return lambda option: f"exec:node '{EXAMPLES / 'batch_norm.mjs'}' {option}".strip()


def only(*names: str) -> list[str]:
    return [word for name in names for word in ("--only", name)]


@pytest.mark.parametrize("language", ["in_c", "in_javascript"])
def test_a_program_that_is_no_python_passes(
    bncheck: Run, request: pytest.FixtureRequest, language: str
) -> None:
    """The example offers training, inference and both backwards, and every one of them holds."""
    spec = request.getfixturevalue(language)("")
    ran = bncheck("run", spec, *only(*CHECKED), "--examples", 15, "--seed", 1)
    assert ran.status == 0, ran.out + ran.err
    assert ": float32, float64; 2-D" in ran.out
    assert "not offered: forward" not in ran.out and "not offered: backward" not in ran.out
    assert f"\nPASS: {len(CHECKED)} of {len(CHECKED)} invariants hold\n" in ran.out


@pytest.mark.parametrize(
    ("language", "option", "name"),
    [
        ("in_c", "-DWRONG", REFERENCE),
        ("in_javascript", "--wrong", GRADIENT),
    ],
)
def test_the_wrong_twin_is_caught(
    bncheck: Run,
    request: pytest.FixtureRequest,
    language: str,
    option: str,
    name: str,
) -> None:
    """The program with a planted error fails where it is wrong, with nine numbers."""
    spec = request.getfixturevalue(language)(option)
    ran = bncheck("run", spec, *only(name), "--examples", 30, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert "1. cause not known\n" in ran.out, "on fewer than nine numbers it is right"
    assert "float32 (9, 1)" in ran.out, f"the least wrong batch is not shown: {ran.out}"


def program(folder: Path, source: str) -> str:
    """Save a program in Python that speaks what the source has it speak; return its spec."""
    path = folder / "program"
    path.write_text(f"#!{sys.executable}\n{PREAMBLE}{source}", encoding="utf-8")
    path.chmod(0o755)
    return f"exec:'{path}'"


PREAMBLE = """
import os, struct, sys, time
def send(body): os.write(1, struct.pack("<I", len(body)) + body)
def text(s): return struct.pack("<I", len(s)) + s.encode()
def receive():
    size = sys.stdin.buffer.read(4)
    if not size: sys.exit()
    return sys.stdin.buffer.read(*struct.unpack("<I", size))
receive()
def greet(names=("forward_train",), conventions="", version=1):
    named = b"".join(map(text, names))
    send(b"H" + struct.pack("<HB", version, len(names)) + named + text(conventions))
"""
STRANGE = {
    "an exit": ("sys.exit(4)", "it exited with status 4 before its first call"),
    "a refusal": ("send(b'X' + text('no room'))", ": no room"),
    "another version": ("greet(version=9)", "protocol version 9: expected 1"),
    "another message": ("send(b'Q')", "cannot be decoded: message 'Q': expected H or X"),
    "a print": ("print('hello there, this is no message', flush=True)", "cannot be decoded"),
    "an unknown function": ("greet(['forward'])", "function 'forward': expected those of the"),
    "no forward_train": ("greet(['backward_train'])", "it has no forward_train"),
    "no JSON": ("greet(conventions='{')", "no JSON"),
    "no mapping": ("greet(conventions='[]')", "expected a JSON object"),
    "a wrong convention": (
        "greet(conventions='{\"momentum\": \"slow\"}')", "CONVENTIONS['momentum']='slow'"),
    "silence": ("time.sleep(100)", "it hung: not ready within 3 s, six times --timeout"),
    "an exit in the first call": (
        "greet(); receive(); sys.exit(5)",
        "the first plain call failed: forward_train exited with status 5"),
    "an answer that is none": (
        "greet(); receive(); send(b'R')",
        "forward_train answered with something that cannot be decoded"),
    "an error in the first call": (
        "greet()\nwhile receive(): send(b'E' + text('Oh') + text('no luck'))",
        "the first plain call failed: forward_train raised Oh: no luck"),
}  # fmt: skip


@pytest.mark.parametrize("what", STRANGE)
def test_a_program_that_speaks_something_else_is_one_line(
    bncheck: Run, tmp_path: Path, what: str
) -> None:
    """What is wrong with its greeting or its first answer: one line, status 2."""
    source, said = STRANGE[what]
    ran = bncheck("run", program(tmp_path, source), "--timeout", 0.5)
    assert (ran.status, ran.out) == (2, ""), ran.out
    assert ran.err.count("\n") == 1, ran.err
    assert said in ran.err, ran.err


COMMANDS = {
    "exec:": "expected a command",
    "exec:  ": "expected a command",
    "exec:no-such-program-at-all": "no program no-such-program-at-all",
    "exec:'": "No closing quotation",
    f"exec:{os.devnull}": "no program",
}


@pytest.mark.parametrize("spec", COMMANDS)
def test_a_command_that_cannot_be_started_is_one_line(bncheck: Run, spec: str) -> None:
    """No such program, no command, no shell words: one line, status 2."""
    ran = bncheck("run", spec)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.count("\n") == 1, ran.err
    assert COMMANDS[spec] in ran.err, ran.err


def test_a_program_is_replayed_too(bncheck: Run, in_c: Callable[[str], str]) -> None:
    """`bncheck replay` takes exec:COMMAND as `bncheck run` does."""
    ran = bncheck("replay", in_c(""), "--core")
    assert ran.status == 0, ran.out + ran.err

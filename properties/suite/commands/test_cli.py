"""The command: its exit statuses, its lines, its JSON, and one clear line for what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from properties.engine.exercise import Result, run_invariant
from properties.invariants import INVARIANTS, Invariant
from properties.model.contract import Target
from properties.run import text as report

Run = Callable[..., Any]
Save = Callable[..., Path]

REFERENCE = "output_agrees_with_reference"
GRADIENT = "input_gradient_agrees_with_reference"
DIFFERENCES = "input_gradient_agrees_with_finite_differences"
SHIFTED = """
def forward_train(x, *args, **kwargs):
    y, mean, var, saved = bn.forward_train(x, *args, **kwargs)
    return y + 1, mean, var, saved
"""
SIGNALLED = """
import os, signal
calls = 0

def forward_train(x, *args, **kwargs):
    global calls
    calls += x.dtype == "float64" and x.shape[0] != 4  # no call of the probe
    if calls == {call}:
        os.kill(os.{who}(), signal.{name})
    return bn.forward_train(x, *args, **kwargs)
"""


def one_line(ran: Any) -> str:
    """Return the one line of standard error; there must be no traceback and no other output."""
    assert "Traceback" not in ran.out + ran.err, f"a traceback: {ran.err}"
    assert ran.err.count("\n") == 1, f"expected one line on stderr, got {ran.err!r}"
    assert ran.out == "", f"expected nothing on stdout, got {ran.out!r}"
    return str(ran.err)


# --- exit statuses -------------------------------------------------------------------------------


def test_status_0_when_everything_offered_holds(bncheck: Run) -> None:
    """A right implementation gives status 0 and a line per invariant that was asked for."""
    ran = bncheck(
        "run", "bn", "--only", REFERENCE, "--only", GRADIENT, "--examples", 20, "--seed", 1
    )
    assert ran.status == 0, ran.out + ran.err
    assert "\nPASS: 2 of 2 invariants hold\n2 pass on " in ran.out, ran.out


def test_status_1_when_something_failed(bncheck: Run, on_bn: Save) -> None:
    """A failure gives status 1 and a text with place, numbers and the command to see it again."""
    path = on_bn(SHIFTED)
    ran = bncheck("run", path, "--only", REFERENCE, "--examples", 20, "--seed", 3)
    assert ran.status == 1, ran.out + ran.err
    wanted = (
        "\nFAIL: 1 ", "The output agrees with the float64 reference.\n", "\n     at      y[",
        "\n     got     ", "\n     wanted  ", " of what was wanted, ", " times the allowed ",
        f"\n     again   bncheck run {path} --only {REFERENCE} --seed 3 --examples 20\n",
        "\n     x = ",
    )  # fmt: skip
    places = [ran.out.find(part) for part in wanted]
    assert -1 not in places, f"{wanted[places.index(-1)]!r} is not in {ran.out}"
    assert places == sorted(places), f"the parts are out of order in {ran.out}"


@pytest.mark.slow
def test_the_command_that_reproduces_a_failure_does(bncheck: Run, on_bn: Save) -> None:
    """The line after `again` gives the same failure when a shell runs it, spaces in paths too."""
    import shlex

    path = on_bn(SHIFTED, "users own target.py")
    ran = bncheck("run", path, "--only", REFERENCE, "--examples", 20)
    again = next(line for line in ran.out.splitlines() if line.startswith("     again"))
    words = shlex.split(again.removeprefix("     again"))
    assert words[0] == "bncheck"
    repeated = bncheck(*words[1:])
    assert repeated.status == 1
    assert repeated.out == ran.out, "another failure came out"


def test_status_3_when_the_evidence_is_missing(bncheck: Run) -> None:
    """Nothing failed, but in no example would the planted error have shown: status 3, and why."""
    # the first example of all has gamma one, where losing gamma is no error
    only = ("--only", DIFFERENCES, "--only", "same_call_gives_the_same_bits")
    ran = bncheck("run", *only, "--examples", 1)
    assert ran.status == 3, ran.out + ran.err
    assert f"undecided: {DIFFERENCES}: none of 1 examples was decisive" in ran.out
    assert "\nUNDECIDED: 1 of 2 invariants" in ran.out, "one that passed makes no whole that passes"


def test_nothing_offered_is_no_pass(bncheck: Run, saved: Save) -> None:
    """An invariant that the target does not offer proves nothing: not status 0."""
    path = saved("from bn import forward_train")
    ran = bncheck("run", path, "--only", "folding_preserves_inference", "--examples", 5)
    assert ran.status == 3, ran.out
    assert "\nnot offered: folding_preserves_inference: fold: absent\n" in ran.out


@pytest.mark.parametrize(("who", "where"), [("getppid", []), ("getpid", ["--in-process"])])
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.slow(but_one_in=3)
def test_cut_short_says_what_is_known(
    bncheck: Run, on_bn: Save, tmp_path: Path, name: str, status: int, who: str, where: list[str]
) -> None:
    """Interrupted or terminated in a call of the target: the results so far, and an open JSON."""
    path, out = on_bn(SIGNALLED.format(call=40, name=name, who=who)), tmp_path / "result.json"
    ran = bncheck("run", path, *where, "--examples", 30, "--seed", 1, "--json", out)
    assert ran.status == status, f"status {ran.status}: {ran.out}"
    assert "Traceback" not in ran.out + ran.err
    content = json.loads(out.read_text())
    assert content["complete"] is False
    known = [row["name"] for row in content["invariants"]]
    assert known, "what was found before the signal is missing"
    assert f"interrupted; so far PASS: {len(known)} of {len(known)} invariants" in ran.out
    assert " invariants were done; to go on: bncheck run " in ran.out.splitlines()[-1]
    assert known == list(INVARIANTS)[: len(known)]


def test_interrupted_while_importing_the_target(bncheck: Run, saved: Save) -> None:
    """An interrupt before the first example is status 130 and no traceback."""
    ran = bncheck("run", saved("raise KeyboardInterrupt"), "--in-process")
    assert (ran.status, ran.out) == (130, "")
    assert "Traceback" not in ran.err


def test_a_closed_pipe_ends_the_command_quietly(on_bn: Save) -> None:
    """`bncheck run | head -1` leaves no traceback."""
    command = (
        f"{sys.executable} -m properties.cli run bn --examples 1 --only {REFERENCE} | head -c 1"
    )
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == "", done.stderr


# --- one clear line ------------------------------------------------------------------------------

STRUCTURE = {
    "another number of results": (
        "    return x, rm, rv", "forward_train returned 3 results: expected 4"),
    "no results": ("    pass", "forward_train returned NoneType: expected 4 results"),
    "another shape": (
        "    return x[:1], rm, rv, None",
        "forward_train returned y of shape (1, 3): expected (4, 3)"),
    "another shape of the state": (
        "    return x, rm[:1], rv, None",
        "forward_train returned running_mean of shape (1,): expected (3,)"),
    "another dtype": (
        "    return x.astype('float16'), rm, rv, None",
        "forward_train returned y of dtype float16 for x of float32; "
        'if it takes others alone, state CONVENTIONS["dtypes"]'),
    "integers": (
        "    return x.astype(int), rm, rv, None",
        "forward_train returned y of dtype int64: expected floats"),
    "an error": (
        "    raise ValueError('no\\nsuch luck')",
        "the first plain call failed: forward_train raised ValueError: no"),
    "an exit": (
        "    raise SystemExit(5)",
        "the first plain call failed: forward_train raised SystemExit: 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRUCTURE)
@pytest.mark.slow(but_one_in=2)
def test_wrong_structure_of_the_first_call_is_status_2(
    bncheck: Run, saved: Save, case: str
) -> None:
    """The first plain call with the wrong number, shape or dtype of results: one line, status 2."""
    body, text = STRUCTURE[case]
    path = saved(f"def forward_train(x, gamma, beta, rm, rv, *, eps, momentum):\n{body}\n")
    ran = bncheck("run", path)
    assert ran.status == 2, ran.out
    assert one_line(ran) == f"bncheck: target={path}: {text}\n"


SOURCES = {
    "nothing in it": ("", "it has no forward_train; expected the functions of the contract, one "),
    "no function": ("forward_train = 3", "forward_train is no function but int"),
    "a missing name": ("import nowhere_at_all", "it does not import: ModuleNotFoundError: No"),
    "no Python": ("def", "it does not import: SyntaxError"),
    "an exit on import": ("raise SystemExit", "it does not import: SystemExit"),
    "two layer classes": (
        "class A:\n    def forward(self): ...\n    def backward(self): ...\nclass B(A): ...",
        "2 layer classes; name one with :NAME"),
}  # fmt: skip


@pytest.mark.parametrize("case", SOURCES)
def test_a_file_that_is_no_target_is_status_2(bncheck: Run, saved: Save, case: str) -> None:
    """A file that does not import or has no forward_train: one line, status 2."""
    source, text = SOURCES[case]
    path = saved(source)
    ran = bncheck("run", path)
    assert ran.status == 2, ran.out
    line = one_line(ran)
    assert line.startswith(f"bncheck: target={path}: "), line
    assert text in line, line


SPECS = {
    "nowhere_at_all": "no such module; expected one of bn, bn:per_activation, ",
    "nowhere.at.all": "no such module",
    "properties.nowhere": "no such module",
    "json:nowhere": "no nowhere in it",
    "json": "it has no forward_train",
    "nowhere.py": "no file nowhere.py",
    "./nowhere": "no file ./nowhere",
    "nowhere.py:NAME": "no file nowhere.py",
    "/": "no file /",
    "..": "it does not import",
    ":": "no such module",
    "": "expected a name, a module or a file.py",
    "bn:nowhere": "no nowhere in it",
    "bn:CONVENTIONS": "it has no forward_train",
    __file__ + ":nowhere": "no nowhere in it",
    os.devnull: "it has no",
}


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.slow(but_one_in=4)
def test_a_target_that_does_not_exist_is_status_2(bncheck: Run, spec: str) -> None:
    """No such module, file or name: one line that says what was looked for, status 2."""
    ran = bncheck("run", spec)
    assert ran.status == 2, ran.out
    line = one_line(ran)
    assert "target=" in line, line
    if spec != os.devnull:
        assert SPECS[spec] in line, line


CONVENTIONS = {
    "{'momentum': 'slow'}": "CONVENTIONS['momentum']='slow' of target=PATH: expected 'keep', ",
    "{'axis': 1}": "CONVENTIONS['axis'] of target=PATH: expected one of momentum, ",
    "{3: 1}": "CONVENTIONS[3] of target=PATH: expected one of momentum, ",
    "{'ndim': [1]}": "CONVENTIONS['ndim']=[1] of target=PATH: expected a list out of (2, 3, 4, 5)",
    "{'ndim': 3}": "CONVENTIONS['ndim']=3 of target=PATH: expected a list out of (2, 3, 4, 5)",
    "{'ndim': []}": "CONVENTIONS['ndim']=[] of target=PATH: expected a list out of (2, 3, 4, 5)",
    "{'ndim': [[2]]}": "CONVENTIONS['ndim']=[[2]] of target=PATH: expected a list out of",
    "{'dtypes': 'float32'}": "CONVENTIONS['dtypes']='float32' of target=PATH: expected a list",
    "{'dtypes': ['int8']}": "CONVENTIONS['dtypes']=['int8'] of target=PATH: expected a list out of",
    "{'dtypes': None}": "CONVENTIONS['dtypes']=None of target=PATH: expected a list out of",
    "{'channel_axis': 2}": "CONVENTIONS['channel_axis']=2 of target=PATH: expected 1, -1",
    "{'momentum': bn.numpy.ones(2)}": "CONVENTIONS['momentum']=array([1., 1.]) of target=PATH",
    "{'eps': 'small'}": "CONVENTIONS['eps']='small' of target=PATH: expected a number",
    "{'eps': -1}": "CONVENTIONS['eps']=-1 of target=PATH: expected a number",
    "{'eps': float('nan')}": "CONVENTIONS['eps']=nan of target=PATH: expected a number",
    "3": "CONVENTIONS of target=PATH: expected a mapping, got 3",
    "['keep']": "CONVENTIONS of target=PATH: expected a mapping, got ['keep']",
}


@pytest.mark.parametrize("value", CONVENTIONS)
@pytest.mark.slow(but_one_in=5)
def test_wrong_conventions_are_status_2(bncheck: Run, on_bn: Save, value: str) -> None:
    """A statement that design section 1 does not know: one line with key, value and choices."""
    path = on_bn(f"import numpy\nbn.numpy = numpy\nCONVENTIONS = {value}")
    ran = bncheck("run", path)
    assert ran.status == 2, ran.out
    line = one_line(ran)
    assert CONVENTIONS[value].replace("PATH", str(path)) in line, line


# --- a target that misbehaves later --------------------------------------------------------------

LATER = {
    "raise ValueError('n=%d is too many for me' % len(x))":
        "forward_train raised ValueError: n=",
    "return x[:1], rm, rv, None": "forward_train returned y of shape (1,",
    "return x, rm": "forward_train returned 2 results: expected 4",
    "return None": "forward_train returned NoneType: expected 4 results",
    "return [[1], [2, 3]], rm, rv, None": "forward_train returned y of type list",
    "raise SystemExit": "forward_train raised SystemExit: (no text)",
    "return x.astype(complex), rm, rv, None": "forward_train returned y of dtype complex128",
}  # fmt: skip


@pytest.mark.parametrize("statement", LATER)
@pytest.mark.slow(but_one_in=7)
def test_misbehaviour_after_the_first_call_is_a_failure(
    bncheck: Run, on_bn: Save, statement: str
) -> None:
    """What goes wrong only for more than five samples is a failed invariant with its text."""
    path = on_bn(f"""
        def forward_train(x, gamma, beta, rm, rv, **kwargs):
            if len(x) > 5:
                {statement}
            return bn.forward_train(x, gamma, beta, rm, rv, **kwargs)
    """)
    ran = bncheck("run", path, "--only", REFERENCE, "--examples", 30, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert "Traceback" not in ran.out + ran.err
    assert f"because {LATER[statement]}" in ran.out, ran.out
    assert "float32 (6, 1)" in ran.out, f"the smallest batch is not shown: {ran.out}"


@pytest.mark.parametrize("name", ["forward_train", "backward_train", "fold"])
@pytest.mark.parametrize("call", [2, 6, 9, 15, 22])
@pytest.mark.slow(but_one_in=15)
def test_a_target_that_breaks_down_at_any_call_leaves_no_traceback(
    bncheck: Run, on_bn: Save, name: str, call: int
) -> None:
    """From its k-th call on a function raises, also while the conventions are found out."""
    path = on_bn(f"""
        CONVENTIONS = {{}}
        fold = bn.fold
        calls = 0
        def {name}(*args, **kwargs):
            global calls
            calls += 1
            if calls >= {call}:
                raise RuntimeError("worn out")
            return bn.{name}(*args, **kwargs)
    """)
    only = ("--only", REFERENCE, "--only", GRADIENT, "--only", "folding_preserves_inference")
    ran = bncheck("run", path, *only, "--examples", 40, "--seed", 1)
    assert ran.status == 1, f"status {ran.status}: {ran.out}"
    assert "Traceback" not in ran.out + ran.err
    assert "raised RuntimeError: worn out" in ran.out + ran.err, ran.out + ran.err


def test_a_flaky_target_is_a_failure_that_says_so(bncheck: Run, on_bn: Save) -> None:
    """A target that fails once and then never again on the same input fails, and is called that."""
    path = on_bn("""
        calls = 0
        def forward_train(x, *args, **kwargs):
            global calls
            calls += x.shape[0] > 6
            if calls == 1:
                calls = 2
                raise RuntimeError("once")
            return bn.forward_train(x, *args, **kwargs)
    """)
    ran = bncheck("run", path, "--only", REFERENCE, "--examples", 30, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert "once; the same input does not always fail" in ran.out, ran.out


# --- options -------------------------------------------------------------------------------------


def test_exitfirst_stops_at_the_first_failure(bncheck: Run, on_bn: Save, tmp_path: Path) -> None:
    """-x runs nothing after the invariant that failed."""
    out = tmp_path / "result.json"
    ran = bncheck("run", on_bn(SHIFTED), "-x", "--examples", 5, "--seed", 1, "--json", out)
    assert ran.status == 1
    rows = json.loads(out.read_text())["invariants"]
    assert [row["verdict"] for row in rows] == ["pass"] * (len(rows) - 1) + ["fail"], rows[-1][
        "name"
    ]
    assert len(rows) < len(INVARIANTS)


def test_only_runs_what_it_names_in_the_usual_order(bncheck: Run) -> None:
    """--only may be given more than once and changes neither order nor the examples drawn."""
    ran = bncheck(
        "run",
        "--only",
        GRADIENT,
        "--only",
        REFERENCE,
        "--only",
        GRADIENT,
        "--examples",
        5,
        "--seed",
        1,
        "--verbose",
    )
    lines = [line for line in ran.out.splitlines() if line.startswith("pass")]
    assert [line.split()[3].rstrip(":") for line in lines] == [REFERENCE, GRADIENT]
    alone = bncheck("run", "--only", GRADIENT, "--examples", 5, "--seed", 1, "--verbose")
    assert lines[1] in alone.out.splitlines(), "another invariant beside it changed the examples"


TYPES: dict[str, Any] = {
    "name": str,
    "verdict": str,
    "examples": int,
    "decisive": int,
    "strength": (float, str),
    "worst": (float, str),
    "counterexample": (dict, type(None)),
    "message": str,
}


def test_json_is_what_design_section_4_says(bncheck: Run, on_bn: Save, tmp_path: Path) -> None:
    """Keys, types and values of the JSON file, of a pass, a failure and a missing function."""
    path, out = on_bn(SHIFTED), tmp_path / "result.json"
    names = (REFERENCE, "folding_preserves_inference", GRADIENT, "empty_batch_leaves_the_state")
    only = [word for name in names for word in ("--only", name)]
    ran = bncheck("run", path, *only, "--examples", 10, "--seed", 7, "--json", out)
    assert ran.status == 1
    content = json.loads(
        out.read_text(), parse_constant=lambda word: pytest.fail(f"{word} in JSON")
    )
    keys = [
        "bncheck",
        "target",
        "conventions",
        "versions",
        "seed",
        "complete",
        "verdict",
        "invariants",
    ]
    assert list(content) == keys
    assert content["target"] == str(path)
    assert content["seed"] == 7
    assert content["complete"] is True
    assert content["verdict"] == "fail"
    assert content["versions"].keys() >= {"numpy", "hypothesis", "scipy"}
    assert content["conventions"]["momentum"] == "keep"
    assert content["conventions"]["dtypes"] == ["float32", "float64", "float16"]
    rows = {row["name"]: row for row in content["invariants"]}
    assert rows.keys() == set(names)
    for row in rows.values():
        for key, kind in TYPES.items():
            assert isinstance(row[key], kind), f"{key} of {row['name']} is {row[key]!r}"
    assert [rows[name]["verdict"] for name in names] == ["fail", "not offered", "pass", "pass"]
    assert rows[names[0]]["counterexample"]["calls"][0]["call"] == "forward_train"
    assert rows[names[1]]["strength"] == "inf", "what is not finite is a string"
    assert rows[names[2]]["counterexample"] is None
    assert 0 < rows[names[2]]["strength"] < 1


def test_infinite_numbers_are_words_in_the_json() -> None:
    """A worst error of infinity, an infinite strength and no number at all come out as words."""
    invariant = INVARIANTS[REFERENCE]
    result = Result(
        invariant, "pass", 3, 1, strengths={"float32": float("nan")}, worst=float("inf")
    )
    target = Target("t", {})
    row = report.document(target, [result], 0, 1, True)["invariants"][0]
    assert (row["worst"], row["strength"], row["strengths"]) == ("inf", "nan", {"float32": "nan"})
    json.dumps(row, allow_nan=False)


def test_without_a_seed_the_one_drawn_is_printed(bncheck: Run) -> None:
    """The seed of a run can be read off its output and given back."""
    ran = bncheck("run", "--only", REFERENCE, "--examples", 5)
    (number,) = re.findall(r"\(seed (\d+)\)", ran.out)
    again = bncheck("run", "--only", REFERENCE, "--examples", 5, "--seed", number)
    assert again.out == ran.out


def test_progress_is_one_rewritten_line_on_a_terminal(
    bncheck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal stderr shows where the run is and is cleared at the end; else it is silent."""
    quiet = bncheck("run", "--only", REFERENCE, "--examples", 20, "--seed", 1)
    assert quiet.err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    shown = bncheck("run", "--only", REFERENCE, "--examples", 20, "--seed", 1)
    assert shown.out == quiet.out
    assert f"[1/1] {REFERENCE} 10" in shown.err
    assert "\n" not in shown.err
    assert shown.err.endswith("\x1b[K"), "the line is left behind"


def test_the_version_is_printed(bncheck: Run) -> None:
    """--version prints the name and the installed version."""
    from importlib.metadata import version

    assert bncheck("--version").out == f"bncheck {version('bncheck')}\n"


def test_help_imports_nothing_heavy() -> None:
    """`bncheck --help` and `bncheck run --help` load neither numpy nor Hypothesis."""
    code = (
        "import sys\nfrom properties.cli import main\n"
        "for words in (['--help'], ['run', '--help']):\n"
        "    try: main(words)\n    except SystemExit: pass\n"
        "print([m for m in ('numpy', 'hypothesis', 'scipy', 'pytest') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n"), done.stdout[-200:]
    assert "--only INVARIANT" in done.stdout


# --- the exit status and the sum of verdicts -----------------------------------------------------

VERDICTS = [
    (["pass"], "pass", 0),
    (["pass", "not offered", "expected failure"], "pass", 0),
    (["pass", "fail", "undecided"], "fail", 1),
    (["pass", "unexpected pass"], "fail", 1),
    (["pass", "undecided"], "undecided", 3),
    (["not offered"], "undecided", 3),
    ([], "undecided", 3),
]


@pytest.mark.parametrize(("verdicts", "whole", "status"), VERDICTS)
def test_the_whole_follows_from_the_verdicts(verdicts: list[str], whole: str, status: int) -> None:
    """A failure outweighs a lack of evidence, which outweighs a pass; nothing at all is no pass."""
    results = [Result(INVARIANTS[REFERENCE], verdict) for verdict in verdicts]
    assert report.verdict_of(results) == whole
    assert report.exit_status(results) == status


def test_a_checker_that_claims_nothing_is_undecided() -> None:
    """A planted checker without a claim cannot pass: no example of it is decisive."""
    from properties.targets.open import loaded

    right = INVARIANTS[REFERENCE]
    empty = Invariant("empty", lambda target, case: (), right.needs, right.plant, "batch", 1.0)
    result = run_invariant(loaded("bn"), empty, examples=20)
    assert (result.verdict, result.examples, result.decisive) == ("undecided", 20, 0)


@pytest.mark.parametrize(("words", "meant"), [(["rnu"], "run"), (["run", "bnn"], "bn")])
def test_a_slip_of_the_fingers_is_answered_by_what_was_meant(
    bncheck: Run, words: list[str], meant: str
) -> None:
    """A command or a target that is nearly one is asked after."""
    ran = bncheck(*words)
    assert ran.status == 2
    assert f"; did you mean {meant}?" in one_line(ran)


def test_colour_is_for_terminals(bncheck: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is coloured on a terminal, and plain in a pipe or where NO_COLOR is set."""
    words = ("run", "--only", REFERENCE, "--examples", 5, "--seed", 1)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in bncheck(*words).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    from properties.support.terminal import coloured

    assert coloured("PASS: all\nFAIL: x") == "\x1b[32mPASS\x1b[0m: all\nFAIL: x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("PASS: all") == "PASS: all"

"""A target in a process of its own: the same verdicts, the same memory, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from properties.engine.exercise import Result, run_invariant
from properties.invariants import INVARIANTS
from properties.model import contract
from properties.model.contract import Died, Misbehaved, Raised, Target, TargetError
from properties.model.layouts import LAYOUTS, arrange
from properties.targets.isolate import limits, trace
from properties.targets.isolate import remote as remoting
from properties.targets.isolate.arena import GUARD, lay, settle
from properties.targets.isolate.limits import Limits
from properties.targets.isolate.process import descendants
from properties.targets.isolate.remote import Remote
from properties.targets.open import loaded, open_target

REFERENCE = "output_agrees_with_reference"
GRADIENT = "input_gradient_agrees_with_reference"
Run = Callable[..., Any]
Save = Callable[..., Path]
QUICK = Limits(timeout=5)


@pytest.fixture(autouse=True)
def no_process_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder; end what a test has started, and look for what is left of it."""
    monkeypatch.chdir(tmp_path)
    before = descendants(os.getpid())
    with ExitStack() as stack:
        monkeypatch.setattr(sys.modules[__name__], "OPEN", stack)
        yield
    assert list(tmp_path.rglob("call-*.bin")) == [], "a mapped file was left behind"
    assert set(descendants(os.getpid())) <= set(before), "a process was left behind"


OPEN = ExitStack()  # of the test that runs


def opened(path: object, limits: Limits = QUICK) -> Target:
    """Return a target in a process of its own, closed when the test ends."""
    return OPEN.enter_context(open_target(str(path), limits))


# --- the same, isolated or not -------------------------------------------------------------------

TARGETS = {
    "right": "",
    "wrong": """
        def forward_train(x, *args, **options):
            y, mean, var, saved = bn.forward_train(x, *args, **options)
            return y + (len(x) > 6), mean, var, saved
    """,
    "writes into x": """
        def forward_train(x, *args, **options):
            result = bn.forward_train(x, *args, **options)
            if x.flags.writeable and len(x) > 2:
                x[2] = 0
            return result
    """,
    "writes into x in backward": """
        def forward_train(x, *args, **options):
            y, mean, var, saved = bn.forward_train(x, *args, **options)
            return y, mean, var, (x, saved)
        def backward_train(dy, saved):
            x, saved = saved
            if x.flags.writeable:
                x[...] = 0
            return bn.backward_train(dy, saved)
    """,
    "gives the same array again": """
        import numpy as np
        held = {}
        def backward_train(dy, saved):
            dx, dgamma, dbeta = bn.backward_train(dy, saved)
            room = held.setdefault((dx.shape, dx.dtype), np.empty_like(dx))
            room[...] = dx
            return room, dgamma, dbeta
    """,
    "assumes C order": """
        import numpy as np
        def forward_train(x, *args, **options):
            if not x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
                x = np.ascontiguousarray(x).ravel(order="K")[::-1].reshape(x.shape)
            return bn.forward_train(x, *args, **options)
    """,
}
SOME = (
    REFERENCE, GRADIENT, "same_call_gives_the_same_bits", "gradients_are_linear_in_dy",
    "backward_twice_gives_the_same", "saved_outlives_other_forwards",
    "memory_layout_does_not_matter", "inference_changes_nothing", "arguments_may_share_memory",
    "training_leaves_its_inputs_unchanged", "calls_in_any_order_follow_the_model",
)  # fmt: skip


def told(result: Result) -> dict[str, str]:
    """Return what a result says, its counterexample by its numbers."""
    found = {k: repr(v) for k, v in vars(result).items() if k not in ("case", "invariant")}
    if result.case is not None:
        arrays = (result.case.x, result.case.dy, result.case.gamma, result.case.running_var)
        found["case"] = repr([None if a is None else a.tolist() for a in arrays])
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_verdicts_and_counterexamples_are_those_in_process(
    clean_imports: None, on_bn: Save, name: str
) -> None:
    """Seen from the invariants it is the same target: memory that it keeps or shares included."""
    path = str(on_bn(TARGETS[name]))
    here, there = loaded(path), opened(path)
    assert (here.conventions, here.offers) == (there.conventions, there.offers)
    verdicts = set()
    for invariant in SOME:
        one, two = (
            run_invariant(
                target, INVARIANTS[invariant], examples=8, seed_number=3, shrink=name == "wrong"
            )
            for target in (here, there)
        )
        assert told(one) == told(two), invariant
        verdicts.add(one.verdict)
    assert ("fail" in verdicts) == (name != "right"), f"{verdicts} of a target that is {name}"


PID = "import os, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))\n"


def test_the_target_is_not_imported_here(clean_imports: None, saved: Save) -> None:
    """Its module runs in the other process alone."""
    source = PID + "from bn import forward_train\n"
    path = saved(source)
    sys.modules.pop("bncheck_target_users_target", None)  # another test's
    opened(path)
    assert int(Path("pid").read_text()) != os.getpid()
    assert "bncheck_target_users_target" not in sys.modules
    loaded(str(path))
    assert int(Path("pid").read_text()) == os.getpid()


def test_the_suites_own_code_stays_here() -> None:
    """bn and the known bugs are no one else's: they cost no process."""
    import bn

    for spec in ("bn", "bn:per_activation", "mutants:apex-ln-65536"):
        assert not limits.needs_process(spec, QUICK)
    assert opened("bn").functions["forward_train"] is bn.forward_train


DESCRIBES = """
import numpy as np
def forward_train(x, gamma, beta, mean, var, *, eps, momentum):
    shared = [np.shares_memory(gamma, a) for a in (beta, mean, var)]
    what = (x.shape, x.strides, x.dtype.str, x.flags.writeable, x.flags.aligned, shared)
    raise ValueError(f"{what} {x.sum()} {eps!r} {momentum!r}")
"""


def remote(path: Path) -> Target:
    """Return a target in a process, without a probe."""
    made = OPEN.enter_context(closing(Remote(str(path), QUICK)))
    return Target(str(path), made.functions)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_lie_there_as_they_lie_here(clean_imports: None, saved: Save, layout: str) -> None:
    """Strides, byte order, alignment, write protection and sharing, as the target sees them."""
    from properties.targets.load import load

    path = saved(DESCRIBES)
    x = arrange(np.arange(24.0, dtype=np.float32).reshape(4, 3, 2), layout)
    row = np.ones(6, np.float32)
    seen = []
    for target in (Target(str(path), load(str(path))[0]), remote(path)):
        with pytest.raises(Raised) as caught:
            contract.train(
                target, x, row[:4], row[2:], row.copy(), row[:4], eps=0.1, momentum=0.3,
                keep_layout=True,
            )  # fmt: skip
        seen.append(str(caught.value))
    assert seen[0] == seen[1]


CHANGES = """
held = []
def forward_train(x, gamma, beta, mean, var, *, eps, momentum):
    for a in held:
        a[...] = 7
    y = x + 1
    held.extend([x, y])
    return y, mean, var, held
"""


def test_a_later_change_of_what_was_given_and_returned_is_seen(saved: Save) -> None:
    """A target that keeps its input and its output and writes into them changes the caller's."""
    target = remote(saved(CHANGES))
    x, row = np.zeros((3, 1), np.float32), np.ones(1, np.float32)
    state = (row, row, row, row)
    first = contract.train(target, x, *state, eps=0.1, momentum=0.5, keep_layout=True)
    assert (x.max(), first.y.max()) == (0, 1)
    contract.train(target, x + 2, *state, eps=0.1, momentum=0.5, keep_layout=True)
    assert (x.min(), first.y.min()) == (7, 7)


COUNTS = """
import weakref
class Saved: pass
alive = weakref.WeakSet()
def forward_train(x, gamma, beta, mean, var, *, eps, momentum):
    saved = Saved()
    alive.add(saved)
    return x + (len(alive) - 1), mean, var, saved
"""


def test_what_is_saved_goes_when_nobody_has_it(saved: Save) -> None:
    """A saved value stays in the other process as long as its handle lives here, and no longer."""
    target = remote(saved(COUNTS))
    x, row = np.zeros((2, 1), np.float32), np.ones(1, np.float32)

    def others() -> tuple[int, Any]:
        result = contract.train(target, x, row, row, row, row, eps=0.1, momentum=0.5)
        return int(result.y[0, 0]), result.saved

    kept = [others() for _ in range(3)]
    assert [count for count, _ in kept] == [0, 1, 2]
    kept.clear()
    assert others()[0] == 0


def test_large_arrays_go_both_ways(saved: Save) -> None:
    """The mapped file grows with what is laid into it, from either side."""
    target = remote(saved("def forward_train(x, g, b, m, v, **o): return x * 2, m, v, None"))
    row = np.ones(1, np.float32)
    for n in (10, 300_000, 10, 1_000_000):
        x = np.arange(n, dtype=np.float32).reshape(n, 1)
        got = contract.train(target, x, row, row, row, row, eps=0.1, momentum=0.5)
        assert (got.y == 2 * x).all()


def test_prints_go_to_standard_error(bncheck: Run, on_bn: Save) -> None:
    """What a target prints does not get between the lines of the report."""
    path = on_bn("print('hello from the module')\n")
    ran = bncheck("run", path, "--only", REFERENCE, "--examples", 5)
    assert ran.status == 0
    assert "hello" not in ran.out
    # once in the process that the conventions are found out in, once in that which is judged
    assert ran.err == "hello from the module\n" * 2


# --- deaths --------------------------------------------------------------------------------------

AT_START = {
    "an exit while importing": ("import os; os._exit(3)", "it exited with status 3 before its"),
    "a crash while importing": ("import os; os.abort()", "it died by SIGABRT before its first"),
    "a hang while importing": ("import time; time.sleep(99)", "it hung: not ready within 1.8 s"),
    "a crash in the first call": (
        "import os\ndef forward_train(*a, **o): os.abort()",
        "the first plain call failed: forward_train died by SIGABRT"),
    "a hang in the first call": (
        "import time\ndef forward_train(*a, **o): time.sleep(99)",
        "the first plain call failed: forward_train hung: no answer within --timeout=0.3 s"),
}  # fmt: skip


@pytest.mark.parametrize("case", AT_START)
def test_a_target_that_dies_at_once_is_one_line(bncheck: Run, saved: Save, case: str) -> None:
    """Before or in the first plain call there is nothing to judge: one line, status 2."""
    source, said = AT_START[case]
    path = saved(source)
    ran = bncheck("run", path, "--timeout", 0.3)
    assert (ran.status, ran.out) == (2, ""), ran.out
    assert ran.err.startswith(f"bncheck: target={path}: {said}"), ran.err
    assert ran.err.count("\n") == 1


LATER = {
    "backward_train": (
        GRADIENT, "def backward_train(dy, saved): os.abort()", "backward_train died by SIGABRT"),
    "rank 5": (
        REFERENCE,
        "def forward_train(x, *a, **o):\n"
        "    if x.ndim == 5: os.abort()\n"
        "    return bn.forward_train(x, *a, **o)",
        "forward_train died by SIGABRT"),
    "an empty batch": (
        "empty_batch_leaves_the_state",
        "def forward_train(x, *a, **o):\n"
        "    if not x.size: os.abort()\n"
        "    return bn.forward_train(x, *a, **o)",
        "forward_train died by SIGABRT"),
}  # fmt: skip


@pytest.mark.parametrize("case", LATER)
def test_a_crash_is_no_refusal(
    bncheck: Run, on_bn: Save, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """What raises in its first plain call is not offered; what crashes there fails."""
    monkeypatch.setattr("properties.engine.tally.DEATHS", 2)
    name, source, said = LATER[case]
    path = on_bn(f"import os\n{source}\n")
    ran = bncheck("run", path, "--only", name, "--examples", 20, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert f"  because {said}" in ran.out, ran.out


STARTS = """
import os
open("starts", "a").write("x")
def forward_train(x, *args, **options):
    if len(x) > 5:
        os._exit(1)
    return bn.forward_train(x, *args, **options)
"""


@pytest.mark.parametrize("most", [3, 6])
def test_shrinking_stops_after_so_many_deaths(
    bncheck: Run, on_bn: Save, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """The process is started anew after each death, and no more often than is allowed."""
    monkeypatch.setattr("properties.engine.tally.DEATHS", most)
    path = on_bn(STARTS)
    ran = bncheck("run", path, "--only", REFERENCE, "--only", GRADIENT, "--examples", 30)
    assert ran.status == 1
    assert "\nFAIL: 1 finding, 2 of 2 invariants\n" in ran.out
    starts = len(Path("starts").read_text())
    entries = 2  # its calls are recorded for the corpus, once per failure
    assert most < starts <= 1 + 2 * most + entries, starts


def test_twenty_deaths_are_allowed() -> None:
    """The bound that the protocol's document states."""
    from properties.engine import tally as run

    assert run.DEATHS == 20
    assert "20 deaths" in Path(limits.__file__).with_name("protocol.md").read_text()


def test_what_was_saved_before_a_death_is_lost_and_said_so(on_bn: Save) -> None:
    """A handle of a process that is gone is no value of the next one."""
    target = remote(on_bn(STARTS))
    x, row = np.zeros((2, 1), np.float32), np.ones(1, np.float32)

    def forward(n: int) -> Any:
        return contract.train(
            target, np.zeros((n, 1), np.float32), row, row, row, row, eps=0.1, momentum=0.5
        )

    saved = forward(2).saved
    with pytest.raises(Died, match="forward_train exited with status 1"):
        forward(6)
    with pytest.raises(Misbehaved, match="gone with the process"):
        contract.backward(target, x, saved, row)
    assert contract.backward(target, x, forward(2).saved, row).dx.shape == (2, 1)


# --- guards --------------------------------------------------------------------------------------


def test_a_write_into_a_guard_names_the_array() -> None:
    """The first byte past an end, or before a start, is told by the array it is nearest to."""
    arrays = [np.arange(3.0), np.ones((2, 2), np.float32), np.zeros(5, np.int64)]
    block = lay(arrays)
    assert settle(block, block.data) == ""
    for i, a in enumerate(arrays):
        for at, where in ((block.offsets[i] + a.nbytes, "past the end of"),
                          (block.offsets[i] - 1, "before the start of")):  # fmt: skip
            now = bytearray(block.data)
            now[at] ^= 1
            assert settle(block, bytes(now)) == f"{where} {{{i}}}"
    assert min(block.offsets) >= GUARD


def test_a_guard_reads_as_nan() -> None:
    """What is read past an end shows in a result, in every dtype."""
    for dtype in ("float16", "float32", "float64"):
        a = np.ones(4, dtype)
        block = lay([a])
        past = np.frombuffer(block.data, dtype, 8, block.offsets[0] + a.nbytes)
        assert np.isnan(past).all()


def test_a_change_comes_back_through_views() -> None:
    """What a call wrote into a strided or shared array is in the caller's afterwards."""
    base = np.arange(12.0)
    arrays = [base[1:9:2], base[::-1][:4], np.ones(2)]
    block = lay(arrays)
    memory = np.frombuffer(bytearray(block.data), np.uint8)
    there = [
        np.ndarray(a.shape, a.dtype, memory, offset, a.strides)
        for a, offset in zip(arrays, block.offsets, strict=True)
    ]
    assert [a.tolist() for a in there] == [a.tolist() for a in arrays]
    there[0][0], there[1][0] = -1, -2
    assert settle(block, memory.tobytes()) == ""
    assert (base[1], base[11], arrays[2].tolist()) == (-1, -2, [1, 1])


# --- when the suite itself is cut short ----------------------------------------------------------

WAITS = """
import time
def forward_train(x, *args, **options):
    if len(x) > 5:
        open("waiting", "w").close()
        time.sleep(100)
    return bn.forward_train(x, *args, **options)
"""


def started(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in a session of its own, and return when its target hangs in a call."""
    command = [sys.executable, "-m", "properties.cli", "run", str(path), "--seed", "1", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(600):
        if Path("waiting").exists():
            return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"it never got to the call: {process.communicate()}")


def workers(path: Path) -> list[int]:
    """Return the processes that serve this target (Linux)."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(path).encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def soon(fact: Callable[[], Any]) -> bool:
    """Return whether something comes true, at once or when the system gets to it."""
    for _ in range(100):
        if fact():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_cut_short_in_a_call_that_hangs(on_bn: Save, number: int, status: int) -> None:
    """Ctrl-C and SIGTERM end the run with what is known and an open JSON, and the worker too."""
    path = on_bn(WAITS)
    process = started(path, "--json", "result.json")
    os.killpg(process.pid, number)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "Traceback" not in out + err
    assert "interrupted; so far" in out
    assert json.loads(Path("result.json").read_text())["complete"] is False
    assert soon(lambda: not workers(path)), "the worker runs on"
    assert list(Path().rglob("call-*.bin")) == []


def test_a_killed_run_leaves_its_last_input_and_the_next_good_one_removes_it(
    bncheck: Run, on_bn: Save, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGKILL the worker is gone and the call can be read; a run that ends well clears it."""
    path = on_bn(WAITS)
    process = started(path)
    process.kill()
    process.communicate()
    assert soon(lambda: not workers(path)), "the worker runs on"
    assert soon(trace.left), "the input is lost"
    (left,) = trace.left()
    name, args, options = trace.read(left)
    assert (name, sorted(options)) == ("forward_train", ["eps", "momentum"])
    assert len(args[0]) > 5
    monkeypatch.setattr(sys, "argv", ["trace", str(left)])
    assert trace.main() == 0
    assert capsys.readouterr().out.startswith("forward_train\n  0 = [[")
    ran = bncheck("run", on_bn("", "users_right.py"), "--only", REFERENCE, "--examples", 5)
    assert ran.status == 0
    assert ran.err.endswith(
        f"python -m properties.targets.isolate.trace .bncheck/{left.name} shows it\n"
    )
    assert trace.left() == []


@pytest.mark.parametrize("content", [b"", b"something else", trace.MAGIC + b"\xff" * 40])
def test_what_is_no_last_call_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: Any,
) -> None:
    """A file of another kind, or a broken one, is no traceback."""
    path = tmp_path / "other.bin"
    path.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["trace", str(path)])
    assert trace.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_cannot_be_written_to_is_no_hindrance(
    bncheck: Run, on_bn: Save, tmp_path: Path
) -> None:
    """The mapped file then lies where temporary files do."""
    path = on_bn("")
    Path(".bncheck").write_text("in the way")
    ran = bncheck("run", path, "--only", REFERENCE, "--examples", 5)
    assert ran.status == 0, ran.out + ran.err
    assert Path(".bncheck").read_text() == "in the way"


def test_windows_is_told_in_one_line(
    bncheck: Run, on_bn: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Isolation is said to be unsupported there, with what to do."""
    monkeypatch.setattr(remoting.sys, "platform", "win32")
    ran = bncheck("run", on_bn(""))
    assert (ran.status, ran.out) == (2, "")
    assert "isolation needs Linux or macOS; on Windows use WSL, or --in-process" in ran.err


# --- pytest --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "own"), [([], False), (["--bn-in-process"], True)])
def test_pytest_isolates_too(
    pytester: pytest.Pytester, on_bn: Save, clean_imports: None, options: list[str], own: bool
) -> None:
    """Under pytest the target runs in its own process as well, unless that is turned off."""
    path = on_bn(PID)
    arguments = ("--bn", str(path), "--bn-profile", "quick", "-k", REFERENCE, *options)
    result = pytester.runpytest_inprocess("-p", "properties.plugin", *arguments)
    result.assert_outcomes(passed=1, deselected=len(INVARIANTS) - 1)
    assert (int(Path("pid").read_text()) == os.getpid()) == own


def test_a_crash_under_pytest_is_a_failed_test(
    pytester: pytest.Pytester, on_bn: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session goes on, and the test says how the target died."""
    monkeypatch.setattr("properties.engine.tally.DEATHS", 2)
    path = on_bn(STARTS)
    arguments = ("--bn", str(path), "--bn-profile", "quick", "-k", f"{REFERENCE} or empty_batch")
    result = pytester.runpytest_inprocess("-p", "properties.plugin", *arguments)
    result.assert_outcomes(passed=1, failed=1, deselected=len(INVARIANTS) - 2)
    result.stdout.fnmatch_lines(["  because forward_train exited with status 1"])


@pytest.mark.parametrize("option", ["--bn-timeout=0", "--bn-memory=-1"])
def test_wrong_limits_under_pytest_are_one_line(pytester: pytest.Pytester, option: str) -> None:
    """A limit that cannot be meant stops the session with its name."""
    result = pytester.runpytest_inprocess("-p", "properties.plugin", "--bn", "bn", option)
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: {option}*: expected a number above 0"])


def test_a_target_may_be_opened_without_a_probe_and_refused(saved: Save) -> None:
    """What `targets.load` says of a wrong target is said by the other process in its words."""
    with pytest.raises(TargetError, match="it has no forward_train"):
        Remote(str(saved("")), replace(QUICK, timeout=3))


ORPHAN = """
import os, signal, sys, time
from properties.targets.isolate.limits import Limits
from properties.targets.isolate.process import Process
slow = [sys.executable, "-c", "import time; time.sleep(60)"]  # asks for nothing itself
child = Process(slow, Limits(), base=False)
os.kill(child.popen.pid, signal.SIGSTOP)
print(child.popen.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the processes are read from /proc")
def test_a_stopped_process_ends_with_the_run_that_stopped_it() -> None:
    """A run killed between stopping a process and killing it leaves no stopped process behind."""
    root = str(Path(limits.__file__).parents[3])
    run = subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdout=-1, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    assert run.stdout is not None
    child = Path(f"/proc/{int(run.stdout.readline())}")
    run.kill()
    run.communicate()
    until = time.monotonic() + 10
    while child.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not child.exists(), (child / "status").read_text()


@pytest.mark.parametrize("in_process", [False, True])
def test_a_program_has_its_limits_even_in_process(bncheck: Run, in_process: bool) -> None:
    """--in-process drops no limit of a program, which has a process of its own anyway."""
    words = ["run", f"exec:{sys.executable} -c 'import time; time.sleep(60)'", "--timeout", "0.2"]
    ran = bncheck(*words, *(["--in-process"] if in_process else []))
    assert ran.status == 2
    assert "not ready within 1.2 s, six times --timeout" in ran.err, ran.err


ALWAYS_ABORTS = """
import os
from bn import forward_train, forward_eval
def backward_train(dy, saved):
    os.abort()
"""


def test_what_always_dies_is_one_finding(bncheck: Callable[..., Any], saved: Save) -> None:
    """A backward that ends its process whatever it is given: one example, the rest in a line."""
    path = saved(ALWAYS_ABORTS)
    names = ("input_gradient_agrees_with_reference", "input_gradient_sums_to_zero",
             "double_backward_agrees_with_reference", "output_agrees_with_reference")  # fmt: skip
    only = [word for name in names for word in ("--only", name)]
    ran = bncheck("run", path, *only, "--examples", 10, "--seed", 1)
    assert ran.status == 1, ran.out + ran.err
    assert "FAIL: 1 finding, 2 of 3 invariants" in ran.out, ran.out
    assert ran.out.count("died by SIGABRT") == 2, ran.out
    assert "   with it fail (1): input_gradient_sums_to_zero" in ran.out, ran.out
    with open_target(str(path)) as target:
        assert target.crashed == {"backward_train"}

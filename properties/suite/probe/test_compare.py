"""`bncheck compare`: one batch norm carried from a target to another."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from properties.model.contract import TargetError
from properties.probe.compare import compare
from properties.targets.open import loaded

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

PLAIN = """
import numpy as np

def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    axes, n = (0, *range(2, x.ndim)), x.size // x.shape[1]
    row = lambda a: a.reshape(1, -1, *(1,) * (x.ndim - 2))
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    keep, rest = x.dtype.type(momentum), x.dtype.type(1 - momentum)
    new_mean, new_var = keep * running_mean + rest * mean, keep * running_var + rest * var
    e = x.dtype.type(eps)
    return row(gamma) * (x - row(mean)) / np.sqrt(row(var) + e) + row(beta), new_mean, new_var, None

def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    row = lambda a: a.reshape(1, -1, *(1,) * (x.ndim - 2))
    e = x.dtype.type(eps)
    return row(gamma) * (x - row(running_mean)) / np.sqrt(row(running_var) + e) + row(beta), None
"""
OUTSIDE = PLAIN.replace("np.sqrt(row(var) + e)", "(np.sqrt(row(var)) + e)").replace(
    "np.sqrt(row(running_var) + e)", "(np.sqrt(row(running_var)) + e)"
)
UNBIASED = PLAIN.replace("rest * var", "rest * var * x.dtype.type(n / max(n - 1, 1))")
SWAPPED = PLAIN.replace("(momentum), x.dtype.type(1 - momentum)",
                        "(1 - momentum), x.dtype.type(momentum)")  # fmt: skip
BOTH = SWAPPED.replace("rest * var", "rest * var * x.dtype.type(n / max(n - 1, 1))")
FIXED = PLAIN.replace("e = x.dtype.type(eps)", "e = x.dtype.type(2.0**-4)")
WRONG = PLAIN.replace("mean, var = x.mean(axis=axes)", "mean, var = 1.001 * x.mean(axis=axes)")
AVERAGES = ["running_mean after one step", "running_mean after 10 steps"]
SPREADS = ["running_var after one step", "running_var after 10 steps"]
OUTPUTS = ["y in training", "y in inference"]

# what B is, the option: what differs, and what is said of it
PORTS: dict[str, tuple[str, bool, list[str], list[str]]] = {
    "the same": (PLAIN, False, [], []),
    "eps outside the root": (
        OUTSIDE, False, OUTPUTS,
        ["eps: outside the root, sqrt(var) + eps, in b.py, inside the root in a.py"]),
    "n - 1": (UNBIASED, False, SPREADS, ["running_var: a.py divides by n, b.py by n - 1"]),
    "momentum swapped": (SWAPPED, False, [], []),
    "momentum swapped, as it is": (
        SWAPPED, True, AVERAGES + SPREADS,
        ["momentum: a.py keeps 0.875 of the old average, b.py 0.125: give b.py 1 - momentum"]),
    "n - 1 and momentum swapped, as it is": (
        BOTH,
        True, AVERAGES + SPREADS,
        ["momentum: a.py keeps 0.875 of the old average, b.py 0.125: give b.py 1 - momentum",
         "running_var: a.py divides by n, b.py by n - 1"]),
    "an eps that is written in": (FIXED, False, [], []),
    "a mistake": (WRONG, False, OUTPUTS[:1] + AVERAGES, []),
}  # fmt: skip


@pytest.fixture
def ports(
    saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], None]:
    """Save two files, a.py and b.py, where the command runs."""
    monkeypatch.chdir(tmp_path)

    def save(a: str, b: str) -> None:
        saved(a, "a.py")
        saved(b, "b.py")

    return save


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("back", [False, True])
def test_what_differs_and_why(ports: Any, name: str, back: bool) -> None:
    """The quantities that differ are those, both ways round, and the conventions explain them."""
    source, as_is, differing, why = PORTS[name]
    ports(PLAIN, source)
    names = ("b.py", "a.py") if back else ("a.py", "b.py")
    found = compare(*map(loaded, names), as_is)
    assert set(found.differing) == set(differing), found.gaps
    assert len(found.why) == len(why)
    if not back:
        assert list(found.why) == why


@pytest.mark.parametrize(("eps", "other"), [(2.0**-4, 2.0**-5), (1e-3, 1e-5)])
def test_two_that_are_written_in_are_told(ports: Any, eps: float, other: float) -> None:
    """Two eps that cannot be passed are the reason of all that differs in the outputs."""
    ports(*(PLAIN.replace("type(eps)", f"type({value})") for value in (eps, other)))
    found = compare(loaded("a.py"), loaded("b.py"))
    assert set(found.differing) == set(OUTPUTS)
    assert found.why == (f"eps: {eps:g} is written into a.py, {other:g} into b.py",)


def test_a_difference_of_one_ulp_is_none(ports: Any) -> None:
    """Another right order of operations is the same batch norm."""
    old = "row(gamma) * (x - row(mean)) / np.sqrt(row(var) + e)"
    new = "(x - row(mean)) * (row(gamma) / np.sqrt(row(var) + e))"
    assert PLAIN.count(old) == 1
    ports(PLAIN, PLAIN.replace(old, new))
    found = compare(loaded("a.py"), loaded("b.py"))
    assert not found.differing and max(gap.difference for gap in found.gaps) > 0


def test_nan_is_a_difference(ports: Any) -> None:
    """What is no number is never the same, and goes into the file as a text."""
    from properties.commands.compare import document

    ports(PLAIN, PLAIN.replace("new_mean, new_var, None", "new_mean, new_var * np.nan, None"))
    found = compare(loaded("a.py"), loaded("b.py"))
    assert set(found.differing) == set(SPREADS) and found.why == ()
    told = {q["name"]: q for q in document("a.py", "b.py", found)["quantities"]}
    assert told[SPREADS[0]]["difference"] == "nan"


def test_the_command(bncheck: Callable[..., Any], ports: Any, tmp_path: Path) -> None:
    """A line per quantity, the reason, the verdict; the file has the same; status 0 or 1."""
    ports(PLAIN, UNBIASED)
    assert bncheck("compare", "a.py", "a.py").status == 0
    ran = bncheck("compare", "a.py", "b.py", "--json", "out.json")
    assert ran.status == 1
    assert "why: running_var: a.py divides by n, b.py by n - 1" in ran.out
    assert ran.out.endswith("DIFFER: 2 of 6 quantities\n")
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert content["verdict"] == "differ" and len(content["quantities"]) == 6
    assert [q["name"] for q in content["quantities"] if not q["same"]] == SPREADS
    ran = bncheck("compare", "a.py", "bn", "--dtype", "float64")
    assert ran.status == 0 and ": float64; " in ran.out
    assert "not in both: dbeta in inference, " in ran.out


def test_nothing_in_common_is_one_line(bncheck: Callable[..., Any], ports: Any) -> None:
    """What each takes is said; status 2."""
    ports(PLAIN + '\nCONVENTIONS = {"dtypes": ["float64"]}\n', PLAIN + "\n")
    ran = bncheck("compare", "a.py", "b.py", "--dtype", "float32")
    assert ran.status == 2 and "expected float32 and a rank in common" in ran.err
    with pytest.raises(TargetError, match=r"a\.py takes float64 in ranks 2, 3, 4, 5"):
        compare(loaded("a.py"), loaded("b.py"), dtype="float32")


def test_a_target_that_raises_is_one_line(ports: Any) -> None:
    """A call that fails on plain numbers says whose it is."""
    refusal = "    if len(x) > 4: raise MemoryError('no')\n"
    ports(PLAIN, PLAIN.replace("    axes, n", f"{refusal}    axes, n"))
    with pytest.raises(TargetError, match=r"target=b\.py: forward_train raised MemoryError: no"):
        compare(loaded("a.py"), loaded("b.py"))


@pytest.mark.skipif(not all(map(find_spec, ("torch", "keras"))), reason="needs torch and keras")
def test_torch_and_keras(bncheck: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Carried right they differ in the divisor alone; as it is momentum is swapped as well."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    ran = bncheck("compare", "torch", "keras:torch")
    assert ran.status == 1 and ran.out.count("  differs") == 2, ran.out
    assert "why: running_var: torch divides by n - 1, keras:torch by n\n" in ran.out
    ran = bncheck("compare", "torch", "keras:torch", "--as-is")
    assert ran.status == 1 and ran.out.count("\nwhy: ") == 2, ran.out
    assert "keeps 0.875 of the old average, keras:torch 0.125: give keras:torch 1 - mom" in ran.out


def test_the_batches_are_held_by_every_dtype() -> None:
    """The numbers have so few bits that halves hold them, and some variance is below eps."""
    from properties.probe import compare as module

    ml_dtypes = pytest.importorskip("ml_dtypes")
    case = module._case(module.Probing(loaded("bn")), "float64", 2, 3, module.Given(0.5, 0.5))
    for a in (case.x, case.dy, case.gamma, case.beta, case.running_mean, case.running_var):
        assert a is not None
        for dtype in (np.float16, ml_dtypes.bfloat16):
            np.testing.assert_array_equal(a.astype(dtype).astype(np.float64), a)
    assert case.x.var(axis=0).min() < module.EPS < case.x.var(axis=0).max()

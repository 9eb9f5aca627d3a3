"""Mechanical mutants of bn: what the operators make, how one is judged, and what is equivalent."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from properties.benchmarks import mechanical_operators as operators
from properties.benchmarks.mechanical_mutations import (
    Equivalent,
    Mutation,
    difference,
    equivalents,
    meaning,
    own,
)

ROOT = Path(operators.__file__).resolve().parents[2]


def changes(operator: str, source: str) -> list[str]:
    """Return the sources that an operator makes."""
    return [new for name, new in own(source) if name == operator]


MADE: dict[str, tuple[str, list[str]]] = {
    "times_1001": (
        "y = 3 * a - b",
        [
            "y = (1.001 * (3 * a - b))",
            "y = (1.001 * (3 * a)) - b",
            "y = 3 * a - (1.001 * (b))",
            "y = (1.001 * (3 * a)) - b",
            "y = (1.001 * 3) * a - b",
        ],
    ),
    "n_minus_1": (
        "n = s.n + len(x)",
        ["n = (s.n - 1) + len(x)", "n = s.n + (len(x) - 1)"],
    ),
    "axis_changed": (
        "x.sum(0) + f(x, axis=1) + g(0)",
        [
            "x.sum(0) + f(x, axis=0) + g(0)",
            "x.sum(0) + f(x, axis=None) + g(0)",
            "x.sum(1) + f(x, axis=1) + g(0)",
            "x.sum(None) + f(x, axis=1) + g(0)",
        ],
    ),
    "dtype_narrowed": (
        "a = np.zeros(3), v.astype(np.float64)",
        [
            "a = np.asarray(np.zeros(3), np.float32), v.astype(np.float64)",
            "a = np.zeros(3), v.astype(np.float64).astype(np.float16)",
            "a = np.zeros(3), v.astype(np.float32)",
        ],
    ),
    "index_off_by_one": (
        "x[:half, i]",
        ["x[:(half + 1), i]", "x[:(half - 1), i]", "x[:half, (i + 1)]", "x[:half, (i - 1)]"],
    ),
    "statement_removed": (
        "check(x)\nx += 1\ny = 2",
        ["pass\nx += 1\ny = 2", "check(x)\npass\ny = 2"],
    ),
}


@pytest.mark.parametrize("name", operators.OPERATORS)
def test_an_operator_makes_what_it_says(name: str) -> None:
    """Each operator of numerical code makes these changes of a small source, and no others."""
    source, wanted = MADE[name]
    assert sorted(changes(name, source)) == sorted(wanted)


def test_cosmic_rays_operators_are_all_used() -> None:
    """Of cosmic-ray's operators all but those that draw a number make their own examples."""
    pytest.importorskip("cosmic_ray", reason="needs bncheck[mutation]")
    from properties.benchmarks.mechanical_mutations import RANDOM, cosmic_rays, mutations

    source = "def f(x, n):\n    for i in x:\n        if not n > 1 and True:\n            n = -n + 1"
    made = list(cosmic_rays(source))
    names = {name for name, _ in made}
    wanted = {"AddNot", "NumberReplacer", "ReplaceAndWithOr", "ZeroIterationForLoop"}
    wanted |= {"ReplaceBinaryOperator_Add_Sub", "ReplaceUnaryOperator_Delete_Not"}
    assert names >= wanted, f"{wanted - names} made nothing"
    assert not names & RANDOM, "what is drawn is not the same twice"
    assert ("NumberReplacer", source.replace("> 1", "> 2")) in [
        (name, new.replace("  2", " 2")) for name, new in made
    ]
    different = mutations("bn.x", source)
    assert len({meaning(one.source) for one in different}) == len(different), "one is made twice"
    assert len({one.id for one in different}) == len(different), "two have one id"


def test_annotations_are_no_code() -> None:
    """A change of annotations or overloads alone is no mutation; one of a default value is."""
    source = "def f(a: int | None = 1) -> list[int]:\n    b: int = a\n    return b"
    assert meaning(source) == meaning("def f(a=1):\n    b: float = a\n    return b")
    assert meaning(source) != meaning(source.replace("1", "2"))
    overloaded = "@overload\ndef f(a: int) -> int: ...\n" + source
    assert meaning(overloaded) == meaning(source)


def test_a_difference_is_what_lines_became() -> None:
    """The lines before and after stand without what is the same above and below."""
    assert difference("a\n  b\nc", "a\n  d\nc") == (2, "b", "d")
    assert difference("a\nb\nb\nc", "a\nb\nc") == (3, "b", "")
    assert difference("a", "a\nb") == (2, "", "b")


def test_an_id_stays_when_other_lines_change() -> None:
    """A mutation keeps its id as long as its line does, wherever that moves."""
    one = Mutation("bn.x", "n_minus_1", 3, "n", "(n - 1)", 0, "source")
    assert one.id == Mutation("bn.x", "n_minus_1", 8, "n", "(n - 1)", 0, "other").id
    assert one.id != Mutation("bn.x", "n_minus_1", 3, "n", "(n - 1)", 1, "source").id


LISTED = equivalents()


@pytest.mark.parametrize("one", LISTED, ids=lambda one: f"{one.file} {one.becomes}")
def test_a_listed_equivalent_still_applies(one: Equivalent) -> None:
    """The change can be made to bn as it stands, changes its code, and has a reason."""
    lines = (ROOT / one.file).read_text(encoding="utf-8").splitlines()
    made = applied(lines, one)
    assert made, f"no line {one.line!r} in {one.file}"
    ast.parse(made)
    assert meaning(made) != meaning("\n".join(lines)), "the change changes nothing"
    assert len(one.reason) > 20, f"reason={one.reason!r}"


def applied(lines: list[str], one: Equivalent) -> str:
    """Return the source with the change made where its line, or lines, first stand."""
    for start in range(len(lines)):
        for end in range(start + 1, min(start + 8, len(lines)) + 1):
            if " ".join(line.strip() for line in lines[start:end]) == one.line:
                indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
                return "\n".join([*lines[:start], indent + one.becomes, *lines[end:]])
    return ""


def test_no_equivalent_is_listed_twice() -> None:
    """Each change stands once, under one reason."""
    seen = [(one.file, one.operator, one.line, one.becomes) for one in LISTED]
    assert len(set(seen)) == len(seen)


SCRIPT = r"""
import sys, json
from pathlib import Path
from properties.benchmarks.mechanical_judge import CORPUS, KILLS, ROOT, WORK, judge, prepare

prepare()
WORK["corpus"] = 1
source = (ROOT / "bn" / "statistics.py").read_text(encoding="utf-8")
changes = {
    "harmful": ("- rest * rest", "- 1.001 * (rest * rest)"),
    "harmless": ("np.maximum(var, 0.0, out=var)", "np.maximum(0.0, var, out=var)"),
    "unchecked": ('check.dtype("dtype", dtype, "pass x.dtype")', "np.dtype(dtype)"),
    "without end": ("pivot = np.zeros(", "while True: pass\n    pivot = np.zeros("),
    "broken": ("import numpy as np", "import no_such_module"),
}
if sys.platform == "linux":
    changes["greedy"] = ("pivot = np.zeros(", "[0] * 10**10\n    pivot = np.zeros(")
for name in [*changes, "again"]:
    old, new = changes[name]
    assert old in source, f"{old} is gone"
    place = Path(sys.argv[1]) / name
    found = judge(place, ["corpus", "arguments"], "bn.statistics", source.replace(old, new))
    print(json.dumps([name, found.verdict, found.stage, found.by, place.exists()]))
    if name == "harmful":
        changes["again"] = old, new
        KILLS.update(entry.key for entry in CORPUS if entry.key != found.by)
"""


def files() -> dict[str, bytes]:
    """Return the contents of bn and of its tests."""
    paths = [
        *(ROOT / "bn").rglob("*.py"),
        *(ROOT / "properties" / "suite" / "bn").glob("test_bn*.py"),
    ]
    return {str(path): path.read_bytes() for path in paths}


def test_a_harmful_mutant_is_killed_and_a_harmless_one_survives(tmp_path: Path) -> None:
    """Mutants are judged in copies, within limits, and bn and its tests stay as they are."""
    before = files()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = {row[0]: row[1:] for row in map(json.loads, done.stdout.splitlines())}
    left = {name: row[3] for name, row in found.items()}
    assert not any(left.values()), f"folders are left: {left}"
    assert found["harmful"][:2] == ["killed", "corpus"], f"{found['harmful']}"
    assert found["again"][0] == "killed", f"{found['again']}"
    assert found["again"][2] != found["harmful"][2], "what killed before is not tried first"
    assert found["unchecked"][:2] == ["killed", "arguments"], f"{found['unchecked']}"
    assert found["harmless"][:3] == ["survived", "", ""], f"{found['harmless']}"
    assert found["without end"][:2] == ["timed out", "corpus"], f"{found['without end']}"
    assert found["broken"][:2] == ["killed", "import"], f"{found['broken']}"
    assert "no_such_module" in found["broken"][2], f"{found['broken']}"
    if sys.platform == "linux":
        assert found["greedy"][:2] == ["killed", "corpus"], f"{found['greedy']}"
    after = files()
    assert after == before, f"changed: {[path for path in after if after[path] != before[path]]}"

"""A verdict for machines: what is right passes, and every cheat is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from properties.grade import sizes
from properties.grade.graders import GRADERS, loaded
from properties.grade.grading import Asked, grade
from properties.grade.many import CHEATS, RIGHT, cheats, submissions
from properties.grade.rounds import SIZES, circumstances, rounds
from properties.grade.submission import spec_of
from properties.invariants import INVARIANTS
from properties.targets.open import loaded as right_target

ROUND = len(INVARIANTS) + 1  # steps
HONEST = CHEATS / f"{RIGHT}.py"
README = Path(__file__).parents[2] / "grade" / "README.md"


def quickly(
    path: object, steps: int = 2 * ROUND, seed: int = 7, **more: object
) -> dict[str, object]:
    """Grade a file by so many steps, which the load of the machine does not change."""
    return grade(Asked(str(path), seed, steps=steps, quick=True, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", cheats(), ids=lambda path: path.stem)
def test_every_cheat_is_seen(path: Path) -> None:
    """No cheat passes two rounds, and each says what is wrong and how to see it again."""
    told = quickly(path)
    assert told["verdict"] == "fail", told
    assert told["cause"] and str(told["again"]).startswith(f"bncheck grade {path} --seed 7 --steps")


@pytest.mark.parametrize("path", cheats(), ids=lambda path: path.stem)
def test_every_cheat_has_a_source(path: Path) -> None:
    """Each file says in a line what it does, and where that was seen."""
    text = path.read_text(encoding="utf-8")
    assert "\n\nSource: https://" in text.split('"""')[1]


def test_what_is_right_passes_and_replays_exactly() -> None:
    """The same seed and number of steps give the same JSON; what is right passes."""
    first = quickly(HONEST, steps=ROUND, strict=True)
    assert first["verdict"] == "pass" and first["undecided"] == [], first
    assert quickly(HONEST, steps=ROUND, strict=True) == first
    assert first["N"] > 100 and 0 < first["p"] < 0.05  # type: ignore[operator]


def test_few_steps_decide_nothing() -> None:
    """What was not looked at is named, and the verdict is no pass."""
    told = quickly(HONEST, steps=3)
    assert told["verdict"] == "undecided"
    assert "dx_sums_to_zero" not in told["undecided"]  # type: ignore[operator]
    assert "input_gradient_sums_to_zero" in told["undecided"]  # type: ignore[operator]


def test_what_is_required_has_to_be_offered(saved: Callable[..., Path]) -> None:
    """Without --require a forward alone may pass; with it, what is missing is the cause."""
    path = saved(f"{HONEST.read_text()}\ndel backward_train, backward_eval, forward_eval\n")
    told = quickly(path, require=["forward_eval", "backward_train"])
    assert (told["verdict"], told["steps"]) == ("fail", 0)
    assert told["cause"] == "not offered: forward_eval, backward_train"


def test_the_command_prints_json_alone(saved: Callable[..., Path]) -> None:
    """Standard output is one JSON object whatever a submission prints; the status is run's."""
    path = saved(f"{HONEST.read_text()}\nprint('hello')\n")
    cheat = CHEATS / "identity_for_one_value.py"
    for given, verdict, status in (
        (path, "undecided", 3),
        (cheat, "fail", 1),
        ("no.py", "refused", 2),
    ):
        steps = "2" if status == 3 else str(ROUND)
        words = ["grade", str(given), "--seed", str(2**64 - 1), "--steps", steps]
        done = subprocess.run(
            [sys.executable, "-m", "properties.cli", *words], capture_output=True, text=True
        )
        told = json.loads(done.stdout)
        assert (told["verdict"], done.returncode) == (verdict, status), done
        assert told["seed"] == 2**64 - 1


def test_a_failure_is_told_small_with_its_cause() -> None:
    """Not quickly, the case is a corpus entry of few numbers and the cause is named."""
    told = grade(Asked(str(CHEATS / "one_buffer.py"), 7, steps=2 * ROUND))
    assert "lies in the same memory" in told["cause"]
    assert told["case"] is not None and "again" not in told["message"]


def test_another_process_may_not_change_what_it_is(saved: Callable[..., Path]) -> None:
    """What refuses a rank in every other environment fails, though each process is consistent."""
    path = saved(
        f"""{HONEST.read_text()}
import os
if os.environ.get("CI") == "true" and os.environ.get("USER") == "somebody":
    CONVENTIONS = {{"ndim": [2]}}
"""
    )
    told = quickly(path, steps=ROUND + 3)
    assert told["verdict"] == "fail" and "change from process to process" in str(told["cause"])


def test_drawn_sizes_see_a_threshold(saved: Callable[..., Path]) -> None:
    """What is wrong from 5000 numbers on, more than a run draws, is seen by the step of sizes."""
    path = saved(
        f"""{HONEST.read_text()}
right = forward_train
def forward_train(x, *rest, **options):
    y, *others = right(x, *rest, **options)
    return (y + 1 if x.size > 5000 else y), *others
"""
    )
    target = right_target(str(path))
    assert any(sizes.failing(target, seed) is not None for seed in range(10))
    assert all(sizes.failing(right_target(str(HONEST)), seed) is None for seed in range(10))


def test_rounds_follow_from_the_seed() -> None:
    """Each round has a step per invariant and one of sizes, with seeds of their own."""
    first, second = (next(rounds(seed)) for seed in (1, 2))
    names = [step.name for step in first]
    of_storage = [n for n in INVARIANTS if INVARIANTS[n].check.__module__.endswith(".storage")]
    assert len(of_storage) == 4
    assert names == [*of_storage, *(n for n in INVARIANTS if n not in of_storage), SIZES]
    assert len({step.seed for step in first + second}) == 2 * ROUND


def test_circumstances_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other round has another environment, which is gone afterwards."""
    import os

    monkeypatch.setenv("USER", "me")
    before = dict(os.environ)
    with circumstances(1):
        assert os.environ["USER"] == "somebody"
    assert dict(os.environ) == before


def test_kernelbench_form_is_found_without_running_it(saved: Callable[..., Path]) -> None:
    """ModelNew counts before Model; functions of the contract before both."""
    path = saved("raise SystemExit\nclass Model: pass\nclass ModelNew: pass\n")
    assert spec_of(str(path)) == f"{path}:ModelNew"
    assert spec_of(str(saved("class Model: pass\n"))) == f"{path}:Model"
    text = "class Model: pass\ndef forward_train(): pass\n"
    assert spec_of(str(saved(text))) == str(path)
    assert spec_of("torch") == "torch" and spec_of(str(saved("x ="))) == str(path)


@pytest.mark.parametrize("name", GRADERS)
def test_published_graders_let_what_is_right_pass(name: str) -> None:
    """The graders of the table accuse nothing: what they do not see is their fault alone."""
    assert GRADERS[name](loaded(HONEST))


def test_submissions_are_of_every_kind(tmp_path: Path) -> None:
    """Bugs, controls and cheats come with their right verdicts, in files that are there."""
    from itertools import islice

    found = list(islice(submissions(tmp_path), 400))
    assert {verdict for _, verdict in found} == {"pass", "fail"}
    assert all(path.is_file() for path, _ in found)
    assert sum(
        path.parent == tmp_path and path.stem in {c.stem for c in cheats()} for path, _ in found
    )


def test_the_table_has_every_cheat() -> None:
    """The page lists each cheat, and none that our graders let pass."""
    table = README.read_text(encoding="utf-8").partition("## Who sees which cheat")[2]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    named = {row[1].split("`")[1]: row for row in rows}
    assert set(named) == {path.stem for path in [*cheats(), HONEST]}
    for name, row in named.items():
        ours = [word.strip() for word in row[-4:-2]]
        assert ours == (["passes"] * 2 if name == RIGHT else ["seen"] * 2), name

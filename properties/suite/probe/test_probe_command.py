"""`bncheck probe` as a user runs it: the table, the JSON, what to change, and what goes wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from properties.commands import probe as commands
from properties.probe.accuracy import Grade
from properties.probe.answers import FOUND, Answer
from properties.probe.determinism import by_threads
from properties.probe.exactness import Exact
from properties.probe.migration import lines
from properties.probe.portrait import Portrait, as_json, exact_summary, probe, summary_of
from properties.probe.subject import Probing
from properties.probe.table import pairs, table
from properties.targets.open import loaded

# what a target warns of is its own affair
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

Save = Callable[..., Path]

OTHER = """
import numpy as np

def forward_train(x, gamma, beta, running_mean, running_var, *, eps, momentum):
    axes = (0, *range(2, x.ndim))
    row = lambda a: a.reshape(1, -1, *(1,) * (x.ndim - 2))
    n = x.size // x.shape[1]
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    y = row(gamma) * (x - row(mean)) / (np.sqrt(row(var)) + x.dtype.type(eps)) + row(beta)
    keep, rest = x.dtype.type(1 - momentum), x.dtype.type(momentum)
    unbiased = var * x.dtype.type(n / max(n - 1, 1))
    return y, keep * running_mean + rest * mean, keep * running_var + rest * unbiased, None

def forward_eval(x, gamma, beta, running_mean, running_var, *, eps):
    row = lambda a: a.reshape(1, -1, *(1,) * (x.ndim - 2))
    std = np.sqrt(row(running_var)) + x.dtype.type(eps)
    return row(gamma) * (x - row(running_mean)) / std + row(beta), None
"""

THREADED = """
import os
import bn
from bn import backward_train

def forward_train(*args, **options):
    y, *rest = bn.forward_train(*args, **options)
    if int(os.environ.get("OMP_NUM_THREADS", "1")) > 1 and y.size > 1000:
        y = -y
    return y, *rest
"""


def run(*arguments: str) -> int:
    from properties.cli import main

    return main(["probe", *arguments])


def portrait(spec: str, **values: str) -> Portrait:
    """Return a portrait with these answers, all found; underscores stand for blanks."""
    usual = {
        "momentum": "keep", "running_var": "biased", "statistics": "per channel",
        "channel axis": "1", "bias correction": "no", "initial statistics": "mean 0, variance 1",
        "running statistics in inference": "as given", "eps in inference": "inside the root",
    }  # fmt: skip
    given = {**usual, **{name.replace("_", " "): v for name, v in values.items()}}
    if "running var" in given:
        given["running_var"] = given.pop("running var")
    numbers = {"eps in inference": {"form": given["eps in inference"]}}
    return Portrait(
        spec,
        [Answer(name, FOUND, v, "", {}, numbers.get(name, {})) for name, v in given.items()],
        complete=True,
    )


def with_eps(spec: str, form: str, **numbers: Any) -> Portrait:
    found = portrait(spec)
    kept = [a for a in found.answers if a.question != "eps in inference"]
    eps = Answer("eps in inference", FOUND, form, "", {}, {"form": form, **numbers})
    return Portrait(spec, [*kept, eps], complete=True)


# --- what to change ------------------------------------------------------------------------------

CHANGES: list[tuple[Portrait, Portrait, list[str]]] = [
    (portrait("a"), portrait("b"), ["nothing"]),
    (
        portrait("a"), portrait("b", momentum="update"),
        ["momentum: give b 1 - momentum (a takes momentum as the share of the old)"],
    ),
    (
        portrait("a", momentum="update"), portrait("b"),
        ["momentum: give b 1 - momentum (a takes momentum as the share of the new)"],
    ),
    (
        portrait("a"), portrait("b", momentum="ignored (cumulative)"),
        ["momentum: keep in a, ignored (cumulative) in b: training on will differ"],
    ),
    (
        portrait("a"), portrait("b", running_var="unbiased"),
        ["running_var: times n / (n - 1) is what b would hold, n values per channel in a training "
         "batch (biased to unbiased); left as it is, inference is that of a"],
    ),
    (
        portrait("a", running_var="unbiased"), portrait("b"),
        ["running_var: times (n - 1) / n is what b would hold, n values per channel in a training "
         "batch (unbiased to biased); left as it is, inference is that of a"],
    ),
    (
        with_eps("a", "inside the root", value=1e-3), portrait("b"),
        ["eps: pass 0.001 to b (it is fixed in a)"],
    ),
    (
        portrait("a"), with_eps("b", "inside the root", value=1e-3),
        ["eps: inside the root in a, inside the root in b; inference of a takes "
         "running_var = running_var + eps of a - 0.001"],
    ),
    (
        with_eps("a", "outside the root"), portrait("b"),
        ["eps: outside the root in a, inside the root in b; inference of a takes "
         "running_var = (sqrt(running_var) + eps of a)**2 - eps of b"],
    ),
    (
        portrait("a"), with_eps("b", "outside the root"),
        ["eps: inside the root in a, outside the root in b; inference of a takes "
         "running_var = (sqrt(running_var + eps of a) - eps of b)**2"],
    ),
    (
        portrait("a"), with_eps("b", "inside the root", least=1e-5),
        ["eps: b raises it to 1e-05 where it is less"],
    ),
    (
        portrait("a"), portrait("b", channel_axis="-1"),
        ["x: move the channels from axis 1 to axis -1; weights stay (c,)"],
    ),
    (
        portrait("a"), portrait("b", statistics="per activation"),
        ["statistics: per channel in a, per activation in b: gamma, beta and the running "
         "statistics have other shapes, and cannot be moved unless x has rank 2"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "want"), CHANGES)
def test_what_to_change_is_said(one: Portrait, other: Portrait, want: list[str]) -> None:
    """Each convention that differs gives one line, and none that agrees."""
    assert lines(one, other) == want


def test_what_is_not_known_is_said() -> None:
    """An answer that fits none is no ground for a line, and is named instead."""
    other = portrait("b")
    other.answers[0] = Answer("momentum", "fits none")
    assert lines(portrait("a"), other) == ["momentum: not known of b: fits none"]


def test_a_probe_that_was_cut_short_is_said() -> None:
    """What was not asked is no reason to say that nothing is to be changed."""
    cut = portrait("b")
    cut.complete = False
    assert lines(portrait("a"), cut) == ["there may be more: the probe of b was cut short"]


def test_eps_in_training_stands_in_for_inference() -> None:
    """Where one of the two offers no inference, the line on eps is that of training."""
    without = portrait("b")
    without.answers = [a for a in without.answers if a.question != "eps in inference"]
    fixed = Answer("eps in training", FOUND, "inside the root, fixed at 0.001", "", {},
                   {"form": "inside the root", "value": 1e-3})  # fmt: skip
    other = portrait("a")
    other.answers.append(Answer("eps in training", FOUND, "inside the root", "", {},
                                {"form": "inside the root"}))  # fmt: skip
    without.answers.append(fixed)
    assert lines(without, other) == ["eps: pass 0.001 to a (it is fixed in b)"]


def inference(x: float, var: float, form: str, eps: float) -> float:
    """Return x normalized in inference at running mean 0, by the place of eps."""
    std = {
        "inside the root": (var + eps) ** 0.5,
        "outside the root": var**0.5 + eps,
        "maximum of variance and eps": max(var, eps) ** 0.5,
        "floor of the standard deviation": max(var**0.5, eps),
        "squared, inside the root": (var + eps * eps) ** 0.5,
        "ignored": var**0.5,
    }
    return x / std[form]


FORMS = ("inside the root", "outside the root", "maximum of variance and eps",
         "floor of the standard deviation", "squared, inside the root", "ignored")  # fmt: skip


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("origin", FORMS)
def test_the_variance_to_take_gives_the_same_inference(origin: str, to: str) -> None:
    """The formula of the line, evaluated, brings inference of one to that of the other."""
    told = lines(with_eps("a", origin, value=0.25), with_eps("b", to, value=0.125))
    if origin == to == "ignored":
        return  # two values of what is ignored
    formula = told[-1].partition("takes running_var = ")[2]
    for var in (0.5, 2.0, 7.0):
        names = {"running_var": var, "sqrt": lambda v: v**0.5, "max": max}
        moved = eval(formula, names)
        assert inference(3.0, moved, to, 0.125) == pytest.approx(inference(3.0, var, origin, 0.25))


# --- text ----------------------------------------------------------------------------------------


def grade(quantity: str, n: int, letter: str, layout: str = "(n,c)") -> Grade:
    return Grade(quantity, "float32", layout, n, letter, 0.5, 0.5, {})


def test_the_classes_of_a_dtype_are_one_line() -> None:
    """The worst class of a quantity counts, from the least n that has it, by layout."""
    a = [grade("y", n, "A", layout) for n in (16, 256) for layout in ("(n,c)", "(n,c,h,w)")]
    assert summary_of(a, "float32").startswith("A up to n = 256, the largest that was tried of 16")
    b = [*a, grade("y", 256, "B")]
    assert summary_of(b, "float32").startswith("B from n = 256: y in (n,c); else A up to n = 256,")
    c = [*b, grade("y", 16, "C"), grade("dx", 16, "C")]
    assert summary_of(c, "float32").startswith("C from n = 16: y, dx in (n,c); else A up to n =")
    every = [*a, grade("y", 256, "B"), grade("y", 256, "B", "(n,c,h,w)")]
    assert summary_of(every, "float32").startswith("B from n = 256: y; else A up to n = 256,")


def test_exactness_is_one_line() -> None:
    """Yes with what was asked, or no with what is not exact."""
    yes = [Exact("y", "float32", "(n,c)", 16, True), Exact("dx", "float32", "(n,c)", 16, True)]
    assert exact_summary(yes, "float32") == "yes (dx, y)"
    no = [*yes, Exact("mean", "float32", "(n,c)", 16, False)]
    assert exact_summary(no, "float32") == "no: mean"


def test_one_target_is_shown_with_how_sure_several_side_by_side() -> None:
    """A row per question; one target has a column of how sure, several have a column each."""
    one = table([portrait("a")], 100)
    assert "how sure" in one and "momentum" in one
    both = table([portrait("a"), portrait("b", momentum="update")], 100)
    head, first = both.splitlines()[:2]
    assert head.split() == ["a", "b"]
    assert first.split() == ["momentum", "keep", "update"]
    assert all(len(line) <= 100 for line in both.splitlines())


def test_pairs_are_all_or_first_against_others() -> None:
    """Every ordered pair of up to three targets; of more, the first with each other one."""
    p = [portrait(name) for name in "abcd"]
    assert len(pairs(p[:3])) == 6
    assert [(a.spec, b.spec) for a, b in pairs(p)] == [
        ("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("a", "d"), ("d", "a")]  # fmt: skip


# --- the command ---------------------------------------------------------------------------------


def test_two_targets_side_by_side(
    saved: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table, what to change either way, and a JSON file with every answer and its evidence."""
    other, written = str(saved(OTHER, "other.py")), tmp_path / "out.json"
    assert run("bn", other, "--up-to", "16", "--json", str(written), "--in-process") == 0
    shown = capsys.readouterr().out
    assert f"weights from bn to {other}:" in shown
    assert f"momentum: give {other} 1 - momentum" in shown
    assert "times n / (n - 1)" in shown
    assert "(sqrt(running_var + eps of bn) - eps of " in shown
    content = json.loads(written.read_text(encoding="utf-8"))
    assert content["complete"] is True and content["seed"] == 0
    first, second = content["targets"]
    by = {a["question"]: a for a in second["answers"]}
    assert by["momentum"]["value"] == "update" and by["running_var"]["value"] == "unbiased"
    assert by["eps in training"]["value"] == "outside the root, as passed"
    assert by["momentum"]["evidence"]["update"] <= 1 < by["momentum"]["evidence"]["keep"]
    assert all(a["sure"] for a in first["answers"] if a["verdict"] == "found")
    assert {g["quantity"] for g in first["accuracy"]} == {
        "mean", "variance", "y", "dx", "dgamma", "dbeta"}  # fmt: skip
    assert {g["quantity"] for g in second["accuracy"]} == {"mean", "variance", "y"}
    assert [m["from"] for m in content["migrations"]] == ["bn", other]
    assert first["calls"] > 50


def test_the_same_seed_gives_the_same_answers() -> None:
    """Nothing depends on the clock or on another run."""
    target = loaded("bn")
    target = replace(target, conventions=replace(target.conventions, dtypes=("float32",)))

    def once(seed: int) -> dict[str, Any]:
        made = Portrait("bn")
        return as_json(probe(target, made, seed=seed, up_to=16, children=False))

    assert once(3) == once(3)
    assert once(3) != once(4)


def test_a_target_that_does_not_load_is_one_line_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are shown and written, the status is 2, the file says what was wrong."""
    monkeypatch.setattr(commands, "probe", lambda target, made, **_: made.answers.extend(
        portrait("bn").answers) or made)  # fmt: skip
    written = tmp_path / "out.json"
    assert run("nowhere.py", "bn", "--json", str(written)) == 2
    shown = capsys.readouterr()
    assert "momentum" in shown.out and "no file nowhere.py" in shown.err
    targets = json.loads(written.read_text(encoding="utf-8"))["targets"]
    assert "no file" in targets[0]["error"] and targets[1]["target"] == "bn"


def test_an_interrupt_keeps_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C shows and writes the answers so far, marked incomplete, with status 130."""

    def cut(target: Any, made: Portrait, **_: Any) -> Portrait:
        made.answers.append(Answer("momentum", FOUND, "keep", "sure"))
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "probe", cut)
    written = tmp_path / "out.json"
    assert run("bn", "--json", str(written)) == 130
    assert "interrupted" in capsys.readouterr().out
    content = json.loads(written.read_text(encoding="utf-8"))
    assert content["complete"] is False
    assert content["targets"][0]["answers"][0]["value"] == "keep"


# --- threads -------------------------------------------------------------------------------------


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="it takes two processors")
def test_bits_that_depend_on_the_thread_count_are_seen(saved: Save) -> None:
    """Child processes with one thread and with two see a target that depends on it."""
    threaded = str(saved(THREADED, "threaded.py"))
    found = by_threads(Probing(loaded(threaded)), threaded)
    assert (found.verdict, found.value) == ("found", "no: y")
    assert by_threads(Probing(loaded("bn")), "bn").value == "yes"


def test_a_child_that_fails_leaves_it_open() -> None:
    """A target that a child cannot load is no reason to stop."""
    found = by_threads(Probing(loaded("bn")), "nowhere.py")
    assert found.verdict == "cannot tell" and "no file nowhere.py" in found.sure


# --- a real framework ----------------------------------------------------------------------------


def test_torch_is_seen_as_it_is() -> None:
    """PyTorch keeps an unbiased variance, sums contiguous images pairwise, channels_last not."""
    pytest.importorskip("torch")
    from properties.probe import accuracy
    from properties.probe.averages import averages
    from properties.probe.eps import eps_answer

    target = loaded("torch")
    p = Probing(replace(target, conventions=replace(target.conventions, dtypes=("float32",))))
    by = {answer.question: answer for answer in averages(p)}
    assert (by["momentum"].value, by["running_var"].value) == ("update", "unbiased")
    assert eps_answer(p, "training").value == "inside the root, as passed"
    p.eps_form = ("inside the root", None)
    classes = {g.layout: g.grade for g in accuracy._of_size(p, "float32", 2**16)
               if g.quantity == "mean"}  # fmt: skip
    assert classes["(n,c,h,w)"] == "A"
    assert classes["(n,c,h,w) channels last"] == "B"

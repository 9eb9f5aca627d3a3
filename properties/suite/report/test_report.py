"""`bncheck report`: judged in child processes, kept, told on one page without network."""

from __future__ import annotations

import html.parser
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from properties.invariants import INVARIANTS
from properties.report import stages
from properties.report.children import Children
from properties.report.environments import Place, asked, places
from properties.report.gather import status_file
from properties.report.page import About, found, markdown, view
from properties.report.page import html as written
from properties.report.sections import groups, matrix
from properties.report.stages import Plan, file_of, not_reached, open_invariants
from properties.report.target_results import TargetResults, results_of

pytest.importorskip("matplotlib", reason="the report needs the extra report")
pytest.importorskip("jinja2", reason="the report needs the extra report")

Run = Callable[..., Any]
SMALL = 'CONVENTIONS = {**bn.CONVENTIONS, "ndim": [2], "dtypes": ["float32"]}\n'
ABOUT = About("0.1.0", "2026-01-02", 0, 10, 1.5, "3.11", True)


def row(name: str, verdict: str, **more: Any) -> dict[str, Any]:
    """Return a row of a run."""
    found = {"name": name, "verdict": verdict, "examples": 2, "decisive": 2, "strength": 1e-6,
             "worst": 0.5, "counterexample": None, "message": f"{name} <&> \"it\""}  # fmt: skip
    return {**found, **more}


def point(ulp: float, radius: Any) -> dict[str, Any]:
    """Return a point of a hunt."""
    times = ulp / radius if isinstance(radius, float) else 0.0
    return {"mean_over_sd": 12.0, "ulp": ulp, "radius_ulp": radius, "multiple": times}


def cell(decade: int, largest: dict[str, Any], verdict: str) -> dict[str, Any]:
    """Return a cell of a hunt."""
    beyond = {"largest": largest, "closest": largest, "beyond": None}
    return {"quantity": "y", "dtype": "float32", "decade": decade, "verdict": verdict, **beyond}


def answer(question: str, value: str) -> dict[str, Any]:
    """Return an answer of a probe."""
    return {"question": question, "verdict": "found", "value": value, "sure": "",
            "evidence": {}, "numbers": {}}  # fmt: skip


CASE = {
    "invariant": "jacobian_is_symmetric", "sentence": "s", "call": "forward_train",
    "quantity": "y", "index": [0, 0], "got": 1.0, "want": 2.0, "error": 1.0, "multiple": "inf",
    "lines": ["import torch", "print(1 < 2)"], "printed": "True",
}  # fmt: skip


def write(plan: Plan, place: Place, verdict: str, momentum: str) -> None:
    """Write what the stages of a target would have written."""
    (plan.folder / "data").mkdir(exist_ok=True)
    names = list(INVARIANTS)
    rows = [row(name, "pass") for name in names[:-1]]
    rows[1] = row(names[1], verdict)
    grade = {"quantity": "y", "dtype": "float32", "layout": "(n, c)", "n": 16, "grade": "C"}
    portrait = {"target": place.target, "complete": True, "calls": 9, "exact": [],
                "answers": [answer("momentum", momentum)], "accuracy": [grade]}  # fmt: skip
    times = [{"call": "training", "shape": [2, 3], "dtype": "float32", "calls": 3,
              "median": 1e-4, "least": 1e-4}]  # fmt: skip
    contents = {
        "run": {"target": place.target, "conventions": {"dtypes": ["float32"]},
                "versions": {"numpy": "2"}, "complete": True, "invariants": rows},
        "probe": {"targets": [portrait]},
        "hunt": {"cells": [cell(0, point(1.0, 8.0), "pass"), cell(1, point(9.0, 8.0), "fail"),
                           cell(2, point(3.0, "inf"), "undecided")]},
        "inside": {"times": times, "cases": [CASE]},
    }  # fmt: skip
    stages = {name: {"state": "done", "line": "", "seconds": 1.0, "key": ""} for name in contents}
    stages["more"] = {"state": "cut", "line": "cut short after 1 s", "seconds": 1.0, "key": ""}
    for name, content in contents.items():
        file_of(plan, place, name).write_text(json.dumps(content), encoding="utf-8")
    status = {"target": place.target, "stages": stages}
    status_file(plan, place.target).write_text(json.dumps(status), encoding="utf-8")


@pytest.fixture
def targets(tmp_path: Path) -> list[TargetResults]:
    """Return three judged targets and one that is not installed."""
    plan = Plan(tmp_path)
    found = []
    for name, verdict, momentum in (
        ("one", "pass", "keep"), ("two:a", "fail", "update"),
        ("two:b", "expected failure", "update"),
    ):  # fmt: skip
        place = Place(name, sys.executable, {"numpy": "2"}, "a <target>")
        write(plan, place, verdict, momentum)
        found.append(results_of(plan, place))
    absent = Place("absent", problem="x>=1 is not installed", install="pip install x")
    return [*found, results_of(plan, absent)]


def test_a_report_begins_with_what_was_found(targets: list[TargetResults]) -> None:
    """One sentence names who fails, who does not, and who was not judged."""
    told = found(targets)
    assert "two:a fails " in told and "one" in told.split("fails")[1]
    assert told.endswith("not judged: absent.")


class Page(html.parser.HTMLParser):
    """What a page holds: that its elements are closed, its ids, its links, what it loads."""

    VOID = frozenset(
        {"meta", "br", "wbr", "link", "img", "input", "hr", "path", "use", "circle", "rect"}
    )

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.wrong: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, dict(attrs))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._seen(tag, dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def _seen(self, tag: str, attrs: dict[str, str | None]) -> None:
        self.tags.append((tag, attrs))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if attrs.get("id"):
            self.ids.append(str(attrs["id"]))
        for name, value in attrs.items():
            if name in ("href", "aria-labelledby") and value:
                self.links.append(value.removeprefix("#"))
            if name == "href" and value and not value.startswith("#"):
                self.loads.append(value)
            if name in ("src", "srcset", "data", "poster"):
                self.loads.append(str(value))
            if value:
                self.links += re.findall(r"url\(#([^)]+)\)", value)


def problems(text: str) -> list[str]:
    """Return what is wrong with a page as HTML, in its links, and in what it would load."""
    page = Page(text)
    found = page.wrong + [f"<{tag}> is not closed" for tag in page.open]
    found += [f"id {i} twice" for i in sorted({i for i in page.ids if page.ids.count(i) > 1})]
    found += [f"no id {link}" for link in sorted({*page.links} - {*page.ids} - {*page.loads})]
    found += [f"loads {load}" for load in page.loads]
    found += [f"loads {a}" for a in re.findall(r"@import[^;]*|url\([^#)][^)]*\)", text)]
    found += [f"<{tag}>" for tag, _ in page.tags if tag in ("script", "link", "iframe", "img")]
    jumps = [b for a, b in zip([0, *page.headings], page.headings, strict=False) if b > a + 1]
    return found + [f"a heading jumps to {level}" for level in jumps]


def test_the_page_is_whole_and_loads_nothing(targets: list[TargetResults]) -> None:
    """Elements are closed, ids are single and found, headings in order, nothing is fetched."""
    text = written(view(ABOUT, targets, plots=True))
    assert problems(text) == []
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("svg") == 3
    tables = [tag for tag, _ in page.tags].count("table")
    assert [tag for tag, _ in page.tags].count("caption") == tables > 5
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")
    assert ("a", "skip") in [(tag, attrs.get("class")) for tag, attrs in page.tags]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("</main>", "", "</body>"),
        ('id="main"', 'id="other"', "no id main"),
        ("<h3 ", "<h6 ", "a heading jumps"),
        ("<body>", '<body><img src="https://x/y.png">', "loads https://x/y.png"),
        ("<style>", "<style>@import 'x.css';", "@import"),
        ("<body>", '<body><p id="main"></p>', "id main twice"),
    ],
)
def test_a_broken_page_is_noticed(
    targets: list[TargetResults], old: str, new: str, says: str
) -> None:
    """Each kind of fault that the page must not have is seen when it is planted."""
    text = written(view(ABOUT, targets, plots=False))
    assert old in text
    assert any(says in problem for problem in problems(text.replace(old, new, 1)))


def colours(text: str) -> Iterator[dict[str, str]]:
    """Yield the colours of the light and the dark scheme."""
    for block in re.findall(r":root \{([^}]*)\}", text):
        yield dict(re.findall(r"--(\w+): (#\w{6})", block))


def contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' luminances, as the Web Content Accessibility Guidelines."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_texts_stand_out_in_light_and_dark(targets: list[TargetResults]) -> None:
    """Every colour of text has the contrast 4.5 to both grounds, in both schemes."""
    text = written(view(ABOUT, targets, plots=False))
    schemes = list(colours(text))
    assert len(schemes) == 2
    assert "@media (prefers-color-scheme: dark)" in text
    for scheme in schemes:
        for name in ("ink", "soft", "link", "good", "bad", "odd", "error", "radius"):
            for ground in ("ground", "band"):
                ratio = contrast(scheme[name], scheme[ground])
                assert ratio >= 4.5, f"{name} on {ground}: {ratio:.2f}"
    assert contrast("#777777", "#ffffff") < 4.5 < contrast("#767676", "#ffffff")


def test_verdicts_do_not_hang_on_colour(targets: list[TargetResults]) -> None:
    """Each verdict of the matrix is a sign of its own, with its name for who hears the page."""
    cells = [cell for line in matrix(targets[:3]).rows for cell in line[1:]]
    signs = {cell.text for cell in cells}
    assert signs == {"✓", "✗", "≈", "·"}
    assert all(cell.says for cell in cells)
    text = written(view(ABOUT, targets, plots=False))
    assert '<span aria-hidden="true">✗</span><span class="hidden">fail</span>' in text


def test_failures_are_told_with_their_reproducers(targets: list[TargetResults]) -> None:
    """The page and the Markdown hold the lines, what they printed, and the reason of the absent."""
    content = view(ABOUT, targets, plots=False)
    page, text = written(content), markdown(content)
    assert "print(1 &lt; 2)" in page
    assert "print(1 < 2)" in text
    for told in (page, text):
        assert "x&gt;=1 is not installed; try: pip install x" in told.replace("x>=1", "x&gt;=1")
        assert "more cut short after 1 s" in told
    assert "| two:a |" in text
    assert "from mean/sd 1e1 on" in text


def test_targets_that_share_conventions_stand_together(targets: list[TargetResults]) -> None:
    """Weights move within a group as they are; between groups it is said what to change."""
    assert [[t.name for t in group] for group in groups(targets)] == [["one"], ["two:a", "two:b"]]
    assert "momentum: give two:a 1 - momentum" in markdown(view(ABOUT, targets, plots=False))


def test_more_examples_replace_fewer(tmp_path: Path) -> None:
    """The second run's rows count where it has them, the first run's where it was cut short."""
    plan, place = Plan(tmp_path), Place("one", sys.executable)
    write(plan, place, "fail", "keep")
    first, second = list(INVARIANTS)[:2]
    assert second not in open_invariants(plan, place)
    assert first in open_invariants(plan, place)
    more = {"invariants": [row(first, "undecided", examples=50)]}
    file_of(plan, place, "more").write_text(json.dumps(more), encoding="utf-8")
    found = results_of(plan, place)
    assert [found.verdict(name) for name in (first, second)] == ["undecided", "fail"]
    assert found.rows[first][0]["examples"] == 50


def test_what_was_late_is_asked_again(tmp_path: Path) -> None:
    """Of a first run that was cut short the rest is asked, of one that gave nothing all."""
    plan, place = Plan(tmp_path), Place("one", sys.executable)
    assert not_reached(plan, place) == list(INVARIANTS)
    write(plan, place, "pass", "keep")
    assert not_reached(plan, place) == list(INVARIANTS)[-1:]


# --- children and environments -------------------------------------------------------------------


def test_a_child_is_cut_short_and_may_say_goodbye() -> None:
    """After its time a child gets SIGTERM, and what it prints then is kept."""
    code = "import signal,sys,time\nsignal.signal(15, lambda *_: sys.exit(print('bye') or 7))\n"
    code += "print('on', flush=True)\ntime.sleep(60)"
    ended = Children().run([sys.executable, "-c", code], 1.5)
    assert (ended.cut, ended.status, ended.out.split()) == (True, 7, ["on", "bye"])


def test_a_child_that_dies_says_how() -> None:
    """A signal is named; of an error the last line is kept; the status is passed on."""
    died = Children().run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], 60)
    assert died.line == "its process was ended by SIGKILL"
    failed = Children().run([sys.executable, "-c", "raise ValueError('why')"], 60)
    assert (failed.status, failed.line, failed.cut) == (1, "ValueError: why", False)


def test_stopped_children_start_no_more() -> None:
    """After stop nothing is begun."""
    children = Children()
    children.stop()
    assert children.run([sys.executable, "-c", "print(1)"], 60).out == ""


def test_each_interpreter_is_asked_once_and_the_first_that_has_it_is_taken() -> None:
    """What is installed nowhere has its reason; what nobody names goes to the first interpreter."""
    row = {"name": "x", "says": "", "versions": {}, "installed": False}
    row |= {"problem": "no", "install": "i"}
    lists = {"a": [row], "b": [{**row, "installed": True, "versions": {"x": "1"}}]}
    assert [p.python for p in places(lists, ["x", "file.py"])] == ["b", "a"]
    absent = places({"a": [row]}, [])[0]
    assert (absent.python, absent.problem, absent.install) == ("", "no", "i")
    found, wrong = asked(["/no/such/python", sys.executable], Children())
    assert [*found] == [sys.executable]
    assert "--python=/no/such/python: expected an interpreter" in wrong[0]


# --- the command ---------------------------------------------------------------------------------


def test_wrong_arguments_are_one_line(bncheck: Run, tmp_path: Path) -> None:
    """A folder that cannot be, an interpreter without bncheck, minutes of nothing: status 2."""
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    for arguments in (
        ("bn", "--out", file), ("bn", "--out", tmp_path / "no" / "such"),
        ("bn", "--out", tmp_path / "out", "--python", "/no/such/python"),
        ("bn", "--out", tmp_path / "out", "--minutes", "0"), ("bn",),
    ):  # fmt: skip
        ran = bncheck("report", *arguments)
        assert (ran.status, ran.err.count("\n")) == (2, 1), ran.err


def test_a_report_goes_on_past_what_breaks(
    bncheck: Run, on_bn: Callable[..., Path], saved: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One that fails at import and one that kills its process have a line, the good one is judged.

    A second call takes what is there; its page is as the first.
    """
    monkeypatch.setattr(stages, "UP_TO", 64)
    good = on_bn(SMALL)
    broken = saved("raise RuntimeError('not today')", "broken.py")
    killed = saved("import os\nos.kill(os.getpid(), 11)", "killed.py")
    out = tmp_path / "out"
    command = ("report", good, broken, killed, "--out", out, "--examples", "2", "--minutes", "3")
    ran = bncheck(*command)
    assert ran.status == 0, ran.out + ran.err
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "RuntimeError: not today" in text
    assert "SIGSEGV" in text
    page = (out / "report.html").read_text(encoding="utf-8")
    assert problems(page) == []
    assert "1 judged, 2 not" in page
    status = json.loads(next((out / "data").glob("*users_target*.status.json")).read_text())
    assert {name: kept["state"] for name, kept in status["stages"].items()} == dict.fromkeys(
        ("run", "probe", "hunt", "inside", "more"), "done"
    )
    again = bncheck(*command)
    assert again.status == 0
    known = json.loads(next((out / "data").glob("*users_target*.status.json")).read_text())
    assert known["stages"] == status["stages"], "it was judged anew"


def test_an_interrupted_report_keeps_what_there_is(
    on_bn: Callable[..., Path], tmp_path: Path
) -> None:
    """Control and C in the middle: status 130, a page that says so, and no process left behind."""
    out, pids = tmp_path / "out", tmp_path / "pids"
    note = f"import os, time\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
    slow = on_bn(f"{SMALL}{note}time.sleep(60)")
    command = [sys.executable, "-m", "properties.cli", "report", str(slow), "--out", str(out)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not pids.exists() and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    printed, complained = child.communicate(timeout=120)
    assert child.returncode == 130, complained
    assert "interrupted; the same command goes on from there" in printed
    assert "It was interrupted" in (out / "report.html").read_text(encoding="utf-8")
    left = [int(pid) for pid in pids.read_text(encoding="utf-8").split()]
    assert left
    for _ in range(200):  # the system takes a moment to bury them
        left = [pid for pid in left if Path(f"/proc/{pid}").exists()]
        if not left:
            break
        time.sleep(0.1)
    assert left == []

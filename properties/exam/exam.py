"""The exam: the right one first, then the right variants, then the bugs, and what came of each."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..bugs.elsewhere import all_mutants
from ..support.writing import write_whole
from .pasted import shown, test_of
from .questions import KINDS, STYLES, Witness, witness
from .sitting import Sat, sit
from .stand_in import FACTS, facts_of
from .subjects import RIGHT, bugs, variants


class Unfit(Exception):
    """The exam cannot be held: one line says why."""


class Flaky(Exception):
    """The command passes and fails with one and the same implementation."""


@dataclass(frozen=True)
class Exam:
    """What is examined, and how."""

    command: tuple[str, ...]
    module: str
    name: str
    style: str
    momentum: str = ""
    running_var: str = ""
    timeout: float = 300.0
    right_runs: int = 2
    only: tuple[str, ...] = ()

    def order(self, subject: str) -> dict[str, Any]:
        """Return what the hook is told."""
        conventions = STYLES[self.style].conventions(self.momentum, self.running_var)
        return {
            "module": self.module, "name": self.name, "style": self.style, "subject": subject,
            "conventions": asdict(conventions),
        }  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """What came of one subject.

    outcome: killed, timed out (killed too), survived, not reached or not expressible of a bug;
    passed or too strict of a right variant.
    """

    name: str
    outcome: str
    kind: str = ""
    seconds: float = 0.0
    facts: tuple[str, ...] = ()
    test: str = ""
    verified: bool = False
    why: str = ""


@dataclass(frozen=True)
class Result:
    """All marks, and what the command showed of itself with the right one in place."""

    exam: Exam
    facts: tuple[str, ...]
    variants: tuple[Mark, ...]
    bugs: tuple[Mark, ...]

    @property
    def scored(self) -> list[Mark]:
        return [m for m in self.bugs if m.outcome != "not expressible"]

    @property
    def killed(self) -> list[Mark]:
        return [m for m in self.bugs if m.outcome in ("killed", "timed out")]

    @property
    def survivors(self) -> list[Mark]:
        return [m for m in self.scored if m.outcome in ("survived", "not reached")]

    @property
    def too_strict(self) -> list[Mark]:
        return [m for m in self.variants if m.outcome == "too strict"]

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Return for each kind of bug how many were killed, of how many."""
        of = Counter(m.kind for m in self.scored)
        seen = Counter(m.kind for m in self.killed)
        return {kind: (seen[kind], of[kind]) for kind in KINDS if of[kind]}

    def lacking(self) -> dict[str, int]:
        """Return what no test shows, and how many survivors' tests do."""
        found = {
            text: sum(key in m.facts for m in self.survivors)
            for key, text in FACTS.items()
            if key not in self.facts
        }
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def held(exam: Exam, folder: Path, jobs: int, tell: Callable[[str], None]) -> Result:
    """Hold the exam; marks that lie in the folder are taken from there.

    Raises:
        Unfit: the right implementation fails, or the command never uses what is replaced.
        Flaky: it passes once and fails once.
    """
    _claim(exam, folder)
    facts = _right(exam, folder, tell)
    right = [name for name in variants() if not exam.only or name in exam.only]
    wrong = [name for name in bugs() if not exam.only or name in exam.only]
    done = 0

    def mark(name: str, make: Callable[[Exam, str], Mark]) -> Mark:
        nonlocal done
        path = folder / f"{name}.json"
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            found = Mark(**{**known, "facts": tuple(known["facts"])})
        else:
            found = make(exam, name)
            write_whole(path, json.dumps(asdict(found), indent=1, sort_keys=True) + "\n")
        done += 1
        tell(f"{done} of {len(right) + len(wrong)}: {name}: {found.outcome}")
        return found

    with ThreadPoolExecutor(jobs) as pool:
        try:
            first = list(pool.map(lambda name: mark(name, _variant), right))
            second = list(pool.map(lambda name: mark(name, _bug), wrong))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Result(exam, facts, tuple(first), tuple(second))


def _claim(exam: Exam, folder: Path) -> None:
    """Mark a folder as this exam's, or refuse one that is another's."""
    path, mine = folder / "exam.json", json.loads(json.dumps(asdict(replace(exam, only=()))))
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != mine:
            raise Unfit(f"--out={folder}: it holds another exam: expected an empty folder")
    else:
        write_whole(path, json.dumps(mine, indent=1, sort_keys=True) + "\n")


def _used(exam: Exam, sat: Sat) -> None:
    if sat.error:
        raise Unfit(f"--replace={exam.module}:{exam.name}: {sat.error}")
    if "called" not in sat.facts:
        raise Unfit(
            f"the command never used {exam.module}:{exam.name}: expected a Python command that "
            "imports it; check --replace"
        )


def _right(exam: Exam, folder: Path, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Return what the command shows with the right one in place, which it must pass each time."""
    path = folder / "right.json"
    if path.exists():
        return tuple(json.loads(path.read_text(encoding="utf-8")))
    found = []
    for k in range(exam.right_runs):
        tell(f"the right implementation, {k + 1} of {exam.right_runs}")
        found.append(_sat(exam, RIGHT))
    passed = [sat.status == 0 for sat in found]
    if any(passed) and not all(passed):
        raise Flaky(
            f"the command is flaky: with one right implementation it passed {sum(passed)} of "
            f"{len(passed)} times; nothing is scored"
        )
    if not any(passed):
        own = sit(exam.command, None, exam.timeout)
        if own.status != 0:
            raise Unfit(f"the command fails as it is, {_how(own)}: {_last(own)}")
        _used(exam, found[0])
        raise Unfit(
            f"the command fails with a right implementation in place, {_how(found[0])}: "
            f"{_last(found[0])}; check --style, --momentum and --running-var"
        )
    _used(exam, found[0])
    facts = sorted(set().union(*(sat.facts for sat in found)))
    write_whole(path, json.dumps(facts) + "\n")
    return tuple(facts)


def _sat(exam: Exam, subject: str) -> Sat:
    try:
        return sit(exam.command, exam.order(subject), exam.timeout)
    except OSError as error:
        raise Unfit(f"{exam.command[0]}: {error.strerror or error}") from error


def _how(sat: Sat) -> str:
    return f"no end in {sat.seconds:.0f} s" if sat.status is None else f"exit {sat.status}"


def _last(sat: Sat) -> str:
    lines = [line.strip() for line in sat.tail.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _variant(exam: Exam, name: str) -> Mark:
    sat = _sat(exam, name)
    outcome = "passed" if sat.status == 0 else "too strict"
    why = "" if sat.status == 0 else f"{_how(sat)}: {_last(sat)}"
    return Mark(name, outcome, seconds=round(sat.seconds, 2), why=why)


def _bug(exam: Exam, name: str) -> Mark:
    style = STYLES[exam.style]
    conventions = style.conventions(exam.momentum, exam.running_var)
    shows = witness(name, conventions, style)
    if shows is None:
        return Mark(name, "not expressible")
    sat = _sat(exam, name)
    if sat.error:
        _used(exam, sat)
    why = all_mutants()[name].model
    mark = Mark(name, "killed", shows.kind, round(sat.seconds, 2), _facts(shows), why=why)
    if sat.status is None:
        return replace(mark, outcome="timed out")
    if sat.status != 0:
        return mark
    mark = replace(mark, outcome="survived" if "called" in sat.facts else "not reached")
    if not shown(exam.style):
        return mark
    test = test_of(shows, exam.style, exam.module, exam.name, name)
    return replace(mark, test=test, verified=tells_apart(exam, name, test))


def _facts(shows: Witness) -> tuple[str, ...]:
    """Return which of FACTS a witness shows."""
    a, q, found = shows.question.arrays(), shows.question, set[str]()
    given = tuple(a[k] for k in ("x", "gamma", "beta", "mean", "var"))
    for word, function in (("train", "forward_train"), ("eval", "forward_eval")):
        if word in shows.program:
            found |= facts_of(function, given, {"eps": q.eps})
    if "back" in shows.program:
        found |= facts_of("backward_train", (a["dy"],), {})
    return tuple(sorted(found))


def tells_apart(exam: Exam, bug: str, test: str) -> bool:
    """Return whether a test passes with the right one in place, and fails with the bug."""
    code = test + test.partition("def ")[2].partition(":")[0] + "\n"
    python = exam.command[0] if "python" in Path(exam.command[0]).name else sys.executable
    command = [python, "-c", f"import sys; sys.path.insert(0, '')\n{code}"]
    right, wrong = (sit(command, exam.order(s), exam.timeout) for s in (RIGHT, bug))
    return right.status == 0 and "called" in right.facts and wrong.status not in (0, None)


def style_of(module: str, name: str) -> str:
    """Return the style that names tell, empty where they tell none."""
    if name in ("forward_train", "backward_train", "forward_eval", "backward_eval"):
        return "contract"
    if module.partition(".")[0] == "torch":
        return "torch"
    if name[:1].isupper():
        return "class"
    return "cs231n" if "forward" in name else ""


def document(result: Result) -> dict[str, Any]:
    """Return a result as JSON."""
    return {
        "command": list(result.exam.command),
        "replaced": f"{result.exam.module}:{result.exam.name}",
        "style": result.exam.style,
        "killed": len(result.killed),
        "of": len(result.scored),
        "too_strict": [m.name for m in result.too_strict],
        "kinds": {k: {"killed": a, "of": b} for k, (a, b) in result.by_kind().items()},
        "never_shown": result.lacking(),
        "variants": [asdict(m) for m in result.variants],
        "bugs": [asdict(m) for m in result.bugs],
    }


def text(result: Result, tests: int) -> str:
    """Return the result as text, with at most so many of the survivors' tests."""
    lines = [
        f"your tests see {len(result.killed)} of {len(result.scored)} known bugs; "
        f"too strict: {len(result.too_strict)} of {len(result.variants)} right variants fail",
        "",
    ]
    lines += [f"  {kind:<10} {a:>3} of {b}" for kind, (a, b) in result.by_kind().items()]
    left = len(result.bugs) - len(result.scored)
    lines += [f"  {left} bugs cannot be expressed as {result.exam.style}"] * bool(left)
    lines += [f"too strict: {m.name}: {m.why}" for m in result.too_strict]
    if result.survivors and result.lacking():
        lines += ["", "no test has"]
        lines += [
            f"  {what} ({n} of the tests below do)" for what, n in result.lacking().items() if n
        ]
    lines += _survivors(result.survivors, tests)
    return "\n".join(lines)


def _survivors(marks: Sequence[Mark], tests: int) -> list[str]:
    lines = []
    for k, m in enumerate(marks):
        state = "" if m.outcome == "survived" else f", {m.outcome}"
        lines += ["", f"{m.name} ({m.kind}{state}): {' '.join(m.why.split())}"]
        if k < tests and m.test:
            lines += ["" if m.verified else "  (not verified: it could not be run here)"]
            lines += [f"    {line}" for line in m.test.splitlines()]
    return lines

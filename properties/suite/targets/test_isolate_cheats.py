"""What a worker gives a cheat: the same memory again, none that holds an answer, no trace of us."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from properties.model import contract
from properties.model.cases import Recipe, build
from properties.model.contract import Conventions, Died
from properties.run.diagnosis import causes
from properties.run.storage import kept_from_call_to_call
from properties.targets.isolate.hidden import hidden
from properties.targets.isolate.limits import Limits
from properties.targets.isolate.remote import Remote
from properties.targets.open import loaded, open_target

CASE = build(Recipe(n=4, channels=2, bits=4, seed=3), Conventions())
GIVEN = (CASE.x, CASE.gamma, CASE.beta, CASE.running_mean, CASE.running_var)
NUMBERS = {"eps": 0.5, "momentum": 0.5}
TELLS = """
import numpy as np

def forward_train(x, gamma, beta, mean, var, *, eps, momentum):
    return np.float64([NUMBER]), None, None, None
"""


@pytest.fixture
def told(saved: Callable[..., Path]) -> Iterator[Callable[[str], float]]:
    """What an expression is in a worker, in the call of a target."""
    opened = []

    def tell(number: str, above: str = "") -> Any:
        path = saved(above + TELLS.replace("NUMBER", number))
        remote = Remote(str(path), Limits(timeout=5))
        opened.append(remote)
        return lambda *given: float(remote.call("forward_train", *given, **NUMBERS)[0][0])

    yield tell
    for remote in opened:
        remote.close()


ADDRESS = "x.__array_interface__['data'][0]"


def test_the_same_storage_is_the_same_there(told: Callable[..., Any]) -> None:
    """New numbers in the same arrays lie where the old ones lay; other arrays lie elsewhere."""
    address = told(f"{ADDRESS} + 0.0")
    held = [a.copy() for a in GIVEN]
    first = address(*held)
    held[0][...] += 1
    assert address(*held) == first
    others = [a.copy() for a in GIVEN]
    assert address(*others) != first
    assert address(*held) == first


def test_what_is_written_over_is_seen_there(told: Callable[..., Any]) -> None:
    """The numbers there are those of the call, and what is kept of the last one moves with them."""
    total = told("x.sum() + 1000 * KEPT.setdefault('x', x).sum()", "KEPT = {}\n")
    held = [a.copy() for a in GIVEN]
    before = held[0].sum()
    assert total(*held) == 1001 * before
    held[0][...] *= 2
    assert total(*held) == 2 * 1001 * before


def test_arguments_may_be_write_protected(told: Callable[..., Any]) -> None:
    """Who reads is answered; who writes dies, though it puts back what was there."""
    read = told("x.sum()")
    write = told("[x.__setitem__(0, 7), 1.0][1]")
    assert write(*GIVEN) == 1.0
    with contract.write_protected():
        assert read(*GIVEN) == CASE.x.sum()
        died = r"died by SIG(SEGV|BUS): its arguments were write-protected"
        with pytest.raises(Died, match=died):
            write(*GIVEN)


def test_new_memory_holds_no_answer(told: Callable[..., Any]) -> None:
    """What np.empty gives in the size of an argument is NaN at each call."""
    left = told("float(np.isnan(np.empty_like(x)).all())")
    for _ in range(3):
        assert left(*[a.copy() for a in GIVEN]) == 1.0


SEES = """
import os, sys
OURS = ("properties", "hypothesis", "pytest", "reference", "bn")
NAMES = lambda: sum(name.partition(".")[0] in OURS for name in sys.modules)
BEFORE = NAMES() + sum("properties" in word for word in sys.orig_argv)
BEFORE += sum(b"properties" in open("/proc/self/cmdline", "rb").read() for _ in range(1))
BEFORE += __name__ != "users_target" or any(key.startswith("PYTEST_") for key in os.environ)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc")
def test_nothing_tells_of_the_suite(told: Callable[..., Any]) -> None:
    """Neither while it is imported nor in a call does a target see names of ours."""
    assert told("BEFORE + NAMES()", SEES)(*GIVEN) == 0.0


def test_hidden_modules_can_be_imported_and_come_back() -> None:
    """Who imports the suite by name is given the very modules, and afterwards all is as before."""
    import properties.model.cases as before

    names, path = set(sys.modules), list(sys.meta_path)
    spec = before.__spec__
    with hidden():
        assert "properties" not in sys.modules
        import properties.model.cases as inside

        assert inside is before
    assert set(sys.modules) >= names and sys.meta_path == path
    assert sys.modules["properties.model.cases"] is before and before.__spec__ is spec


COUNTS = """
import bn
from bn import CONVENTIONS, backward_eval, backward_train, forward_eval
CALLS = []
def forward_train(*args, **options):
    CALLS.append(1)
    y, *others = bn.forward_train(*args, **options)
    return y + len(CALLS), *others
"""


def test_the_first_call_that_is_judged_is_the_first(saved: Callable[..., Path]) -> None:
    """Opened afresh, a process has had no calls of the probe."""
    path = str(saved(COUNTS))
    given = CASE.x, CASE.gamma, CASE.beta, None, None
    right = contract.train(loaded("bn"), *given, eps=0.5, momentum=0.5).y
    for afresh in (False, True):
        with open_target(path, Limits(timeout=5), afresh=afresh) as target:
            got = contract.train(target, *given, eps=0.5, momentum=0.5).y
        assert np.allclose(got, right + 1) == afresh


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("answers_kept_by_storage", "the same storage with new numbers gives the old result"),
        ("hands_out_one_buffer", "every output of a shape lies in the same memory"),
    ],
)
def test_what_is_kept_from_call_to_call_is_named(name: str, sentence: str) -> None:
    """The planted errors have causes of their own; zeros and what is right have none of them."""
    target = loaded(f"mutants:{name}")
    assert kept_from_call_to_call(target) == name
    assert causes(target)[0].sentence.startswith(sentence)


def test_zeros_are_not_kept_answers() -> None:
    """What gives the same whatever it is given, in any memory, keeps nothing; bn neither."""
    right = loaded("bn")

    def zeros(x: Any, *rest: Any, **options: Any) -> Any:
        y, *others = right.functions["forward_train"](x, *rest, **options)
        return 0 * y, *others

    wrong = replace(right, functions={**right.functions, "forward_train": zeros})
    assert kept_from_call_to_call(wrong) == kept_from_call_to_call(right) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="it looks at /proc")
def test_starting_leaves_no_pipe(saved: Callable[..., Path]) -> None:
    """The pipe that a worker's code goes through is closed here."""
    path, open_here = str(saved(COUNTS)), []
    for _ in range(3):
        with closing(Remote(path, Limits(timeout=5))):
            pass
        gc.collect()  # the mapped file goes with its object
        open_here.append(len(list(Path("/proc/self/fd").iterdir())))
    assert open_here[1] == open_here[2]

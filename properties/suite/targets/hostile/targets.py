"""Batch norms that are right up to five samples, and then do something to their process.

`targets.py:NAME` is one of them; WORDS has, for each name, what a report must say of it. The native
ones need the library that BNCHECK_HOSTILE names.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import bn

MB = 2**20


def _kill(number: int) -> Callable[[Any], None]:
    return lambda x: os.kill(os.getpid(), number)


def _null(x: Any) -> None:
    ctypes.string_at(0)


def _spin(x: Any) -> None:
    while True:
        pass


def _hoard(x: Any) -> None:
    held = []
    while True:
        held.append(np.ones(16 * MB // 8))


def _flood(x: Any) -> None:
    while True:
        print("all work and no play makes a dull kernel" * 100)


def _environment(x: Any) -> None:
    os.environ["BNCHECK_CHANGED"] = "yes"


def _unset(x: Any) -> None:
    os.environ.pop("PATH", None)


def _fork(x: Any) -> None:
    if os.fork() == 0:
        time.sleep(1000)
        os._exit(0)


def _garbage(x: Any) -> None:
    for handle in range(3, 40):
        try:
            os.write(handle, b"\xff" * 64)
        except OSError:
            continue


def _hang_up(x: Any) -> None:
    os.closerange(3, 40)
    time.sleep(1000)


def _exit_in_thread(x: Any) -> None:
    threading.Thread(target=os._exit, args=(7,)).start()
    time.sleep(1000)


PYTHON: dict[str, tuple[Callable[[Any], Any], str]] = {
    "segmentation_fault": (_null, "died by SIGSEGV"),
    "abort": (lambda x: os.abort(), "died by SIGABRT"),
    "floating_point_exception": (_kill(signal.SIGFPE), "died by SIGFPE"),
    "killed": (_kill(signal.SIGKILL), "died by SIGKILL"),
    "illegal": (_kill(signal.SIGILL), "died by SIGILL"),
    "exit_0": (lambda x: os._exit(0), "exited with status 0"),
    "exit_3": (lambda x: os._exit(3), "exited with status 3"),
    "exit_in_a_thread": (_exit_in_thread, "exited with status 7"),
    "spins": (_spin, "hung: no answer within --timeout="),
    "sleeps": (lambda x: time.sleep(1000), "hung: no answer within --timeout="),
    "stops": (_kill(signal.SIGSTOP), "hung: no answer within --timeout="),
    "asks_for_100_gb": (lambda x: np.ones(10**11, np.int8), "passed --memory=200 MB"),
    "hoards": (_hoard, "passed --memory=200 MB"),
    "floods_output": (_flood, "flooded its output"),
    "changes_folder": (lambda x: os.chdir("/"), "changed the working directory to /"),
    "changes_error_state": (lambda x: np.seterr(all="raise"), "changed NumPy's error state"),
    "draws_random": (lambda x: random.random(), "changed the random state of random"),
    "draws_numpy_random": (
        lambda x: np.random.rand(),
        "changed the random state of numpy.random",
    ),
    "seeds_numpy_random": (
        lambda x: np.random.seed(1),
        "changed the random state of numpy.random",
    ),
    "sets_variable": (_environment, "changed the environment variable BNCHECK_CHANGED"),
    "unsets_variable": (_unset, "changed the environment variable PATH"),
    "forks": (_fork, "forked"),
    "forks_and_both_return": (lambda x: os.fork(), "forked"),
    "writes_garbage": (_garbage, "answered with something that cannot be decoded"),
    "hangs_up": (_hang_up, "closed its output and ran on"),
}
NATIVE = {
    "null_pointer": "died by SIGSEGV",
    "write_past_the_end": "wrote past the end of x",
    "write_before_the_start": "wrote before the start of x",
    "infinite_loop": "hung: no answer within --timeout=",
    "call_abort": "died by SIGABRT",
    "divide_by_zero": "died by SIGFPE",
    "stack_overflow": "died by SIGSEGV",
    "allocate_100_gb": "passed --memory=200 MB",
    "illegal_instruction": "died by SIGILL",
    "smash_the_heap": "died by SIGABRT",
    "leave": "exited with status 0",
    "print_for_ever": "flooded its output",
    "round_upward": "changed the floating-point state: rounding upward",
    "round_toward_zero": "changed the floating-point state: rounding toward zero",
    "flush_to_zero": "changed the floating-point state: subnormals are flushed to zero",
    "set_variable": "changed the environment variable OMP_NUM_THREADS",
    "change_folder": "changed the working directory to /",
    "fork_a_child": "forked",
    "fork_a_daemon": "forked",
}
WORDS = {name: word for name, (_, word) in PYTHON.items()} | NATIVE


def _native(name: str) -> Callable[[Any], None]:
    deed = getattr(ctypes.CDLL(os.environ["BNCHECK_HOSTILE"]), name)
    deed.argtypes = [ctypes.c_void_p, ctypes.c_long]
    deed.restype = None

    def do(x: Any) -> None:
        deed(x.ctypes.data, x.nbytes)

    return do


def __getattr__(name: str) -> Any:
    if name not in WORDS:
        raise AttributeError(name)
    deed = PYTHON[name][0] if name in PYTHON else _native(name)

    def forward_train(x: Any, *args: Any, **options: Any) -> Any:
        result = bn.forward_train(x, *args, **options)
        if len(x) > 5:
            deed(x)
        return result

    return SimpleNamespace(
        forward_train=forward_train, backward_train=bn.backward_train, CONVENTIONS=bn.CONVENTIONS
    )

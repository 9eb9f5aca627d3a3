"""What the tests of the command, the plugin and the targets share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

BN = """
import bn
from bn import CONVENTIONS, backward_eval, backward_train, forward_eval, forward_train
"""  # a target of four functions; what follows may redefine some


PROCESSES = 4  # at most, where -n does not say otherwise


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Spread the suite over the cores; say in one line what is missing where it cannot be."""
    if hasattr(config, "workerinput"):  # one of the processes; it spreads nothing itself
        return
    if find_spec("xdist") is None:
        raise pytest.UsageError("the suite needs pytest-xdist; try: pip install -e '.[test]'")
    option = config.option
    if not config.pluginmanager.has_plugin("xdist"):  # turned off by -p no:xdist
        return
    if option.numprocesses is None and not option.usepdb:
        option.numprocesses = min(os.cpu_count() or 1, PROCESSES)
        option.dist = "worksteal"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --all, which runs the tests marked slow too."""
    parser.addoption("--all", action="store_true", help="the suite's slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests out, unless all are wanted, or some were named one by one."""
    if config.option.all or any("::" in argument for argument in config.args):
        return
    tried: Counter[str] = Counter()
    slow = []
    for item in items:
        if (marker := item.get_closest_marker("slow")) is not None:
            name = item.nodeid.partition("[")[0]
            if tried[name] % marker.kwargs.get("but_one_in", len(items)) or not marker.kwargs:
                slow.append(item)
            tried[name] += 1
    if slow:
        config.hook.pytest_deselected(items=slow)
        left_out = set(slow)
        items[:] = [item for item in items if item not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixture `pytester`; `pytest_plugins` works only where this folder was named."""
    config.addinivalue_line(
        "markers", "slow(but_one_in=K): run by pytest --all alone, but for one in K of its cases"
    )
    if not config.pluginmanager.has_plugin("pytester"):
        config.pluginmanager.import_plugin("pytester")


class Ran(NamedTuple):
    """What a command did: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str


@pytest.fixture
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the modules that a test imported from files, and what it put on the path."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith(("bncheck_target_", "users_")):
            del sys.modules[name]


@pytest.fixture
def bncheck(clean_imports: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command in this process."""
    from properties.cli import main

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as left:
            status = int(str(left.code))
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Save a target's source beside nothing else."""

    def save(source: str, name: str = "users_target.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    return save


@pytest.fixture
def on_bn(saved: Callable[..., Path]) -> Callable[..., Path]:
    """Save a target that is bn but for what is given."""

    def save(source: str = "", name: str = "users_target.py") -> Path:
        return saved(BN + textwrap.dedent(source), name)

    return save


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real redis-server of this test's own."""
    from properties.suite.hunt.hunting import answers, free_port, until

    pytest.importorskip("redis", reason="needs bncheck[cluster]")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    port, folder = free_port(), str(tmp_path_factory.mktemp("redis"))
    options = ["--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", folder]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        until(lambda: answers(port), "the redis-server")
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()

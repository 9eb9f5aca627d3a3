"""The pytest plugin: `pytest --bn TARGET` adds one test per invariant, in any project.

Nothing heavy is imported until --bn is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .support.argument_types import DATABASE, MEMORY, STYLE, TIMEOUT

if TYPE_CHECKING:
    from .engine.exercise import Result

PROFILES = {"quick": 20, "default": 100, "thorough": 2000}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --bn and the options that belong to it."""
    group = parser.getgroup("bncheck", "batch norm under test")
    group.addoption("--bn", metavar="TARGET", help="check this batch norm against all invariants")
    group.addoption("--bn-style", **STYLE)
    group.addoption(
        "--bn-profile",
        choices=sorted(PROFILES),
        default="default",
        help="examples per invariant: " + ", ".join(f"{k} {v}" for k, v in PROFILES.items()),
    )
    group.addoption("--bn-seed", metavar="N", type=int, help="draw the same examples again")
    group.addoption("--bn-database", **DATABASE)
    group.addoption("--bn-strict", action="store_true", help="remarks are failures")
    group.addoption(
        "--bn-skip", action="append", default=[], metavar="INVARIANT", help="leave it out"
    )
    group.addoption(
        "--bn-in-process", action="store_true", help="call the target here, not in its own process"
    )
    group.addoption(
        "--bn-timeout", metavar="SECONDS", type=float, default=TIMEOUT, help="per call (20)"
    )
    group.addoption(
        "--bn-memory", metavar="MB", type=int, default=MEMORY, help="that calls may take (4096)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the target once, so that a wrong one stops the session with one line."""
    spec = config.getoption("--bn")
    if spec is not None:
        seed = config.getoption("--bn-seed")
        if seed is not None and not 0 <= seed < 2**32:
            raise pytest.UsageError(f"--bn-seed={seed}: expected a number from 0 to 2**32 - 1")
        for name in ("--bn-timeout", "--bn-memory"):
            if not 0 < (value := config.getoption(name)) < 2**40:
                raise pytest.UsageError(f"{name}={value}: expected a number above 0")
        config.pluginmanager.register(_Session(config, spec, seed), "bncheck-session")


class _Session:
    """The target of this session, its tests and their verdicts."""

    def __init__(self, config: pytest.Config, spec: str, seed: int | None) -> None:
        from .invariants import INVARIANTS
        from .model.contract import TargetError
        from .run.session import Options, session
        from .targets.isolate.limits import Limits
        from .targets.styles import styled

        self.config = config
        limits = Limits(
            *(config.getoption(f"--bn-{o}") for o in ("timeout", "memory", "in-process"))
        )
        try:
            spec = styled(config.getoption("--bn-style"), spec)
        except TargetError as error:
            raise pytest.UsageError(str(error).replace("--style", "--bn-style", 1)) from error
        options = Options(
            spec,
            limits,
            PROFILES[config.getoption("--bn-profile")],
            _shared_seed(config) if seed is None else seed,
            config.getoption("--bn-database"),
            "--bn-database",
            config.getoption("--bn-strict"),
        )
        self.skipped = config.getoption("--bn-skip")
        for name in self.skipped:
            if name not in INVARIANTS:
                raise pytest.UsageError(f"--bn-skip={name}: no such invariant")
        self.open = ExitStack()
        try:
            self.session = self.open.enter_context(session(options))
        except TargetError as error:
            raise pytest.UsageError(_named(error, options)) from error
        self.options, self.target = options, self.session.target

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Add one item per invariant."""
        from .invariants import INVARIANTS

        parent = _Target.from_parent(
            session, name=f"bn[{self.options.spec}]", nodeid=f"bn[{self.options.spec}]"
        )
        checks = [_Check.from_parent(parent, name=name, owner=self) for name in INVARIANTS]
        items.extend(checks)
        report = pytest.CollectReport(parent.nodeid, "passed", None, [*checks])
        session.ihook.pytest_collectreport(report=report)  # so that they count as collected

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the seed to a worker of pytest-xdist."""
        node.workerinput["bncheck_seed"] = self.options.seed

    def pytest_unconfigure(self) -> None:
        """End the target's process."""
        self.open.close()

    def pytest_report_header(self) -> str:
        """Name the target and the seed."""
        o = self.options
        return f"bncheck: --bn {o.spec} --bn-seed {o.seed} ({o.examples} examples)"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the verdicts, those of other workers included."""
        reports = [
            r for rs in terminalreporter.stats.values() for r in rs if hasattr(r, "user_properties")
        ]
        lines = {text: None for r in reports for key, text in r.user_properties if key == "bncheck"}
        if lines:
            from .run.text import header

            terminalreporter.section(f"bncheck {self.options.spec}")
            for text in (header(self.target), *lines):
                terminalreporter.write_line(text)


def _named(error: Exception, options: Any) -> str:
    """Return what is wrong, with the option that it is about."""
    text = str(error)
    return text if text.startswith(options.database_option) else f"--bn: {text}"


def _shared_seed(config: pytest.Config) -> int:
    """Return a random seed; a worker of pytest-xdist is given the session's."""
    import secrets

    given: dict[str, int] = getattr(config, "workerinput", {})
    return given["bncheck_seed"] if "bncheck_seed" in given else secrets.randbelow(2**32)


class _Target(pytest.Collector):
    """The node that the invariants of a target hang under."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield nothing: the items are added after collection."""
        return iter(())


class _Failed(Exception):
    """An invariant failed, with its text."""


class _Check(pytest.Item):
    """One invariant of the target as a test."""

    def __init__(self, *, owner: _Session, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.owner = owner

    def runtest(self) -> None:
        """Exercise the invariant and turn its verdict into pytest's."""
        from .run.text import line

        owner = self.owner
        if self.name in owner.skipped:
            pytest.skip(f"--bn-skip={self.name}")
        results = list(owner.session.results(self.name))
        for result in results:
            self.user_properties.append(("bncheck", line(result, owner.target)))
        self._outcome(results)

    def _outcome(self, results: list[Result]) -> None:
        from .engine.database import absolute
        from .run.text import failure_text

        target, o = self.owner.target, self.owner.options
        for result in results:
            if result.verdict == "fail" and result.case is None:
                raise _Failed(f"{self.name}: {result.message}")
            if result.verdict == "fail":
                cause = self.owner.session.cause_of(result)
                text = failure_text(result, target, o.seed, o.examples, absolute(o.database), cause)
                raise _Failed(text)
            if result.verdict in ("undecided", "unexpected pass"):
                raise _Failed(f"{self.name}: {result.verdict}: {result.message}")
        for result in results:
            if result.verdict == "remark":
                where = f"{self.name}: {result.message}"
                self.warn(pytest.PytestWarning(f"remark: {where}; --bn-strict makes it a failure"))
            if result.verdict == "expected failure":
                pytest.xfail(result.message)
        if all(result.verdict == "not offered" for result in results):
            pytest.skip("; ".join(result.message for result in results))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Show the report's text, or the line of a lost database, instead of a traceback."""
        from .model.contract import TargetError

        if isinstance(excinfo.value, (_Failed, TargetError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name the test."""
        name = f"bn[{self.owner.options.spec}]"
        return self.config.rootpath / name.replace("/", "."), None, f"{name}::{self.name}"

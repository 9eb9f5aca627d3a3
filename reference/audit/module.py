"""A file under audit, run as it is and run again with its arithmetic made exact."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .formula import Run, Values
from .language import NotAFormula
from .rewrite import Source, execute, rewrite


@dataclass(frozen=True)
class Module:
    """A file under audit: rewritten (None where that failed) and as it is."""

    path: Path
    source: Source | None
    plain: Mapping[str, Any]

    @property
    def typed_eps(self) -> tuple[str, ...]:
        """The literals that were read as eps."""
        return self.source.typed_eps if self.source else ()

    def both(
        self, run: Callable[[Mapping[str, Any], Values], Mapping[str, Any]]
    ) -> tuple[Run | None, Run]:
        """Return run over the names made exact (None where there are none) and over the plain."""
        source = self.source

        def exact(given: Values) -> Mapping[str, Any]:
            assert source is not None
            return run(execute(source, given["eps"]), given)

        return (exact if source else None), (lambda given: run(self.plain, given))


def load(path: Path) -> Module:
    """Read and run a file.

    Raises:
        NotAFormula: it does not exist, is not Python, or raises on import.
    """
    if not path.is_file():
        raise NotAFormula(f"file={str(path)!r}: no such file; expected FILE.py:FUNCTION")
    try:
        text = path.read_text(encoding="utf-8")
        compile(text, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        reason = getattr(error, "msg", None) or str(error)
        raise NotAFormula(f"file={str(path)!r}: not Python source ({reason})") from None
    plain = _import(path)
    known = plain.get("CONVENTIONS")
    eps = known.get("eps") if isinstance(known, Mapping) else None
    source: Source | None = rewrite(text, str(path), eps)
    try:
        if source is not None:
            execute(source, 1)
    except Exception:  # what runs plainly and fails over exact numbers is audited in float64
        source = None
    return Module(path, source, plain)


def _import(path: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location(f"bncheck_audited_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise NotAFormula(f"file={str(path)!r}: expected a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NotAFormula(f"file={str(path)!r}: does not import ({reason})") from None
    finally:
        sys.path.remove(str(path.parent))
    return vars(module)

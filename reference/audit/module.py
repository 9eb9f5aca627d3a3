"""A file under audit, run as it is and run again with its arithmetic made exact."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .literals import NotAFormula
from .rewrite import Source, execute, rewrite


@dataclass(frozen=True)
class Module:
    """A file under audit: rewritten (None where that failed) and as it is."""

    path: Path
    source: Source | None
    plain: Mapping[str, Any]

    def names(self, exact: bool, eps: Any) -> Mapping[str, Any]:
        """Return the module's names, run anew over exact numbers or as it is."""
        if not exact or self.source is None:
            return self.plain
        return execute(self.source, eps)


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

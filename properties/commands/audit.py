"""`bncheck audit`: judge gradient formulas exactly, from text or from a file."""

from __future__ import annotations

import argparse
import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.argument_types import number
from ..support.terminal import unwritable
from ..support.writing import write_whole

if TYPE_CHECKING:
    from reference.audit import Answer
    from reference.audit.formula import Formula

# the same as reference.audit.names.QUANTITIES (a test compares); named here so that building the
# command's parser imports nothing heavy
QUANTITIES = (
    "dx", "dgamma", "dbeta", "dxhat", "dstd", "dvar", "dxc", "dmean", "y", "xhat", "xc", "mean",
    "var", "std", "rstd", "ty", "grad_x", "grad_gamma", "grad_dy", "new_running_mean",
    "new_running_var",
)  # fmt: skip
MEANINGS = {
    "grad_x": "double backward by x",
    "grad_gamma": "double backward by gamma",
    "grad_dy": "double backward by dy",
    "ty": "forward mode",
}
_EPILOG = """
names: x xc xhat mean var std rstd y dy gamma beta eps n, and the usual others (dout, N, sigma);
functions: sum mean sqrt square (over the rows); several statements are separated by `;`, the last
one is the value; with --mode eval, mean and var are the running ones. A TEXT is never run as
Python; a FILE is. Exit status: 0 equal, 1 not equal, 2 not a formula, 3 unknown.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck audit`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "file", nargs="?", metavar="FILE.py[:FUNCTION]|TEXT",
        help="NumPy code f(dy, x, gamma, eps), a backward with its forward, a contract "
        "implementation, a layer class; or a formula, of dx unless it says `name = ...`",
    )  # fmt: skip
    texts = parser.add_argument_group("formulas as text")
    for quantity in QUANTITIES:
        option = "--" + quantity.replace("_", "-")
        meaning = MEANINGS.get(quantity, f"a formula of {quantity}")
        texts.add_argument(
            option, dest=f"text_{quantity}", metavar="TEXT", help=f"{meaning}; - reads it"
        )
    parser.add_argument("--catalogue", action="store_true", help="audit every published formula")
    parser.add_argument("--mode", choices=("train", "eval"), default="train")
    parser.add_argument("--momentum", choices=("keep", "update"), default="keep")
    parser.add_argument("--running-var", choices=("biased", "unbiased"), default="biased")
    parser.add_argument(
        "--returns",
        default="",
        metavar="NAMES",
        help="what FUNCTION returns, such as dx,dgamma,dbeta",
    )
    parser.add_argument("--eps", type=number, help="built into code that float64 must judge")
    parser.add_argument("--seed", type=_seed, metavar="N", help="try the same points again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports there")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is not covered")
    parser.add_argument("--markdown", action="store_true", help="print Markdown for an issue")


def joined(words: list[str]) -> list[str]:
    """Return the words with a formula that starts with - joined to its option."""
    options = {f"--{quantity.replace('_', '-')}" for quantity in QUANTITIES}
    found: list[str] = []
    for word in words:
        if found and found[-1] in options and word.startswith("-") and len(word) > 1:
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _seed(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 60:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:20]!r}: expected a whole number from 0")


def run(args: argparse.Namespace) -> int:
    """Audit what the arguments name and print the reports; return the exit status."""
    from reference.audit import NotAFormula, Question, audit, status

    question = Question(args.mode, args.momentum, args.running_var)
    try:
        _check(args)
        if args.file is not None and _needs_own_process(_split(args.file)[0]):
            return _in_own_process(args)
        answers = [
            audit(formula, asked, seed=args.seed, eps=args.eps)
            for formula, asked in _formulas(args, question)
        ]
        _show(answers, args)
    except NotAFormula as error:
        print(f"bncheck audit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return max((status(answer) for answer in answers), key=(0, 3, 1).index)


def _check(args: argparse.Namespace) -> None:
    from reference.audit import NotAFormula

    if wrong := unwritable(args.json):
        raise NotAFormula(wrong)
    if args.eps is not None and not 0 < args.eps < float("inf"):
        raise NotAFormula(f"--eps={args.eps}: expected a positive number")


def _formulas(args: argparse.Namespace, question: Any) -> list[tuple[Formula, Any]]:
    from reference.audit import NotAFormula, from_file, from_text
    from reference.audit.language import quantity_of

    found: list[tuple[Formula, Any]] = _catalogue() if args.catalogue else []
    texts = {q: getattr(args, f"text_{q}") for q in QUANTITIES}
    for quantity, text in texts.items():
        if text is not None:
            found.append((from_text(quantity, _read(text), args.mode), question))
    if args.file is not None:
        path, name = _split(args.file)
        if not path.endswith(".py") and not Path(path).exists():
            return [*found, (from_text(quantity_of(args.file), args.file, args.mode), question)]
        returns = _returns(args.returns)
        found += [(f, question) for f in from_file(Path(path), name or None, returns, args.mode)]
    if not found:
        raise NotAFormula(
            "nothing to audit: expected FILE.py:FUNCTION or a formula such as --dx TEXT"
        )
    return found


def _split(file: str) -> tuple[str, str]:
    """Return the path and the name after it, if there is one."""
    path, _, name = file.rpartition(":")
    return (path, name) if path.endswith(".py") else (file, "")


_PLAIN = {
    "numpy", "math", "functools", "itertools", "operator", "typing", "dataclasses", "fractions",
    "collections", "abc", "enum", "warnings", "__future__",
}  # fmt: skip
_CHILD = "BNCHECK_AUDIT_CHILD"


def _needs_own_process(path: str) -> bool:
    """Return whether a file imports what may be native code, which may end the process."""
    if os.environ.get(_CHILD) or not Path(path).is_file():
        return False
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return False
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    return any(name.split(".")[0] not in _PLAIN for name in names)


def _in_own_process(args: argparse.Namespace) -> int:
    """Audit in a process of its own; one that a signal ends is no formula."""
    from reference.audit import NotAFormula

    done = subprocess.run(
        [sys.executable, "-m", "properties.cli", *args.words], env={**os.environ, _CHILD: "1"}
    )
    if done.returncode < 0 or done.returncode > 128:
        number = -done.returncode if done.returncode < 0 else done.returncode - 128
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise NotAFormula(
            f"file={args.file!r}: its code ended the process ({_signal(number)}); native code is "
            "not a formula, check it with bncheck run"
        )
    return done.returncode


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _returns(names: str) -> list[str]:
    from reference.audit import NotAFormula

    returns = [name for name in names.replace(" ", "").split(",") if name]
    for name in returns:
        if name not in QUANTITIES:
            raise NotAFormula(f"--returns={name}: expected names among {' '.join(QUANTITIES)}")
    return returns


def _read(text: str) -> str:
    return sys.stdin.read(1 << 20) if text == "-" else text


def _catalogue() -> list[tuple[Formula, Any]]:
    from reference.audit import Question, from_file
    from reference.formulas import CATALOGUE

    return [
        (formula, Question(each.mode, each.momentum, each.running_var))
        for each in CATALOGUE
        for formula in from_file(each.path, each.name, each.returns, each.mode)
    ]


def _show(answers: list[Answer], args: argparse.Namespace) -> None:
    written = [
        answer.markdown() if args.markdown else answer.text(args.verbose) for answer in answers
    ]
    print("\n\n".join(written))
    if args.json is not None:
        _write(args.json, answers)


def _write(path: Path, answers: list[Answer]) -> None:
    """Write the reports atomically."""
    from importlib.metadata import PackageNotFoundError, version

    from reference.audit import NotAFormula

    try:
        release = version("bncheck")
    except PackageNotFoundError:
        release = "unknown"
    worst = next(
        (v for v in ("not equal", "unknown") if any(r.verdict == v for r in answers)), "equal"
    )
    data = {
        "bncheck": release,
        "verdict": worst,
        "audits": [answer.as_json() for answer in answers],
    }
    try:
        write_whole(path, json.dumps(data, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise NotAFormula(f"--json={path}: {error.strerror or error}") from error

"""`bncheck new`: print an adapter that runs, to be edited."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..support.terminal import complain

# of each style, the name that its adapter calls
NAMES = {
    "contract": "batch_norm",
    "cs231n": "batchnorm_forward",
    "numpy-class": "BatchNorm",
    "pytorch": "BatchNorm",
    "jax": "batch_norm",
    "keras": "BatchNorm",
    "c": "batch_norm",
}
_YOURS, _ADAPTER = "# --- yours\n", "# --- the adapter\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck new`."""
    parser.add_argument("style", choices=sorted(NAMES), metavar="STYLE", help=", ".join(NAMES))
    parser.add_argument(
        "file", nargs="?", metavar="FILE[:NAME]", help="your code, which the adapter then calls"
    )


def run(args: argparse.Namespace) -> int:
    """Print the adapter; 0, or 2 where there is no such file."""
    folder = Path(__file__).parent.parent / "targets" / "templates"
    text = (folder / f"{args.style.replace('-', '_')}.py").read_text(encoding="utf-8")
    if args.file is not None:
        path, _, name = args.file.partition(":")
        if not Path(path).is_file():
            return complain(f"file={args.file}: no file {path}; expected FILE or FILE:NAME")
        before, _, rest = text.partition(_YOURS)
        text = (
            before + _YOURS + _called(args.style, Path(path), name) + rest[rest.index(_ADAPTER) :]
        )
    print(text, end="")
    return 0


def _called(style: str, path: Path, name: str) -> str:
    """Return the lines that stand for the code of a template: those that call a file's."""
    usual = NAMES[style]
    name = name or usual
    if style == "c":
        return (
            f'SOURCE = Path({str(path.resolve())!r}).read_text(encoding="utf-8")\nNAME = {name!r}\n'
        )
    names = {name: usual}
    if style == "contract":
        names[f"{name}_backward"] = f"{usual}_backward"
    if style == "cs231n":
        names[name.replace("forward", "backward")] = usual.replace("forward", "backward")
    imported = ", ".join(n if n == as_ else f"{n} as {as_}" for n, as_ in names.items())
    where = f"import sys\n\nsys.path.insert(0, {str(path.resolve().parent)!r})\n"
    return f"{where}from {path.stem} import {imported}  # noqa: E402\n\n"

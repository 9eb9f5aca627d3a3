"""`bncheck exam`: the user's own tests against the known bugs."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from ..support.argument_types import positive, seconds
from ..support.terminal import clear, complain, show, unwritable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bncheck exam`."""
    parser.add_argument(
        "--replace", required=True, metavar="MODULE:NAME", help="the function or class under test"
    )
    parser.add_argument(
        "--style", default="", choices=["contract", "cs231n", "class", "torch"],
        help="how it is written, where its name does not tell",
    )  # fmt: skip
    parser.add_argument("--momentum", default="", choices=["keep", "update"], help="its meaning")
    parser.add_argument(
        "--running-var", default="", choices=["biased", "unbiased"], help="its divisor"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep marks there, to go on later")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with a picture")
    parser.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="commands at once (1)"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="SECONDS", help="per run (300)"
    )
    parser.add_argument(
        "--flaky-runs", type=positive, default=2, metavar="N", help="of the right one, first (2)"
    )
    parser.add_argument(
        "--tests", type=positive, default=1000, metavar="N", help="print at most so many tests"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="BUG", help="may be given more than once"
    )
    parser.add_argument("tested", nargs="*", metavar="-- COMMAND", help="what runs your tests")


def run(args: argparse.Namespace) -> int:
    """Hold the exam; 0 all seen and none too strict, 1 not so, 2 it cannot be held, 3 flaky."""
    from ..exam import exam
    from ..exam.subjects import bugs, variants
    from ..model.contract import TargetError
    from ..run.text import write_json

    module, _, name = args.replace.partition(":")
    style = args.style or exam.style_of(module, name)
    known = {*bugs(), *variants()}
    unknown = [bug for bug in args.only if bug not in known]
    wrong = next(filter(None, [
        "" if module and name else f"--replace={args.replace}: expected package.module:name",
        "" if style else f"--replace={args.replace}: its style is not clear; state --style",
        "" if args.tested else "COMMAND is missing: expected -- and what runs your tests",
        f"--only={unknown[0]}: no such bug; expected one that bncheck mutants lists"
        if unknown else "",
        unwritable(args.json), unwritable(args.html, "--html"),
        f"--out={args.out}: expected a folder" if args.out and args.out.is_file() else "",
    ]), "")  # fmt: skip
    if wrong:
        return complain(wrong)
    held = exam.Exam(
        tuple(args.tested), module, name, style, args.momentum, args.running_var, args.timeout,
        args.flaky_runs, tuple(args.only),
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        try:
            folder = args.out
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bncheck-")))
            folder.mkdir(parents=True, exist_ok=True)
            if args.html is not None:
                from ..exam.page import available

                available()
            result = exam.held(held, folder, args.jobs, show)
        except (exam.Unfit, exam.Flaky, TargetError) as error:
            clear()
            complain(str(error))
            return 3 if isinstance(error, exam.Flaky) else 2
        except OSError as error:
            return complain(f"--out={args.out}: {error.strerror or error}")
    clear()
    print(exam.text(result, args.tests))
    try:
        if args.json is not None:
            write_json(args.json, exam.document(result))
        if args.html is not None:
            from ..exam.page import page
            from ..support.writing import write_whole

            write_whole(args.html, page(result))
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror or error}")
    return 1 if result.survivors or result.too_strict else 0

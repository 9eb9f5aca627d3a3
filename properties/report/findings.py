"""The page of findings, written from its data; and all its reproducers, run anew.

python -m properties.report.findings [--check] [--run [--record] [--python PATH ...]]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..corpus.files import write_whole

DATA = Path(__file__).with_name("findings.toml")
PRINTED = Path(__file__).with_name("findings_printed.json")
PAGE = Path(__file__).with_name("FINDINGS.md")
CLASSES = ("wrong result", "accuracy defect", "documented difference")
LONGEST = 10  # lines of a reproducer
_TIMEOUT = 300.0  # seconds for one
_TEXTS = ("id", "title", "class", "what", "issue", "reproducer")
_LISTS = ("targets", "needs")


class Wrong(Exception):
    """An entry of the data that cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Finding:
    """A deviation; printed is what its reproducer gave, versions with what."""

    id: str
    title: str
    kind: str
    what: str
    issue: str
    reproducer: str
    targets: tuple[str, ...]
    needs: tuple[str, ...]
    corpus: str = ""
    printed: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def read(data: Path = DATA, printed: Path = PRINTED) -> list[Finding]:
    """Return the findings, each with what its reproducer printed when it was last recorded.

    Raises:
        Wrong: an entry lacks a field, has an unknown one, or has a reproducer that is too long.
    """
    entries = tomllib.loads(data.read_text(encoding="utf-8"))["finding"]
    kept = json.loads(printed.read_text(encoding="utf-8")) if printed.exists() else {}
    found = [_finding(entry, kept.get(entry.get("id"), {})) for entry in entries]
    ids = [finding.id for finding in found]
    for twice in {i for i in ids if ids.count(i) > 1}:
        raise Wrong(f"id={twice!r}: it stands twice")
    return found


def _finding(entry: dict[str, Any], kept: dict[str, Any]) -> Finding:
    where = f"finding={entry.get('id', entry)!r}"
    missing = {*_TEXTS, *_LISTS} - entry.keys()
    unknown = entry.keys() - {*_TEXTS, *_LISTS, "corpus"}
    if missing or unknown:
        raise Wrong(f"{where}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    if entry["class"] not in CLASSES:
        raise Wrong(f"{where}: class={entry['class']!r}: expected one of {CLASSES}")
    if entry["issue"] and not entry["issue"].startswith("https://"):
        raise Wrong(f"{where}: issue={entry['issue']!r}: expected an https address or nothing")
    code = entry["reproducer"].strip("\n")
    if not code or len(code.splitlines()) > LONGEST:
        raise Wrong(f"{where}: reproducer: expected 1 to {LONGEST} lines")
    compile(code, entry["id"], "exec")
    if kept and kept["reproducer"] != code:
        kept = {}  # it was changed since
    return Finding(
        entry["id"], entry["title"], entry["class"], entry["what"], entry["issue"], code,
        tuple(entry["targets"]), tuple(entry["needs"]), entry.get("corpus", ""),
        kept.get("printed", ""), kept.get("versions", {}),
    )  # fmt: skip


def page(findings: Sequence[Finding]) -> str:
    """Return the page as Markdown."""
    lines = [
        "# Findings",
        "",
        "Deviations of batch norms in current releases, found by bncheck. A *wrong result* is no "
        "matter of rounding; an *accuracy defect* loses more than any sound order of operations "
        "may; a *documented difference* is meant, and one must know of it. Each reproducer was "
        "run, with what it printed; `python -m properties.report.findings --run` runs all "
        "again. This page is written by `python -m properties.report.findings`.",
        "",
        "| finding | class | in | version |",
        "|---|---|---|---|",
    ]
    ordered = [f for kind in CLASSES for f in findings if f.kind == kind]
    for f in ordered:
        first = f.needs[0]
        told = f"{first} {f.versions.get(first, '')}".strip() if f.versions else "not run"
        targets = ", ".join(f"`{target}`" for target in f.targets)
        lines.append(f"| [{_plain(f.title)}](#{f.id}) | {f.kind} | {targets} | {told} |")
    for f in ordered:
        lines += ["", *_section(f)]
    return "\n".join(lines) + "\n"


def _section(f: Finding) -> list[str]:
    versions = ", ".join(f"{name} {found}" for name, found in f.versions.items()) or "nothing yet"
    lines = [f'<a id="{f.id}"></a>', "", f"## {_plain(f.title)}", ""]
    lines += [f"{f.kind.capitalize()}. {_plain(f.what)}", "", _public(f)]
    if f.corpus:
        lines += ["", f"In the corpus: *{f.corpus}*."]
    lines += ["", "```python", f.reproducer, "```", "", f"Printed with {versions}:", "", "```text"]
    return [*lines, f.printed or "(not run)", "```"]


def _plain(text: str) -> str:
    """Return a text whose signs Markdown leaves alone."""
    return re.sub(r"([*_<>|])", r"\\\1", text)


def _public(f: Finding) -> str:
    tracked = "/issues/" in f.issue or "/pull/" in f.issue
    where = f" It is in {f.issue}." if f.issue else ""
    if tracked or f.kind == "documented difference":
        return f"Public: {f.issue}"
    return f"No public issue is known.{where}"


_VERSIONS = (
    "import json, sys; from importlib.metadata import version, PackageNotFoundError\n"
    "also = {'tensorflow': 'tensorflow-cpu'}\n"
    "found = {}\n"
    "for name in sys.argv[1:]:\n"
    "    for n in (name, also.get(name, name)):\n"
    "        try: found[name] = version(n)\n"
    "        except PackageNotFoundError: pass\n"
    "print(json.dumps(found))"
)


def versions(python: str, names: Sequence[str]) -> dict[str, str]:
    """Return the versions of what an interpreter has of these distributions."""
    done = subprocess.run(
        [python, "-c", _VERSIONS, *names], capture_output=True, text=True, check=False, timeout=60
    )
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def run_one(finding: Finding, pythons: Sequence[str]) -> tuple[str, dict[str, str]] | None:
    """Return what the reproducer prints, and with what, by the first interpreter that can."""
    for python in pythons:
        found = versions(python, finding.needs)
        if len(found) < len(finding.needs):
            continue
        done = subprocess.run(
            [python, "-c", finding.reproducer],
            capture_output=True, text=True, check=False, timeout=_TIMEOUT,
        )  # fmt: skip
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            return f"(failed) {last[0]}", found
        return done.stdout.strip(), found
    return None


def _run(findings: Sequence[Finding], pythons: Sequence[str], record: bool) -> int:
    """Run all reproducers; 0 all print what is recorded, 1 one does not, 3 one could not be run."""
    kept = {
        f.id: {"reproducer": f.reproducer, "printed": f.printed, "versions": f.versions}
        for f in findings
        if f.printed
    }
    status = 0
    for f in findings:
        found = run_one(f, pythons)
        if found is None:
            print(f"{f.id}: not run: no interpreter has {', '.join(f.needs)}")
            status = status or 3
        elif found[0] == f.printed:
            print(f"{f.id}: as recorded")
        else:
            print(f"{f.id}: prints {found[0]!r}, recorded is {f.printed!r}")
            status = 1
        if found is not None and record:
            kept[f.id] = {"reproducer": f.reproducer, "printed": found[0], "versions": found[1]}
            write_whole(PRINTED, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return 0 if record and status == 1 else status


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or check it (1 where it is not as written), or run what is on it."""
    parser = argparse.ArgumentParser(prog="python -m properties.report.findings")
    parser.add_argument("--check", action="store_true", help="only say whether the page is stale")
    parser.add_argument("--run", action="store_true", help="run the reproducers")
    parser.add_argument("--record", action="store_true", help="and keep what they print")
    parser.add_argument("--python", action="append", default=[], metavar="PATH")
    args = parser.parse_args(arguments)
    try:
        findings = read()
        status = 0
        if args.run or args.record:
            status = _run(findings, args.python or [sys.executable], args.record)
            findings = read()
    except Wrong as error:
        print(f"bncheck: {error}", file=sys.stderr)
        return 2
    text = page(findings)
    if args.check:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
        if stale:
            print(f"{PAGE}: not as its data say; run python -m properties.report.findings")
        return 1 if stale else status
    if not args.run or args.record:
        write_whole(PAGE, text)
    return status


if __name__ == "__main__":
    sys.exit(main())

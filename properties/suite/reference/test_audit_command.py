"""`bncheck audit`: what is no formula, exit status, JSON and Markdown."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

import pytest
from audit_cases import MISTAKES, RIGHT, UNDECIDED, command

from properties.cli import main
from properties.commands import audit as audit_cli
from reference.audit import NotAFormula, from_text, names

RIGHT_DX = "(1/N)*gamma/sigma*(N*dout - sum(dout) - x_hat*sum(dout*x_hat))"
STAGED = (
    "dvar = sum(dout*gamma*(x - mu))*-0.5*(sigma2 + eps)**-1.5; "
    "dmu = -sum(dout*gamma)*ivar; dx = dout*gamma*ivar + dvar*2*(x - mu)/m + dmu/m"
)
READ = {
    "the usual names": (["--dx", RIGHT_DX], 0, "equal: "),
    "dx where no name is said": ([RIGHT_DX], 0, "equal: "),
    "several statements": ([STAGED], 0, "equal: "),
    "a name that is said": ([f"dx = {RIGHT_DX}"], 0, "equal: "),
    "a wrong one in usual names": ([RIGHT_DX.replace(" - x_hat*sum(dout*x_hat)", "")], 1,
                                   "the term xhat*mean(dy*xhat) is missing"),
    "a minus at the start": (["--dbeta", "-sum(dy)"], 1, "the whole of dbeta is -1 times"),
    "a minus after =": (["--dbeta=-sum(dy)"], 1, "the whole of dbeta is -1 times"),
    "a minus after --": (["--", "dbeta = -sum(dy)"], 1, "the whole of dbeta is -1 times"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "code", "said"), READ.values(), ids=READ)
def test_texts_are_read_as_people_write_them(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """dout, N, sigma and the like mean what they mean in files, and a minus is no option."""
    assert main(["audit", *words]) == code, capsys.readouterr()
    assert said in capsys.readouterr().out


NOT_A_FORMULA = {
    "an import": ("import os", "a statement of kind import"),
    "a dunder import": ("__import__('os').system('true')", "a call of"),
    "an attribute": ("dx.__class__", "the attribute .__class__"),
    "a method": ("x.mean()", "a call of x.mean"),
    "a call of something else": ("open(dy)", "a call of open; the functions are sum, mean"),
    "an unknown name": ("gama*dy", r"'gama'; did you mean 'gamma'\? known are x xc xhat mean"),
    "unbalanced brackets": ("gamma*(dy", r"'\(' was never closed"),
    "one megabyte": ("dy+" * 350_000, "1050000 characters: expected at most 4000"),
    "a tower of powers": ("9**9**9", "an exponent that is not a number"),
    "a large power": ("dy**10000", "exponent 10000; expected a multiple of 1/2"),
    "repeated powers": (";".join(f"{a}=x**16" if a == "a" else f"{a}={b}**16" for a, b in
                                 zip("abcdefgh", "xabcdefg", strict=True)), "has degree"),
    "deep brackets": ("(" * 300 + "dy" + ")" * 300, "too many nested parentheses"),
    "many signs": ("-" * 3000 + "dy", "Recursion|nested|Memory"),
    "a long chain": ("dy" + "+dy" * 900, "nested deeper"),
    "a list": ("[dy]", "list is not part of a formula"),
    "a lambda": ("lambda: dy", "lambda is not part"),
    "a comparison": ("dy if x > 0 else 0", "ifexp is not part"),
    "text": ("'dy'*9", "str is not a number"),
    "a truth value": ("True*dy", "bool is not a number"),
    "infinity": ("1e999*dy", "not finite"),
    "a long number": ("9" * 60 + "*dy", "more than 40 digits"),
    "a null byte": ("dy\x00", "null bytes"),
    "nothing": ("  ", "nothing there"),
    "a caret": ("dy^2", r"the operator \^; a power is written a\*\*2"),
    "an axis": ("sum(dy, axis=0)", "takes one argument"),
    "an unused value": ("dy; x", "a value that is not used"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), NOT_A_FORMULA.values(), ids=NOT_A_FORMULA)
def test_what_is_no_formula_gets_one_line_and_status_2(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One clear line within a second, status 2, nothing on standard output."""
    start = time.process_time()
    assert command(f"--dx={text}") == 2, f"{text[:40]}: expected status 2"
    assert time.process_time() - start < 1, f"{text[:40]}: took over a second"
    out, err = capsys.readouterr()
    assert out == "", f"{text[:40]}: printed {out[:200]}"
    assert err.count("\n") == 1, f"{text[:40]}: {err[:300]}"
    assert len(err) < 300, f"{text[:40]}: a line of {len(err)} characters"
    assert re.search(message, err), err


def test_nothing_in_a_text_is_executed(tmp_path: Path) -> None:
    """A text that would write a file if it were run as Python writes none."""
    target = tmp_path / "written"
    for text in (f"open({str(target)!r}, 'w')", f"(lambda: open({str(target)!r}, 'w'))()"):
        assert command(f"--dx={text}") == 2, f"{text}: expected status 2"
    assert not target.exists(), "the text was executed"


BAD_FILES = {
    "no such file": (None, "no such file"),
    "not Python": ("def f(:", "not Python source"),
    "raises on import": ("1/0", "does not import"),
    "no such function": ("def g(dy): return dy", "no such function in handed_in.py; it has g"),
    "an unknown parameter": ("def f(dy, cache): return dy", "parameter='cache' of f: unknown"),
    "raises when called": ("def f(dy, x): return nothing", "raises NameError"),
    "too many results": ("def f(dy): return dy, dy", "returned 2 values, expected"),
}


@pytest.mark.parametrize(("source", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_get_one_line_and_status_2(
    source: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is missing, broken or of the wrong structure: one line, status 2."""
    path = tmp_path / "handed_in.py"
    if source is not None:
        path.write_text(source, encoding="utf-8")
    assert command(f"{path}:f") == 2, "expected status 2"
    err = capsys.readouterr().err
    assert message in err, err
    assert err.count("\n") == 1, err


def test_command_without_a_formula_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """No file and no text: one line that names both, status 2."""
    assert command() == 2, "expected status 2"
    assert "expected FILE.py:FUNCTION or a formula such as --dx TEXT" in capsys.readouterr().err


def test_json_and_markdown_tell_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json writes verdict, term, factor and counterexample; Markdown has a table and a fence."""
    path, wrong = tmp_path / "out.json", MISTAKES[0]
    assert command(f"--dx={wrong[2]}", f"--json={path}", "--markdown", "--seed=5") == 1
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["verdict"] == "not equal", data
    (found,) = data["audits"][0]["quantities"]
    assert found["diagnosis"][0]["term"] == wrong[3], found
    assert found["diagnosis"][0]["factor"] == wrong[4], found
    assert set(found["counterexample"]) == {"inputs", "wanted", "got"}, found
    text = capsys.readouterr().out
    assert text.startswith("### Audit of `dx = "), text
    assert text.count("```") == 2, text
    assert "| dx | not equal |" in text, text


def test_exit_status_is_the_worst_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    """Equal and unknown give 3, any wrong one gives 1, both texts are reported."""
    unknown = f"--dx={UNDECIDED}"
    assert command(f"--dx={RIGHT}", "--seed=1") == 0
    assert command("--dbeta=sum(dy)", unknown, "--seed=1") == 3
    assert command("--dbeta=mean(dy)", unknown, "--seed=1") == 1
    assert "dbeta: not equal" in capsys.readouterr().out


def test_text_can_be_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """--dx - reads the formula, for texts longer than a command line."""
    monkeypatch.setattr("sys.stdin", io.StringIO(RIGHT))
    assert command("--dx=-") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("dy+" * 400_000))
    assert command("--dx=-") == 2


def test_command_offers_every_quantity() -> None:
    """The options of the command are the quantities that the audit knows."""
    assert names.QUANTITIES["train"] == audit_cli.QUANTITIES
    with pytest.raises(NotAFormula, match=r"quantity='dz': expected one of dx dgamma"):
        from_text("dz", "dy")

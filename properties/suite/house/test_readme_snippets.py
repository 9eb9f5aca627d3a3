"""Each way to plug in one's own that the pages type out works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "properties" / "targets" / "README.md"]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
SNIPPETS = {
    name: source
    for source, name in re.findall(
        r"```(?:python|c)\n((?:# |/\* )([\w.]+)(?: \*/)?\n.*?)```", TEXT, re.DOTALL
    )
}


def run(bncheck: Callable[..., Any], folder: Path, name: str) -> tuple[int, list[str], int]:
    """Save every snippet in a folder, check one, and return status, failures and passes."""
    for file, source in SNIPPETS.items():
        (folder / file).write_text(source, encoding="utf-8")
    ran = bncheck("run", folder / name, "--examples", "10", "--seed", "1", "-v")
    assert ran.status in (0, 1), ran.err
    failed = re.findall(r"^fail .* (\w+)$", ran.out, re.MULTILINE)
    return ran.status, failed, len(re.findall(r"^pass ", ran.out, re.MULTILINE))


def test_the_pages_have_the_three_ways() -> None:
    """NumPy, PyTorch and C with its binding are there."""
    assert sorted(SNIPPETS) == ["mine.c", "mine.py", "mine_c.py", "mine_torch.py"]


@pytest.mark.slow
def test_numpy(bncheck: Callable[..., Any], tmp_path: Path) -> None:
    """The NumPy function passes all that it offers; its empty batch is a remark."""
    status, failed, passed = run(bncheck, tmp_path, "mine.py")
    assert (status, failed) == (0, [])
    assert passed >= 15


def test_pytorch(bncheck: Callable[..., Any], tmp_path: Path) -> None:
    """The PyTorch function passes all that it offers."""
    pytest.importorskip("torch")
    status, failed, passed = run(bncheck, tmp_path, "mine_torch.py")
    assert (status, failed) == (0, []) and passed >= 15


def test_c(bncheck: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The C kernel, built by the README's own command, passes all that it offers."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^(gcc .*?) && bncheck run mine_c\.py$", TEXT, re.MULTILINE)
    (tmp_path / "mine.c").write_text(SNIPPETS["mine.c"], encoding="utf-8")
    subprocess.run(shlex.split(command), check=True)
    status, failed, passed = run(bncheck, tmp_path, "mine_c.py")
    assert (status, failed) == (0, []) and passed >= 15


def test_a_wrong_kernel_is_told(
    bncheck: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same binding with a kernel that divides by n - 1 fails."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    monkeypatch.chdir(tmp_path)
    wrong = SNIPPETS["mine.c"].replace("- mean) / n;", "- mean) / (n > 1 ? n - 1 : 1);")
    assert wrong != SNIPPETS["mine.c"]
    monkeypatch.setitem(SNIPPETS, "mine.c", wrong)
    (tmp_path / "mine.c").write_text(wrong, encoding="utf-8")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", "mine.so", "mine.c", "-lm"], check=True)
    status, failed, _ = run(bncheck, tmp_path, "mine_c.py")
    assert status == 1 and "output_agrees_with_reference" in failed

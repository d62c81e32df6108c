"""The package's rooms stand in the order of a call, and a newcomer can count them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
PACKAGE = ROOT / "addon" / "mitmproxy_ai_cache"
MOST = 20


def _lint(root: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root / "addon"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_room_imports_from_those_below_it_alone() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("room", "above"), [("wire/messages.py", "entries.entry"), ("calls/policy.py", "proxy.bridge")]
)
@pytest.mark.thorough
def test_an_import_from_above_is_found(tmp_path: Path, room: str, above: str) -> None:
    folder = tmp_path / "addon" / "mitmproxy_ai_cache"
    for file in PACKAGE.rglob("*.py"):
        target = folder / file.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text("utf-8")
        target.write_text(text + f"\nimport mitmproxy_ai_cache.{above}\n" if file == PACKAGE / room else text, "utf-8")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")
    done = _lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert above in done.stdout.replace("\n", "")


def test_the_top_of_the_package_is_short() -> None:
    names = sorted(path.name for path in PACKAGE.iterdir() if path.name != "__pycache__")
    assert len(names) <= MOST, names


def test_the_page_on_the_architecture_names_the_rooms_in_their_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", page, re.MULTILINE)
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    assert named == contract["layers"][::-1]
    assert {name for name in named if not (PACKAGE / name).is_dir()} == {"addon"}

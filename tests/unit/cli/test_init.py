"""`ai-cache init KIND` writes files and overwrites none. tests/e2e/test_init_projects.py runs what it writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mitmproxy_ai_cache.cli import main
from mitmproxy_ai_cache.cli.init import FILES, KINDS, template

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_writes_its_files_and_says_what_to_do_next(
    kind: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", kind]) == 0
    shown = capsys.readouterr().out
    for file in FILES[kind](project)[0]:
        assert f"wrote {file.target}\n" in shown
        assert (project / file.target).read_text()
    assert "\nnext: " in shown


def test_nothing_is_overwritten(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in KINDS:
        main(["init", kind])
    files = [path for path in project.rglob("*") if path.is_file()]
    for path in files:
        path.write_text("mine")
    capsys.readouterr()
    for kind in KINDS:
        assert main(["init", kind]) == 0
        shown = capsys.readouterr().out
        assert "wrote" not in shown
        assert "exists: " in shown
    assert {path.read_text() for path in project.rglob("*") if path.is_file()} == {"mine"}


def test_ci_installs_the_plugin_that_the_recordings_were_made_with(project: Path) -> None:
    main(["init", "ci"])
    workflow = project / ".github" / "workflows" / "ai-cache.yml"
    assert "pip install pytest\n" in workflow.read_text()
    workflow.unlink()
    main(["init", "pytest"])
    main(["init", "ci"])
    assert "pip install pytest pytest-ai-cache\n" in workflow.read_text()


def test_a_link_to_nowhere_is_not_followed(project: Path) -> None:
    (project / "aicache_test.go").symlink_to(project / "elsewhere")
    assert main(["init", "go"]) == 0
    assert not (project / "elsewhere").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_print_writes_nothing(kind: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", kind, "--print"]) == 0
    shown = capsys.readouterr().out
    assert all(f"# {file.target}\n" in shown for file in FILES[kind](project)[0])
    assert not list(project.iterdir())


@pytest.mark.parametrize(
    ("kind", "file", "content", "says"),
    [
        ("vitest", "vite.config.ts", "", "exists: vite.config.ts, so vitest.config.mjs is not written; put setupFiles"),
        ("vitest", "vitest.config.ts", "", "exists: vitest.config.ts, so vitest.config.mjs is not written"),
        ("jest", "jest.config.ts", "", "exists: jest.config.ts, so jest.config.cjs is not written"),
        ("jest", "package.json", '{"jest": {}}', "exists: package.json, so jest.config.cjs is not written; put setup"),
        ("jest", "package.json", "{}", "wrote jest.config.cjs"),
        ("jest", "package.json", "no JSON", "wrote jest.config.cjs"),
        ("pytest", "pyproject.toml", "", "exists: pyproject.toml, so pytest.ini is not written; put required_plugins"),
        ("pytest", "tests/x", "", "wrote tests/test_ai_cache_example.py"),
        ("ci", "package.json", "{}", "next: ai-cache record -- npm test"),
        ("ci", "go.mod", "", "next: ai-cache record -- go test ./..."),
    ],
)
def test_what_is_there_decides(
    kind: str, file: str, content: str, says: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text(content)
    assert main(["init", kind]) == 0
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(("there", "package"), [("package shop_test\n", "shop_test"), ("// none\n", "main")])
def test_go_gets_the_package_that_is_there(there: str, package: str, project: Path) -> None:
    (project / "a.go").write_text(there)
    main(["init", "go"])
    assert (project / "aicache_test.go").read_text().startswith(f"package {package}\n")


@pytest.mark.parametrize(
    "name",
    [
        "vitest/ai-cache.setup.mjs",
        "vitest/vitest.config.mjs",
        "jest/ai-cache.setup.cjs",
        "jest/jest.config.cjs",
        "node/ai-cache.setup.mjs",
        "go/aicache_test.go",
    ],
)
def test_the_readme_shows_what_is_written(name: str) -> None:
    assert template(name) in (ROOT / "README.md").read_text("utf-8")


def test_who_stops_reading_is_told_of_nothing() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = f"{sys.executable} -m mitmproxy_ai_cache.cli init vitest --print | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env=environ)
    assert (done.stdout, done.stderr) == ("# ai-cache.setup.mjs\n", "")

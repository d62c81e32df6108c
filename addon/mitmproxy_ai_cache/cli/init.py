"""`ai-cache init KIND`: files for the project in the current directory, which work as they are."""

from __future__ import annotations

import argparse
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..explain.shown import printable

SUMMARY = "write the files that a project needs: for CI, pytest, Vitest, Jest, Go or node:test"

FAILURE = 125


@dataclass(frozen=True, slots=True)
class File:
    """A template, and where it goes. With `instead`, what to do where one of the files `taken` is there."""

    template: str
    target: str
    taken: tuple[str, ...] = ()
    instead: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--print", action="store_true", help="print the files instead of writing them")


def main(arguments: argparse.Namespace) -> int:
    kind, folder = arguments.kind, Path.cwd()
    files, more = FILES[kind](folder)
    for file in files:
        text = _filled(file.template, folder)
        if arguments.print:
            print(f"# {file.target}\n{text}")
            continue
        print(_written(file, text, folder))
    if not arguments.print:
        print(f"next: {more}")
    return 0


def _written(file: File, text: str, folder: Path) -> str:
    """Write it, and what there is to say."""
    for name in file.taken:
        if found := next(iter(sorted(folder.glob(name))), None):
            return f"exists: {printable(found.name)}, so {file.target} is not written; {file.instead}"
    target = folder / file.target
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(target, "x", encoding="utf-8", newline="\n") as written:
            written.write(text)
    except FileExistsError:
        return f"exists: {file.target}, left as it is; ai-cache init --print shows what would be written"
    return f"wrote {file.target}"


def template(name: str) -> str:
    from importlib import resources

    return (resources.files(__package__) / "templates" / name).read_text("utf-8")


def _filled(name: str, folder: Path) -> str:
    text = template(name)
    if name == "ci/python.yml" and _has_plugin(folder):  # with it recordings have other places
        text = text.replace("pip install pytest\n", "pip install pytest pytest-ai-cache\n")
    return text.replace("package PACKAGE\n", f"package {_go_package(folder)}\n")


def _has_plugin(folder: Path) -> bool:
    for name in ("pytest.ini", "pyproject.toml", "requirements.txt"):
        with suppress(OSError):
            if "pytest-ai-cache" in (folder / name).read_text("utf-8", "replace"):
                return True
    return False


def _go_package(folder: Path) -> str:
    """That of the Go files that are there."""
    for file in sorted(folder.glob("*.go"), key=lambda file: not file.name.endswith("_test.go")):
        with suppress(OSError):
            if found := re.search(r"^package (\w+)", file.read_text("utf-8", "replace"), re.MULTILINE):
                return found[1]
    return "main"


def _ci(folder: Path) -> tuple[list[File], str]:
    kind = "node" if (folder / "package.json").exists() else "go" if (folder / "go.mod").exists() else "python"
    command = {"node": "npm test", "go": "go test ./...", "python": "pytest"}[kind]
    return [File(f"ci/{kind}.yml", ".github/workflows/ai-cache.yml")], (
        f"ai-cache record -- {command}, then commit cassettes/ and the workflow"
    )


def _pytest(folder: Path) -> tuple[list[File], str]:
    example = "tests/test_ai_cache_example.py" if (folder / "tests").is_dir() else "test_ai_cache_example.py"
    return [
        File(
            "pytest/pytest.ini",
            "pytest.ini",
            ("pytest.toml", ".pytest.toml", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"),
            'put required_plugins = "pytest-ai-cache" into your settings of pytest (no quotes in an ini file)',
        ),
        File("pytest/test_ai_cache_example.txt", example),
    ], "pip install pytest-ai-cache, then run pytest (records), then CI=1 pytest (replays, without keys)"


def _vitest(folder: Path) -> tuple[list[File], str]:
    return [
        File("vitest/ai-cache.setup.mjs", "ai-cache.setup.mjs"),
        File(
            "vitest/vitest.config.mjs",
            "vitest.config.mjs",
            ("vitest.config.*", "vite.config.*", "vitest.workspace.*"),
            'put setupFiles: ["./ai-cache.setup.mjs"] into its test settings',
        ),
    ], "ai-cache record -- npx vitest run, then ai-cache replay -- npx vitest run"


def _jest(folder: Path) -> tuple[list[File], str]:
    taken = ("jest.config.*",) + (("package.json",) if _has_jest(folder / "package.json") else ())
    return [
        File("jest/ai-cache.setup.cjs", "ai-cache.setup.cjs"),
        File(
            "jest/jest.config.cjs",
            "jest.config.cjs",
            taken,
            'put setupFilesAfterEnv: ["<rootDir>/ai-cache.setup.cjs"] into its settings of jest',
        ),
    ], "ai-cache record -- npx jest, then ai-cache replay -- npx jest"


def _has_jest(package: Path) -> bool:
    """Whether the settings of jest are in package.json: it takes them from one place alone."""
    try:
        return "jest" in json.loads(package.read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _go(folder: Path) -> tuple[list[File], str]:
    return [File("go/aicache_test.go", "aicache_test.go")], (
        "give your SDK aiCacheClient(t), then ai-cache record -- go test ./..., then ai-cache replay -- go test ./..."
    )


def _node(folder: Path) -> tuple[list[File], str]:
    command = "node --import ./ai-cache.setup.mjs --test"
    return [File("node/ai-cache.setup.mjs", "ai-cache.setup.mjs")], (
        f"ai-cache record -- {command}, then ai-cache replay -- {command}"
    )


FILES = {"ci": _ci, "pytest": _pytest, "vitest": _vitest, "jest": _jest, "go": _go, "node": _node}
KINDS = tuple(FILES)

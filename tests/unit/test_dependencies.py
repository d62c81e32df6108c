"""What the package imports is what it declares: another distribution that brings it today may not bring it tomorrow."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "mitmproxy_ai_cache": ROOT / "pyproject.toml",
    "pytest_ai_cache": ROOT / "addon/pytest_ai_cache/pyproject.toml",
}
STDLIB = sys.stdlib_module_names | {"compression"}
"""Also what came with Python 3.14."""
NAMESPACES = {"backports", "ruamel"}
"""Packages that several distributions share."""


def imported(package: str) -> set[str]:
    """The modules of others that `package` imports, anywhere: by their first names, two of them in a shared package."""
    found: set[str] = set()
    for file in (ROOT / "addon" / package).rglob("*.py"):
        for name in names_in(file.read_text()):
            first, *rest = name.split(".")
            if first not in STDLIB and first not in (package, "__main__"):
                found.add(".".join([first, *rest[:1]]) if first in NAMESPACES else first)
    return found


def names_in(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield from (f"{module}.{alias.name}" if module in NAMESPACES else module for alias in node.names)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(module)), *_]):
                yield module


def declared(project: Path) -> set[str]:
    requirements = tomllib.loads(project.read_text())["project"]["dependencies"]
    return {normalized(re.match(r"[\w.-]+", each)[0]) for each in requirements}  # type: ignore[index]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def owners() -> Mapping[str, list[str]]:
    """The distributions of each module that is installed."""
    return importlib.metadata.packages_distributions()


def distribution_of(module: str) -> set[str]:
    first, _, second = module.partition(".")
    named = {normalized(module)} if second else set()
    return named or {normalized(each) for each in owners().get(first, [])}


@pytest.mark.thorough
@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_that_is_imported_is_of_a_declared_distribution(package: str) -> None:
    needed = {module: distribution_of(module) for module in imported(package)}
    missing = {module: owner for module, owner in needed.items() if not owner & declared(PACKAGES[package])}
    assert not missing, f"add these to the dependencies in {PACKAGES[package].name}"


@pytest.mark.thorough
def test_every_declared_distribution_is_imported() -> None:
    needed = set[str]().union(*(distribution_of(module) for module in imported("mitmproxy_ai_cache")))
    assert declared(PACKAGES["mitmproxy_ai_cache"]) <= needed


def test_the_walk_finds_imports_in_functions_and_under_conditions() -> None:
    source = "import a.b\nif x:\n    from backports import zstd\ndef f():\n    from c.d import e\n    from . import g"
    assert set(names_in(source)) == {"a.b", "backports.zstd", "c.d"}

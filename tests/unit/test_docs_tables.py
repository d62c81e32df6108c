"""The tables in docs/ are those of the code."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest

from documented import ROOT
from mitmproxy_ai_cache.calls.reasons import Status
from mitmproxy_ai_cache.calls.replay import status_headers

PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs/tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_the_tables_as_the_code_makes_them(page, tables: ModuleType) -> None:
    text = page.read_text("utf-8")
    assert text == tables.with_tables(text), "run: scripts/docs --write"


def test_each_table_is_on_a_page(tables: ModuleType) -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert sorted(re.findall("<!-- table: ([a-z]+) -->", text)) == sorted(tables.TABLES)


def test_each_header_of_an_answer_is_in_the_table(tables: ModuleType) -> None:
    fields = status_headers(Status.MISS, key="0" * 64, reason="no-entry", age=1, ttl=1)
    assert {f"| `{name}` | answer |" for name, _ in fields} == set(
        re.findall(r"^\| `[a-z-]+` \| answer \|", tables.headers(), re.MULTILINE)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_page_has_its_place_in_the_navigation(page) -> None:
    assert f": {page.name}\n" in (ROOT / "mkdocs.yml").read_text("utf-8")

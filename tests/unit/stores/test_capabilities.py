"""A store says what it can do; nobody asks what class it is of."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import mitmproxy_ai_cache
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import for_url
from mitmproxy_ai_cache.stores.capabilities import Settled
from mitmproxy_ai_cache.stores.cassettes.store import CassetteStore

PACKAGE = Path(mitmproxy_ai_cache.__file__).parent
ASKS_FOR_CLASS = re.compile(r"isinstance\([^)]*\w+Store\b")
CONCRETE = re.compile(r"from \.+stores\.(cassettes|sqlite|redis|memory)\b")


def matching(pattern: re.Pattern[str], folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*.py") if pattern.search(path.read_text("utf-8"))]


def test_nothing_asks_which_class_a_store_is_of() -> None:
    assert matching(ASKS_FOR_CLASS, PACKAGE) == []


def test_the_way_of_a_call_imports_no_concrete_store() -> None:
    assert matching(CONCRETE, PACKAGE / "calls") == []


def test_a_store_without_files_lists_none_and_settles_nothing() -> None:
    store = for_url("memory:", 1 << 20)
    assert store.as_files is None
    assert store.unwritten == []
    assert asyncio.run(store.settle("a test", drop=True)) == Settled()


def test_a_recording_is_put_like_any_entry_where_the_store_has_no_other_way() -> None:
    store = for_url("memory:", 1 << 20)
    assert not store.checks_recordings
    assert store.put_recording(Entry("k", 1.0, 0, 200, (), "json", b"{}"))
    assert asyncio.run(store.count()) == 1


def test_cassettes_are_files_and_look_for_secrets_themselves(tmp_path: Path) -> None:
    store = CassetteStore(f"cassettes:{tmp_path}", tmp_path, lambda entry: entry.key, "1")
    assert store.checks_recordings
    assert store.as_files is not None
    assert store.as_files.files() == []

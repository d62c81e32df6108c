"""Encryption at rest: what is stored tells nothing of its content, and cannot be changed or moved."""

from __future__ import annotations

import asyncio
import base64
import logging
import sqlite3
from pathlib import Path

import pytest

from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.entries.vault import LockedEntry, Vault, is_sealed
from mitmproxy_ai_cache.stores import for_url

KEY = "00" * 32
OTHER = "11" * 32
ENTRY = Entry("ab" * 32, 1.0, 0, 200, (("content-type", "application/json"),), "json", b"the answer", b"the question")


@pytest.mark.parametrize(
    "text", [KEY, KEY.upper().replace("0", "A"), base64.b64encode(bytes(32)).decode(), f" {KEY}\n"]
)
def test_a_key_is_32_bytes_in_hex_or_base64(text: str) -> None:
    assert is_sealed(Vault.parse(text).seal(b"x", "k", "answer"))


@pytest.mark.parametrize("text", ["short", "zz" * 32, "00" * 31, "00" * 33, base64.b64encode(bytes(16)).decode(), "é"])
def test_anything_else_says_what_to_write_and_not_what_it_was(text: str) -> None:
    with pytest.raises(ValueError, match="64 hex digits") as raised:
        Vault.parse(text)
    assert text not in str(raised.value)


def test_what_is_sealed_is_opened_only_as_what_it_was() -> None:
    vault = Vault.parse(KEY)
    sealed = vault.seal(b"content", "key", "answer")
    assert vault.open(sealed, "key", "answer") == b"content"
    assert b"content" not in sealed
    assert vault.seal(b"content", "key", "answer") != sealed
    for key, part in (("other", "answer"), ("key", "request")):
        with pytest.raises(LockedEntry):
            vault.open(sealed, key, part)
    with pytest.raises(LockedEntry):
        Vault.parse(OTHER).open(sealed, "key", "answer")
    for place in range(len(sealed)):
        with pytest.raises(LockedEntry):
            vault.open(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], "key", "answer")


def test_a_store_with_another_key_or_none_misses_says_so_once_and_removes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 's.sqlite3'}"

    async def run() -> None:
        async def read(key: str) -> list[Entry | None]:
            store = for_url(url, 1 << 20, vault=Vault.parse(key) if key else None)
            await store.open()
            got = [await store.get(ENTRY.key) for _ in range(3)]
            walked = [entry async for entry in store.entries()]
            assert len(walked) == (got[0] is not None)
            await store.close()
            return got

        store = for_url(url, 1 << 20, vault=Vault.parse(KEY))
        await store.open()
        store.put(ENTRY)
        await store.close()
        with caplog.at_level(logging.WARNING):
            assert await read(OTHER) == [None] * 3
            assert await read("") == [None] * 3
        assert len(caplog.messages) == 2
        assert "AI_CACHE_ENCRYPTION_KEY" in caplog.messages[1]
        found = await read(KEY)
        assert [entry and entry.body for entry in found] == [b"the answer"] * 3

    asyncio.run(run())
    with sqlite3.connect(tmp_path / "s.sqlite3") as connection:
        (row,) = connection.execute("SELECT answer, request FROM entry")
    assert all(is_sealed(value) and b"the " not in value for value in row)


def test_an_entry_that_somebody_wrote_without_the_key_is_not_believed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.sqlite3'}"

    async def run() -> None:
        plain = for_url(url, 1 << 20)
        await plain.open()
        plain.put(ENTRY)
        await plain.close()
        store = for_url(url, 1 << 20, vault=Vault.parse(KEY))
        await store.open()
        assert await store.get(ENTRY.key) is None
        await store.close()

    asyncio.run(run())

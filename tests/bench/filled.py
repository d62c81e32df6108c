"""SQLite stores that are full before a measurement begins. They are kept: a million entries take minutes to write."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.key import KeyRules, fingerprint
from mitmproxy_ai_cache.identity.profiles import PROFILES
from mitmproxy_ai_cache.stores.sqlite.file import VERSION, open_or_set_aside
from mitmproxy_ai_cache.stores.sqlite.store import _INSERT
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Headers, Request

from .material import HOST, KB, MB, NONCE, PATH, answer, chat

QUESTION = chat(2 * KB)
_ASKED = 10_000
"""Entries of a store that requests find. The others have keys that nobody asks for, so that filling is quick."""
_YEARS = 10 * 365 * 86400.0
_REGISTRY = protocols.standard()
_RULES = KeyRules(profiles=PROFILES)


def folder() -> Path:
    """Where filled stores are kept. AI_CACHE_BENCH_FOLDER names another place."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("AI_CACHE_BENCH_FOLDER") or Path(cache) / "ai-cache-bench")


def store(entries: int) -> Path:
    """A store of so many answers of 2 kB with their requests of 2 kB. Made where it is not there yet."""
    # What decides on the bytes is in the name: another version of the code begins another file.
    name = f"{entries}-{VERSION}-{key_of(0)[:8]}-{entry_of('').pack_answer()[:4].decode()}.sqlite3"
    path = folder() / name
    if path.exists() and _entries_of(path) == entries:  # else it was deleted under a proxy, which began another one
        return path
    print(f"ai-cache: bench: filling {path} ...", file=sys.stderr, flush=True)
    unfinished = path.with_suffix(".unfinished")
    for suffix in ("", "-wal", "-shm"):
        Path(f"{unfinished}{suffix}").unlink(missing_ok=True)
    fill(unfinished, entries)
    unfinished.rename(path)
    return path


def _entries_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        entries: int = connection.execute("SELECT entries FROM total").fetchone()[0]
        return entries


def fill(path: Path, entries: int) -> None:
    """Write the store in one go. What can be asked for lies evenly between the rest."""
    connection = open_or_set_aside(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("BEGIN")
    connection.executemany(_INSERT, _rows(entries))
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def key_of(number: int) -> str:
    """The key of QUESTION as the load generator numbers it."""
    data = QUESTION.replace(NONCE.encode(), b"nonce-%08d" % number)
    request = Request("POST", "http", HOST, 80, PATH, headers=Headers([("host", HOST)]), body=data)
    call = _REGISTRY.recognise(request, body.read(request, 10 * MB))
    assert call is not None
    return fingerprint(call, request, (b"none", b""), _RULES)


def size_of(path: Path) -> int:
    """Bytes that the budget counts."""
    with closing(sqlite3.connect(path)) as connection:
        size: int = connection.execute("SELECT size FROM total").fetchone()[0]
        return size


def entry_of(key: str) -> Entry:
    kind, chunks = answer("json-2k")
    whole = b"".join(chunk for chunk in chunks if isinstance(chunk, bytes))
    return Entry(
        key, time.time(), _YEARS, 200, (("content-type", kind),), "json", whole, QUESTION,
        protocol="openai-chat", model="json-2k", url=f"http://{HOST}{PATH}",
    )  # fmt: skip


def _rows(entries: int) -> Iterator[tuple[Any, ...]]:
    entry = entry_of(key_of(0))
    shared = entry.pack_answer(), entry.pack_request()
    every = max(1, entries // _ASKED)
    chosen = random.Random(1)
    numbers = list(range(min(entries, _ASKED)))
    chosen.shuffle(numbers)
    for place in range(entries):
        if place % every == 0 and numbers:
            key = key_of(numbers.pop())
            packed = replace(entry, key=key).pack_answer()
        else:
            key, packed = f"{chosen.getrandbits(256):064x}", shared[0]
        size = len(packed) + len(shared[1])
        named = (entry.protocol, entry.model, entry.url, "", None)
        yield (key, entry.created, entry.created, entry.fresh_until, size, *named, packed, shared[1])

"""What was kept in `unit/stores/older/` by the version before: SQLite, Redis, cassettes.

`python tests/older_stores.py DIR` wrote it, in a checkout of that version (2557d34).
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from mitmproxy_ai_cache.wire.messages import Headers, Request
from recording import JSON, SSE, answer_of, call, chat, opened, settings_for
from valkey import Valkey, started

HOUR, DAY = 3600, 86400
KEPT = {"for ever": ("0", "0"), "a week": ("7d", "0"), "an hour": ("1h", "0"), "stale for two days": ("1h", "2d")}
"""TTL and `stale_if_error` of each call, by its name."""
STREAM = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

Call = tuple[str, Request, bytes, Headers]
"""A name, what was asked, what was answered, and with which headers."""


def calls() -> Iterator[Call]:
    for name in KEPT:
        yield name, chat(f"Kept {name}?", temperature=0.5), answer_of(f"Yes, {name}."), JSON
        yield f"{name}, streamed", chat(f"Kept {name}?", stream=True), STREAM, SSE


async def _keep(url: str, mode: str) -> None:
    for name, (ttl, grace) in KEPT.items():
        cache = await opened(settings_for(url, mode, ai_cache_ttl=ttl, ai_cache_stale_if_error=grace))
        for of, request, answer, headers in calls():
            if of.partition(",")[0] == name:
                await call(cache, request, answer, headers)
        await cache.close()


def dumped(server: redis.Redis) -> dict[str, Any]:
    """What a server holds, as JSON: base64 of strings, members with scores of sorted sets."""
    found: dict[str, Any] = {}
    for key in sorted(server.keys()):
        if server.type(key) == b"zset":
            found[key.decode()] = [
                [member.decode(), score] for member, score in server.zrange(key, 0, -1, withscores=True)
            ]
        else:
            found[key.decode()] = base64.b64encode(server.get(key) or b"").decode()
    return found


def restore(server: redis.Redis, dump: dict[str, Any]) -> None:
    for key, value in dump.items():
        if isinstance(value, list):
            server.zadd(key, dict(value))
        else:
            server.set(key, base64.b64decode(value), ex=DAY)


def _write(folder: Path) -> None:
    folder.mkdir(parents=True)
    asyncio.run(_keep(f"sqlite:///{folder}/store.sqlite3", "cache"))
    file = folder / "store.sqlite3"
    (folder / "sqlite.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    file.unlink()
    with started(Valkey(folder / "valkey")) as server:
        asyncio.run(_keep(server.url, "cache"))
        dump = dumped(redis.Redis(port=server.port))
    (folder / "redis.json").write_text(json.dumps(dump, indent=1) + "\n")
    asyncio.run(_keep(f"cassettes:{folder}/cassettes", "record"))


if __name__ == "__main__":
    _write(Path(sys.argv[1]))

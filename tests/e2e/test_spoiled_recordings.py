"""A proxy on recordings that a stranger made: each is named once, splits and hangs nothing, and the others answer."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness import Process

pytestmark = pytest.mark.slow

HOST = "models.example"
BODY = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
Run = Callable[..., subprocess.CompletedProcess[str]]

FIELDS: dict[str, list[list[str]]] = {
    "cr-lf": [["x-request-id", "1\r\nset-cookie: evil=1"]],
    "lf": [["x-request-id", "1\nset-cookie: evil=1"]],
    "cr": [["x-request-id", "1\rset-cookie: evil=1"]],
    "nul": [["x-request-id", "1\0"]],
    "split": [["x-request-id", "1\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nX-Evil: 1"]],
    "name": [["x-request-id: 1\r\nx-evil", "1"]],
    "pseudo": [[":status", "500"]],
    "length": [["content-length", "5"]],
    "chunked": [["transfer-encoding", "chunked"]],
    "gzip": [["content-encoding", "gzip"]],
}
STATUSES = (0, 99, 100, 101, 103, 199, 600, 999)


def asked(word: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": word}]}


def recording(word: str, status: int = 200, fields: list[list[str]] | None = None) -> dict[str, Any]:
    """The document of a cassette."""
    headers = [["content-type", "application/json"], *(fields or [])]
    return {
        "version": 1, "date": "2026-01-01T00:00:00Z", "protocol": "openai-chat", "model": "m",
        "request": {
            "method": "POST", "url": f"http://{HOST}/v1/chat/completions",
            "headers": {"content-type": "application/json"},
            "encoding": "text", "body": orjson.dumps(asked(word)).decode(),
        },
        "response": {"status": status, "headers": headers, "format": "json", "encoding": "text", "body": BODY.decode()},
    }  # fmt: skip


def call(proxy: Process, word: str) -> bytes:
    """All the bytes of one answer; the socket times out where it hangs."""
    body = orjson.dumps(asked(word))
    head = f"POST http://{HOST}/v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    head += f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    got = b""
    with socket.create_connection(("127.0.0.1", proxy.port), 20) as connection:
        connection.sendall(head.encode() + body)
        while data := connection.recv(65536):
            got += data
            head_of, _, rest = got.partition(b"\r\n\r\n")
            if (length := re.search(rb"(?i)content-length: (\d+)", head_of)) and len(rest) >= int(length[1]):
                break
    return got


def test_hostile_cassettes_are_named_and_the_good_one_answers(
    tmp_path: Path, start: Callable[..., Process], run: Run
) -> None:
    folder = tmp_path / "cassettes/default"
    folder.mkdir(parents=True)
    bad = {name: recording(name, fields=fields) for name, fields in FIELDS.items()}
    bad |= {f"status-{status}": recording(f"status-{status}", status) for status in STATUSES}
    for name, document in {**bad, "good": recording("good")}.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    os.mkfifo(folder / "pipe.json")
    proxy = start(
        "ai_cache_mode=replay", f"ai_cache_store=cassettes:{tmp_path / 'cassettes'}", "ai_cache_hosts=*.example"
    )
    good = call(proxy, "good")
    assert good.startswith(b"HTTP/1.1 200 OK\r\n"), (good, proxy.lines)
    assert b"x-ai-cache-status: HIT" in good
    assert b'"content":"hi"' in good.replace(b" ", b"")
    for name in bad:
        got = call(proxy, name)
        assert got.count(b"HTTP/1.1 ") == 1, got
        assert b"evil" not in got.lower().partition(b"\r\n\r\n")[0]
        assert not got.startswith((b"HTTP/1.1 1", b"HTTP/1.1 2")), got
    for name in (*bad, "pipe"):
        named = [line for line in proxy.lines if f"default/{name}.json" in line]
        assert len(named) == 1, (name, proxy.lines)


def test_hostile_entries_of_a_database_are_misses_and_named(
    tmp_path: Path, start: Callable[..., Process], run: Run
) -> None:
    """The bytes are sealed anew, as somebody would who can write to the file."""
    file = tmp_path / "bought.sqlite3"
    store = f"sqlite:///{file}"
    names = [*FIELDS, *(f"status-{status}" for status in STATUSES), "good"]
    archive = [
        {
            "startedDateTime": "2026-01-01T00:00:00Z", "time": 1,
            "request": {
                "method": "POST", "url": f"http://{HOST}/v1/chat/completions",
                "headers": [{"name": "content-type", "value": "application/json"}],
                "postData": {"text": orjson.dumps(asked(name)).decode()},
            },
            "response": {
                "status": 200, "headers": [{"name": "content-type", "value": "application/json"}],
                "content": {"text": BODY.decode(), "size": len(BODY)},
            },
        }
        for name in names
    ]  # fmt: skip
    (tmp_path / "bought.har").write_text(json.dumps({"log": {"entries": archive}}))
    done = run("import", "bought.har", "--store", store, "--hosts", "*.example")
    assert f"imported {len(names)} of {len(names)} exchanges" in done.stdout, done
    with sqlite3.connect(file) as database:
        for key, answer, request in database.execute("SELECT key, answer, request FROM entry").fetchall():
            name = next(name for name in names if f'"{name}"'.encode() in request)
            database.execute("UPDATE entry SET answer = ? WHERE key = ?", (poisoned(answer, name), key))
    database.close()
    proxy = start("ai_cache_mode=replay", f"ai_cache_store={store}", "ai_cache_hosts=*.example")
    assert b"x-ai-cache-status: HIT" in call(proxy, "good")
    for name in names[:-1]:
        got = call(proxy, name)
        assert got.count(b"HTTP/1.1 ") == 1, got
        assert not got.startswith((b"HTTP/1.1 1", b"HTTP/1.1 2")), got
    broken = [line for line in proxy.lines if "is broken" in line]
    assert len(broken) == len(names) - 1, proxy.lines


def poisoned(answer: bytes, name: str) -> bytes:
    (size,) = struct.unpack_from(">I", answer, 8)
    head = orjson.loads(answer[12 : 12 + size])
    head["headers"] += FIELDS.get(name, [])
    if name.startswith("status-"):
        head["status"] = int(name.rpartition("-")[2])
    packed = orjson.dumps(head)
    rest = struct.pack(">I", len(packed)) + packed + answer[12 + size :]
    return answer[:4] + struct.pack(">I", zlib.crc32(rest)) + rest


@pytest.mark.parametrize("form", ["har", "vcr", "jsonl"])
def test_hostile_exchanges_of_an_import_are_left_out_and_named(form: str, tmp_path: Path, run: Run) -> None:
    store = f"sqlite:///{tmp_path / 'imported.sqlite3'}"
    poison = [["x-request-id", "1\r\nset-cookie: a"]]
    if form == "jsonl":
        pairs = [["content-type", "application/json"]]
        line = {
            "ai_cache_entry": 1, "key": "ab" * 32, "created": 1.0, "ttl": 0.0, "status": 200, "headers": pairs,
            "format": "json", "request": {"text": "{}"}, "response": {"text": BODY.decode()},
        }  # fmt: skip
        lines = [line, {**line, "key": "cd" * 32, "status": 101}, {**line, "key": "ef" * 32, "headers": pairs + poison}]
        (tmp_path / "file").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in lines))
    else:
        made = har if form == "har" else vcr
        exchanges = [made("good", 200, []), made("switch", 101, []), made("poison", 200, poison)]
        document = {"log": {"entries": exchanges}} if form == "har" else {"interactions": exchanges, "version": 1}
        (tmp_path / "file").write_text(json.dumps(document))
    done = run("import", "file", "--store", store, "--hosts", "*.example")
    # Of an archive of others the exchange stays, without the field that would be two.
    assert f"imported {1 if form == 'jsonl' else 2} of 3 exchanges" in done.stdout, done
    for number in (2, 3):
        assert len([line for line in done.stdout.splitlines() if f"file#{number}" in line]) == 1, done.stdout


def har(word: str, status: int, fields: list[list[str]]) -> dict[str, Any]:
    given = [["content-type", "application/json"], *fields]
    return {
        "startedDateTime": "2026-01-01T00:00:00Z", "time": 1,
        "request": {
            "method": "POST", "url": f"http://{HOST}/v1/chat/completions", "headers": [given[0]],
            "postData": {"text": orjson.dumps(asked(word)).decode()},
        },
        "response": {"status": status, "headers": given, "content": {"text": BODY.decode(), "size": len(BODY)}},
    }  # fmt: skip


def vcr(word: str, status: int, fields: list[list[str]]) -> dict[str, Any]:
    return {
        "request": {
            "method": "POST", "uri": f"http://{HOST}/v1/chat/completions", "body": orjson.dumps(asked(word)).decode(),
            "headers": {"content-type": ["application/json"]},
        },
        "response": {
            "status": {"code": status, "message": "OK\r\nX-Evil: 1"}, "body": {"string": BODY.decode()},
            "headers": {name: [value] for name, value in [["content-type", "application/json"], *fields]},
        },
    }  # fmt: skip

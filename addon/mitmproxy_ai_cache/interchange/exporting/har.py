"""HTTP Archive 1.2 (http://www.softwareishard.com/blog/har-12-spec/), as browsers' tools and `ai-cache import` read it.

Members that begin with `_` are ours: key, namespace, protocol, model.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from ... import __version__
from ...entries.entry import Entry
from ...redact.entries import hidden
from ...wire.messages import Headers

END = b"\n]}}\n"


def beginning() -> bytes:
    creator = orjson.dumps({"name": "ai-cache", "version": __version__})
    return b'{"log":{"version":"1.2","creator":' + creator + b',"entries":['


def encode(entry: Entry) -> bytes:
    """One member of `entries`, without a comma."""
    entry = hidden(entry)
    began = max(0.0, min(entry.created - entry.total, 253_370_764_800.0))
    request = _request(entry)
    document = {
        "startedDateTime": datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds"),
        "time": round(entry.total * 1000, 3),
        "request": request,
        "response": _response(entry),
        "cache": {},
        "timings": {
            "send": 0,
            "wait": round(entry.first_byte * 1000, 3),
            "receive": round(max(0.0, entry.total - entry.first_byte) * 1000, 3),
        },
        "_key": entry.key,
        "_namespace": entry.namespace,
        "_protocol": entry.protocol,
        "_model": entry.model,
    }
    return b"\n" + orjson.dumps(document)


def _request(entry: Entry) -> dict[str, Any]:
    headers = Headers(entry.request_headers)
    request: dict[str, Any] = {
        "method": entry.method,
        "url": entry.url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _fields(entry.request_headers),
        "queryString": _pairs(parse_qsl(_query(entry.url), keep_blank_values=True)),
        "headersSize": -1,
        "bodySize": len(entry.request),
    }
    if entry.request:
        request["postData"] = {"mimeType": headers.get("content-type"), **_text(entry.request)}
    return request


def _response(entry: Entry) -> dict[str, Any]:
    try:
        phrase = HTTPStatus(entry.status).phrase
    except ValueError:
        phrase = ""
    return {
        "status": entry.status,
        "statusText": phrase,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _fields(entry.headers),
        "content": {
            "size": len(entry.body),
            "mimeType": Headers(entry.headers).get("content-type"),
            **_text(entry.body),
        },
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": len(entry.body),
    }


def _pairs(fields: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in fields]


def _fields(headers: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Values as text: here they are the latin-1 reading of their bytes."""
    return _pairs((name, _readable(value)) for name, value in headers)


def _readable(value: str) -> str:
    try:
        return value if value.isascii() else value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _text(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(data).decode(), "encoding": "base64"}


def _query(url: str) -> str:
    try:
        return urlsplit(url).query
    except ValueError:
        return ""

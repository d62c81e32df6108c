"""The recorded exchanges beside the repository; the tests skip where they are absent."""

from __future__ import annotations

import base64
import functools
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.protocols.base import Answer, Call
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Headers, Request

FILE = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "exchanges.jsonl.gz"

needs_corpus = pytest.mark.skipif(not FILE.exists(), reason=f"no recorded exchanges at {FILE}")

REGISTRY = protocols.standard()

HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-authorization te trailer transfer-encoding upgrade host content-length expect".split()
)


@dataclass(frozen=True)
class Recorded:
    id: str
    protocol: str
    method: str
    url: str
    request_headers: tuple[tuple[str, str], ...]
    request_body: bytes
    status: int
    response_headers: tuple[tuple[str, str], ...]
    response_body: bytes
    streamed: bool

    @functools.cached_property
    def request(self) -> Request:
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        headers = Headers([("host", parts.netloc), *self.request_headers])
        return Request(
            self.method,
            parts.scheme,
            parts.hostname or "",
            port,
            parts.path or "/",
            parts.query,
            headers,
            self.request_body,
        )

    @functools.cached_property
    def call(self) -> Call | None:
        return REGISTRY.recognise(self.request, body.read(self.request, 100 << 20))

    @property
    def content_type(self) -> str:
        return dict(self.response_headers).get("content-type", "")

    @property
    def answer(self) -> Answer:
        return Answer(self.status, self.content_type, self.response_body)


@functools.cache
def exchanges() -> tuple[Recorded, ...]:
    with gzip.open(FILE) as lines:
        return tuple(_recorded(json.loads(line)) for line in lines)


def _recorded(line: dict[str, object]) -> Recorded:
    def fields(name: str, dropped: frozenset[str]) -> tuple[tuple[str, str], ...]:
        found = line[name]
        assert isinstance(found, dict)
        return tuple((key, str(value)) for key, value in found.items() if key.lower() not in dropped)

    def data(name: str) -> bytes:
        return base64.b64decode(str(line[name] or ""))

    decoded = HOP_BY_HOP | {"content-encoding"}
    return Recorded(
        id=str(line["id"]),
        protocol=str(line["protocol"]),
        method=str(line["method"]),
        url=str(line["url"]).partition("#")[0],  # clients never send fragments
        request_headers=fields("request_headers", HOP_BY_HOP),
        request_body=data("request_body_b64"),
        status=int(str(line["status"])),
        response_headers=fields("response_headers", decoded),
        response_body=data("response_body_b64"),
        streamed=bool(line["stream"]),
    )

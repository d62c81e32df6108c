"""No body keeps the event loop for long: what a request costs before its look-up, and a short answer its verdict."""

from __future__ import annotations

import gc
import gzip
import time
from collections.abc import Callable

import pytest

from fuzz.targets import SETTINGS, whole_way
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.protocols.base import Answer
from mitmproxy_ai_cache.wire import zstd
from mitmproxy_ai_cache.wire.framing import eventstream
from mitmproxy_ai_cache.wire.messages import Headers, Request
from unit.calls.test_gate import CALLS, FRAMES, NDJSON, SSE

pytestmark = pytest.mark.thorough

MULTIPART = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
DISPOSITION = b"--x\r\nContent-Disposition: form-data"
JSON = "application/json"
FRAME = zstd.compress(b"")
SKIPPED = b"\x50\x2a\x4d\x18\0\0\0\0"
"""An empty skippable frame of zstd, RFC 8878 section 3.1.2."""

ROWS: list[tuple[str, str, str, bytes, bytes, bytes]] = [
    # what, content type, content encoding, and the body: a start, what is repeated up to its size, an end
    ("a long text", JSON, "", b'{"model":"m","messages":["', b"word ", b'"]}'),
    ("a long text of quotes", JSON, "", b'{"model":"m","messages":["', b'\\"', b'"]}'),
    ("lone surrogates", JSON, "", b'{"model":"m","messages":["', b"\\ud800", b'"]}'),
    ("integers", JSON, "", b'{"model":"m","messages":[', b"1,", b"1]}"),
    ("integers and white space", JSON, "", b'{"model":"m","messages":[', b"1 , ", b"1]}"),
    ("fractions", JSON, "", b'{"model":"m","messages":[', b"1.5,", b"1]}"),
    ("fractions in another spelling", JSON, "", b'{"model":"m","messages":[', b"1.50,", b"1]}"),
    ("powers of ten", JSON, "", b'{"model":"m","messages":[', b"1e5,", b"1]}"),
    ("numbers too small for a double", JSON, "", b'{"model":"m","messages":[', b"5e-399,", b"1]}"),
    ("one huge number", JSON, "", b'{"model":"m","messages":[', b"9", b"]}"),
    ("NaN", JSON, "", b'{"model":"m","messages":[', b"NaN,", b"1]}"),
    ("empty arrays", JSON, "", b'{"model":"m","messages":[', b"[],", b"1]}"),
    ("deep arrays", JSON, "", b'{"model":"m","messages":[', b"[" * 200 + b"]" * 200 + b",", b"1]}"),
    ("deep objects", JSON, "", b'{"model":"m","messages":[', b'{"a":' * 200 + b"1" + b"}" * 200 + b",", b"1]}"),
    ("arrays that never close", JSON, "", b'{"model":"m","messages":[', b"[", b""),
    ("small objects", JSON, "", b'{"model":"m","messages":[', b'{"url":"a"},', b"1]}"),
    ("small objects and white space", JSON, "", b'{"model":"m","messages":[', b'{"model": "-"},', b"1]}"),
    ("a member twice, at the very end", JSON, "", b'{"messages":[', b'{"a":1},', b'1],"messages":1}'),
    ("white space", JSON, "", b"", b" ", b"{"),
    ("parts", MULTIPART, "", b"", PART, b"--x--"),
    ("empty parts", MULTIPART, "", b"--x", b"\r\n\r\n\r\n--x", b"--"),
    ("a part's long head", MULTIPART, "", b"--x\r\n", b"A: b\r\n", b"\r\nb\r\n--x--"),
    ("parameters", MULTIPART, "", DISPOSITION, b"; a=b", b'; name="file"\r\n\r\nb\r\n--x--'),
    ("quoted parameters", MULTIPART, "", DISPOSITION, b';a="\\";"', b"\r\n\r\nb\r\n--x--"),
    ("semicolons", MULTIPART, "", DISPOSITION, b";", b"\r\n\r\nb\r\n--x--"),
    ("semicolons in an open quote", MULTIPART, "", DISPOSITION + b';a="', b";", b"\r\n\r\nb\r\n--x--"),
    ("open quotes", MULTIPART, "", DISPOSITION, b';a="\\', b"\r\n\r\nb\r\n--x--"),
    ("parts without an end", MULTIPART, "", b"", b"--x\r\n", b""),
    ("empty gzip members", JSON, "gzip", b"", gzip.compress(b""), b""),
    ("empty zstd frames", JSON, "zstd", b"", FRAME, b""),
    ("skipped zstd frames", JSON, "zstd", b"", SKIPPED, b""),
    ("empty deflate blocks", JSON, "deflate", b"", b"\0\0\0\xff\xff", b""),
    ("no brotli", JSON, "br", b"", b"\x0b", b""),
    ("gzip in gzip in ...", JSON, "gzip," * 10_000, b"", gzip.compress(b""), b""),
]


def request_time(row: tuple[str, str, str, bytes, bytes, bytes], size: int) -> float:
    """Seconds of this thread's own time, whatever else the machine does."""
    _, content_type, coding, start, unit, end = row
    data = start + unit * ((size - len(start) - len(end)) // len(unit)) + end
    path = "/v1/audio/transcriptions" if content_type is MULTIPART else "/v1/chat/completions"
    fields = [("host", "api.openai.com"), ("content-type", content_type)]
    fields += [("content-encoding", coding)] if coding else []
    asked = Request("POST", "https", "api.openai.com", 443, path, "", Headers(fields), data)
    return timed(lambda: whole_way(asked))


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    gc.freeze()  # what other tests left behind is not the proxy's to walk through
    started = time.thread_time()
    work()
    taken = time.thread_time() - started
    gc.unfreeze()
    return taken


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_request_of_a_megabyte_takes_less_than_a_second(row: tuple[str, str, str, bytes, bytes, bytes]) -> None:
    assert request_time(row, 1 << 20) < 1


@pytest.mark.slow
def test_a_request_as_long_as_may_be_takes_little_more(capsys: pytest.CaptureFixture[str]) -> None:
    taken = sorted(((request_time(row, SETTINGS.max_body), row[0]) for row in ROWS), reverse=True)
    with capsys.disabled():
        print("\nseconds for 10 MiB of", ", ".join(f"{name}: {seconds:.2f}" for seconds, name in taken[:10]))
    assert taken[0][0] < 5


EVENTS = {
    "empty lines": (SSE, b"\n"),
    "lines that end in CR": (SSE, b"\r"),
    "empty events": (SSE, b"data:\n\n"),
    "events": (SSE, b"data:{}\n\n"),
    "no JSON": (SSE, b"data: \xff\n\n"),
    "lines of one event": (SSE, b"data:1\n"),
    "lines": (NDJSON, b"{}\n"),
    "frames": (FRAMES, eventstream.frame("", b"")),
    "zeros": (FRAMES, b"\0"),
    "an array": (JSON, b"[[],"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_an_answer_that_is_judged_on_the_event_loop_takes_less_than_a_second(name: str) -> None:
    from mitmproxy_ai_cache.calls.workers import LARGE

    content_type, unit = EVENTS[name]
    data = unit * (LARGE // len(unit))
    for call in CALLS[::4]:
        found = Answer(200, content_type, data)
        assert timed(lambda call=call, found=found: gate.verdict(call, found)) < 1, call.protocol.name  # type: ignore[misc]


def test_path_query_and_fields_of_64_kilobytes_take_less_than_a_second() -> None:
    size = 64 * 1024
    paths = ("/model/" + "a/" * (size // 2) + "converse", "/model/" * (size // 7) + "x/converse", "/guardrail/" * 6000)
    fields = (
        "," * size,
        "max-age=" * 8000,
        "Bearer eyJ" + "." * size,
        "Bearer eyJ" + "A" * size + ".e30.x",
        ";a=" * 20_000,
    )
    names = ("cache-control", "authorization", "content-type", "x-ai-cache-ttl", "x-portkey-config", "content-encoding")
    body = b'{"model":"m","messages":[]}'
    started = time.thread_time()
    for path in (*paths, "/v1/chat/completions"):
        for query in ("&".join(["key=a"] * 10_000), "%41" * (size // 3)):
            for value in fields:
                headers = Headers([(name, value) for name in names])
                whole_way(Request("POST", "https", "h", 443, path, query, headers, body))
    assert (time.thread_time() - started) / (4 * 2 * len(fields)) < 1

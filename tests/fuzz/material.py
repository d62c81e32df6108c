"""Near-valid input: real shapes, and edits that break them a little."""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from collections.abc import Iterable

import brotli
from hypothesis import strategies as st

from corpus import recorded
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.wire import zstd
from mitmproxy_ai_cache.wire.framing import eventstream
from unit.calls.test_gate import KEPT, NOT_KEPT

BLANKS = (b"", b" ", b"\r", b"\n", b"\r\n\r\n", b"\t", b"\0", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80")
ODD = (
    *BLANKS, b"NaN", b"-Infinity", b"1e999", b"-0", b"-0.0e-0", b"9" * 500, b"1e99999999999999999999", b"\\ud800",
    b"\\u0000", b'"', b"\\", b"[" * 2000, b"{" * 300, b'{"a":' * 300, b"]" * 2000, b'"a":1,"a":2,', b"null", b"true",
    b"[DONE]", b"data: ", b"event: error\n", b"data: [DONE]\n\n", b"\n\ndata:\n\n", b'"error":{}', b'"index":[[[]]]',
    b'"stream":true', b'"n":0', b"--x\r\n", b"--x--", b'Content-Disposition: form-data; name="file"\r\n\r\n',
    b"Bearer eyJhIjoxfQ.e30.x", b"AWS4-HMAC-SHA256 Credential=AKIA/", b"%00%FF%ud800", b"max-age=99999999999",
    b"/https://[::1]:443/x", b"../..;/\\", bytes(range(256)), b"\xff\xff\xff\xff", b"\x28\xb5\x2f\xfd",
    b"\x1f\x8b\x08\0",
)  # fmt: skip
"""Pieces that parsers disagree on, or that end one thing and begin another."""

REQUESTS = (
    b'{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.7,"stream":true,"n":2,"max_tokens":5}',
    b'{"model":"m","input":[{"type":"message","id":"msg_1"}],"store":false,"previous_response_id":"resp_1"}',
    b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"responseSchema":{"properties":{"b":1,"a":2}}}}',
    b'{ "prompt" : "x" , "suffix" : null , "logit_bias" : { "50256" : -100.0 } , "seed" : 12345678901234567890 }',
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\0\xff\r\n'
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x--\r\n',
    b'[{"inputs":"x"},{"texts":["a"]},{"documents":[]}]',
)
HEADS = (
    b"https://api.openai.com:443/v1/chat/completions\nkey=a&api-version=1\napi.openai.com\nno-cache, max-age=5\n7d\nn",
    b"v1/messages\nX-Amz-Credential=AKIA%2F1\n\n\n\n\nBearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJpIiwic3ViIjoicyJ9.x\na\nb",
    b"model/arn%3Aaws/converse\na=%FF&key=%FE\nh\nmultipart/form-data; boundary=x\ngzip\n{}\na, b\nBasic dTp4\n[::1]",
)


@functools.cache
def real_answers() -> tuple[bytes, ...]:
    """Bodies as providers send them; recorded ones where there are any."""
    made = [row[3] for row in (*KEPT, *NOT_KEPT)]
    return (*made, *_some(exchange.response_body for exchange in _recorded()))


@functools.cache
def real_requests() -> tuple[bytes, ...]:
    return (*REQUESTS, *_some(exchange.request_body for exchange in _recorded()))


def _recorded() -> tuple[recorded.Recorded, ...]:
    return recorded.exchanges()[::40] if recorded.FILE.exists() else ()


def _some(bodies: Iterable[bytes]) -> list[bytes]:
    return [body for body in bodies if 0 < len(body) < 5000]


def packed_entries() -> tuple[bytes, ...]:
    small = Entry("ab" * 32, 1.5, 60, 200, (("content-type", "application/json"),), "json", b'{"a":1}', b"q")
    long = Entry("cd" * 32, 2, 0, 200, (), "sse", b"data: {}\n\n" * 500, b"{}" * 2000, model="\u5f20", live=True)
    return small.pack_answer(), long.pack_answer(), small.pack_request(), long.pack_request()


def coded() -> tuple[bytes, ...]:
    """Each coding, whole and as a bomb of some 1000:1."""
    plain, bomb = json.dumps({"a": "b" * 100}).encode(), bytes(3 << 20)
    makers = (gzip.compress, zlib.compress, brotli.compress, zstd.compress)
    return (
        *(make(data) for make in makers for data in (plain, bomb)),
        gzip.compress(b"") * 20,
        brotli.compress(gzip.compress(plain)),
    )


SEEDS = {
    "entry": packed_entries,
    "framing": lambda: (*real_answers(), eventstream.frame("a", b"{}") * 3),
    "answer": real_answers,
    "request": real_requests,
    "head": lambda: HEADS,
    "coding": coded,
    "json_value": real_requests,
}


@st.composite
def near(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """One of `seeds` after up to six edits: bits flipped, runs cut out, repeated or moved in from another seed."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((0, 1, 2, 8, 40, 400, 1 << 20))))
        match draw(st.sampled_from(("cut", "flip", "repeat", "odd", "odd", "splice", "bytes"))):
            case "cut":
                data = data[:start] + data[end:]
            case "flip" if data:
                at = min(start, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
            case "repeat":
                data = data[:end] + data[start:end][:2000] * draw(st.sampled_from((1, 2, 20))) + data[end:]
            case "odd":
                data = data[:start] + draw(st.sampled_from(ODD)) + data[start:]
            case "splice":
                data = data[:start] + draw(st.sampled_from(seeds))[start:]
            case _:
                data = data[:start] + draw(st.binary(max_size=20)) + data[end:]
    return data[: 1 << 17]

"""Some 200 requests nobody sane would send, as bytes on the wire to a plain HTTP proxy."""

# ruff: noqa: E501 the tables read better in long lines
from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass

import brotli

from fuzz.material import HEADS, ODD, REQUESTS
from mitmproxy_ai_cache.wire import zstd

HOST = b"api.openai.com"
CHAT = b"/v1/chat/completions"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


@dataclass(frozen=True)
class Hostile:
    name: str
    wire: bytes
    half_close: bool = False
    """The client ends its side of the connection after the last byte."""


def post(
    name: str, body: bytes = BODY, *fields: bytes, path: bytes = CHAT, host: bytes = HOST, method: bytes = b"POST"
) -> Hostile:
    """A request that is framed as it should be, whatever is in it."""
    lines = [method + b" http://" + host + path + b" HTTP/1.1", b"Host: " + host, *fields]
    return Hostile(name, b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body)


def raw(name: str, *lines: bytes, body: bytes = b"", half_close: bool = False) -> Hostile:
    return Hostile(name, b"\r\n".join([*lines, b"", b""]) + body, half_close)


START = b"POST http://" + HOST + CHAT + b" HTTP/1.1"
HOST_FIELD = b"Host: " + HOST
LENGTH = b"Content-Length: %d" % len(BODY)


def requests() -> list[Hostile]:
    return [*bodies(), *codings(), *parts(), *fields(), *targets(), *framings()]


def bodies() -> list[Hostile]:
    found = [post(f"odd piece {number}", BODY[:-3] + piece + BODY[-3:]) for number, piece in enumerate(ODD)]
    found += [post(f"odd body {number}", piece) for number, piece in enumerate(ODD[8:22])]
    found += [
        post(f"request {number} to another API", body, path=b"/v1/responses") for number, body in enumerate(REQUESTS)
    ]
    deep = 100_000
    return [
        *found,
        post("arrays 100k deep", b'{"messages":' + b"[" * deep + b"]" * deep + b"}"),
        post("objects 100k deep", b'{"messages":[' + b'{"a":' * deep + b"1" + b"}" * deep + b"]}"),
        post("arrays that never close", b'{"messages":' + b"[" * deep),
        post("a text of 10 MB", b'{"model":"m","messages":["' + b"a" * (10 << 20) + b'"]}'),
        post("a text of just below 10 MiB", b'{"model":"m","messages":["' + b"\\n" * (5 << 19) + b'"]}'),
        post("a million numbers", b'{"model":"m","messages":[' + b"1.50," * 1_000_000 + b"1]}"),
        post("many arrays", b'{"model":"m","messages":[' + b"[]," * 300_000 + b"1]}"),
        post("a model with escapes", b'{"model":"\\u001b[31m\\nHIT\\u0000\\u009b","messages":[]}'),
        post("a model of 1 MB", b'{"model":"' + b"m" * (1 << 20) + b'","messages":[]}'),
        post(
            "UTF-16", '{"model":"m","messages":[]}'.encode("utf-16"), b"Content-Type: application/json; charset=utf-16"
        ),
    ]


def codings() -> list[Hostile]:
    bomb = b'{"model":"m","messages":["' + b"a" * (30 << 20) + b'"]}'
    packed = {
        b"gzip": gzip.compress(bomb),
        b"deflate": zlib.compress(bomb),
        b"br": brotli.compress(bomb, quality=3),
        b"zstd": zstd.compress(bomb),
    }
    found = [post(f"a {name.decode()} bomb", data, b"Content-Encoding: " + name) for name, data in packed.items()]
    found += [
        post(f"cut {name.decode()}", data[: len(data) // 2], b"Content-Encoding: " + name)
        for name, data in packed.items()
    ]
    for coding in (
        b"gzip",
        b"GZIP, gzip",
        b"rot13",
        b",",
        b"gzip," * 2000,
        b"identity;q=0",
        b"br\xff",
        b"\x00x",
        b"gzip\x0b",
    ):
        found.append(post(f"coding {coding[:20]!r}", BODY, b"Content-Encoding: " + coding))
    twice = gzip.compress(gzip.compress(BODY))
    return [
        *found,
        post("gzip in gzip", twice, b"Content-Encoding: gzip, gzip"),
        post("gzip in gzip on two lines", twice, b"Content-Encoding: gzip", b"Content-Encoding: gzip"),
        post("100,000 empty zstd frames", zstd.compress(b"") * 100_000, b"Content-Encoding: zstd"),
    ]


def parts() -> list[Hostile]:
    whole = REQUESTS[4]
    head = b'--x\r\nContent-Disposition: form-data; name="file"'
    rows = [
        ("without its end", whole[:-6], b'multipart/form-data; boundary="x"'),
        ("whole", whole, b"multipart/form-data; boundary=x"),
        ("with two boundaries", whole, b"multipart/form-data; boundary=x; boundary=y"),
        ("with an extended boundary", whole, b"multipart/form-data; boundary*=utf-8''x"),
        ("without a boundary", whole, b"multipart/form-data"),
        ("with a boundary of control characters", whole, b'multipart/form-data; boundary="\x01\x7f"'),
        ("with half a quote", whole, b'multipart/form-data; boundary="x'),
        ("with 30,000 parameters", head + b";a=b" * 30_000 + b"\r\n\r\nx\r\n--x--", b"multipart/form-data; boundary=x"),
        ("with 100,000 semicolons", head + b";" * 100_000 + b"\r\n\r\nx\r\n--x--", b"multipart/form-data; boundary=x"),
        (
            "with an open quote",
            head + b';a="' + b";" * 100_000 + b"\r\n\r\nx\r\n--x--",
            b"multipart/form-data; boundary=x",
        ),
        ("with 20,000 parts", (head + b"\r\n\r\nx\r\n") * 20_000 + b"--x--", b"multipart/form-data; boundary=x"),
        ("nested in itself", whole * 3, b"multipart/mixed; boundary=x"),
    ]
    path = b"/v1/audio/transcriptions"
    return [post(f"multipart {name}", data, b"Content-Type: " + kind, path=path) for name, data, kind in rows]


VALUES = (
    b"", b" ", b"\t", b"\x00", b"a\x00b", b"\x01\x02\x1b[31m", b"\x7f\x80\x9b\xff", "\u5f20".encode(), b"a" * 50_000, b"," * 5000,
    b"no-cache;" * 500, b"max-age=" + b"9" * 400, b"only-if\rcached", b'"', b"\\", b"%0d%0aX-Injected: 1", b"a\rb",
)  # fmt: skip
NAMES = (b"Cache-Control", b"X-AI-Cache-TTL", b"X-AI-Cache-Namespace", b"Authorization", b"Content-Type")


def fields() -> list[Hostile]:
    found = [
        post(
            f"field {NAMES[number % len(NAMES)].decode()}: {value[:16]!r}",
            BODY,
            NAMES[number % len(NAMES)] + b": " + value,
        )
        for number, value in enumerate(VALUES)
    ]
    lines = (
        b"X-AI-Cache-TTL: 1h \x1b[31m", b"x-ai-cache-namespace: \xff\xfe", b"X-Odd\x01: 1", b": no name", b"no colon", b" folded: 1",
        b"X-Space : 1", b"X-Fold: a\r\n b", b"X-Bare: a\nX-Injected: 1", b"X-" + b"n" * 5000 + b": 1", b"Content-Type",
        b"Expect: 100-continue", b"Upgrade: h2c", b"TE: trailers", b"Cookie: " + b"a=b; " * 3000, b"Via: 1.1 loop",
        b"Proxy-Authorization: Basic \xff", b"X-Forwarded-For: \x1b]0;x\x07", b"Range: bytes=0-", b"Accept-Encoding: \x00",
    )  # fmt: skip
    found += [post(f"line {line[:24]!r}", BODY, line) for line in lines]
    found += [post("2,000 fields", BODY, *(b"X-%d: 1" % number for number in range(2000)))]
    heads = [head.split(b"\n")[3:] for head in HEADS]
    return [
        *found,
        *(post(f"fields {n}", BODY, *(b"X-Api-Key: " + v for v in values)) for n, values in enumerate(heads)),
    ]


def targets() -> list[Hostile]:
    paths = (
        b"", b"/", b"//", b"/v1/chat/completions?", b"/v1/chat/completions?key=%00%0d%0a", b"/v1/chat/completions?\xff\xfe=\x80",
        b"/v1/chat/completions#fragment", b"/v1/\x01\x1b[31m/chat/completions", b"/" + b"a/" * 20_000 + b"chat/completions",
        b"/v1/chat/completions?" + b"key=a&" * 5000, b"/model/%0a%1b%5b31m/converse", b"/model/" + b"a" * 30_000 + b"/converse",
        b"/\xe5\xbc\xa0/v1/chat/completions", b"/../../v1/chat/completions", b"/v1/chat/completions;a=b", b"/%zz/chat/completions",
    )  # fmt: skip
    found = [post(f"path {path[:24]!r}", path=path) for path in paths]
    for host in (b"API.OPENAI.COM", b"api.openai.com.", b"api.openai.com:80", b"api.openai.com:0", b"user:pass@api.openai.com",
                 b"[::1]", b"[::ffff:1.2.3.4%25x]", b"a..b", b"-", b"xn--zca.example", b"\xe5\xbc\xa0.example", b"%61pi.openai.com"):  # fmt: skip
        found.append(post(f"host {host!r}", host=host))
    methods = (b"post", b"PROPFIND", b"P\x01ST", b"P" * 5000, b"GET", b"HEAD", b"DELETE", b"PRI")
    found += [post(f"method {method[:10]!r}", method=method) for method in methods]
    found += [
        raw("another Host", START, b"Host: evil.example", LENGTH, body=BODY),
        raw("two Hosts", START, HOST_FIELD, b"Host: evil.example", LENGTH, body=BODY),
        raw("no Host", START, LENGTH, body=BODY),
        raw("a Host with control characters", START, b"Host: api.openai.com\x01\x1b[31m", LENGTH, body=BODY),
        raw("HTTP/0.9", b"GET http://api.openai.com/"),
        raw("HTTP/9.9", START.replace(b"1.1", b"9.9"), HOST_FIELD, LENGTH, body=BODY),
        raw("HTTP/1.0", START.replace(b"1.1", b"1.0"), HOST_FIELD, LENGTH, body=BODY),
        raw("another scheme", START.replace(b"http://", b"gopher://"), HOST_FIELD, LENGTH, body=BODY),
        raw("a base URL to nowhere", b"POST /https://\x01/v1 HTTP/1.1", HOST_FIELD, LENGTH, body=BODY),
        raw("CONNECT to nothing", b"CONNECT :0 HTTP/1.1", b"Host: :0"),
        raw("no HTTP at all", bytes(range(256))),
        raw("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), half_close=True),
    ]
    return found


def framings() -> list[Hostile]:
    chunked = b"Transfer-Encoding: chunked"
    small = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    one_by_one = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    return [
        raw("chunked", START, HOST_FIELD, chunked, body=small),
        raw("chunked byte by byte", START, HOST_FIELD, chunked, body=one_by_one),
        raw("chunked with extensions", START, HOST_FIELD, chunked, body=small.replace(b"\r\n", b";a=\x01\r\n", 1)),
        raw("chunked with a trailer", START, HOST_FIELD, chunked, body=small[:-2] + b"X-AI-Cache-TTL: 1h\r\n\r\n"),
        raw("chunks of no number", START, HOST_FIELD, chunked, body=b"zz\r\n" + BODY),
        raw("a negative chunk", START, HOST_FIELD, chunked, body=b"-1\r\n" + BODY),
        raw("a huge chunk", START, HOST_FIELD, chunked, body=b"f" * 30 + b"\r\n", half_close=True),
        raw("chunked and a length", START, HOST_FIELD, chunked, LENGTH, body=small),
        raw("chunked twice", START, HOST_FIELD, chunked, chunked, body=small),
        raw("xchunked", START, HOST_FIELD, b"Transfer-Encoding: xchunked", LENGTH, body=BODY),
        raw("two lengths", START, HOST_FIELD, LENGTH, b"Content-Length: 1", body=BODY),
        raw("the same length twice", START, HOST_FIELD, LENGTH, LENGTH, body=BODY),
        raw("a negative length", START, HOST_FIELD, b"Content-Length: -1", body=BODY),
        raw("a length with a plus", START, HOST_FIELD, b"Content-Length: +57", body=BODY),
        raw("a body cut short", START, HOST_FIELD, b"Content-Length: 1000", body=BODY, half_close=True),
        raw("a head cut short", START, b"Host: api", half_close=True),
        Hostile("half a line", b"POST http://api", half_close=True),
    ]

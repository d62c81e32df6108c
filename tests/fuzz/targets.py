"""The parsers that see strangers' bytes, each as a function of bytes that fails by raising.

`choice` is any whole number: it picks the protocol, the path, the ending, ... A target's own assertions are the
contract; the hypothesis tests, the slow profile and the coverage-guided fuzzer share them.
"""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections.abc import Callable

from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.calls import gate, own_address, policy, replay
from mitmproxy_ai_cache.calls.reasons import Status
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.entries.entry import BrokenEntry, Entry
from mitmproxy_ai_cache.identity import isolation
from mitmproxy_ai_cache.identity.isolation import Isolation, NoPrincipal, Unstable
from mitmproxy_ai_cache.identity.key import counting_headers, fingerprint, public_query
from mitmproxy_ai_cache.protocols.base import Answer, Call, Ending, Verdict
from mitmproxy_ai_cache.wire import body, content_coding
from mitmproxy_ai_cache.wire.framing import FRAMINGS, Stream, eventstream, sse
from mitmproxy_ai_cache.wire.json_body import NotCanonical
from mitmproxy_ai_cache.wire.messages import Headers, Request
from mitmproxy_ai_cache.wire.safe_text import one_line
from unit.calls.test_gate import CALLS, FRAMES, NDJSON, PATHS, SSE

Target = Callable[[int, bytes], None]

SETTINGS = Settings(ttl=3600)
REGISTRY = protocols.standard()
TYPES = (SSE, NDJSON, FRAMES, "application/json", "", "text/plain", "application/vnd.api+json; a=\x7f", "audio/mpeg")
ENDINGS = tuple(Ending)
ISOLATIONS = tuple(map(Isolation.parse, ("none", "credential", "proxy-user", "header:x-team")))
HOSTS = ("api.openai.com", "api.anthropic.com", "x.endpoints.huggingface.cloud", "localhost")
WORD = re.compile(r"[a-z0-9-]+")


def entry(choice: int, data: bytes) -> None:
    """A packed entry. With an odd `choice` its checksum is made right, as anybody with the store's password can."""
    if choice % 2:
        if data[3:4] == b"1":
            data = data[:4] + hashlib.blake2b(data[20:], digest_size=16).digest() + data[20:]
        else:
            data = data[:4] + zlib.crc32(data[8:]).to_bytes(4, "big") + data[8:]
    try:
        found = Entry.unpack(data, data if choice % 3 == 0 else None)
    except BrokenEntry:
        return
    assert Entry.unpack(found.pack_answer(), found.pack_request()) == found
    age = max(0.0, time.time() - found.created)
    ttl = found.ttl - age if found.ttl else None
    answer = replay.response(found, replay.status_headers(Status.HIT, "ab" * 32, "", age, ttl))
    for name, value in answer.headers:
        assert not re.search(r"[\r\n\0]", name + value)


PARSERS: tuple[Callable[[bytes], Stream], ...] = tuple(framing.parse for framing in FRAMINGS.values())


def framing(choice: int, data: bytes) -> None:
    """What a prefix already said, the whole says too; no byte is in two events."""
    parse = PARSERS[choice % len(PARSERS)]
    stream = parse(data)
    assert sum(len(event.data) for event in stream.events) <= len(data)
    for event in stream.events:
        assert isinstance(event.name, str)
        assert isinstance(event.object, dict)
    if parse in (sse.parse, eventstream.parse):
        part = parse(data[: choice % (len(data) + 1)])
        assert [(event.name, event.data) for event in part.events] == [
            (event.name, event.data) for event in stream.events[: len(part.events)]
        ]


def judged(call: Call, content_type: str, data: bytes, ending: Ending, status: int = 200) -> Verdict:
    verdict = gate.verdict(call, Answer(status, content_type, data, ending))
    assert WORD.fullmatch(verdict.reason), verdict.reason
    assert verdict.whole or not verdict.cacheable
    assert all(isinstance(stop, str) for stop in verdict.stop)
    assert verdict.usage.input >= 0
    assert verdict.usage.output >= 0
    assert len(policy.not_kept(SETTINGS, verdict)) == 0 or not verdict.cacheable
    return verdict


def answer(choice: int, data: bytes) -> None:
    """Any bytes, judged by one of the protocols under one of the content types; every ending."""
    call = CALLS[choice % len(CALLS)]
    content_type = TYPES[choice // len(CALLS) % len(TYPES)]
    whole = [judged(call, content_type, data, ending).whole for ending in (Ending.ABORTED, Ending.CLOSED, Ending.CLEAN)]
    assert whole == sorted(whole), "a worse ending cannot make a message whole"
    assert isinstance(call.protocol.issued(Answer(200, content_type, data)), str)


REQUEST_TYPES = ("application/json", "", 'multipart/form-data; boundary="x"', "text/plain; charset=utf-16")


def request(choice: int, data: bytes) -> None:
    """A request body to one of the known paths: recognised or not, it has a key, and the same one twice."""
    path = PATHS[choice % len(PATHS)]
    choice //= len(PATHS)
    host = HOSTS[choice % len(HOSTS)]
    content_type = REQUEST_TYPES[choice // len(HOSTS) % len(REQUEST_TYPES)]
    asked = Request(
        "POST", "https", host, 443, path, "", Headers([("host", host), ("content-type", content_type)]), data
    )
    assert whole_way(asked) == whole_way(asked)


def whole_way(asked: Request) -> str | None:
    """What `Cache.begin` does with a request before the store is asked. The key, where there is one."""
    read = body.read(asked, SETTINGS.max_body)
    control = policy.CacheControl.parse(asked.headers.get("cache-control"))
    policy.mismatch(asked)
    call = REGISTRY.recognise(asked, read)
    if call is None:
        assert WORD.fullmatch(policy.why_unrecognised(read))
        call = protocols.ANYTHING.recognise(asked, read)
    assert isinstance(call.model, str)
    call.model.encode()
    assert call.protocol.error(424, "code", f"for {call.model}").body
    assert policy.ttl_of(SETTINGS, asked, call) >= 0
    assert not re.search(r"[\r\n\0]", one_line(call.model) + one_line(asked.url))
    if policy.decide(SETTINGS, asked, call, control).bypass:
        return None
    counting_headers(call, asked, ())
    public_query(asked.query).encode("utf-8", "surrogatepass")
    return fingerprint(call, asked, (b"none",), SETTINGS.key_rules)


NAMES = (
    "cache-control", "x-ai-cache-ttl", "x-ai-cache-namespace", "authorization", "x-api-key", "x-goog-api-key", "x-team",
    "proxy-authorization", "host", "content-type", "content-encoding", "x-portkey-config", "openai-beta", "cookie",
)  # fmt: skip


def head(choice: int, data: bytes) -> None:
    """A line of `data` each becomes the path, the query, the SNI and the fields of `NAMES`, rotated by `choice`."""
    lines = [line.decode("latin-1") for line in data.split(b"\n")]
    path, query, sni = (lines + [""] * 3)[:3]
    fields = [(NAMES[(choice + number) % len(NAMES)], value) for number, value in enumerate(lines[3:])]
    sent = b'{"model":"m","messages":[],"max_tokens":1,"input":1}'
    asked = Request("POST", "https", HOSTS[choice % len(HOSTS)], 443, "/" + path, query, Headers(fields), sent, "", sni)
    whole_way(asked)
    user = isolation.proxy_user(asked.headers)
    assert user is None or user
    for kind in ISOLATIONS:
        try:
            scope = kind.scope(asked, user)
        except (NoPrincipal, Unstable):
            continue
        assert scope[0] == kind.kind.encode()
        assert all(isinstance(part, bytes) for part in scope)
    target = own_address.target_of("/" + path)
    if target is not None:
        assert 0 < target.port < 65536
        assert re.fullmatch(r"[\w.:-]+", target.host, re.ASCII)
        assert target.path.startswith("/")
    assert own_address.answer("/" + path, None, {}).status in (200, 404)


CODINGS = ("gzip", "deflate", "br", "zstd", "gzip, br", "zstd,identity,gzip", "x-gzip", "gzip," * 5, "rot13", ",")


def coding(choice: int, data: bytes) -> None:
    """Coded bytes: decoded within the limit, or one of two errors."""
    limit = 1 << 20
    try:
        decoded = content_coding.decode(data, CODINGS[choice % len(CODINGS)], limit)
    except (content_coding.TooLarge, content_coding.UnknownCoding):
        return
    assert len(decoded.body) <= max(limit, len(data))


def json_value(choice: int, data: bytes) -> None:
    """A JSON document: exact or not canonical; white space around it never changes its key."""
    from mitmproxy_ai_cache.identity import canonical
    from mitmproxy_ai_cache.wire import json_body

    try:
        found = canonical.encode(json_body.parse(data))
    except (NotCanonical, json_body.DuplicateMembers, json_body.TooComplex):
        return
    assert canonical.encode(json_body.parse(b" " * (choice % 3 + 1) + data)) == found


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (entry, framing, answer, request, head, coding, json_value)
}

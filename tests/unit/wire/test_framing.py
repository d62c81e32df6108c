"""Captured bodies into their events: exact on line ends and checksums, and cut anywhere never an event too many."""

from __future__ import annotations

import itertools
import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.wire.framing import (
    FORMATS,
    FRAMINGS,
    Event,
    Stream,
    eventstream,
    json_array,
    ndjson,
    sse,
    tag_of,
)

Parsed = list[tuple[str, bytes]]


def events(stream: Stream) -> Parsed:
    return [(event.name, event.data) for event in stream.events]


# Server-sent events


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data: a\r\n\r\n", [("", b"a")]),
        (b"data: a\r\r", [("", b"a")]),
        (b"data: a\n\r\ndata: b\r\n\n", [("", b"a"), ("", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("", b"a")]),
        (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
        (b"data: {}\nevent: ping\n\n", [("ping", b"{}")]),
        (b"event: one\nevent: two\ndata: x\n\n", [("two", b"x")]),
        (b"event: one\ndata: x\n\ndata: y\n\n", [("one", b"x"), ("", b"y")]),
        (b"event: lost\n\ndata: y\n\n", [("", b"y")]),
        (b"data: a\ndata: b\ndata:\ndata: c\n\n", [("", b"a\nb\n\nc")]),
        (b"data: a\r\ndata: b\r\n\r\n", [("", b"a\nb")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a \n\n", [("", b" a ")]),
        (b"data: a: b: c\n\n", [("", b"a: b: c")]),
        (b"data\n\n", [("", b"")]),
        (b"data:\n\n", [("", b"")]),
        (b": comment\n\n: another\ndata: a\n: within\n\n", [("", b"a")]),
        (b":\n\n:\n\n", []),
        (b"id: 1\nretry: 3000\nfoo: bar\nfoo\ndata: a\n\n", [("", b"a")]),
        (b"Data: a\ndata : b\n data: c\n\n", []),
        (b"\n\n\n\ndata: a\n\n\n\n", [("", b"a")]),
        ("data: h\u00e9\u2028\u0085\x0b\x0c\n\n".encode(), [("", "h\u00e9\u2028\u0085\x0b\x0c".encode())]),
        (b'data: "\\n\\r [DONE]"\n\n', [("", b'"\\n\\r [DONE]"')]),
        (b"", []),
    ],
)
def test_a_stream_reads_as_whatwg_says(body: bytes, expected: Parsed) -> None:
    assert sse.parse(body) == Stream([Event(*one) for one in expected])


@pytest.mark.parametrize(
    "unfinished",
    [b"data: b", b"data: b\n", b"data: b\r\n", b"data: b\r\n\r", b"d", b"event: x\n", b"data: b\ndata: c\n", b": comm"],
)
def test_an_event_counts_once_its_blank_line_has_arrived(unfinished: bytes) -> None:
    stream = sse.parse(b"data: a\r\n\r\n" + unfinished)
    assert events(stream) == [("", b"a")]
    assert not stream.at_boundary


names = st.text("abc.", max_size=5)
lines = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8).map(str.encode)
written = st.lists(
    st.tuples(names, st.lists(lines, min_size=1, max_size=3), st.sampled_from([b"", b": ping", b"id: 7"])), max_size=5
)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


def render(stream: list[tuple[str, list[bytes], bytes]], end: bytes) -> list[bytes]:
    """Each event as a provider may write it."""
    rendered = []
    for name, data, more in stream:
        head = [b"event: " + name.encode()] if name else []
        fields = [*head, *([more] if more else []), *(b"data: " + line for line in data), b""]
        rendered.append(b"".join(field + end for field in fields))
    return rendered


@given(written, line_ends)
def test_any_line_end_gives_the_same_events(stream: list[tuple[str, list[bytes], bytes]], end: bytes) -> None:
    parsed = sse.parse(b"".join(render(stream, end)))
    assert events(parsed) == [(name, b"\n".join(data)) for name, data, _ in stream]
    assert parsed.at_boundary


@given(written, line_ends, st.data())
def test_a_stream_cut_anywhere_has_exactly_the_events_before_the_cut(
    stream: list[tuple[str, list[bytes], bytes]], end: bytes, data: st.DataObject
) -> None:
    rendered = render(stream, end)
    body = b"".join(rendered)
    cut = data.draw(st.integers(0, len(body)))
    ends = list(itertools.accumulate(map(len, rendered), initial=0))
    whole = sum(1 for position in ends[1:] if position <= cut)
    parsed = sse.parse(body[:cut])
    assert events(parsed) == events(sse.parse(body))[:whole]
    assert parsed.at_boundary == (cut in ends)


@given(st.binary(max_size=60) | st.text("\r\n:data evnt", max_size=60).map(str.encode))
def test_no_bytes_break_the_parsers(body: bytes) -> None:
    for parse in (sse.parse, eventstream.parse, ndjson.parse, json_array.parse):
        assert isinstance(parse(body), Stream)


def test_the_value_of_an_event_is_its_json_or_none() -> None:
    found = sse.parse(b'data: {"a":1}\n\ndata: [DONE]\n\ndata: [1]\n\ndata: null\n\n').events
    assert [event.value for event in found] == [{"a": 1}, None, [1], None]
    assert [event.object for event in found] == [{"a": 1}, {}, {}, {}]


# application/vnd.amazon.eventstream

# Vectors of the AWS SDKs' own tests: the empty message, and a payload without headers.
EMPTY = bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")
PAYLOAD = bytes.fromhex("0000001d 00000000 fd528c5a 7b27666f6f273a27626172277d c3653936")


def raw_frame(headers: bytes, payload: bytes) -> bytes:
    """A frame put together as the AWS documentation says, apart from the code under test."""
    prelude = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + payload
    return message + zlib.crc32(message).to_bytes(4, "big")


def header(name: str, kind: int, value: bytes) -> bytes:
    return bytes([len(name)]) + name.encode() + bytes([kind]) + value


def string(name: str, value: str) -> bytes:
    return header(name, 7, struct.pack(">H", len(value)) + value.encode())


FRAMES = [
    eventstream.frame("messageStart", b'{"role":"assistant"}'),
    eventstream.frame("contentBlockDelta", b'{"delta":{"text":"h\xc3\xa9"}}'),
    eventstream.frame("messageStop", b"{}"),
    eventstream.frame("metadata", b""),
]
NAMED = [
    ("messageStart", b'{"role":"assistant"}'),
    ("contentBlockDelta", b'{"delta":{"text":"h\xc3\xa9"}}'),
    ("messageStop", b"{}"),
    ("metadata", b""),
]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (EMPTY, [("", b"")]),
        (PAYLOAD, [("", b"{'foo':'bar'}")]),
        (EMPTY + PAYLOAD, [("", b""), ("", b"{'foo':'bar'}")]),
        (raw_frame(string(":event-type", "chunk") + string(":message-type", "event"), b"{}"), [("chunk", b"{}")]),
        (b"".join(FRAMES), NAMED),
    ],
)
def test_frames_read_as_aws_writes_them(body: bytes, expected: Parsed) -> None:
    assert eventstream.parse(body) == Stream([Event(*one) for one in expected])


def test_headers_of_every_type_are_passed_over() -> None:
    headers = (
        header("true", 0, b"")
        + header("false", 1, b"")
        + header("byte", 2, b"\xff")
        + header("short", 3, bytes(2))
        + header("integer", 4, bytes(4))
        + header("long", 5, bytes(8))
        + header("bytes", 6, b"\0\x03abc")
        + header("timestamp", 8, bytes(8))
        + header("uuid", 9, bytes(16))
        + string(":event-type", "chunk")
    )
    assert events(eventstream.parse(raw_frame(headers, b"{}"))) == [("chunk", b"{}")]


@pytest.mark.parametrize(
    "headers",
    [
        string(":message-type", "exception") + string(":exception-type", "throttlingException"),
        string(":message-type", "error") + string(":error-code", "500"),
        string(":event-type", "messageStop") + string(":message-type", "exception"),
    ],
)
def test_what_is_no_event_is_an_exception(headers: bytes) -> None:
    assert events(eventstream.parse(raw_frame(headers, b"{}"))) == [("exception", b"{}")]


@given(st.text("abcXYZ-", min_size=1, max_size=20), st.binary(max_size=100), st.sampled_from(["event", "exception"]))
def test_the_frames_we_write_are_read_by_botocore_and_by_us(name: str, payload: bytes, kind: str) -> None:
    body = eventstream.frame(name, payload, kind=kind)
    theirs = EventStreamBuffer()
    theirs.add_data(body)
    (message,) = theirs
    assert message.payload == payload
    assert message.headers[f":{kind}-type"] == name
    assert message.headers[":message-type"] == kind
    assert events(eventstream.parse(body)) == [(name if kind == "event" else "exception", payload)]


def test_frames_cut_anywhere_are_exactly_those_before_the_cut() -> None:
    body = b"".join(FRAMES)
    ends = list(itertools.accumulate(map(len, FRAMES), initial=0))
    for cut in range(len(body)):
        parsed = eventstream.parse(body[:cut])
        assert events(parsed) == NAMED[: sum(1 for position in ends[1:] if position <= cut)]
        assert parsed.at_boundary == (cut in ends)
        assert not parsed.broken


def test_a_flipped_bit_anywhere_breaks_the_stream_there() -> None:
    body = b"".join(FRAMES)
    ends = list(itertools.accumulate(map(len, FRAMES)))
    for bit in range(len(body) * 8):
        changed = bytearray(body)
        changed[bit // 8] ^= 1 << bit % 8
        parsed = eventstream.parse(bytes(changed))
        assert parsed.broken
        assert events(parsed) == NAMED[: sum(1 for position in ends if position <= bit // 8)]


@pytest.mark.parametrize(
    "body",
    [
        b"data: this is no event stream\n\n",
        raw_frame(b"\x05ab", b""),
        raw_frame(header("a", 99, b""), b"{}"),
        raw_frame(b"\x01a\x07", b""),
        struct.pack(">III", 15, 0, zlib.crc32(struct.pack(">II", 15, 0))) + bytes(3),
        struct.pack(">III", 20, 5, zlib.crc32(struct.pack(">II", 20, 5))) + bytes(8),
    ],
    ids=["text", "name beyond its headers", "unknown type", "value missing", "too short", "headers beyond the frame"],
)
def test_a_frame_that_contradicts_itself_is_broken(body: bytes) -> None:
    stream = eventstream.parse(FRAMES[0] + body)
    assert stream.broken
    assert events(stream) == NAMED[:1]


# Newline-delimited JSON


@pytest.mark.parametrize(
    ("body", "values", "at_boundary", "broken"),
    [
        (b"", [], True, False),
        (b'{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}], True, False),
        (b'{"a":1}\r\n{"a":2}\r\n', [{"a": 1}, {"a": 2}], True, False),
        (b'\n{"a":1}\n\n \n{"a":2}\n', [{"a": 1}, {"a": 2}], True, False),
        (b'{"a":1}\n{"a":2}', [{"a": 1}, {"a": 2}], True, False),
        (b'{"a":1}\n{"a":', [{"a": 1}], False, False),
        (b'{"a":1}\n12', [{"a": 1}], False, False),
        (b'{"a":1}\n  ', [{"a": 1}], True, False),
        (b'{"a":1}\nnonsense\n{"a":2}\n', [{"a": 1}, None, {"a": 2}], True, True),
        (b'{"a":\n1}\n', [None, None], True, True),
    ],
)  # fmt: skip
def test_lines_of_json(body: bytes, values: list[object], at_boundary: bool, broken: bool) -> None:
    stream = ndjson.parse(body)
    assert [event.value for event in stream.events] == values
    assert (stream.at_boundary, stream.broken) == (at_boundary, broken)


def test_lines_cut_anywhere_are_exactly_those_before_the_cut() -> None:
    pieces = [b'{"response":"a","done":false}\n', b'{"response":"b\\n","done":false}\n', b'{"done":true}\n']
    body = b"".join(pieces)
    ends = list(itertools.accumulate(map(len, pieces)))
    for cut in range(len(body)):
        whole = sum(1 for position in ends if position - 1 <= cut)
        assert [event.data + b"\n" for event in ndjson.parse(body[:cut]).events] == pieces[:whole]


# A JSON array


@pytest.mark.parametrize("body", [b'[{"a":1},{"a":2}]', b'[{"a":1}\n,\r\n{"a":2}\n]\n', b' [ {"a":1} , {"a":2} ] '])
def test_the_elements_of_an_array_are_its_events(body: bytes) -> None:
    stream = json_array.parse(body)
    assert [event.value for event in stream.events] == [{"a": 1}, {"a": 2}]
    assert stream.at_boundary
    assert not stream.broken


def test_an_array_cut_anywhere_has_no_events() -> None:
    body = b'[{"text":"]"},{"text":"}]"}]'
    for cut in range(len(body)):
        stream = json_array.parse(body[:cut])
        assert not stream.events
        assert not stream.at_boundary


@pytest.mark.parametrize("body", [b"{}", b'"[]"', b"7", b"null"])
def test_json_that_is_no_array_is_a_broken_one(body: bytes) -> None:
    assert json_array.parse(body).broken


# Format tags


@pytest.mark.parametrize(
    ("content_type", "body", "tag"),
    [
        ("text/event-stream", b"", "sse"),
        ("text/event-stream; charset=utf-8", b"{}", "sse"),
        ("Text/Event-Stream;charset=utf-8", b"", "sse"),
        ("application/vnd.amazon.eventstream", FRAMES[0], "eventstream"),
        ("application/x-ndjson", b"{}\n", "ndjson"),
        ("application/ndjson", b"{}\n", "ndjson"),
        ("application/jsonl", b"{}\n", "ndjson"),
        ("application/stream+json", b"{}\n", "ndjson"),
        ("application/json", b"data: {}\n\n", "json"),
        ("application/json; charset=utf-8", b"[", "json"),
        ("application/problem+json", b"{}", "json"),
        ("audio/mpeg", b"{", "raw"),
        ("text/plain", b"{}", "raw"),
        ("", b"data: {}\n\n", "sse"),
        ("", b"\xef\xbb\xbfdata: {}\n\n", "sse"),
        ("", b"event: ping\n", "sse"),
        ("", b": comment\n\ndata: {}\n\n", "sse"),
        ("", b' \n{"a":1}', "json"),
        ("", b'[{"a":1}]', "json"),
        ("", FRAMES[0], "eventstream"),
        ("", b"ID3\x04", "raw"),
        ("", b"", "raw"),
        (";", b"{}", "json"),
    ],
)
def test_a_body_is_tagged_by_its_media_type_else_by_its_look(content_type: str, body: bytes, tag: str) -> None:
    assert tag_of(content_type, body) == tag
    assert tag in FORMATS


@pytest.mark.parametrize("name", FRAMINGS)
def test_a_body_is_tagged_with_the_framing_that_names_its_media_type(name: str) -> None:
    for media_type in FRAMINGS[name].media_types:
        assert tag_of(f"{media_type.upper()}; charset=utf-8", b"") == name


@pytest.mark.parametrize("body", [b"", b"data: {}\n\n", b'{"a":1}\n', b'[{"a":1}]', FRAMES[0], b"ID3\x04"])
def test_a_body_looks_like_one_framing_at_most(body: bytes) -> None:
    assert sum(framing.begins(body) for framing in FRAMINGS.values()) <= 1

"""A cassette gives back the exact bytes, whatever they are, and is pleasant to read where it can be."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache.cassettes import bodies, file, json_text, parts
from mitmproxy_ai_cache.cassettes.file import BrokenCassette
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.wire.framing.eventstream import frame

texts = st.text(max_size=30)
wire = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)
field_names = st.from_regex(r"x-[a-z0-9!~]{1,8}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "$part", "$$part", "é"]), inner),
    max_leaves=12,
)
json_bodies = st.builds(
    lambda value, ascii_only, indent, separators: json.dumps(
        value, ensure_ascii=ascii_only, indent=indent, separators=separators
    ).encode(),
    values,
    st.booleans(),
    st.sampled_from([None, 2, 4]),
    st.sampled_from([(",", ":"), (", ", ": "), (",", ": ")]),
)
pieces = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"event: ping",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"{}",
        b'{"a":1}',
        b'{"a": 1.50 }',
        b": x",
        b"[DONE]",
    ]
)
frames = st.lists(st.builds(frame, texts.filter(lambda name: len(name.encode()) < 256), json_bodies), max_size=3).map(
    b"".join
)
any_bytes = (
    st.binary(max_size=200)
    | json_bodies
    | st.lists(pieces, max_size=12).map(b"".join)
    | st.text(max_size=60).map(str.encode)
    | frames
    | st.tuples(frames, st.binary(max_size=20)).map(b"".join)
)
formats = st.sampled_from(["json", "sse", "eventstream", "ndjson", "json-array", "raw"])
entries = st.builds(
    Entry,
    key=st.from_regex(r"[0-9a-f]{64}(-[2-9])?", fullmatch=True),
    created=st.integers(0, 10**12).map(float),
    ttl=st.just(0.0),
    status=st.integers(200, 599),
    headers=st.lists(st.tuples(field_names, wire), max_size=4).map(tuple),
    format=formats,
    body=any_bytes,
    request=any_bytes,
    request_headers=st.lists(st.tuples(wire, wire), max_size=4).map(tuple),
    cacheable=st.booleans(),
    protocol=st.sampled_from(["openai-chat", "anthropic-messages", "bedrock-invoke", "ollama-chat", "exchange"]),
    model=texts,
    method=st.sampled_from(["POST", "GET", "DELETE"]),
    url=texts,
    stream=st.booleans(),
    live=st.booleans(),
    namespace=texts,
    run=texts,
    issued=texts,
    input_tokens=st.integers(0, 10**9),
    output_tokens=st.integers(0, 10**9),
    first_byte=st.integers(0, 10**7).map(lambda thousandths: thousandths / 1000),
    total=st.integers(0, 10**7).map(lambda thousandths: thousandths / 1000),
)
PLAIN = Entry(
    key="ab" * 32,
    created=1_790_000_000.0,
    ttl=0.0,
    status=200,
    headers=(("content-type", "application/json"),),
    format="json",
    body=b'{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}',
    request=b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}',
    protocol="openai-chat",
    model="gpt-4o",
    url="https://api.openai.com/v1/chat/completions",
)


def back(entry: Entry) -> Entry:
    text, contents = file.encode(entry)
    return replace(file.decode(text, contents.__getitem__).entry, key=entry.key)


@given(entries)
@settings(max_examples=examples(150), deadline=None)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    assert back(entry) == entry


@given(any_bytes, formats)
@settings(max_examples=examples(150), deadline=None)
def test_any_body_comes_back_byte_for_byte(data: bytes, format: str) -> None:
    assert bodies.decode(bodies.encode(data, format)) == data


@given(values)
@settings(deadline=None)
def test_what_is_rendered_for_people_means_the_same(value: object) -> None:
    value = json_text.loads(json.dumps(value))
    assert json_text.loads_own(json_text.render(value)) == value


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b'{"a":1,"b":[1,2]}', "json"),
        (b'{"a": 1, "b": [1, 2]}', "json-spaced"),
        (b'{"a": 1,"b": [1,2]}', "json-colon"),
        (b'{\n  "a": 1\n}\n', "json-indent2"),
        (b'{\n    "a": 1\n}', "json-indent4"),
        ('{"a":"é"}'.encode(), "json"),
        (b'{"a":"\\u00e9"}', "json-ascii"),
        (b'{"a":"\\u003cb\\u003e"}', "json-html"),
        (b'{"a":1.50,"b":1E3,"c":-0,"d":12345678901234567890}', "json"),
        (b'\n\n {"a":1}', "json"),
        (b'{"a":1,"a":2}', "text"),
        (b'{"a":"\\u00E9\xc3\xa9"}', "text"),
        (b'{"a" :1}', "text"),
        (b'{"a":NaN}', "text"),
        (b'{"a":"\xee\x80\x801"}', "text"),
        (b"plain", "text"),
        (b"\xff\x00", "base64"),
        (b"[" * 5000, "text"),
    ],
)
def test_json_is_shown_as_json_where_its_bytes_come_back(data: bytes, encoding: str) -> None:
    members = bodies.encode(data)
    assert members["encoding"] == encoding
    assert bodies.decode(members) == data


def test_odd_numbers_stand_in_the_file_as_they_were_sent() -> None:
    text, _ = file.encode(replace(PLAIN, request=b'{"temperature":1.50,"top_p":1E0}'))
    assert '"temperature": 1.50' in text
    assert '"top_p": 1E0' in text


def test_events_stand_on_a_line_each() -> None:
    body = b'event: a\ndata: {"x":1}\n\n: comment\n\nevent: b\ndata: {"y":2    }\n\ndata: [DONE]\n\n'
    text, _ = file.encode(replace(PLAIN, body=body, format="sse"))
    lines = [line.strip().rstrip(",") for line in text.splitlines()]
    assert '{"event": "a", "data": {"x": 1}}' in lines
    assert '": comment"' in lines
    assert '{"event": "b", "data": {"y": 2}, "pad": 4}' in lines
    assert '{"data": "[DONE]"}' in lines


def test_a_stream_that_was_cut_comes_back_cut() -> None:
    body = b'data: {"x":1}\n\ndata: {"x"'
    assert back(replace(PLAIN, body=body, format="sse")).body == body


def test_frames_of_aws_show_their_payload_and_what_it_wraps() -> None:
    inner = base64.b64encode(b'{"generation":"Hi"}').decode()
    body = frame("chunk", f'{{"bytes":"{inner}","p":"abc"}}'.encode()) + frame("x", b'{"a":1}', kind="exception")
    text, _ = file.encode(replace(PLAIN, body=body, format="eventstream", protocol="bedrock-invoke"))
    assert '{"event": "chunk", "payload": {"bytes": {"generation": "Hi"}, "p": "abc"}}' in text
    assert '{"exception": "x", "payload": {"a": 1}}' in text
    assert "base64" not in text


def test_a_frame_with_a_wrong_checksum_comes_back_wrong() -> None:
    good = frame("chunk", b'{"a":1}')
    body = good + good[:-1] + bytes([good[-1] ^ 1])
    assert back(replace(PLAIN, body=body, format="eventstream")).body == body


def test_the_answer_stands_before_request_and_response_and_there_is_no_key() -> None:
    text, _ = file.encode(PLAIN)
    document = json.loads(text)
    assert list(document) == ["version", "date", "ai_cache", "protocol", "model", "answer", "request", "response"]
    assert document["answer"] == {"text": "Hi", "stop": "stop"}
    assert document["date"] == "2026-09-21T14:13:20Z"
    assert PLAIN.key not in text


def test_a_later_answer_says_which_it_is() -> None:
    text, _ = file.encode(replace(PLAIN, key="ab" * 32 + "-3"))
    assert file.decode(text, {}.__getitem__).sequence == 3


def test_text_is_readable_but_nothing_hides_in_it() -> None:
    text, _ = file.encode(replace(PLAIN, request='{"prompt":"größer \u202e 日本"}'.encode()))
    assert "größer \\u202e 日本" in text


SYSTEM = "You are careful.\n" * 300


def test_a_long_prompt_becomes_a_text_of_its_own() -> None:
    request = json.dumps({"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hi"}]})
    entry = replace(PLAIN, request=request.encode())
    text, contents = file.encode(entry)
    ((name, content),) = contents.items()
    assert name.startswith("content-")
    assert name.endswith(".txt")
    assert content == SYSTEM
    assert f'"$part": "{name}"' in text
    assert len(text) < 2000
    assert back(entry) == entry


def test_a_list_of_tools_becomes_a_part_and_its_echo_in_the_answer_names_it() -> None:
    tools = [{"type": "function", "name": f"tool_{n}", "description": "does things " * 9} for n in range(60)]
    entry = replace(
        PLAIN,
        request=json.dumps({"input": "Hi", "tools": tools, "instructions": SYSTEM}).encode(),
        body=json.dumps({"output": [], "tools": tools, "instructions": SYSTEM, "long": "x" * 9000}).encode(),
    )
    text, contents = file.encode(entry)
    assert sorted(name.rpartition("-")[0] for name in contents) == ["instructions", "tools"]
    response = json.loads(text)["response"]["body"]
    assert response["tools"].keys() == response["instructions"].keys() == {"$part"}
    assert response["long"] == "x" * 9000, "an answer is to be read where it stands"
    assert back(entry) == entry


@pytest.mark.parametrize(
    "member",
    [
        {"$part": "tools-0123456789abcdef.json"},
        {"$part": 1, "b": 2},
        {"$$part": "x"},
        {"$part": {"$part": ["y"] * 2000}},
    ],
)
def test_a_member_that_looks_like_a_reference_is_none(member: object) -> None:
    entry = replace(PLAIN, request=json.dumps({"a": member}).encode())
    assert back(entry) == entry


def test_a_part_that_went_through_a_windows_checkout_is_the_same() -> None:
    ((name, content),) = file.encode(replace(PLAIN, request=json.dumps({"system": SYSTEM}).encode()))[1].items()
    assert parts.checked(name, content.replace("\n", "\r\n").encode()) == SYSTEM
    with pytest.raises(parts.BrokenPart, match="was changed"):
        parts.checked(name, content.replace("careful", "careless").encode())


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "x.txt", "", 5, None, "a-0123456789abcdef.py"])
def test_a_part_is_only_looked_for_under_the_name_of_a_part(name: object) -> None:
    assert not parts.is_name(name)


def test_a_cassette_that_went_through_a_windows_checkout_is_the_same() -> None:
    text, _ = file.encode(replace(PLAIN, body=b"a\r\nb\nc\rd", format="raw"))
    assert file.decode(text.replace("\n", "\r\n"), {}.__getitem__).entry.body == b"a\r\nb\nc\rd"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty.*git"),
        ("{", "no JSON"),
        ("[]", "no version"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        ('{"version": "1"}', "no version"),
        ('{"version": 99}', "newer ai-cache.*update"),
        ('{"version": 1}', "no cassette"),
        ('<<<<<<< HEAD\n{"version": 1}\n>>>>>>> x\n', r"merge conflict \(line 1\)"),
    ],
)
def test_what_is_no_cassette_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(BrokenCassette, match=reason):
        file.decode(text, {}.__getitem__)


@given(st.data())
@settings(max_examples=examples(100), deadline=None)
def test_a_cassette_that_was_cut_or_edited_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    document = json.loads(file.encode(replace(PLAIN, body=frame("chunk", b"{}"), format="eventstream"))[0])
    place = data.draw(st.sampled_from([document, document["request"], document["response"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(values)
    with contextlib.suppress(BrokenCassette):
        file.decode(json.dumps(document), {}.__getitem__)


def test_an_older_format_is_brought_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = file.encode(PLAIN)
    monkeypatch.setattr(file, "VERSION", 2)
    monkeypatch.setitem(file._UPGRADES, 1, lambda document: {**document, "model": "upgraded"})
    assert file.decode(text, {}.__getitem__).entry.model == "upgraded"

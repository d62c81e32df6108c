"""What a reviewer reads of a recording that changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from corpus.recorded import exchanges, needs_corpus
from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.calls.gate import verdict
from mitmproxy_ai_cache.cassettes.changes import Change, compare, lines_of, of_new
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.identity.identifier import Identifier
from mitmproxy_ai_cache.identity.key import KeyRules, counting_headers
from mitmproxy_ai_cache.identity.profiles import PROFILES
from mitmproxy_ai_cache.identity.rules import IdentityRules

REGISTRY = protocols.standard()
IDENTIFIER = Identifier(IdentityRules(key=KeyRules(profiles=PROFILES)))
CHAT = Entry(
    key="", created=1.0, ttl=0, status=200, headers=(), format="json", body=b"", protocol="openai-chat", model="m",
    url="https://api.openai.com/v1/chat/completions",
)  # fmt: skip


def recorded(message: dict[str, Any], prompt: str = "Hello", **changes: Any) -> Entry:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    request = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    return replace(CHAT, body=json.dumps({"choices": [choice]}).encode(), request=request, **changes)


def change(before: Entry, after: Entry) -> Change:
    return compare(before, after, IDENTIFIER)


def test_a_text_is_compared_line_by_line() -> None:
    found = change(recorded({"content": "one\ntwo\nthree"}), recorded({"content": "one\n2\nthree"}))
    assert found.answer == ("@@ -1,5 +1,5 @@", " text:", "   one", "-  two", "+  2", "   three", " stop: stop")
    assert (found.added, found.removed, found.request, found.says_the_same) == (1, 1, (), False)


def test_calls_of_tools_show_their_arguments() -> None:
    function = {"name": "weather", "arguments": '{"city":"Paris","days":[1,2]}'}
    lines = lines_of(recorded({"content": None, "tool_calls": [{"function": function}]}))
    assert lines[:3] == ["call weather", "  {", '    "city": "Paris",']
    assert lines[-1] == "stop: stop"


def test_a_picture_that_changes_is_a_change() -> None:
    one, other = (recorded({"content": "Here.", "images": [data]}) for data in ("iVBORw0KGgoA", "iVBORw0KGgoB"))
    assert "media: image (image/png, 9 bytes)" in lines_of(one)
    assert (change(one, other).added, change(one, other).removed) == (1, 1)


def test_what_a_tool_of_the_provider_gave_back_is_compared_where_it_came() -> None:
    called = {"type": "mcp_call", "name": "f", "arguments": "{}", "output": "42"}
    said = {
        "type": "message",
        "content": [{"type": "output_text", "text": "So."}, {"type": "refusal", "refusal": "No."}],
    }
    body = json.dumps({"output": [said, called, said], "status": "completed"}).encode()
    lines = lines_of(replace(CHAT, protocol="openai-responses", body=body))
    told = ["text: So.", "refusal: No."]
    assert lines == [*told, "call f", "  {}", "result", "  42", *told, "stop: completed"]


def test_what_is_left_out_of_a_long_answer_is_compared_as_it_came() -> None:
    pieces = [[{"type": "text", "text": "x"}] * 1200 for _ in range(2)]
    pieces[1][1100] = {"type": "text", "text": "y"}
    one, other = (recorded({"content": each}) for each in pieces)
    assert not change(one, other).says_the_same


def test_a_stream_reads_like_the_answer_it_carries() -> None:
    events = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("He", "llo")]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    stream = replace(recorded({}), body=body.encode(), format="sse", stream=True)
    assert lines_of(stream) == lines_of(recorded({"content": "Hello"}))


def test_more_answers_than_one_are_told_apart() -> None:
    choices = [{"index": n, "message": {"content": text}, "finish_reason": "stop"} for n, text in enumerate("ab")]
    entry = replace(CHAT, body=json.dumps({"choices": choices}).encode())
    assert lines_of(entry) == ["choice 0", "  text: a", "choice 1", "  text: b", "stop: stop"]


@pytest.mark.parametrize(
    ("body", "format", "expected"),
    [
        (b'{"data":[{"embedding":[0.5,1.5]}]}', "json", '      "embedding": [0.5, 1.5]'),
        (b"plain\ntext", "raw", "text"),
        (b"\xff\xfe", "raw", "2 bytes, "),
    ],
)
def test_what_is_no_conversation_is_shown_as_what_it_is(body: bytes, format: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in lines_of(replace(CHAT, protocol="x", body=body, format=format)))


def test_what_is_too_long_to_show_still_shows_that_it_changed() -> None:
    vectors = [json.dumps({"embedding": [0.25] * 500 + [last]}).encode() for last in (0.5, 0.75)]
    one, other = (replace(CHAT, protocol="openai-embeddings", body=body) for body in vectors)
    assert all(len(line) < 250 for line in lines_of(one))
    assert change(one, other).added == 1
    longs = [recorded({"content": "\n".join("x" * 5000) + end}) for end in ("", "\nend")]
    assert len(lines_of(longs[0])) == 2001
    assert not change(*longs).says_the_same


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": 429}, (("status", "200", "429"),)),
        ({"redacted": True}, (("redacted", "false", "true"),)),
        ({"run": "0123456789ab", "total": 3.0, "created": 5.0, "headers": (("x-request-id", "r"),)}, ()),
    ],
)
def test_what_changes_with_every_recording_is_no_change_and_a_status_is_one(
    changes: dict[str, Any], expected: Any
) -> None:
    one = recorded({"content": "Hi"})
    found = change(one, replace(one, **changes))
    assert found.fields == expected
    assert found.says_the_same == (not expected)


def test_a_request_differs_by_its_key_only() -> None:
    one = recorded({"content": "Hi"})
    metadata = json.dumps({**json.loads(one.request), "metadata": {"run": "1"}}).encode()
    unheeded = change(one, replace(one, request=metadata))
    assert (unheeded.request, unheeded.uncounted, unheeded.says_the_same) == ((), True, True)
    named = change(one, replace(one, namespace="n"))
    assert [difference.path for difference in named.request] == ["namespace"]
    assert named.fields == (), "it is not said twice"
    moved = replace(one, url="https://api.anthropic.com/v1/messages", protocol="anthropic-messages", request=b"{}")
    assert change(one, moved).other_request


@pytest.mark.thorough
@needs_corpus
def test_real_answers_can_all_be_read_and_say_the_same_as_themselves() -> None:
    for exchange in exchanges()[::7]:
        call = exchange.call
        if call is None:
            continue
        entry = replace(
            CHAT, protocol=call.protocol.name, model=call.model, method=exchange.method,
            url=exchange.url.partition("?")[0],
            request=exchange.request_body, body=exchange.response_body, format=verdict(call, exchange.answer).format,
            request_headers=tuple(dict(counting_headers(call, exchange.request, ())).items()), status=exchange.status,
        )  # fmt: skip
        assert change(entry, entry) == Change(), exchange.id
        assert of_new(entry).added == len(lines_of(entry))

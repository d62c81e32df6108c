"""Answers that are errors, bodies of no known shape, or long."""

from __future__ import annotations

import pytest

from conversing import entry, got, of
from mitmproxy_ai_cache import conversation
from mitmproxy_ai_cache.conversation import Text, ToolCall


def test_an_error_is_an_answer_of_its_own_role() -> None:
    told = of({}, {"error": {"message": "too many", "type": "rate_limit"}}, status=429)
    assert told.answer[0].role == "error"
    assert told.text == "too many"


def test_a_page_that_is_an_error_has_that_role() -> None:
    told = of({}, b"<html>Bad gateway</html>", form="raw", media="text/html", status=502)
    assert [message.role for message in told.answer] == ["error"]


def test_what_was_created_or_accepted_is_no_error() -> None:
    told = of({}, {"choices": [{"text": "a"}]}, status=201)
    assert [(message.role, message.parts) for message in told.answer] == [("assistant", (Text("a"),))]


def test_an_error_beside_an_answer_is_shown_behind_it() -> None:
    told = of({}, {"choices": [{"text": "a"}], "error": {"message": "broken"}})
    assert [message.role for message in told.answer] == ["assistant", "error"]
    assert told.text == "a"


def test_arguments_are_whole_however_long() -> None:
    arguments = '{"text":"' + "x" * 200_000 + '"}'
    call = {"id": "c", "function": {"name": "write", "arguments": arguments}}
    assert got(of({}, {"choices": [{"message": {"tool_calls": [call]}}]})) == (ToolCall("c", "write", arguments),)


@pytest.mark.parametrize(
    ("body", "as_is"),
    [
        (b"plain text", True),
        (b'{"id":"x"}', True),
        (b'{"broken":', True),
        (b'{"choices":[{"text":"a"}]}', False),
        (b"\0\1binary", False),
        (b"", False),
    ],
)
def test_an_answer_says_whether_it_is_the_body_and_nothing_else(body: bytes, as_is: bool) -> None:
    assert conversation.answer(entry({}, body)).as_is == as_is


def test_the_answer_alone_is_that_of_the_conversation() -> None:
    whole = entry({"messages": []}, {"choices": [{"text": "a", "finish_reason": "stop"}], "usage": {"total_tokens": 3}})
    alone, told = conversation.answer(whole), conversation.of(whole)
    assert (alone.messages, alone.finish, alone.usage) == (told.answer, told.finish, told.usage)
    assert (alone.finish, alone.usage) == ("stop", (("total_tokens", 3),))


def test_an_error_that_calls_itself_a_stream_is_read() -> None:
    body = b'{\n  "error": {\n    "code": 400,\n    "message": "API key not valid."\n  }\n}\n'
    told = of({}, body, form="sse", media="text/event-stream", status=400)
    assert (told.answer[0].role, told.text) == ("error", "API key not valid.")

"""The answer in a cassette: what `conversation` reads, in the order it was said, for who reviews the file."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversing import PNG
from mitmproxy_ai_cache.cassettes import file, json_text
from mitmproxy_ai_cache.cassettes.changes import lines_of
from mitmproxy_ai_cache.cassettes.readable import readable
from mitmproxy_ai_cache.wire.framing.eventstream import frame
from unit.cassettes.test_cassette_file import PLAIN, any_bytes, formats
from unit.conversation.test_conversation_limits import HOSTILE

WEATHER = {"name": "weather", "arguments": {"city": "Rome"}}
THOUGHT = {"thinking": "Hm.", "text": "Hi you", "tool_calls": [WEATHER], "stop": "end"}


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def frames(*events: tuple[str, object]) -> bytes:
    return b"".join(frame(name, json.dumps(payload).encode()) for name, payload in events)


def wrapped(chunk: object) -> tuple[str, object]:
    return "chunk", {"bytes": base64.b64encode(json.dumps(chunk).encode()).decode()}


def chat(delta: object, stop: str | None = None) -> object:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": stop}]}


def cohere_content(index: int, **content: str) -> object:
    kind = "content-start" if "type" in content else "content-delta"
    return {"type": kind, "index": index, "delta": {"message": {"content": content}}}


def chat_answer(body: object, **more: Any) -> Any:
    return readable(replace(PLAIN, body=json.dumps(body).encode(), **more))


def responses_answer(*items: object) -> Any:
    return chat_answer({"output": items, "status": "completed"}, protocol="openai-responses")


ANTHROPIC = (
    {"type": "message_start", "message": {"content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "you"}},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "weather", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"city":'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '"Rome"}'}},
    {"type": "message_delta", "delta": {"stop_reason": "end"}},
)
CONVERSE = (
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm."}}}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Hi you"}}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"city":"Rome"}'}}}),
    ("messageStop", {"stopReason": "end"}),
)


@pytest.mark.parametrize(
    ("protocol", "format", "body"),
    [
        (
            "openai-chat",
            "sse",
            sse(
                chat({"reasoning_content": "Hm."}),
                chat({"content": "Hi "}),
                chat({"content": "you"}),
                chat({"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": '{"city"'}}]}),
                chat({"tool_calls": [{"index": 0, "function": {"arguments": ':"Rome"}'}}]}, "end"),
            )
            + b"data: [DONE]\n\n",
        ),
        (
            "openai-responses",
            "sse",
            sse(
                {"type": "response.output_text.delta", "delta": "Hi "},
                {
                    "type": "response.completed",
                    "response": {
                        "status": "end",
                        "output": [
                            {"type": "reasoning", "summary": [{"text": "Hm."}]},
                            {"type": "message", "content": [{"type": "output_text", "text": "Hi you"}]},
                            {"type": "function_call", "name": "weather", "arguments": '{"city":"Rome"}'},
                        ],
                    },
                },
            ),
        ),
        ("anthropic-messages", "sse", sse(*ANTHROPIC)),
        ("bedrock-invoke", "eventstream", frames(*map(wrapped, ANTHROPIC))),
        ("bedrock-converse", "eventstream", frames(*CONVERSE)),
        ("bedrock-invoke", "eventstream", frames(*(wrapped({name: value}) for name, value in CONVERSE))),
        (
            "gemini-generate",
            "sse",
            sse(
                {"candidates": [{"content": {"parts": [{"text": "Hm.", "thought": True}, {"text": "Hi you"}]}}]},
                {
                    "candidates": [
                        {
                            "content": {"parts": [{"functionCall": {"name": "weather", "args": {"city": "Rome"}}}]},
                            "finishReason": "end",
                        }
                    ]
                },
            ),
        ),
        (
            "ollama-chat",
            "ndjson",
            lines(
                {"message": {"thinking": "Hm.", "content": "Hi "}},
                {"message": {"content": "you", "tool_calls": [{"function": WEATHER}]}},
                {"done": True, "done_reason": "end"},
            ),
        ),
        (
            "cohere-chat",
            "sse",
            sse(
                cohere_content(0, type="thinking", thinking=""),
                cohere_content(0, thinking="Hm."),
                cohere_content(1, type="text", text=""),
                cohere_content(1, text="Hi you"),
                {
                    "type": "tool-call-start",
                    "index": 0,
                    "delta": {"message": {"tool_calls": {"function": {"name": "weather", "arguments": ""}}}},
                },
                {
                    "type": "tool-call-delta",
                    "index": 0,
                    "delta": {"message": {"tool_calls": {"function": {"arguments": '{"city":"Rome"}'}}}},
                },
                {"type": "message-end", "delta": {"finish_reason": "end"}},
            ),
        ),
    ],
)
def test_a_stream_reads_as_one_answer(protocol: str, format: str, body: bytes) -> None:
    assert readable(replace(PLAIN, protocol=protocol, format=format, body=body)) == THOUGHT


def test_several_choices_stand_side_by_side() -> None:
    choices = [{"index": n, "message": {"content": str(n)}, "finish_reason": "stop"} for n in range(2)]
    assert chat_answer({"choices": choices}) == {"choices": [{"text": "0"}, {"text": "1"}], "stop": "stop"}


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"error":{"message":"no"}}', "no"),
        (200, b'{"error":"no"}', "no"),
        (429, b'{"message":"no"}', "no"),
        (422, b'{"detail":[{"loc":["body"]}]}', {"detail": [{"loc": ["body"]}]}),
    ],
)
def test_an_error_says_what_the_provider_says(status: int, body: bytes, message: object) -> None:
    assert readable(replace(PLAIN, status=status, body=body)) == {"error": message}


def test_an_error_that_ends_a_stream_stands_behind_its_text() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    body = sse(*ANTHROPIC[:5], error)
    answer = readable(replace(PLAIN, protocol="anthropic-messages", format="sse", body=body))
    assert answer == {"thinking": "Hm.", "text": "Hi you", "error": "Overloaded"}


def test_a_refusal_is_told_from_a_text() -> None:
    assert chat_answer({"choices": [{"message": {"content": None, "refusal": "No."}}]}) == {"refusal": "No."}


def test_what_an_answer_comes_back_to_stands_in_steps() -> None:
    said = {"type": "message", "content": [{"type": "output_text", "text": "One."}]}
    called = {"type": "mcp_call", "id": "m", "name": "f", "arguments": "{}", "output": "42"}
    assert responses_answer(said, called, said) == {
        "steps": [
            {"text": "One.", "tool_calls": [{"name": "f", "arguments": {}}], "tool_results": ["42"]},
            {"text": "One."},
        ],
        "stop": "completed",
    }


def test_the_order_of_members_is_the_order_of_what_was_said() -> None:
    called = {"type": "function_call", "name": "f", "arguments": "{}"}
    said = {"type": "message", "content": [{"type": "output_text", "text": text} for text in ("One.", "Two.")]}
    answer = responses_answer(called, called, said)
    assert list(answer) == ["tool_calls", "text", "stop"]
    assert len(answer["tool_calls"]) == 2
    assert answer["text"] == ["One.", "Two."]


@pytest.mark.parametrize("numbers", [{}, {"index": 0}])
def test_calls_that_a_server_gives_no_number_of_their_own_are_told_apart(numbers: dict[str, int]) -> None:
    deltas = [
        {**numbers, "id": f"call_{n}", "function": {"name": "get_weather", "arguments": json.dumps({"day": n})}}
        for n in range(7)
    ]
    body = sse(*(chat({"tool_calls": [delta]}) for delta in deltas))
    answer = readable(replace(PLAIN, format="sse", body=body))
    assert answer == {"tool_calls": [{"name": "get_weather", "arguments": {"day": n}} for n in range(7)]}


def test_long_arguments_are_whole() -> None:
    arguments = json.dumps({"text": "x" * 200_000})
    call = {"function": {"name": "write", "arguments": arguments}}
    answer = chat_answer({"choices": [{"message": {"content": None, "tool_calls": [call]}}]})
    assert answer["tool_calls"][0]["arguments"] == json.loads(arguments)


def test_numbers_of_arguments_stand_as_the_model_wrote_them() -> None:
    call = {"function": {"name": "pay", "arguments": '{"sum":1.50,"of":12345678901234567890}'}}
    body = {"choices": [{"message": {"content": None, "tool_calls": [call]}}]}
    text, _ = file.encode(replace(PLAIN, body=json.dumps(body).encode()))
    assert '"sum": 1.50,' in text
    assert '"of": 12345678901234567890\n' in text


@pytest.mark.parametrize(
    ("protocol", "body", "said"),
    [
        ("openai-embeddings", {"data": [{"embedding": [1, 2]}]}, {"vectors": "1 vector of 2"}),
        ("openai-images", {"data": [{"b64_json": PNG}]}, {"media": "image (image/png, 30 bytes)"}),
        ("openai-transcription", {"text": "Hello"}, {"text": "Hello"}),
        ("openai-count-tokens", {"input_tokens": 7}, {"text": "7 tokens"}),
    ],
)
def test_answers_that_are_no_chat_are_read_as_well(protocol: str, body: object, said: object) -> None:
    assert chat_answer(body, protocol=protocol) == said


@pytest.mark.parametrize("body", [b'{"id":"x"}', b"plain text", b"<html>", b"", b'{"broken":'])
def test_a_body_of_no_known_shape_is_not_said_twice(body: bytes) -> None:
    assert readable(replace(PLAIN, body=body)) is None


def deep_arguments(levels: int) -> bytes:
    call = {"function": {"name": "f", "arguments": '{"a":' * levels + "1" + "}" * levels}}
    return json.dumps({"choices": [{"message": {"content": None, "tool_calls": [call]}}]}).encode()


def with_text(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        *(deep_arguments(levels) for levels in (49, 51, 900, 50_000)),
        with_text('"\ue000", "request": {"a": "\ue000'),
        with_text("\ue0001, 2"),
        with_text("\ud800"),
    ],
)
def test_no_answer_spoils_its_cassette(body: bytes) -> None:
    text, _ = file.encode(replace(PLAIN, body=body))
    assert json.loads(text)["answer"]
    assert "choices" in json.loads(text)["response"]["body"], "the body is JSON still"


shapes = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices delta message content output candidates parts type index tool_calls bytes refusal text".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.sampled_from(["openai-chat", "openai-responses", "anthropic-messages", "gemini-generate", "bedrock-converse",
                        "bedrock-invoke", "cohere-chat", "ollama-chat"]),
       formats, any_bytes | shapes.map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_nothing_that_a_provider_sends_is_an_error(protocol: str, format: str, body: bytes) -> None:
    entry = replace(PLAIN, protocol=protocol, format=format, body=body)
    json_text.render(readable(entry)).encode()
    "".join(lines_of(entry)).encode()


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.thorough
def test_what_is_too_much_is_written_in_time(name: str) -> None:
    hostile = HOSTILE[name]()
    begin = time.process_time()
    json_text.render(readable(hostile))
    assert time.process_time() - begin < 3

"""Answers are put together as a person reads them, from JSON and from streams alike."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.cassettes.readable import readable
from mitmproxy_ai_cache.wire.framing.eventstream import frame
from unit.cassettes.test_cassette_file import PLAIN, any_bytes, formats

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


ANTHROPIC = (
    {"type": "message_start", "message": {"content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"thinking": "Hm."}},
    {"type": "content_block_delta", "index": 1, "delta": {"text": "Hi "}},
    {"type": "content_block_delta", "index": 1, "delta": {"text": "you"}},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "weather", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"partial_json": '{"city":'}},
    {"type": "content_block_delta", "index": 2, "delta": {"partial_json": '"Rome"}'}},
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
                {"type": "content-delta", "delta": {"message": {"content": {"thinking": "Hm."}}}},
                {"type": "content-delta", "delta": {"message": {"content": {"text": "Hi you"}}}},
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
    body = json.dumps({"choices": [{"index": n, "message": {"content": str(n)}} for n in range(2)]}).encode()
    assert readable(replace(PLAIN, body=body)) == {"choices": [{"text": "0"}, {"text": "1"}]}


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"error":{"message":"no"}}', "no"),
        (200, b'{"error":"no"}', "no"),
        (429, b'{"message":"no"}', "no"),
        (500, b"<html>", "status 500"),
    ],
)
def test_an_error_says_what_the_provider_says(status: int, body: bytes, message: str) -> None:
    assert readable(replace(PLAIN, status=status, body=body)) == {"error": message}


def test_what_is_no_conversation_has_no_answer() -> None:
    assert readable(replace(PLAIN, protocol="openai-embeddings", body=b'{"data":[{"embedding":[1]}]}')) is None


shapes = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices delta message content output candidates parts type index tool_calls bytes".split()
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
    readable(replace(PLAIN, protocol=protocol, format=format, body=body))

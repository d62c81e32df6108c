"""Streams that the corpus has none of, put together."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from conversing import PNG, got, of
from mitmproxy_ai_cache.conversation import Audio, Image, Other, Text, Thinking, ToolCall
from mitmproxy_ai_cache.wire.framing.eventstream import frame


def sse(*events: Any) -> bytes:
    """Events as OpenAI and Cohere v2 write them; a pair is one with a name."""
    lines = []
    for event in events:
        name, value = event if isinstance(event, tuple) else ("", event)
        lines.append((b"event: %s\n" % name.encode() if name else b"") + b"data: %s\n\n" % orjson.dumps(value))
    return b"".join(lines) + b"data: [DONE]\n\n"


CONTENT = {"type": "text", "text": ""}
STREAMS: dict[str, tuple[str, bytes, tuple[Any, ...], str]] = {
    "Cohere v2": (
        "sse",
        sse(
            {"type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
            {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I "}}},
            {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "look."}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": CONTENT}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hel"}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "lo"}}}},
            {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {
                "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}}}},
            {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {
                "function": {"arguments": '{"a"'}}}}},
            {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {
                "function": {"arguments": ":1}"}}}}},
            {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 3}}}},
        ),
        (Text("Hello"), Text("I look."), ToolCall("c", "f", '{"a":1}')),
        "TOOL_CALL",
    ),
    "Cohere v1": (
        "ndjson",
        b"\n".join(
            orjson.dumps(each)
            for each in (
                {"event_type": "stream-start", "is_finished": False},
                {"event_type": "text-generation", "text": "Hel"},
                {"event_type": "text-generation", "text": "lo"},
                {"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE",
                 "response": {"text": "Hello", "meta": {"tokens": {"input_tokens": 3}}}},
            )
        ),
        (Text("Hello"),),
        "COMPLETE",
    ),
    "pictures": (
        "sse",
        sse(
            ("image_generation.partial_image", {"type": "image_generation.partial_image", "b64_json": "AAAA"}),
            ("image_generation.completed", {"type": "image_generation.completed", "b64_json": PNG}),
        ),
        (Image("image/png", 30, PNG),),
        "",
    ),
    "speech": (
        "sse",
        sse(
            {"type": "speech.audio.delta", "audio": base64.b64encode(b"ID3a").decode()},
            {"type": "speech.audio.delta", "audio": base64.b64encode(b"bc").decode()},
            {"type": "speech.audio.done", "usage": {"input_tokens": 1}},
        ),
        (Audio("audio/mpeg", 6, base64.b64encode(b"ID3abc").decode()),),
        "",
    ),
    "a transcript": (
        "sse",
        sse({"type": "transcript.text.delta", "delta": "Hel"}, {"type": "transcript.text.delta", "delta": "lo"}),
        (Text("Hello"),),
        "",
    ),
    "text generation inference": (
        "sse",
        sse(
            {"index": 1, "token": {"text": "Hel", "special": False}, "generated_text": None},
            {"index": 2, "token": {"text": "lo", "special": False}, "generated_text": None},
            {"index": 3, "token": {"text": "</s>", "special": True}, "generated_text": "Hello",
             "details": {"finish_reason": "eos_token"}},
        ),
        (Text("Hello"),),
        "eos_token",
    ),
    "tools at once (Ollama)": (
        "ndjson",
        b'{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}}\n'
        b'{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"g","arguments":{}}}]}}\n'
        b'{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}\n',
        (ToolCall("", "f", '{"a":1}'), ToolCall("", "g", "{}")),
        "stop",
    ),
    "sound in pieces (Chat)": (
        "sse",
        sse(
            {"choices": [{"index": 0, "delta": {"audio": {"id": "a", "data": "SUQz", "transcript": "Hel"}}}]},
            {"choices": [{"index": 0, "delta": {"audio": {"data": "YQ==", "transcript": "lo"}}}]},
            {"choices": [{"index": 0, "delta": {"audio": {"data": "Yg=="}}, "finish_reason": "stop"}]},
        ),
        (Audio("audio/mpeg", 5, "SUQzYWI=", url="a", transcript="Hello"),),
        "stop",
    ),
    "parts in pieces (Mistral)": (
        "sse",
        sse(
            {"choices": [{"index": 0, "delta": {"content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "H"}]}]}}]},
            {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
            {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
        ),
        (Thinking("H"), Text("Hello")),
        "stop",
    ),
    "a thought (Converse)": (
        "eventstream",
        b"".join(
            frame(name, orjson.dumps(payload))
            for name, payload in (
                ("messageStart", {"role": "assistant"}),
                ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "H"}}}),
                ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "m."}}}),
                ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}}),
                ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Hi"}}),
                ("messageStop", {"stopReason": "end_turn"}),
            )
        ),
        (Thinking("Hm."), Text("Hi")),
        "end_turn",
    ),
    "cut before its end (Anthropic)": (
        "sse",
        sse(
            {"type": "message_start", "message": {"role": "assistant", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f",
                                                                          "input": {}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a'}},
        ),
        (ToolCall("t", "f", '{"a'),),
        "",
    ),
    "a failed response": (
        "sse",
        sse({"type": "response.failed", "response": {"error": {"message": "broken"}, "status": "failed"}}),
        (Text("broken"), Other("error", '{"error":{"message":"broken"},"status":"failed","output":[]}')),
        "failed",
    ),
    "broken off by an error (Anthropic)": (
        "sse",
        sse(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
            ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        ),
        (Text("Hel"), Text("Overloaded"),
         Other("error", '{"error":{"type":"overloaded_error","message":"Overloaded"}}')),
        "",
    ),
    "broken off by an exception (Converse)": (
        "eventstream",
        frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"Hel"}}')
        + frame("throttlingException", b'{"message":"Slow down"}', kind="exception"),
        (Text("Hel"), Text("Slow down"),
         Other("error", '{"error":{"message":"Slow down"}}')),
        "",
    ),
    "text of an agent (Bedrock)": (
        "eventstream",
        b"".join(frame("chunk", b'{"bytes":"%s"}' % base64.b64encode(text)) for text in (b"Hel", b"lo")),
        (Text("Hello"),),
        "",
    ),
    "calls that are all number 0": (
        "sse",
        sse(
            {"choices": [{"index": 0, "delta": {"tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"n":'}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [
                {"index": 0, "id": "b", "function": {"name": "f", "arguments": '{"n":2}'}}]}}]},
        ),
        (ToolCall("a", "f", '{"n":1}'), ToolCall("b", "f", '{"n":2}')),
        "",
    ),
    "calls without numbers": (
        "sse",
        sse(
            {"choices": [{"index": 0, "delta": {"tool_calls": [
                {"id": "a", "function": {"name": "f", "arguments": '{"n":'}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": "1}"}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [
                {"id": "b", "function": {"name": "f", "arguments": "{}"}}]}}]},
        ),
        (ToolCall("a", "f", '{"n":1}'), ToolCall("b", "f", "{}")),
        "",
    ),
    "a call whose pieces have ids of their own": (
        "sse",
        sse(
            {"choices": [{"index": 0, "delta": {"tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [
                {"index": 0, "id": "b", "function": {"name": None, "arguments": "{}"}}]}}]},
        ),
        (ToolCall("b", "f", "{}"),),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_what_was_streamed(name: str) -> None:
    form, body, parts, finish = STREAMS[name]
    told = of({}, body, form=form)
    assert (got(told), told.finish) == (parts, finish)

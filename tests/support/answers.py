"""A provider for every SDK of the tests: small answers in the real shapes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.framing import eventstream
from mitmproxy_ai_cache.wire.messages import Request

JSON = (("content-type", "application/json"), ("x-request-id", "req_1"))
SSE = (("content-type", "text/event-stream; charset=utf-8"),)


def answer(request: Request) -> Reply:
    wanted = json.loads(request.body or b"{}")
    path = request.path
    if path.endswith("/chat/completions"):
        return _sse(_chat(wanted)) if wanted.get("stream") else _json(_completion(wanted))
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
        return _json({"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    if path.endswith("/responses"):
        return _sse(_responses()) if wanted.get("stream") else _json(_response())
    if path.endswith("/messages"):
        return _sse(_messages()) if wanted.get("stream") else _json(_message())
    if path.endswith(":streamGenerateContent"):
        return _sse(_data(event, b"\r\n") for event in _gemini())
    if path.endswith(":generateContent"):
        return _json(_gemini()[-1])
    if path.endswith("/converse"):
        output = {"message": {"role": "assistant", "content": [{"text": "hi"}]}}
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        return _json({"output": output, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}})
    if path.endswith("/converse-stream"):
        return Reply(
            list(_converse()), headers=(("content-type", "application/vnd.amazon.eventstream"),), framing="chunked"
        )
    return Reply([b'{"error":{"message":"no such path"}}'], 404)


def _json(value: Any) -> Reply:
    return Reply([json.dumps(value).encode()], headers=JSON)


def _sse(chunks: Iterable[bytes]) -> Reply:
    return Reply(list(chunks), headers=SSE, framing="chunked")


def _data(value: Any, end: bytes = b"\n") -> bytes:
    return b"data: " + json.dumps(value).encode() + end * 2


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\n".encode() + _data(value)


TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}


def _completion(wanted: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "hi"}
    if wanted.get("tools"):
        message = {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if wanted.get("tools") else "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _chat(wanted: dict[str, Any]) -> Iterable[bytes]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for text in ("h", "i"):
        yield _data({**head, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
    yield _data({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if wanted.get("stream_options", {}).get("include_usage"):
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        yield _data({**head, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _response() -> dict[str, Any]:
    content = [{"type": "output_text", "text": "hi", "annotations": []}]
    output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}]
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": output,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "metadata": {},
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                  "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
    }  # fmt: skip


def _responses() -> Iterable[bytes]:
    created = {**_response(), "status": "in_progress", "output": []}
    delta = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "hi", "logprobs": []}
    yield _event({"type": "response.created", "sequence_number": 0, "response": created})
    yield _event({"type": "response.output_text.delta", "sequence_number": 1, **delta})
    yield _event({"type": "response.completed", "sequence_number": 2, "response": _response()})


def _message() -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "c",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def _messages() -> Iterable[bytes]:
    yield _event({"type": "message_start", "message": {**_message(), "content": [], "stop_reason": None}})
    yield _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    yield _event({"type": "ping"})
    yield _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}})
    yield _event({"type": "content_block_stop", "index": 0})
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}})
    yield _event({"type": "message_stop"})


def _gemini() -> list[dict[str, Any]]:
    def candidate(text: str, **more: Any) -> dict[str, Any]:
        return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}]}

    return [candidate("h"), candidate("i", finishReason="STOP")]


def _converse() -> Iterable[bytes]:
    yield eventstream.frame("messageStart", b'{"role":"assistant"}')
    yield eventstream.frame("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"hi"}}')
    yield eventstream.frame("contentBlockStop", b'{"contentBlockIndex":0}')
    yield eventstream.frame("messageStop", b'{"stopReason":"end_turn"}')
    usage = b'{"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}'
    yield eventstream.frame("metadata", usage)

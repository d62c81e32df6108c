"""The gate: which answers are whole, which are answers, and that nothing makes it stumble."""

# ruff: noqa: E501 the tables have one line a case
from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.calls import gate
from mitmproxy_ai_cache.protocols.base import Answer, Call, Ending, Verdict
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.framing import eventstream
from mitmproxy_ai_cache.wire.messages import Headers, Request

REGISTRY = protocols.standard()
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
FRAMES = "application/vnd.amazon.eventstream"


def call(url: str, **members: Any) -> Call:
    host, _, path = url.partition("/")
    sent = json.dumps(members).encode()
    request = Request("POST", "https", host, 443, "/" + path, headers=Headers([("host", host)]), body=sent)
    found = REGISTRY.recognise(request, body.read(request, 1 << 20))
    assert found is not None, url
    return found


def chat(**members: Any) -> Call:
    host = members.pop("host", "api.openai.com")
    return call(f"{host}/v1/chat/completions", model="m", messages=[], stream=True, **members)


def sse(*events: Any) -> bytes:
    """Events: `[DONE]`, an object, or a name with an object."""
    out = b""
    for event in events:
        name, data = event if isinstance(event, tuple) else ("", event)
        out += f"event: {name}\n".encode() if name else b""
        out += b"data: " + (data.encode() if isinstance(data, str) else json.dumps(data).encode()) + b"\n\n"
    return out


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def frames(*values: tuple[str, Any]) -> bytes:
    return b"".join(
        eventstream.frame(name, json.dumps(value).encode(), kind="exception" if name.endswith("Exception") else "event")
        for name, value in values
    )


def chunks(*values: Any) -> bytes:
    return frames(*(("chunk", {"bytes": base64.b64encode(json.dumps(value).encode()).decode()}) for value in values))


def choice(finish: Any = None, index: Any = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": finish, **more}]}


DONE = "[DONE]"
CHAT = chat()
RESPONSES = call("api.openai.com/v1/responses", model="m", input="x", stream=True)
MESSAGES = call("api.anthropic.com/v1/messages", model="m", max_tokens=1, messages=[], stream=True)
GEMINI = call("generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent", contents=[])
CONVERSE = call("bedrock-runtime.us-east-1.amazonaws.com/model/m/converse-stream", messages=[])
INVOKE = call("bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke-with-response-stream", inputText="x")
COHERE2 = call("api.cohere.com/v2/chat", model="m", messages=[], stream=True)
COHERE1 = call("api.cohere.com/v1/chat", model="m", message="x", stream=True)
OLLAMA = call("localhost/api/chat", model="m", messages=[{}])
IMAGES = call("api.openai.com/v1/images/generations", prompt="x", stream=True, n=2)
SPEECH = call("api.openai.com/v1/audio/speech", input="x")
TRANSCRIPT = REGISTRY.recognise(
    Request("POST", "https", "api.openai.com", 443, "/v1/audio/transcriptions", body=b""),
    body.Body("multipart", parts=(body.Part(b"", "file", b""),)),
)
assert TRANSCRIPT is not None


def blocks(*kinds: str) -> bytes:
    events = []
    for kind in kinds:
        value: dict[str, Any] = {"type": kind}
        if kind.startswith("content_block"):
            value["index"] = 0
        events.append((kind, value))
    return sse(*events)


START, STOP = ("message_start", "content_block_start", "content_block_delta"), ("content_block_stop", "message_stop")
OUTPUT = {"status": "completed", "output": [{"type": "message"}]}


def numbered(*events: dict[str, Any], start: int = 0) -> bytes:
    return sse(*({**event, "sequence_number": number} for number, event in enumerate(events, start)))


KEPT: list[tuple[str, Call, str, bytes]] = [
    ("finish and [DONE]", CHAT, SSE, sse(choice("stop"), DONE)),
    ("CRLF", CHAT, SSE, sse(choice("stop"), DONE).replace(b"\n", b"\r\n")),
    ("comments between", CHAT, SSE, b": OPENROUTER PROCESSING\n\n" + sse(choice("stop"), DONE)),
    ("null after the finish", CHAT, SSE, sse(choice("stop"), choice(None), DONE)),
    ("empty choices first, usage last", CHAT, SSE, sse({"choices": []}, choice("stop"), {"choices": [], "usage": {"x": 1}}, DONE)),
    ("two choices, both finished", CHAT, SSE, sse(choice("stop", 0), choice("length", 1), DONE)),
    ("usage that was asked for", chat(stream_options={"include_usage": True}), SSE, sse(choice("stop"), {"choices": [], "usage": {"t": 1}}, DONE)),
    ("a host without [DONE]", chat(host="api.perplexity.ai"), SSE, sse(choice("stop"))),
    ("text that says [DONE]", CHAT, SSE, sse(choice(None, delta={"content": "data: [DONE]\n\n"}), choice("stop"), DONE)),
    ("response.completed, then rate limits", RESPONSES, SSE, numbered({"type": "response.created"}, {"type": "response.completed", "response": OUTPUT}, {"type": "response.rate_limits.updated"})),
    ("response.incomplete", RESPONSES, SSE, sse({"type": "response.incomplete", "response": {**OUTPUT, "status": "incomplete"}})),
    ("numbers from one", RESPONSES, SSE, numbered({"type": "response.completed", "response": OUTPUT}, start=1)),
    ("items sent, final list empty", RESPONSES, SSE, sse({"type": "response.output_item.done"}, {"type": "response.completed", "response": {**OUTPUT, "output": []}})),
    ("message_stop", MESSAGES, SSE, blocks(*START, "ping", *STOP)),
    ("finishReason last", GEMINI, SSE, sse({"candidates": [{}]}, {"candidates": [{"finishReason": "STOP"}]})),
    ("a blocked prompt", GEMINI, SSE, sse({"promptFeedback": {"blockReason": "SAFETY"}})),
    ("an array that closes", GEMINI, "application/json", json.dumps([{"candidates": [{"finishReason": "STOP"}]}]).encode()),
    ("messageStop and metadata", CONVERSE, FRAMES, frames(("messageStop", {"stopReason": "end_turn"}), ("metadata", {}))),
    ("invocation metrics", INVOKE, FRAMES, chunks({"a": 1}, {"amazon-bedrock-invocationMetrics": {}})),
    ("the model's own stop", INVOKE, FRAMES, chunks({"generation": "x", "stop_reason": "stop"})),
    ("message-end and [DONE]", COHERE2, SSE, sse({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}, DONE)),
    ("stream-end", COHERE1, NDJSON, lines({"event_type": "stream-end", "is_finished": True})),
    ("done", OLLAMA, NDJSON, lines({"done": False}, {"done": True})),
    ("done without a last newline", OLLAMA, NDJSON, lines({"done": True})[:-1]),
    ("two images of two", IMAGES, SSE, sse({"type": "image_generation.completed"}, {"type": "image_generation.completed"})),
    ("audio", SPEECH, "audio/mpeg", b"\xff\xfb"),
    ("a transcript as text", TRANSCRIPT, "text/plain; charset=utf-8", b"hello"),
    ("empty text", CHAT, "application/json", b'{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}'),
    ("white space before", CHAT, "application/json", b'\n\n  {"choices":[{"message":{"content":"x"}}],"error":null}'),
    ("a refusal", CHAT, "application/json", b'{"choices":[{"message":{"refusal":"no"},"finish_reason":"content_filter"}]}'),
]  # fmt: skip

NOT_KEPT: list[tuple[str, Call, str, bytes, str]] = [
    ("no [DONE]", CHAT, SSE, sse(choice("stop")), "truncated"),
    ("no finish", CHAT, SSE, sse(choice(), DONE), "truncated"),
    ("one of two choices unfinished", CHAT, SSE, sse(choice("stop", 0), choice(None, 1), DONE), "truncated"),
    ("usage asked for and missing", chat(stream_options={"include_usage": True}), SSE, sse(choice("stop"), DONE), "truncated"),
    ("Writer without usage", chat(host="api.writer.com"), SSE, sse(choice("stop")), "truncated"),
    ("[DONE] without its blank line", CHAT, SSE, sse(choice("stop"), DONE)[:-1], "truncated"),
    ("an error in the stream", CHAT, SSE, sse(choice("stop"), {"error": {"message": "x"}}, DONE), "error-in-stream"),
    ("an error of a choice", CHAT, SSE, sse(choice("stop", error={"code": 502}), DONE), "error-in-body"),
    ("finish_reason error", CHAT, SSE, sse(choice("error"), DONE), "error-in-body"),
    ("no choices at all", CHAT, SSE, sse(DONE), "no-choices"),
    ("response.failed", RESPONSES, SSE, sse({"type": "response.failed", "response": {"status": "failed", "output": []}}), "status-failed"),
    ("an unheard-of status", RESPONSES, SSE, sse({"type": "response.completed", "response": {"status": "x\nHIT", "output": [{}]}}), "status-unknown"),
    ("no output", RESPONSES, SSE, sse({"type": "response.completed", "response": {**OUTPUT, "output": []}}), "no-output"),
    ("a hole in the numbers", RESPONSES, SSE, sse({"type": "a", "sequence_number": 0}, {"type": "response.completed", "response": OUTPUT, "sequence_number": 2}), "sequence-gap"),
    ("a block left open", MESSAGES, SSE, blocks(*START, "message_stop"), "truncated"),
    ("no message_start", MESSAGES, SSE, blocks("message_stop"), "truncated"),
    ("event: error", MESSAGES, SSE, sse(("error", {"type": "error", "error": {}})), "error-in-stream"),
    ("finishReason not last", GEMINI, SSE, sse({"candidates": [{"finishReason": "STOP"}]}, {"candidates": []}), "truncated"),
    ("an array that stays open", GEMINI, "application/json", b'[{"candidates":[{"finishReason":"STOP"}]}', "malformed"),
    ("an error under event-stream", GEMINI, SSE, sse({"error": {"code": 400}}), "error-in-stream"),
    ("metadata without messageStop", CONVERSE, FRAMES, frames(("metadata", {})), "truncated"),
    ("an exception frame", CONVERSE, FRAMES, frames(("throttlingException", {"message": "x"})), "error-in-stream"),
    ("a chunk that is no base64", INVOKE, FRAMES, frames(("chunk", {"bytes": "%"})), "malformed"),
    ("no metrics", INVOKE, FRAMES, chunks({"a": 1}), "truncated"),
    ("no [DONE] from Cohere", COHERE2, SSE, sse({"type": "message-end"}), "truncated"),
    ("an error finish of Cohere", COHERE1, NDJSON, lines({"event_type": "stream-end", "is_finished": True, "finish_reason": "ERROR"}), "error-in-stream"),
    ("not done", OLLAMA, NDJSON, lines({"done": False}), "truncated"),
    ("a line that is no JSON", OLLAMA, NDJSON, b"oops\n" + lines({"done": True}), "malformed"),
    ("an error line", OLLAMA, NDJSON, lines({"error": "x"}), "error-in-stream"),
    ("one image of two", IMAGES, SSE, sse({"type": "image_generation.completed"}), "truncated"),
    ("a captive portal", SPEECH, "text/html", b"<html>", "unexpected-content-type"),
    ("a captive portal's transcript", TRANSCRIPT, "text/html", b"<html>", "unexpected-content-type"),
    ("HTML", CHAT, "text/html", b"<html>", "unexpected-content-type"),
    ("an error body", CHAT, "application/json", b'{"error":{"message":"x"}}', "error-in-body"),
    ("a choice of nothing", CHAT, "application/json", b'{"choices":[{}]}', "no-choices"),
    ("no JSON", CHAT, "application/json", b"oops", "malformed"),
    ("nothing", CHAT, "application/json", b"", "empty-body"),
    ("no stop reason", MESSAGES, "application/json", b'{"type":"message","content":[],"stop_reason":null}', "no-stop-reason"),
    ("empty outputs", INVOKE, "application/json", b'{"outputs":[]}', "no-results"),
]  # fmt: skip


def judged(made: Call, content_type: str, data: bytes, ending: Ending = Ending.CLEAN, status: int = 200) -> Verdict:
    return gate.verdict(made, Answer(status, content_type, data, ending))


@pytest.mark.parametrize(("made", "content_type", "data"), [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
def test_a_whole_answer_is_kept(made: Call, content_type: str, data: bytes) -> None:
    verdict = judged(made, content_type, data)
    assert (verdict.whole, verdict.cacheable, verdict.reason) == (True, True, "complete")


@pytest.mark.parametrize(
    ("made", "content_type", "data", "reason"), [row[1:] for row in NOT_KEPT], ids=[row[0] for row in NOT_KEPT]
)
def test_anything_else_is_not_and_says_why(made: Call, content_type: str, data: bytes, reason: str) -> None:
    verdict = judged(made, content_type, data)
    assert not (verdict.whole and verdict.cacheable)
    assert verdict.reason == reason


def test_a_stream_is_whole_once_its_terminal_event_has_passed_whatever_happens_next() -> None:
    for ending in Ending:
        assert judged(CHAT, SSE, sse(choice("stop"), DONE), ending).whole
        assert judged(MESSAGES, SSE, blocks(*START, *STOP), ending).whole


def test_where_only_framing_proves_the_end_a_closed_connection_does_not() -> None:
    perplexity = chat(host="api.perplexity.ai")
    for ending in (Ending.CLOSED, Ending.ABORTED):
        assert not judged(perplexity, SSE, sse(choice("stop")), ending).whole
        assert not judged(SPEECH, "audio/mpeg", b"\xff\xfb", ending).whole
    assert not judged(perplexity, SSE, sse(choice("stop")) + b"data: {", Ending.CLEAN).whole


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 429, 500, 529])
def test_only_a_200_is_an_answer(status: int) -> None:
    verdict = judged(CHAT, SSE, sse(choice("stop"), DONE), status=status)
    assert (verdict.whole, verdict.cacheable, verdict.reason) == (True, False, f"status-{status}")


def test_stop_reasons_are_reported_as_the_provider_names_them() -> None:
    assert "length" in judged(CHAT, SSE, sse(choice("length"), DONE)).stop
    assert "end_turn" in judged(CONVERSE, FRAMES, KEPT[17][3]).stop


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
names = st.sampled_from(
    "choices index finish_reason error delta usage type response status output candidates finishReason content event_type"
    " promptFeedback blockReason stopReason bytes done is_finished results outputs data text input_tokens".split()
)
shapes: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=15
)
CALLS = [CHAT, RESPONSES, MESSAGES, GEMINI, CONVERSE, INVOKE, COHERE2, COHERE1, OLLAMA, IMAGES, SPEECH, TRANSCRIPT]


def answers(values: Iterable[Any]) -> Iterable[tuple[str, bytes]]:
    values = list(values)
    yield SSE, b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values) + b"data: [DONE]\n\n"
    yield NDJSON, lines(*values)
    yield (
        FRAMES,
        frames(*(("chunk", value) for value in values)) + frames(*(("messageStop", value) for value in values)),
    )
    yield FRAMES, chunks(*values)
    for value in values:
        yield "application/json", json.dumps(value).encode()


@given(st.lists(shapes, max_size=4))
@settings(max_examples=examples(300))
def test_no_shape_makes_it_stumble(values: list[Any]) -> None:
    for made in CALLS:
        for content_type, data in answers(values):
            judged(made, content_type, data)
            made.protocol.issued(Answer(200, content_type, data))


@given(st.binary(max_size=200), st.sampled_from([SSE, NDJSON, FRAMES, "application/json", "", "text/plain"]))
@settings(max_examples=examples(300))
def test_no_bytes_make_it_stumble(data: bytes, content_type: str) -> None:
    for made in CALLS:
        judged(made, content_type, data)


PATHS = [
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/api/chat", "/api/embed",
    "/v1/audio/transcriptions", "/v1/images/edits", "/v2/chat", "/v1/rerank", "/model/a/invoke", "/model/a/converse",
    "/v1beta/models/g:generateContent", "/v1beta/interactions", "/v1/projects/p/publishers/x/models/m:rawPredict",
    "/v1/messages/count_tokens", "/guardrail/g/version/1/apply", "/ml/v1/text/generation/text", "/complete", "/",
]  # fmt: skip
members = st.dictionaries(
    st.sampled_from("model messages input prompt stream system tools contents metadata store conversation n".split()),
    shapes,
    max_size=5,
)


@given(st.sampled_from(PATHS), members | shapes)
@settings(max_examples=examples(500))
def test_no_request_makes_recognising_stumble(path: str, sent: Any) -> None:
    request = Request("POST", "https", "api-inference.huggingface.co", 443, path, body=json.dumps(sent).encode())
    found = REGISTRY.recognise(request, body.read(request, 1 << 20))
    if found is not None:
        assert isinstance(found.model, str)
        found.protocol.names(found)
        json.loads(found.protocol.error(424, "code", f"message {found.model}").body)

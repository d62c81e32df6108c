"""Amazon Bedrock runtime: Converse, ConverseStream, InvokeModel, InvokeModelWithResponseStream, ApplyGuardrail.

Source: Amazon Bedrock API reference. InvokeModel carries each vendor's own body, Anthropic's among them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from ..wire.body import Body
from ..wire.framing import Event, Stream
from ..wire.messages import Request, Response
from .anthropic_messages import judge_message, judge_message_events, message_usage
from .base import Call, Finding, Protocol, has_error, json_response, members, text

_MODEL = re.compile(r"/model/(.+)/(converse|converse-stream|invoke|invoke-with-response-stream)$")
_GUARDRAIL = re.compile(r"/guardrail/([^/]+)/version/[^/]+/apply$")

_RESULTS = ("choices", "outputs", "results", "generations", "completions")
"""Lists in which vendors answer; an empty one is none."""

_STOPS = ("stop_reason", "stopReason", "completionReason", "finish_reason", "finishReason")
"""Where vendors' own chunks name their stop reason: Llama, Nova, Titan, Cohere and Mistral."""


class BedrockConverse(Protocol):
    name = "bedrock-converse"
    tokens: tuple[str, ...] = ("converse", "converse-stream")
    ignored: tuple[str, ...] = ("requestMetadata",)
    key_headers: frozenset[str] = frozenset({"accept"})

    def recognise(self, request: Request, body: Body) -> Call | None:
        match = _MODEL.search(request.path)
        if not match or match[2] not in self.tokens or body.kind not in ("json", "duplicate-members", "raw"):
            return None
        return Call(
            protocol=self,
            model=unquote(match[1]).rpartition("/")[2],
            stream=match[2] in ("converse-stream", "invoke-with-response-stream"),
            body=body,
            host=request.host,
            path=request.path,
        )

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or not isinstance(value.get("output"), dict):
            found.problem = "error-in-body"
        else:
            found.stop.append(text(value.get("stopReason")))

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        stopped = False
        for event in stream.events:
            if event.name == "exception":
                found.problem, found.needs_framing = "error-in-stream", True
            elif event.name == "messageStop":
                stopped = True
                found.stop.append(text(event.object.get("stopReason")))
            elif event.name == "metadata":
                found.terminal = stopped

    def error(self, status: int, code: str, message: str) -> Response:
        # boto3 shows a message only from `message`, and the code only from this header.
        return json_response(status, {"message": message}, [("x-amzn-errortype", code)])


class BedrockInvoke(BedrockConverse):
    name = "bedrock-invoke"
    tokens: tuple[str, ...] = ("invoke", "invoke-with-response-stream")
    ignored: tuple[str, ...] = ()

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict | list) or not value or has_error(value):
            found.problem = "error-in-body"
        elif isinstance(value, dict) and value.get("type") in ("message", "error"):
            judge_message(value, found)
        elif isinstance(value, dict) and value.keys() <= {"message", "Message", "__type"}:
            found.problem = "error-in-body"
        elif _is_empty(value):
            found.problem = "no-results"
        else:
            found.stop += _stops(value)

    def usage_places(self, value: dict[str, Any]) -> Iterable[Any]:
        inner = value.get("bytes")
        if isinstance(inner, str):
            with suppress(ValueError):
                chunk = Event("", base64.b64decode(inner, validate=True)).object
                return _metrics(chunk)
        return _metrics(value)

    def judge_stream(self, call: Call, stream: Stream, found: Finding) -> None:
        chunks: list[Event] = []
        for event in stream.events:
            if event.name == "exception":
                found.problem, found.needs_framing = "error-in-stream", True
                return
            try:
                data = base64.b64decode(text(event.object.get("bytes")), validate=True)
            except ValueError:
                found.problem = "malformed"
                return
            chunks.append(Event("", data))
        if any(text(chunk.object.get("type")) == "message_start" for chunk in chunks):
            judge_message_events(chunks, found)
        elif any(has_error(chunk.object) for chunk in chunks):
            found.problem, found.needs_framing = "error-in-stream", True
        elif chunks:
            for chunk in chunks:
                found.stop += _stops(chunk.value)
            last = chunks[-1].object
            found.terminal = "amazon-bedrock-invocationMetrics" in last or bool(_stops(last))
            # A guardrail that intervenes answers without metrics.
            found.needs_framing = last.get("amazon-bedrock-guardrailAction") == "INTERVENED"


class BedrockGuardrail(BedrockConverse):
    name = "bedrock-guardrail"
    tokens: tuple[str, ...] = ("apply",)
    ignored: tuple[str, ...] = ()

    def recognise(self, request: Request, body: Body) -> Call | None:
        match = _GUARDRAIL.search(request.path)
        if not match or "content" not in body.object:
            return None
        # What a guardrail does may be changed in the console, versions excepted; DRAFT is a working copy.
        draft = "/version/DRAFT/" in request.path
        return Call(self, unquote(match[1]), False, body, request.host, request.path, live_input=draft)

    def judge_json(self, call: Call, value: Any, found: Finding) -> None:
        if not isinstance(value, dict) or not value.get("action"):
            found.problem = "error-in-body"


def _metrics(value: dict[str, Any]) -> Iterable[Any]:
    """Of a vendor's own body or chunk: what Bedrock counted last, for it counts for every vendor."""
    nova = value.get("metadata")
    yield value
    yield from members(value, "results")
    yield nova.get("usage") if isinstance(nova, dict) else None
    yield from message_usage(value)
    yield value.get("amazon-bedrock-invocationMetrics")


def _is_empty(value: Any) -> bool:
    if isinstance(value, list):
        return not any(value)
    return any(name in value and not value[name] for name in _RESULTS)


def _stops(value: Any) -> list[str]:
    """Stop reasons wherever the vendors put them: at the top, or in the list of outputs, results or choices."""
    if not isinstance(value, dict):
        return []
    places = [value, *members(value, "outputs"), *members(value, "results"), *members(value, "choices")]
    stops = [text(place.get(name)) for place in places for name in _STOPS]
    finished = ["finished"] if value.get("is_finished") is True else []
    return [stop for stop in stops if stop] + finished

"""An answer put together as a person reads it: text, thinking, tool calls, stop reason, usage; also from a stream.

For people only: nothing is replayed from it. What is not understood is left out, and never an error.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from ..entries.entry import Entry
from ..protocols.base import has_error, index_of, members, text
from ..wire.framing import Event, eventstream, json_array, ndjson, sse
from .json_text import Json, OneLine


@dataclass(slots=True)
class _Call:
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    arguments: Json = None

    def shown(self) -> Json:
        arguments = self.arguments
        if self.pieces and arguments is None:
            arguments = "".join(self.pieces)
            with suppress(ValueError):
                arguments = json.loads(arguments)
        return {"name": self.name, "arguments": arguments} if arguments is not None else {"name": self.name}


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[str, _Call] = field(default_factory=dict)
    stop: str = ""

    def call(self, index: object) -> _Call:
        return self.calls.setdefault(str(index), _Call())

    def called(self, name: object, arguments: Json) -> None:
        """A call that is there as a whole. Arguments may be JSON in a string."""
        call = self.call(f"#{len(self.calls)}")
        call.name = text(name)
        if isinstance(arguments, str):
            call.pieces.append(arguments)
        else:
            call.arguments = arguments

    def shown(self) -> dict[str, Json]:
        shown = {
            "thinking": "".join(self.thinking),
            "text": "".join(self.text),
            "refusal": "".join(self.refusal),
            "tool_calls": [call.shown() for call in self.calls.values()],
            "stop": self.stop,
        }
        return {name: value for name, value in shown.items() if value}


class _Reply:
    def __init__(self) -> None:
        self.choices: dict[str, _Choice] = {}

    def choice(self, index: str = "0") -> _Choice:
        return self.choices.setdefault(index, _Choice())


def readable(entry: Entry) -> Json:
    """The answer of `entry`, or None where its protocol has none that could be shown so."""
    with suppress(KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        events = _events(entry)
        if problem := _problem(entry, events):
            return {"error": problem}
        collect = _COLLECTORS.get(entry.protocol)
        if collect is None:
            return None
        reply = _Reply()
        collect(events, reply)
        choices = [shown for choice in reply.choices.values() if (shown := choice.shown())]
        if not choices:
            return None
        answer: dict[str, Json] = choices[0] if len(choices) == 1 else {"choices": choices}
        if entry.input_tokens or entry.output_tokens:
            answer["usage"] = OneLine(input=entry.input_tokens, output=entry.output_tokens)
        return answer
    return None


def _events(entry: Entry) -> list[Event]:
    """What the answer consists of; a JSON answer is one event."""
    parse = {"sse": sse.parse, "ndjson": ndjson.parse, "eventstream": eventstream.parse, "json-array": json_array.parse}
    if entry.format in parse:
        return parse[entry.format](entry.body).events
    return [Event("", entry.body)]


def _problem(entry: Entry, events: list[Event]) -> str:
    """What the provider says went wrong."""
    for event in events:
        value = event.value[0] if isinstance(event.value, list) and event.value else event.value
        if (
            has_error(value)
            or event.name in ("error", "exception")
            or (entry.status >= 400 and isinstance(value, dict))
        ):
            error = value.get("error") if isinstance(value, dict) else None
            places = [error, value] if isinstance(error, dict) else [value]
            for place in places:
                for name in ("message", "Message", "detail", "code", "type"):
                    if isinstance(place, dict) and text(place.get(name)):
                        return text(place[name])
            return text(error) or event.name or f"status {entry.status}"
    return f"status {entry.status}" if entry.status >= 400 else ""


def _strings(value: Json, name: str = "text") -> str:
    """The text of a content: a string, or a list of parts."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else []
    return "".join(text(part.get(name)) for part in parts if isinstance(part, dict))


# OpenAI


def _openai_chat(events: Iterable[Event], reply: _Reply) -> None:
    for event in events:
        for item in members(event.value, "choices"):
            choice = reply.choice(index_of(item))
            said = item.get("delta") or item.get("message") or item
            _openai_message(said, choice)
            choice.stop = text(item.get("finish_reason")) or choice.stop


def _openai_message(said: dict[str, Json], choice: _Choice) -> None:
    content = said.get("content")
    choice.text.append(_strings(content) or text(said.get("text")))
    thoughts = said.get("reasoning_content") or said.get("reasoning") or said.get("thinking")
    choice.thinking.append(_strings(thoughts))
    for part in members(said, "content"):
        choice.thinking.append(_strings(part.get("thinking")))
    choice.refusal.append(text(said.get("refusal")))
    calls = members(said, "tool_calls")
    for position, item in enumerate(calls):
        function = item.get("function")
        if isinstance(function, dict):
            _openai_function(function, choice.call(item.get("index", position)))
    if isinstance(function := said.get("function_call"), dict):
        _openai_function(function, choice.call("function"))


def _openai_function(function: dict[str, Json], call: _Call) -> None:
    call.name += text(function.get("name"))
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        call.pieces.append(arguments)
    elif arguments is not None:
        call.arguments = arguments


def _openai_responses(events: Iterable[Event], reply: _Reply) -> None:
    response: dict[str, Json] = {}
    items: list[dict[str, Json]] = []
    deltas: list[str] = []
    for event in events:
        value = event.object
        kind = text(value.get("type")) or event.name
        if kind == "response.output_item.done" and isinstance(value.get("item"), dict):
            items.append(value["item"])
        elif kind == "response.output_text.delta":
            deltas.append(text(value.get("delta")))
        elif isinstance(value.get("response"), dict):
            response = value["response"]
        elif "output" in value:
            response = value
    choice = reply.choice()
    for item in members(response, "output") or items:
        _openai_item(item, choice)
    if not choice.text:
        choice.text += deltas
    details = response.get("incomplete_details")
    choice.stop = (text(details.get("reason")) if isinstance(details, dict) else "") or text(response.get("status"))


def _openai_item(item: dict[str, Json], choice: _Choice) -> None:
    kind = text(item.get("type"))
    if kind == "message":
        choice.text.append(_strings(item.get("content")))
        choice.refusal.append(_strings(item.get("content"), "refusal"))
    elif kind == "reasoning":
        choice.thinking.append(_strings(item.get("summary")) or _strings(item.get("content")))
    elif kind in ("function_call", "custom_tool_call", "mcp_call"):
        choice.called(item.get("name"), item.get("arguments", item.get("input")))
    elif kind.endswith("_call"):
        choice.called(kind, item.get("action"))


# Anthropic


def _anthropic(events: Iterable[Event], reply: _Reply) -> None:
    choice = reply.choice()
    for event in events:
        value: dict[str, Json] = event.object
        for block in members(value, "content"):
            _anthropic_block(block, choice.call(f"block {len(choice.calls)}") if "input" in block else _Call(), choice)
        begun, delta, index = value.get("content_block"), value.get("delta"), value.get("index", 0)
        if isinstance(begun, dict):
            _anthropic_block({**begun, "input": None}, choice.call(index) if "input" in begun else _Call(), choice)
        if isinstance(delta, dict):
            choice.text.append(text(delta.get("text")))
            choice.thinking.append(text(delta.get("thinking")))
            if "partial_json" in delta:
                choice.call(index).pieces.append(text(delta["partial_json"]))
            choice.stop = text(delta.get("stop_reason")) or choice.stop
        choice.text.append(text(value.get("completion")))
        choice.stop = text(value.get("stop_reason")) or choice.stop


def _anthropic_block(block: dict[str, Json], call: _Call, choice: _Choice) -> None:
    choice.text.append(text(block.get("text")))
    choice.thinking.append(text(block.get("thinking")))
    call.name, call.arguments = text(block.get("name")), block.get("input")


# Google


def _gemini(events: Iterable[Event], reply: _Reply) -> None:
    for event in events:
        for candidate in members(event.value, "candidates"):
            choice = reply.choice(index_of(candidate))
            for part in members(candidate.get("content"), "parts"):
                (choice.thinking if part.get("thought") else choice.text).append(text(part.get("text")))
                if isinstance(call := part.get("functionCall"), dict):
                    choice.called(call.get("name"), call.get("args"))
                if isinstance(code := part.get("executableCode"), dict):
                    choice.called("code_execution", code.get("code"))
            choice.stop = str(candidate.get("finishReason") or choice.stop)
        feedback = event.object.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            reply.choice().stop = str(feedback["blockReason"])


# Amazon


def _converse(events: Iterable[Event], reply: _Reply) -> None:
    choice = reply.choice()
    for event in events:
        value = event.object
        output = value.get("output")
        message = output.get("message") if isinstance(output, dict) else None
        for block in members(message, "content"):
            tool = block.get("toolUse")
            if isinstance(tool, dict):
                choice.called(tool.get("name"), tool.get("input"))
            _converse_block(block, choice)
        start, delta, index = value.get("start"), value.get("delta"), value.get("contentBlockIndex", 0)
        if isinstance(start, dict) and isinstance(tool := start.get("toolUse"), dict):
            choice.call(index).name = text(tool.get("name"))
        if isinstance(delta, dict):
            if isinstance(tool := delta.get("toolUse"), dict):
                choice.call(index).pieces.append(text(tool.get("input")))
            _converse_block(delta, choice)
        choice.stop = text(value.get("stopReason")) or choice.stop


def _converse_block(block: dict[str, Json], choice: _Choice) -> None:
    choice.text.append(text(block.get("text")))
    thoughts = block.get("reasoningContent")
    if isinstance(thoughts, dict):
        inner = thoughts.get("reasoningText")
        choice.thinking.append(text((inner if isinstance(inner, dict) else thoughts).get("text")))


_NOVA = {"messageStart", "contentBlockDelta", "output"}
_VENDOR_TEXTS = ("outputText", "generation", "completion", "text", "output_text")


def _invoke(events: Iterable[Event], reply: _Reply) -> None:
    """Every vendor's own body, or its chunks in `bytes`."""
    chunks = []
    for event in events:
        inner = event.object.get("bytes")
        chunks.append(Event("", base64.b64decode(inner)) if isinstance(inner, str) else event)
    values = [chunk.object for chunk in chunks]
    if any(value.get("type") in ("message", "message_start") or "completion" in value for value in values):
        _anthropic(chunks, reply)
    elif any("choices" in value for value in values):
        _openai_chat(chunks, reply)
    elif any(value.keys() & _NOVA for value in values):
        nova = [
            inner for value in values for inner in value.values() if isinstance(inner, dict) and "output" not in value
        ]
        _converse([Event("", b"", inner) for inner in nova] or chunks, reply)
    else:
        for value in values:
            for place in (value, *(members(value, name)[0] for name in _LISTS if members(value, name))):
                choice = reply.choice()
                choice.text += [text(place.get(name)) for name in _VENDOR_TEXTS]
                stops = (text(place.get(name)) for name in ("stop_reason", "completionReason", "finish_reason"))
                choice.stop = next(filter(None, stops), choice.stop)


_LISTS = ("results", "outputs", "generations")


# Others


def _cohere(events: Iterable[Event], reply: _Reply) -> None:
    choice = reply.choice()
    for event in events:
        value = event.object
        kind = text(value.get("type")) or text(value.get("event_type"))
        inner = value.get("delta")
        delta = inner if isinstance(inner, dict) else value
        ended = value.get("response") if kind == "stream-end" else None
        message = delta.get("message")
        if isinstance(message, dict):
            content = message.get("content")
            for part in content if isinstance(content, list) else [content]:
                if isinstance(part, dict):
                    choice.text.append(text(part.get("text")))
                    choice.thinking.append(text(part.get("thinking")))
            calls = message.get("tool_calls")
            for position, call in enumerate(calls if isinstance(calls, list) else [calls]):
                if isinstance(call, dict) and isinstance(call.get("function"), dict):
                    _openai_function(call["function"], choice.call(value.get("index", position)))
        for call in members(ended if isinstance(ended, dict) else value, "tool_calls"):
            choice.called(call.get("name"), call.get("parameters"))
        for generation in members(value, "generations"):
            choice.text.append(text(generation.get("text")))
        choice.text.append(text(value.get("text")))
        choice.stop = text(delta.get("finish_reason")) or text(value.get("finish_reason")) or choice.stop


def _ollama(events: Iterable[Event], reply: _Reply) -> None:
    choice = reply.choice()
    for event in events:
        message = event.object.get("message")
        if isinstance(message, dict):
            choice.text.append(text(message.get("content")))
            choice.thinking.append(text(message.get("thinking")))
            for call in members(message, "tool_calls"):
                if isinstance(function := call.get("function"), dict):
                    choice.called(function.get("name"), function.get("arguments"))
        choice.text.append(text(event.object.get("response")))
        choice.thinking.append(text(event.object.get("thinking")))
        choice.stop = text(event.object.get("done_reason")) or choice.stop


_COLLECTORS: dict[str, Callable[[Iterable[Event], _Reply], None]] = {
    "openai-chat": _openai_chat,
    "openai-completions": _openai_chat,
    "openai-responses": _openai_responses,
    "anthropic-messages": _anthropic,
    "anthropic-complete": _anthropic,
    "gemini-generate": _gemini,
    "bedrock-converse": _converse,
    "bedrock-invoke": _invoke,
    "cohere-chat": _cohere,
    "cohere-generate": _cohere,
    "ollama-chat": _ollama,
}

"""The events of a stream -> the JSON that the same call would have had without streaming.

Which stream it is, the events tell themselves: Bedrock's frames carry those of every vendor.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from ..wire.framing import Event
from . import joined_items
from .merging import Pieces, finished, merge
from .reading import Json, mapping, member, name_in, objects, string

Events = list[dict[str, Json]]

_CONVERSE = frozenset("messageStart contentBlockStart contentBlockDelta contentBlockStop messageStop metadata".split())
_TOLD_BY = 20
"""Events that are looked at to see which stream it is."""


def join(events: Sequence[Event]) -> Json:
    """The whole answer."""
    values: Events = []
    problem: Json = None
    for event in events:
        value = _unwrapped(event)
        problem = problem or value.get("error") or (value if event.name in ("error", "exception") else None)
        if event.name and "type" not in value and "event_type" not in value and value:
            value = {"type": event.name, **value}
        if value:
            values.append(value)
    whole = _joined(values)
    if problem and isinstance(whole, dict) and not whole.get("error"):
        whole["error"] = problem
    return whole


def _joined(values: Events) -> Json:
    for joiner, is_its in _STREAMS:
        if any(is_its(value) for value in islice(values, _TOLD_BY)):
            return joiner(values)
    return finished(_merged(values))


def _unwrapped(event: Event) -> dict[str, Json]:
    """The value of an event. Bedrock wraps each vendor's chunk; Nova names what it is by its only member."""
    value = event.object
    if "bytes" in value and isinstance(inner := value["bytes"], str):
        with suppress(ValueError):
            chunk = Event("", base64.b64decode(inner, validate=True))
            value = chunk.object if chunk.value is not None else {"completion": chunk.data.decode()}  # agents say text
    if len(value) <= 2 and event.name in ("", "chunk") and (named := value.keys() & _CONVERSE):
        name = min(named)
        metrics = {key: held for key, held in value.items() if key not in named}
        return {"type": name, **mapping(value[name]), **metrics}
    return value


def _merged(values: Events) -> dict[str, Json]:
    """Chunks whose texts go on where the last one ended, all else replaced: Ollama, most vendors inside Bedrock."""
    whole: dict[str, Json] = {}
    for value in values:
        merge(whole, {name: held for name, held in value.items() if name not in ("type", "p")})
    return whole


def _chat(values: Events) -> Json:
    """OpenAI's chunks. Only their choices grow."""
    whole: dict[str, Json] = {}
    grown: dict[str, Json] = {"choices": []}
    for value in values:
        choices = objects(value.get("choices"))
        for choice in choices:
            if "delta" in choice:
                choice.pop("message", None)  # Perplexity: all that was said so far, each time
        merge(grown, {"choices": choices})
        if value.get("usage") is None:
            value.pop("usage", None)
        whole.update(value)
    for choice in grown["choices"]:
        if isinstance(delta := choice.pop("delta", None), dict):
            choice["message"] = {**mapping(choice.get("message")), **delta}
    return finished({**whole, **grown})


def _anthropic(values: Events) -> Json:
    message: dict[str, Json] = {"role": "assistant"}
    blocks: dict[str, dict[str, Json]] = {}
    for value in values:
        kind = value.get("type")
        index = name_in(value, "index") or "0"
        if kind == "message_start":
            message |= mapping(value.get("message"))
        elif kind == "content_block_start":
            blocks[index] = dict(mapping(value.get("content_block")))
        elif kind == "content_block_delta":
            _grow(blocks.setdefault(index, {}), mapping(value.get("delta")))
        elif kind == "message_delta":
            message |= mapping(value.get("delta"))
            message["usage"] = {**mapping(message.get("usage")), **mapping(value.get("usage"))}
        elif kind == "error":
            message["error"] = value.get("error")
        if metrics := value.get("amazon-bedrock-invocationMetrics"):
            message["amazon-bedrock-invocationMetrics"] = metrics
    content = [_whole_block(block) for block in blocks.values()]
    return {**message, "content": content}


_GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def _grow(block: dict[str, Json], delta: dict[str, Json]) -> None:
    """One delta of Anthropic's: `partial_json` is the input of a call, piece by piece."""
    name = _GROWING.get(string(delta.get("type")))
    if name is None:
        return
    block.setdefault("type", {"partial_json": "tool_use"}.get(name, name))
    if not isinstance(grown := block.get(name), Pieces):
        grown = block[name] = Pieces([string(grown)])
    grown.append(string(delta.get(name)))


def _whole_block(block: dict[str, Json]) -> Json:
    whole = mapping(finished(block))
    if written := whole.pop("partial_json", ""):
        whole["input"] = written
    return whole


def _converse(values: Events) -> Json:
    answer: dict[str, Json] = {}
    role = "assistant"
    blocks: dict[str, dict[str, Json]] = {}
    for value in values:
        kind = value.get("type")
        block = (
            blocks.setdefault(name_in(value, "contentBlockIndex") or "0", {}) if "contentBlockIndex" in value else {}
        )
        if kind == "messageStart":
            role = name_in(value, "role") or role
        elif kind == "contentBlockStart":
            merge(block, mapping(value.get("start")))
        elif kind == "contentBlockDelta":
            delta = dict(mapping(value.get("delta")))
            if isinstance(thought := delta.get("reasoningContent"), dict) and "text" in thought:
                delta["reasoningContent"] = {"reasoningText": {"text": thought["text"]}}
            merge(block, delta)
        elif kind == "messageStop":
            answer["stopReason"] = value.get("stopReason")
        elif kind == "metadata":
            answer |= {name: held for name, held in value.items() if name != "type"}
        if metrics := value.get("amazon-bedrock-invocationMetrics"):
            answer["amazon-bedrock-invocationMetrics"] = metrics
    content = [finished(block) for block in blocks.values() if block]
    return {**answer, "output": {"message": {"role": role, "content": content}}}


def _gemini(values: Events) -> Json:
    answer: dict[str, Json] = {}
    candidates: dict[str, dict[str, Json]] = {}
    for value in values:
        answer |= {name: held for name, held in value.items() if name not in ("candidates", "type")}
        for candidate in objects(value.get("candidates")):
            whole = candidates.setdefault(name_in(candidate, "index") or "0", {"content": {"parts": []}})
            whole |= {name: held for name, held in candidate.items() if name != "content"}
            content = mapping(candidate.get("content"))
            whole["content"]["role"] = name_in(content, "role")
            for part in objects(content.get("parts")):
                _add_part(whole["content"]["parts"], part)
    return {**answer, "candidates": [finished(candidate) for candidate in candidates.values()]}


def _add_part(parts: list[dict[str, Json]], part: dict[str, Json]) -> None:
    """Text goes on in the last part where that is text of the same kind."""
    text = part.get("text")
    if not isinstance(text, str):
        parts.append(part)
    elif parts and isinstance(parts[-1].get("text"), Pieces) and parts[-1].get("thought") == part.get("thought"):
        parts[-1]["text"].append(text)
    else:
        parts.append({**part, "text": Pieces([text])})


def _cohere(values: Events) -> Json:
    """v2's events have a `type`, v1's an `event_type`."""
    message: dict[str, Json] = {"role": "assistant"}
    answer: dict[str, Json] = {}
    for value in values:
        kind = string(value.get("type")) if "event_type" not in value else string(value["event_type"])
        delta = mapping(value.get("delta"))
        said = mapping(delta.get("message"))
        index = name_in(value, "index") or "0"
        if kind in ("content-start", "content-delta"):
            merge(message, {"content": [{"index": index, **mapping(said.get("content"))}]})
        elif kind in ("tool-call-start", "tool-call-delta"):
            merge(message, {"tool_calls": [{"index": index, **mapping(said.get("tool_calls"))}]})
        elif kind == "tool-plan-delta":
            merge(message, {"tool_plan": said.get("tool_plan")})
        elif kind == "message-end":
            answer |= delta
        elif kind == "text-generation":
            merge(message, {"content": value.get("text")})
        elif kind == "tool-calls-generation":
            message["tool_calls"] = value.get("tool_calls")
        elif kind == "stream-end":
            response = mapping(value.get("response"))
            answer |= {name: held for name, held in response.items() if name not in ("text", "chat_history")}
            answer["finish_reason"] = member(value, "finish_reason")
    return {**answer, "message": finished(message)}


def _huggingface(values: Events) -> Json:
    """Token by token, the last with all of them."""
    text = Pieces()
    last: dict[str, Json] = {}
    for value in values:
        token = mapping(value.get("token"))
        if token.get("special") is not True:
            text.append(string(token.get("text")))
        last = value if isinstance(value.get("generated_text"), str) else last
    return [{"details": last.get("details"), "generated_text": name_in(last, "generated_text") or "".join(text)}]


def _media(values: Events) -> Json:
    """Pictures, speech and transcripts of OpenAI."""
    pictures: list[Json] = []
    sound, text = bytearray(), Pieces()
    usage: Json = None
    whole: Json = None
    for value in values:
        kind = string(value.get("type"))
        usage = member(value, "usage") or usage
        if kind.endswith(("_generation.completed", "_edit.completed")):
            pictures.append(value)
        elif kind == "speech.audio.delta":
            with suppress(ValueError):
                sound += base64.b64decode(name_in(value, "audio", "delta"))
        elif kind == "transcript.text.delta":
            text.append(name_in(value, "delta"))
        elif kind == "transcript.text.done":
            whole = value.get("text")
    if pictures:
        return {"data": pictures, "usage": usage}
    if sound:
        return {"audio": {"data": base64.b64encode(sound).decode()}, "usage": usage}
    return {"text": whole if isinstance(whole, str) else "".join(text), "usage": usage}


def _typed(*begins: str, member_name: str = "type") -> Callable[[dict[str, Json]], bool]:
    return lambda value: string(value.get(member_name)).startswith(begins)


_STREAMS: tuple[tuple[Callable[[Events], Json], Callable[[dict[str, Json]], bool]], ...] = (
    (_converse, lambda value: string(value.get("type")) in _CONVERSE),
    (_anthropic, _typed("message_start", "content_block_")),
    (joined_items.responses, _typed("response.")),
    (joined_items.interactions, _typed("interaction.", "content.", "step.", member_name="event_type")),
    (_cohere, _typed("message-", "content-", "tool-call-", "tool-plan-")),
    (_cohere, _typed("stream-", "text-generation", "tool-calls-", member_name="event_type")),
    (_media, _typed("image_generation.", "image_edit.", "speech.audio.", "transcript.text.")),
    (_gemini, lambda value: "candidates" in value or "promptFeedback" in value),
    (_huggingface, lambda value: isinstance(value.get("token"), dict)),
    (_chat, lambda value: "choices" in value),
)

__all__: list[Any] = ["join"]

"""The member `answer` of a cassette: what `conversation` reads in the answer, for who reviews the file.

    {"thinking": "Hm.", "text": "Hi", "tool_calls": [{"name": "f", "arguments": {"a": 1}}], "stop": "stop"}

The members stand in the order in which things were said; of two texts in a row the value is a list. Where the answer
comes back to something (text, a call, more text), `steps` is a list of such objects. Several answers are `choices`.
Nothing is replayed from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import conversation
from ..conversation import (
    AnswerParts,
    Audio,
    Media,
    Message,
    Other,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Vectors,
    in_words,
)
from ..entries.entry import Entry
from .json_text import MARK, Json, NotExact, OneLine, loads

_LISTS = frozenset({"tool_calls", "tool_results", "other"})
"""Members whose value is a list, even of one."""
_DEEPEST = 50
"""Levels of arguments that are written as JSON. What is deeper is written as text."""


def readable(entry: Entry) -> Json:
    """The answer of `entry`, or None where nothing would stand in it but the body again. Never raises."""
    return shown(conversation.answer(entry), entry)


def shown(told: AnswerParts, entry: Entry) -> Json:
    """The same of what was read already."""
    if told.as_is:
        return None
    choices = [_said(message.parts) for message in told.messages if message.role not in ("error", "system")]
    answer: dict[str, Json] = {"choices": choices} if len(choices) > 1 else choices[0] if choices else {}
    for message in told.messages:
        if message.role == "error":
            answer["error"] = _problem(message)
        elif message.role == "system":
            answer |= _said(message.parts)  # what was left out of a long stream
    if told.finish:
        answer["stop"] = _text(told.finish)
    if answer and (entry.input_tokens or entry.output_tokens):
        answer["usage"] = OneLine(input=entry.input_tokens, output=entry.output_tokens)
    return answer or None


def _said(parts: Iterable[Part]) -> dict[str, Json]:
    """Parts in their order."""
    steps: list[dict[str, Json]] = [{}]
    last = ""
    for name, value in (pair for part in parts for pair in _members(part) if pair[1] != ""):
        if name in steps[-1] and name != last:
            steps.append({})
        step, last = steps[-1], name
        if name not in step:
            step[name] = [value] if name in _LISTS else value
        elif isinstance(step[name], list):
            step[name].append(value)
        else:
            step[name] = [step[name], value]
    return {"steps": steps} if len(steps) > 1 else steps[0]


def _members(part: Part) -> Iterator[tuple[str, Json]]:
    match part:
        case Refusal(text):
            yield "refusal", _text(text)
        case Text(text):
            yield "text", _text(text)
        case Thinking(text):
            yield "thinking", _text(text)
        case ToolCall(_, name, arguments):
            yield "tool_calls", {"name": _text(name), "arguments": _value(arguments)}
        case ToolResult(_, content, failed):
            result = _said(content)
            value = result["text"] if result.keys() == {"text"} else result
            yield "tool_results", {"error": value} if failed else value
        case Vectors():
            yield "vectors", in_words(part)
        case Media():
            yield "media", _text(in_words(part))
            yield "transcript", _text(part.transcript) if isinstance(part, Audio) else ""
        case Other(kind, json):
            yield "other", {_text(kind): _value(json)}


def _problem(message: Message) -> Json:
    """What the provider says went wrong; all of its JSON where it has no words for it."""
    for part in message.parts:
        return _value(part.json) if isinstance(part, Other) else _text(in_words(part))
    return ""


def _value(text: str) -> Json:
    """The value of a JSON text, else the text."""
    if text[:1] in ("{", "["):
        try:
            value = loads(text)
        except NotExact:
            return _text(text)
        return value if _is_flat(value) else _text(text)
    return _text(text)


def _is_flat(value: Json) -> bool:
    """Whether `value` is nested no deeper than a person reads."""
    level = [value]
    for _ in range(_DEEPEST):
        containers = (item.values() if isinstance(item, dict) else item for item in level)
        level = [each for items in containers for each in items if isinstance(each, dict | list)]
        if not level:
            return True
    return False


def _text(text: str) -> str:
    """`text` without the mark of a number, which would be written without quotes."""
    return text.replace(MARK, "\ufffd") if MARK in text else text

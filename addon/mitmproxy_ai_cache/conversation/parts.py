"""The pieces a message is made of, whatever protocol it was written in: each is told by its `type`, or by its members.

Sources: the API references of OpenAI (Chat, Responses), Anthropic (Messages), Google (Gemini, Interactions), Amazon
(Converse), Cohere, Ollama, Mistral.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from .media import audio, file, image, media, plain_images, sourced
from .reading import MAX_BYTES, Json, as_json, clean, items, mapping, member, name_in, string
from .values import Audio, File, Image, Other, Part, Refusal, Text, Thinking, ToolCall, ToolResult

MAX_PARTS = 1_000
"""Parts of one message that are shown."""
_DEEPEST = 3
"""Parts in results in results."""

_TEXTS = frozenset("text input_text output_text guardContent search_result".split())
_MEMBERS_OF_NO_TYPE = (
    "functionCall", "function_call", "functionResponse", "function_response", "inlineData", "inline_data", "fileData",
    "file_data", "executableCode", "executable_code", "codeExecutionResult", "code_execution_result", "toolUse",
    "toolResult", "image", "document", "video", "audio", "reasoningContent", "guardContent", "citationsContent",
    "cachePoint", "json",
    "text",
)  # fmt: skip
"""What tells parts of Gemini and Converse apart, which have no `type`."""


def parts(content: Json, depth: int = 0) -> list[Part]:
    """The parts of a message's content: a text, a part, or a list of them."""
    if isinstance(content, str):
        return [Text(clean(content))] if content else []
    limit = MAX_PARTS if depth == 0 else MAX_PARTS // 10
    found = list(chain.from_iterable(_part(item, depth) for item in items(content)[:limit]))
    if isinstance(content, list) and len(content) > limit:
        found.append(Other("left-out", f"{len(content) - limit:,} more parts"))
    return found


def _part(item: Json, depth: int) -> Iterable[Part]:
    if isinstance(item, str):
        return [Text(clean(item))] if item else []
    if not isinstance(item, dict) or depth > _DEEPEST:
        return [Other("value", as_json(item))] if item is not None else []
    kind = string(item.get("type"))
    if not kind:
        return _of_no_type(item, depth)
    if kind in _TEXTS:
        return _text(item, depth)
    if reader := _BY_TYPE.get(kind):
        return reader(item, depth)
    if kind.endswith(("_tool_result", "_call_output")) or kind in ("tool_result", "function_result", "tool"):
        return [_result(item, depth)]
    if kind.endswith(("_call", "_tool_use")):
        return _call(item, kind, depth)
    return [Other(clean(kind), as_json(item))]


def _of_no_type(item: dict[str, Json], depth: int) -> Iterable[Part]:
    name = next((name for name in _MEMBERS_OF_NO_TYPE if item.get(name) is not None), "")
    held = item.get(name)
    if name == "text":
        return [Thinking(clean(string(held)))] if item.get("thought") is True else _text(item, depth)
    if reader := _BY_MEMBER.get(name):
        return reader(held, depth)
    return [Other(clean(next(iter(item), "object")), as_json(item))]


def _text(item: dict[str, Json], depth: int) -> Iterable[Part]:
    text = member(item, "text", "data", "content")  # Aleph Alpha calls it `data`
    if isinstance(text, dict) and isinstance(text.get("value"), str):  # OpenAI's threads
        text = text["value"]
    if isinstance(text, str):
        return [Text(clean(text))] if text else []
    return parts(text, depth + 1) if text is not None else []


def thinking(value: Json) -> list[Part]:
    """Thinking in any shape: a text, a list of parts with texts, something encrypted."""
    if isinstance(value, str):
        return [Thinking(clean(value))] if value else []
    texts = [each if isinstance(each, str) else name_in(each, "text", "summary", "thinking") for each in items(value)]
    return [Thinking(clean("\n\n".join(filter(None, texts))))] if any(texts) else []


def refusal(value: Json) -> list[Part]:
    return [Refusal(part.text) if isinstance(part, Text) else part for part in parts(value)]


def _reasoning(item: dict[str, Json], depth: int) -> list[Part]:
    """Responses' `reasoning`, Anthropic's and Mistral's `thinking`, Interactions' `thought`, Converse's own."""
    named = (member(item, name) for name in ("thinking", "content", "summary", "text", "reasoningText"))
    return next((found for held in named if (found := thinking(held))), [Thinking("")])


def _function(item: Json, depth: int = 0) -> list[Part]:
    """A call as `{"id", "function": {"name", "arguments"}}` or with those members at the top."""
    held = mapping(member(item, "function", "custom")) or mapping(item)
    name = name_in(held, "name")
    arguments = member(held, "arguments", "args", "input", "parameters")
    return [
        ToolCall(
            clean(name_in(item, "call_id", "id", "toolUseId")),
            clean(name),
            clean(as_json(arguments if arguments is not None else {}, MAX_BYTES)),
        )
    ]


def _call(item: dict[str, Json], kind: str, depth: int) -> list[Part]:
    """A call of a provider's own tool; its result where it is in the same item."""
    pictures: list[Part] = [media(Image, data) for data in [string(item.get("result"))] if data]
    if kind == "image_generation_call" and pictures:
        return pictures
    name = name_in(item, "name") or kind.removesuffix("_call")
    told = {key: value for key, value in item.items() if key not in ("id", "call_id", "type", "status", "name")}
    output = [told.pop(key) for key in ("output", "outputs", "results", "error") if told.get(key) is not None]
    arguments = next((told[key] for key in ("arguments", "input", "action") if told.get(key) is not None), told)
    call_id = clean(name_in(item, "call_id", "id"))
    found: list[Part] = [ToolCall(call_id, clean(name), clean(as_json(arguments, MAX_BYTES)))]
    if output:
        found.append(ToolResult(call_id, tuple(contents(output[0], depth)), bool(item.get("error"))))
    return found


def _result(item: Json, depth: int = 0) -> ToolResult:
    """What a tool gave back, under any of the names protocols have for that."""
    content = member(item, "content", "output", "result", "response", "outcome")
    names = ("tool_use_id", "toolUseId", "call_id", "tool_call_id", "id", "name", "tool_name")
    failed = member(item, "is_error", "isError") is True or name_in(item, "status") == "error"
    return ToolResult(clean(name_in(item, *names)), tuple(contents(content, depth)), failed)


def contents(content: Json, depth: int = -1) -> list[Part]:
    """The parts of `content`; an object of nobody's making is JSON that a tool or a model has written."""
    if isinstance(content, dict) and not ("type" in content or content.keys() & set(_MEMBERS_OF_NO_TYPE)):
        return [Text(clean(as_json(content)))]
    return parts(content, depth + 1)


def _document(held: Json, depth: int = 0) -> list[Part]:
    """A document of Anthropic or Converse; one that is text is shown as text."""
    source = mapping(member(held, "source"))
    content = member(source, "content", "text")
    if content is None and name_in(source, "type") == "text":
        content = source.get("data")
    if content is None and not source and (content := member(held, "data", "text")) is not None:  # Cohere's
        return [Text(clean(as_json(content)))]
    if content is None:
        return [sourced(File, held)]
    title = clean(name_in(held, "title", "name"))
    return [File("text/plain", name=title), *parts(content, depth + 1)] if title else parts(content, depth + 1)


def _found(item: Json, depth: int) -> list[Part]:
    """A page a search has found."""
    page = media(File, url=name_in(item, "url", "source"), name=name_in(item, "title"))
    return [page, *parts(item.get("content"), depth + 1)] if item.get("content") else [page]


def _code(held: Json, depth: int) -> list[Part]:
    """Gemini's code execution."""
    return [ToolCall("", "code_execution", clean(name_in(held, "code") or as_json(held)))]


def _code_result(held: Json, depth: int) -> list[Part]:
    text = clean(name_in(held, "output") or name_in(held, "outcome"))
    return [ToolResult("", (Text(text),), name_in(held, "outcome") not in ("", "OUTCOME_OK"))]


def _inline(held: Json, depth: int) -> list[Part]:
    return [
        media(File, name_in(held, "data"), name_in(held, "mimeType", "mime_type"), name=name_in(held, "displayName"))
    ]


def _linked(held: Json, depth: int) -> list[Part]:
    url = name_in(held, "fileUri", "file_uri")
    return [media(File, media_type=name_in(held, "mimeType", "mime_type"), url=url)]


_Reader = Callable[[Json, int], Iterable[Part]]

_BY_TYPE: dict[str, _Reader] = {
    "refusal": lambda item, depth: refusal(member(item, "refusal", "text")),
    "reasoning": _reasoning,
    "thinking": _reasoning,
    "thought": _reasoning,
    "redacted_thinking": lambda item, depth: [Thinking("")],
    "summary_text": lambda item, depth: thinking(item.get("text")),
    "reasoning_text": lambda item, depth: thinking(item.get("text")),
    "tool_use": _function,
    "tool_call": _function,
    "function": _function,
    "function_call": _function,
    "custom_tool_call": _function,
    "image_url": lambda item, depth: [image(item)],
    "input_image": lambda item, depth: [image(item) if item.get("image_url") else sourced(Image, item)],
    "image": lambda item, depth: [image(item)],
    "input_audio": lambda item, depth: [audio(item)],
    "audio": lambda item, depth: [audio(item)],
    "video": lambda item, depth: [sourced(File, item)],
    "file": lambda item, depth: [file(item)],
    "input_file": lambda item, depth: [file(item)],
    "document": lambda item, depth: _document(member(item, "document") or item, depth),
    "message": lambda item, depth: parts(item.get("content"), depth + 1),
    "model_output": lambda item, depth: parts(item.get("content"), depth + 1),
    "user_input": lambda item, depth: parts(item.get("content"), depth + 1),
    "web_search_result": _found,
    "web_fetch_result": _found,
}

_BY_MEMBER: dict[str, _Reader] = {
    "functionCall": _function,
    "function_call": _function,
    "toolUse": _function,
    "functionResponse": lambda held, depth: [_result(held, depth)],
    "function_response": lambda held, depth: [_result(held, depth)],
    "toolResult": lambda held, depth: [_result(held, depth)],
    "inlineData": _inline,
    "inline_data": _inline,
    "fileData": _linked,
    "file_data": _linked,
    "executableCode": _code,
    "executable_code": _code,
    "codeExecutionResult": _code_result,
    "code_execution_result": _code_result,
    "image": lambda held, depth: [sourced(Image, held)],
    "document": _document,
    "video": lambda held, depth: [sourced(File, held)],
    "audio": lambda held, depth: [sourced(Audio, held)],
    "reasoningContent": lambda held, depth: _reasoning(mapping(held), depth),
    "cachePoint": lambda held, depth: [],
    "guardContent": lambda held, depth: parts(member(held, "text", "image"), depth + 1),
    "citationsContent": lambda held, depth: parts(member(held, "content"), depth + 1),
    "json": lambda held, depth: [Text(clean(as_json(held)))],
}


def of_message(message: dict[str, Json]) -> list[Part]:
    """All of a chat message: what stands in `content`, and what protocols put beside it."""
    details = member(message, "reasoning_details")
    thoughts = next(
        (
            found
            for held in (member(message, "reasoning_content"), member(message, "reasoning", "thinking"), details)
            if (found := thinking(held))
        ),
        [Thinking("")] if details else [],
    )
    said = contents(member(message, "content", "parts", "message", "text", "tool_plan"))
    found = [*thoughts, *said, *refusal(member(message, "refusal"))]
    if member(message, "content") is not None:
        found += parts(message.get("tool_plan"))
    found.extend(plain_images(member(message, "images")))
    if isinstance(held := member(message, "audio"), dict):
        found.append(audio(held))
    calls = [*items(member(message, "tool_calls")), *items(member(message, "function_call"))]
    return [*found, *chain.from_iterable(_function(call) for call in calls[:MAX_PARTS] if isinstance(call, dict))]


def result_of(message: dict[str, Json]) -> ToolResult:
    """A chat message of the role `tool` or `function`."""
    return _result({"content": member(message, "content"), **message})

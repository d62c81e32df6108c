"""The request: instructions, messages, tools, and what is left are settings.

Bodies are told apart by their members alone, so that a vendor's own body inside Bedrock, or a call that no protocol
claims, is read as well as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..wire.body import Part as FormPart
from ..wire.body import parameter
from .media import of_bytes, plain_images
from .parts import MAX_PARTS, of_message, parts, result_of
from .reading import Json, as_json, clean, items, mapping, member, name_in, objects, string
from .values import File, Message, Other, Part, Text, Tool, ToolCall, ToolResult

_MAX_ALL_PARTS = 30_000
"""Parts of a conversation that are shown."""
_FIRST, _LAST = 500, 1_500
"""Messages that are shown of more than both."""
_MAX_SETTINGS, _SETTING = 100, 4_000
"""Settings that are shown, and characters of one."""

_ROLES = {"model": "assistant", "chatbot": "assistant", "bot": "assistant", "human": "user", "function": "tool"}
_SYSTEM = ("system", "system_instruction", "systemInstruction", "instructions", "preamble", "developer")
_WRAPPED = ("generateContentRequest", "generate_content_request", "converse", "invokeModel")
_FLATTENED = (
    "generationConfig",
    "generation_config",
    "inferenceConfig",
    "textGenerationConfig",
    "options",
    "parameters",
)
"""Members whose own members are settings."""
_TOOLS = ("tools", "functions", "toolConfig", "tool_config")


@dataclass(frozen=True, slots=True)
class RequestParts:
    settings: tuple[tuple[str, str], ...] = ()
    tools: tuple[Tool, ...] = ()
    messages: tuple[Message, ...] = ()


def read(value: Json, model: str = "") -> RequestParts:
    """What a JSON body asks. `model` is named where the body does not."""
    body = mapping(value)
    for name in _WRAPPED:
        if inner := mapping(body.get(name)):
            body = {**{key: held for key, held in body.items() if key != name}, **inner}
    if not body and value != {}:
        return RequestParts(messages=(Message("user", (Other("body", as_json(value)),)),) if value is not None else ())
    used: set[str] = set()
    said: list[Message] = []
    for name in _SYSTEM:
        if isinstance(held := body.get(name), str | list | dict) and held:
            used.add(name)
            content = held["parts"] if isinstance(held, dict) and "parts" in held else held
            said.append(Message("system", tuple(parts(content))))
    for name, reader in _SPOKEN.items():
        if name in body:
            found = list(reader(body[name]))
            said += found
            used.update([name] if found or not body[name] else [])
    tools = [tool for name in _TOOLS if name in body for tool in _tools(body[name])]
    used.update(name for name in ("tools", "functions") if name in body)
    return RequestParts(_settings(body, used, model), tuple(tools), tuple(_within_limits(said)))


def read_form(form: Iterable[FormPart], model: str = "") -> RequestParts:
    """What a multipart body asks: its files, and its prompt; the other fields are settings."""
    settings: list[tuple[str, str]] = []
    sent: list[Part] = []
    for field in form:
        head = dict(_fields(field.head))
        file_name = parameter(head.get("content-disposition", ""), "filename")
        if file_name or "content-type" in head:
            sent.append(of_bytes(File, field.data, head.get("content-type", ""), file_name))
        elif field.name == "prompt":
            sent.append(Text(field.data.decode("utf-8", "replace")))
        else:
            settings.append((clean(field.name), field.data[:_SETTING].decode("utf-8", "replace")))
    if model and not any(name == "model" for name, _ in settings):
        settings.insert(0, ("model", clean(model)))
    settings.sort(key=lambda setting: setting[0] != "model")
    return RequestParts(tuple(settings[:_MAX_SETTINGS]), messages=(Message("user", tuple(sent)),) if sent else ())


def _fields(head: bytes) -> Iterable[tuple[str, str]]:
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        yield name.strip().lower(), value.strip()


def role_of(message: Json) -> str:
    role = name_in(message, "role").lower()[:40]
    return clean(_ROLES.get(role, role)) or "user"


def _conversation(value: Json) -> Iterable[Message]:
    """`messages`, `contents`, `chat_history`, or `input` in all its forms: texts, tokens, parts, items, messages."""
    loose: list[Part] = []
    for item in _shown(value):
        if isinstance(item, Message):
            yield item
        elif isinstance(item, dict) and ("role" in item or item.get("type") == "message" or "parts" in item):
            if loose:
                yield Message("user", tuple(loose))
                loose = []
            yield _message(item)
        elif isinstance(item, list) or (isinstance(item, int) and not loose):
            numbers = next(held for held in (item, value, [item]) if isinstance(held, list))
            loose.append(Other("tokens", f"{len(numbers):,} tokens: {as_json(numbers[:20], 200)}"))
            if isinstance(item, int):
                break
        else:
            loose += parts(item)
            if role := _role_of_item(item):
                yield Message(role, tuple(loose))
                loose = []
    if loose:
        yield Message("user", tuple(loose))


def _shown(value: Json) -> list[Json]:
    """The items of a list, of a very long one the first and the last."""
    if not isinstance(value, list) or len(value) <= _FIRST + _LAST:
        return items(value)
    left_out = Message("system", (Other("left-out", f"{len(value) - _FIRST - _LAST:,} more messages"),))
    return [*value[:_FIRST], left_out, *value[-_LAST:]]


def _role_of_item(item: Json) -> str:
    """Whose an item of Responses is that is no message; nothing for a part of what the user says."""
    kind = string(member(item, "type"))
    if kind.endswith(("_output", "_result")):
        return "tool"
    spoken = kind in ("reasoning", "thought", "model_output") or kind.endswith("_call")
    return "assistant" if spoken else "system" if kind == "item_reference" else ""


def _message(message: dict[str, Json]) -> Message:
    role = role_of(message)
    if role == "tool" and ("tool_call_id" in message or "name" in message or "tool_name" in message):
        return Message(role, (result_of(message),))
    return Message(role, tuple(of_message(message)))


def _documents(value: Json) -> Iterable[Message]:
    found: list[Part] = []
    for each in items(value):
        text = each if isinstance(each, str) else member(each, "text", "content", "snippet", "data", "contents")
        found.append(Text(clean(as_json(text if text is not None else each))))
    if found:
        yield Message("document", tuple(found))


def _tool_results(value: Json) -> Iterable[Message]:
    """Cohere v1: each result with its call."""
    for each in objects(value):
        call, outputs = mapping(each.get("call")), each.get("outputs")
        name = clean(name_in(call, "name"))
        yield Message("assistant", (ToolCall("", name, clean(as_json(member(call, "parameters")))),))
        yield Message("tool", (ToolResult(name, (Text(clean(as_json(outputs))),)),))


def _instances(value: Json) -> Iterable[Message]:
    """Vertex: texts to embed, prompts of pictures."""
    found: list[Part] = []
    for each in items(value):
        held = member(each, "content", "prompt", "text")
        found += parts(held if held is not None else each)
    yield Message("user", tuple(found))


def _embedded(value: Json) -> Iterable[Message]:
    """Gemini's batch of contents."""
    found = [part for each in objects(value) for part in parts(member(mapping(each.get("content")), "parts"))]
    if found:
        yield Message("user", tuple(found))


def _content(value: Json) -> Iterable[Message]:
    """Of a thread's message, of a guardrail, of something to embed."""
    yield Message("user", tuple(parts(mapping(value).get("parts", value))))


def _texts(value: Json) -> Iterable[Message]:
    if isinstance(value, str | list):
        yield from _conversation(value)


def _prompt(value: Json) -> Iterable[Message]:
    """A prompt, some of them, tokens; or the name and the variables of one that the provider keeps."""
    if isinstance(value, dict):
        yield Message("system", (Other("prompt", as_json(value)),))
    else:
        yield from _conversation(value)


def _pictures(value: Json) -> Iterable[Message]:
    if found := plain_images(value):
        yield Message("user", tuple(found))


_SPOKEN: dict[str, Callable[[Json], Iterable[Message]]] = {
    "chat_history": _conversation,
    "messages": _conversation,
    "contents": _conversation,
    "variables": lambda value: [Message("user", (Other("variables", as_json(value)),))] if value else [],
    "prompt": _prompt,
    "input": _conversation,
    "inputs": _texts,
    "inputText": _texts,
    "message": _texts,
    "query": _texts,
    "text": _texts,
    "texts": _texts,
    "content": _content,
    "requests": _embedded,
    "instances": _instances,
    "image": _pictures,
    "images": _pictures,
    "documents": _documents,
    "tool_results": _tool_results,
}
"""What of a body is said by somebody, in the order it is read."""


def _tools(value: Json) -> Iterable[Tool]:
    """Tools in all dialects: OpenAI's, Anthropic's, Gemini's lists of declarations, Converse's `toolSpec`."""
    for each in objects(mapping(value).get("tools", value) if isinstance(value, dict) else value):
        declared = member(each, "functionDeclarations", "function_declarations", "tools")
        if isinstance(declared, list):
            yield from _tools(declared)
            continue
        held = mapping(member(each, "function", "toolSpec", "custom")) or each
        name = name_in(held, "name") or name_in(held, "type", "server_label") or next(iter(held), "")
        schema = member(
            held, "parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema", "inputSchema",
            "parameter_definitions", "schema",
        )  # fmt: skip
        schema = mapping(schema).get("json", schema)
        if schema is None and held is each:
            schema = {key: value for key, value in each.items() if key not in ("name", "description")} or None
        text = "" if schema is None else as_json(schema)
        yield Tool(clean(name), clean(string(held.get("description"))), clean(text))


def _settings(body: dict[str, Any], used: set[str], model: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, Json]] = []
    for name, value in body.items():
        if name in used:
            continue
        if name in ("toolConfig", "tool_config") and isinstance(value, dict):
            value = {key: held for key, held in value.items() if key != "tools"}
            if not value:
                continue
        if name in _FLATTENED and isinstance(value, dict):
            found += value.items()
        else:
            found.append((name, value))
    named = [(name, value) for name, value in found if name in ("model", "model_id", "modelId")]
    others = [(name, value) for name, value in found if name not in ("model", "model_id", "modelId")]
    first = named or ([("model", model)] if model else [])
    return tuple((clean(name), clean(as_json(value, _SETTING))) for name, value in [*first, *others][:_MAX_SETTINGS])


def _within_limits(said: list[Message]) -> Iterable[Message]:
    left = _MAX_ALL_PARTS
    for place, message in enumerate(said):
        if left < len(message.parts):
            yield Message("system", (Other("left-out", f"{len(said) - place:,} more messages"),))
            return
        left -= len(message.parts)
        yield message


__all__ = ["MAX_PARTS", "RequestParts", "read", "read_form", "role_of"]

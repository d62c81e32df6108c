"""Streams of items: OpenAI Responses and Gemini Interactions."""

from __future__ import annotations

from .merging import Pieces, finished, merge
from .parts import MAX_PARTS
from .reading import Json, mapping, member, name_in, objects, string

Events = list[dict[str, Json]]

_TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


def responses(values: Events) -> Json:
    """The final response. Its output is put together from the events where it is not in there, or never came."""
    final: dict[str, Json] = {}
    output: dict[str, dict[str, Json]] = {}
    for value in values:
        kind = string(value.get("type"))
        if "output_index" in value:
            _item_event(output, name_in(value, "output_index") or "0", kind.removeprefix("response."), value)
        elif kind in _TERMINAL or (isinstance(value.get("response"), dict) and not final):
            final = mapping(value.get("response"))
        elif kind == "error":
            final = {**final, "error": member(value, "error") or value}
    if not objects(final.get("output")):
        final = {**final, "output": [finished(_whole_item(item)) for item in output.values()]}
    return final


def _item_event(output: dict[str, dict[str, Json]], index: str, kind: str, value: dict[str, Json]) -> None:
    item = output.setdefault(index, {"parts": {}})
    if kind in ("output_item.added", "output_item.done"):
        item |= mapping(value.get("item"))
        item["done"] = kind.endswith("done")
        return
    if kind == "image_generation_call.partial_image":
        item["type"], item["result"] = "image_generation_call", value.get("partial_image_b64")
        return
    what, _, state = kind.rpartition(".")
    name = _GROWN.get(what)
    if name is None or state not in ("delta", "done"):
        return
    place = f"{what} {name_in(value, 'content_index', 'summary_index')}"
    if place not in item["parts"] and len(item["parts"]) >= MAX_PARTS:
        return
    part = item["parts"].setdefault(place, {"name": name, "text": Pieces()})
    if state == "delta":
        part["text"].append(string(value.get("delta")))
    elif isinstance(whole := member(value, "text", "arguments", "input", "refusal", "code"), str):
        part["text"] = Pieces([whole])


_GROWN = {
    "output_text": "output_text",
    "refusal": "refusal",
    "reasoning_text": "reasoning",
    "reasoning_summary_text": "reasoning",
    "function_call_arguments": "arguments",
    "mcp_call_arguments": "arguments",
    "custom_tool_call_input": "input",
    "code_interpreter_call_code": "code",
}
"""What grows by deltas, and what it is in the item."""


def _whole_item(item: dict[str, Json]) -> dict[str, Json]:
    """An item that came whole, or what its deltas say."""
    grown: dict[str, dict[str, Json]] = item.pop("parts")
    if item.pop("done", False):
        return item
    for part in grown.values():
        name, text = part["name"], part["text"]
        if name in ("output_text", "refusal"):
            item.setdefault("type", "message")
            key = "text" if name == "output_text" else name
            item["content"] = [*objects(item.get("content")), {"type": name, key: text}]
        elif name == "reasoning":
            item.setdefault("type", "reasoning")
            item["summary"] = [*objects(item.get("summary")), {"type": "summary_text", "text": text}]
        else:
            item.setdefault("type", "function_call")
            item[name] = text
    return item


def interactions(values: Events) -> Json:
    """`content.*` events of the first version, `step.*` of the next; the last event has the state and the usage."""
    final: dict[str, Json] = {}
    outputs: dict[str, dict[str, Json]] = {}
    steps: dict[str, dict[str, Json]] = {}
    for value in values:
        kind = string(value.get("event_type"))
        index = name_in(value, "index") or "0"
        delta = mapping(value.get("delta"))
        if isinstance(held := value.get("interaction"), dict):
            final |= held
        elif kind in ("content.start", "content.delta"):
            _grow(outputs.setdefault(index, {}), mapping(value.get("content")) or delta)
        elif kind == "step.start":
            _grow(steps.setdefault(index, {}), mapping(value.get("step")))
        elif kind == "step.delta":
            step = steps.setdefault(index, {"type": "model_output"})
            if step.get("type") == "model_output" and "content" not in delta:
                delta = {"content": [delta]}
            _grow(step, delta)
        elif kind == "error":
            final["error"] = value.get("error")
    if not objects(member(final, "outputs", "steps")):
        name, held = ("steps", steps) if steps else ("outputs", outputs)
        final = {**final, name: [finished(each) for each in held.values()]}
    return final


def _grow(item: dict[str, Json], delta: dict[str, Json]) -> None:
    """A delta may be of another type than its item: the summary or the signature of a thought."""
    if "type" in item:
        delta = {name: value for name, value in delta.items() if name != "type"}
    if isinstance(said := delta.get("content"), dict):
        delta = {**delta, "summary" if item.get("type") == "thought" else "content": [said]}
    merge(item, delta)

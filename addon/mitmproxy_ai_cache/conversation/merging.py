"""Deltas into one value. Texts are kept as pieces till the end: to add to a long one each time takes quadratic time."""

from __future__ import annotations

from .reading import Json


class Pieces(list[str]):
    """A text that grows."""


class _Items(list[Json]):
    """A list that grows, its items known by their `index`."""

    def __init__(self) -> None:
        super().__init__()
        self.by_index: dict[int | str, dict[str, Json]] = {}


_GROWS = frozenset(
    """
    content text reasoning reasoning_content refusal thinking arguments response completion generation outputText
    generated_text transcript data summary input tool_plan
    """.split()
)
"""Members whose text goes on in the next delta. All others are replaced."""
_BY_PLACE = frozenset("choices results outputs generations completions".split())
"""Lists whose items go on in the item at the same place, where those have no `index`."""
_ENOUGH = 10_000
"""Items of one list."""


def merge(into: dict[str, Json], delta: dict[str, Json]) -> None:
    """Add `delta`; what is null there adds nothing."""
    for name, value in delta.items():
        before = into.get(name)
        if isinstance(value, str):
            if name in _GROWS:
                _grow(into, name, before, value)
            elif value or not before:
                into[name] = value
        elif value is None:
            into.setdefault(name, None)
        elif isinstance(value, dict):
            if not isinstance(before, dict):
                before = into[name] = {}
            merge(before, value)
        elif isinstance(value, list):
            _extend(into, name, before, value)
        else:
            into[name] = value


def _grow(into: dict[str, Json], name: str, before: Json, value: str) -> None:
    if isinstance(before, Pieces):
        before.append(value)
    elif isinstance(before, list):
        if value:
            _extend(into, name, before, [{"type": "text", "text": value}])
    else:
        into[name] = Pieces([before, value] if isinstance(before, str) else [value])


def _extend(into: dict[str, Json], name: str, before: Json, items: list[Json]) -> None:
    if not isinstance(before, _Items):
        text = "".join(before) if isinstance(before, Pieces) else ""
        before = into[name] = _Items()
        if text:
            before.append({"type": "text", "text": text})
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            if len(before) < _ENOUGH:
                before.append(item)
        elif (found := _twin(before, item, place, name)) is not None:
            merge(found, item)
        elif len(before) < _ENOUGH:
            fresh: dict[str, Json] = {}
            merge(fresh, item)
            before.append(fresh)
            if isinstance(index := item.get("index"), int | str):
                before.by_index[index] = fresh


def _twin(before: _Items, item: dict[str, Json], place: int, name: str) -> dict[str, Json] | None:
    """The item that this one goes on with."""
    index = item.get("index")
    if isinstance(index, int | str):
        twin = before.by_index.get(index)
        return None if twin is not None and name == "tool_calls" and _is_another(twin, item) else twin
    if name in _BY_PLACE and place < len(before):
        found: Json = before[place]
        return found if isinstance(found, dict) else None
    last: Json = before[-1] if before else None
    if name == "content" and isinstance(last, dict) and last.get("type") == item.get("type"):
        return last  # Mistral: parts of text and thinking, piece by piece
    if name == "tool_calls" and isinstance(last, dict) and not _is_named(item):
        return last
    return None


def _is_another(call: dict[str, Json], item: dict[str, Json]) -> bool:
    """Whether `item` begins a call of its own though its index is that of `call`: some servers number all calls 0.
    Others give each piece of a call another id, but only the first has a name."""
    return _is_named(item) and bool(item.get("id")) and bool(call.get("id")) and item["id"] != call["id"]


def _is_named(item: dict[str, Json]) -> bool:
    """Whether this is a call, or its first piece."""
    function = item.get("function")
    return isinstance(function, dict) and bool(function.get("name"))


def finished(value: Json) -> Json:
    """`value` with its pieces as texts."""
    if isinstance(value, Pieces):
        return "".join(value)
    if isinstance(value, dict):
        return {name: finished(held) for name, held in value.items()}
    if isinstance(value, list):
        return [finished(held) for held in value]
    return value

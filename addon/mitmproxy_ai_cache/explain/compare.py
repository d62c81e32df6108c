"""What tells two requests apart: the places where their canonical forms differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import orjson

from ..wire.body import Part
from ..wire.json_body import Json
from .align import Same, pairs
from .key_view import KeyView
from .shown import ABSENT, change, member_name

Path = tuple[Any, ...]
"""Member names, positions, and pairs of positions for a run of items."""

MOST = 100
"""Differences after which a comparison stops. Nobody reads more, and such a request is not the nearest."""

_FIRST = ("protocol", "host", "scheme", "port", "namespace", "method", "model", "path", "stream", "headers", "query")
"""Said first, in this order: what makes it another call altogether."""

_HEAVY = frozenset({"protocol", "host", "namespace", "method", "model", "path"})

_TEXT = 16
"""Characters from which a string is taken for a text rather than for a word such as `auto`."""

_ALSO_OF_BODY = frozenset({"model", "stream"})
"""Members at the top of a body that are said first, too."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `recorded` and `sent` are canonical values, or `ABSENT`."""

    path: Path
    """Positions are those in the request that was sent; that of a removed item is the one it had."""
    kind: str
    """`changed`, `added`, `removed` or `reordered`."""
    recorded: Json = ABSENT
    sent: Json = ABSENT
    size: int = 0
    """Bytes that changed, about."""
    unlike: float = 0
    """How much of a text is another one: 0 to 1. Texts with nothing in common make it another conversation."""
    of_body: bool = False
    """Whether `path` leads into the JSON body."""
    was: Path = ()
    """Of what was removed from a JSON body: its path in the recorded one."""

    @property
    def place(self) -> str:
        """What of the request differs: one of `_FIRST`, `form` or `body`."""
        first = self.path[0] if self.path else "body"
        return first if not self.of_body or first in _ALSO_OF_BODY else "body"


@dataclass(slots=True)
class Comparison:
    changes: list[Change] = field(default_factory=list)
    equal: list[Path] = field(default_factory=list)
    """Runs of items that are the same, in lists where others are not."""
    body_size: int = 0

    @property
    def distance(self) -> float:
        """How far apart the two are: the number of changes above all, then how much they change."""
        return sum(
            1 + math.log2(1 + one.size) / 10 + (0.5 if one.place in _HEAVY else one.unlike / 2) for one in self.changes
        )

    @property
    def shares_body(self) -> bool:
        """Whether half of the body or more is the same."""
        changed = sum(one.size for one in self.changes if one.place in ("body", "form"))
        return changed * 2 <= self.body_size


def compare(recorded: KeyView, sent: KeyView) -> Comparison:
    found = Comparison(body_size=max(len(recorded.body[1]), len(sent.body[1])))
    found.changes += _of_the_head(recorded, sent)
    _of_the_body(recorded, sent, found)
    if recorded.call.stream != sent.call.stream and not any(
        one.place in ("path", "stream", "form") for one in found.changes
    ):
        found.changes.append(_changed(("stream",), recorded.call.stream, sent.call.stream))
    if recorded.call.protocol.name != sent.call.protocol.name and not found.changes:
        found.changes.append(_changed(("protocol",), recorded.call.protocol.name, sent.call.protocol.name))
    found.changes.sort(key=lambda one: _FIRST.index(one.place) if one.place in _FIRST else len(_FIRST))
    return found


def _of_the_head(recorded: KeyView, sent: KeyView) -> Iterator[Change]:
    one, other = recorded.request, sent.request
    if recorded.target != sent.target:
        places = (("scheme", one.scheme, other.scheme), ("host", one.host.lower(), other.host.lower()))
        differing = [place for place in (*places, ("port", one.port, other.port)) if place[1] != place[2]]
        for name, was, is_now in differing or [("host", one.headers.get("host"), other.headers.get("host"))]:
            yield _changed((name,), was, is_now)
    if recorded.namespace != sent.namespace:
        yield _changed(("namespace",), recorded.namespace, sent.namespace)
    if one.method != other.method:
        yield _changed(("method",), one.method, other.method)
    if recorded.path != sent.path:
        models = recorded.call.model, sent.call.model
        if models[0] != models[1] and all(models) and _model_in_path(one.path, *models) == _model_in_path(other.path):
            yield _changed(("model",), *models)
        else:
            yield _changed(("path",), one.path, other.path)
    yield from _of_names("headers", recorded.headers, sent.headers)
    yield from _of_queries(recorded.query, sent.query)


def _model_in_path(path: str, model: str = "", other: str = "") -> str:
    """`path` with `other` in the place of `model`, percent-encoded as clients do or not at all."""
    for spelled in (quote, lambda name: quote(name, safe=""), str):
        if model and spelled(model) in path:
            return path.replace(spelled(model), spelled(other))
    return path


def _of_queries(recorded: list[tuple[str, str]], sent: list[tuple[str, str]]) -> Iterator[Change]:
    if recorded == sent:
        return
    if Counter(recorded) == Counter(sent):
        yield Change(("query",), "reordered", len(recorded), len(sent))
        return
    yield from _of_names("query", _numbered(recorded), _numbered(sent))
    if list(_numbered(recorded)) != list(_numbered(sent)) and _numbered(recorded).keys() == _numbered(sent).keys():
        yield Change(("query",), "reordered", len(recorded), len(sent))


def _numbered[T](pairs: list[tuple[str, T]]) -> dict[str, T]:
    """A dict of pairs whose names may repeat: the second `a` is `a#2`."""
    seen: Counter[str] = Counter()
    named = {}
    for name, value in pairs:
        seen[name] += 1
        named[name if seen[name] == 1 else f"{name}#{seen[name]}"] = value
    return named


def _of_names(where: str, recorded: dict[str, str], sent: dict[str, str]) -> Iterator[Change]:
    for name in {**recorded, **sent}:
        was, is_now = recorded.get(name, ABSENT), sent.get(name, ABSENT)
        if was != is_now:
            yield _changed((where, name), was, is_now)


def _changed(path: Path, recorded: Json, sent: Json, of_body: bool = False) -> Change:
    kind = "added" if recorded is ABSENT else "removed" if sent is ABSENT else "changed"
    size = _size(recorded, sent)
    texts = [value for value in (recorded, sent) if isinstance(value, str)]
    longest = max(map(len, texts), default=0)
    unlike = size / longest if len(texts) == 2 and longest >= _TEXT else 0
    return Change(path, kind, recorded, sent, size, unlike, of_body)


def _size(recorded: Json, sent: Json) -> int:
    if isinstance(recorded, str) and isinstance(sent, str):
        before, after = change(recorded, sent)
        return max(len(recorded), len(sent)) - before - after
    return max(0 if value is ABSENT else len(orjson.dumps(value, default=str)) for value in (recorded, sent))


def _of_the_body(recorded: KeyView, sent: KeyView, found: Comparison) -> None:
    if recorded.body == sent.body:
        return
    kinds = recorded.body[0], sent.body[0]
    if kinds == ("json", "json"):
        _Walk(found).run(recorded.value, sent.value)
    elif kinds == ("multipart", "multipart"):
        found.changes += _of_parts(recorded.call.body.parts, sent.call.body.parts)
    else:
        found.changes.append(_changed(("body",), _text(recorded.call.body.raw), _text(sent.call.body.raw)))


def _of_parts(recorded: tuple[Part, ...], sent: tuple[Part, ...]) -> Iterator[Change]:
    was, is_now = (_numbered([(part.name, part) for part in parts]) for parts in (recorded, sent))
    for name in {**was, **is_now}:
        one, other = was.get(name), is_now.get(name)
        path = ("model",) if name == "model" else ("form", name)
        if one is None or other is None:
            yield _changed(path, _text(one.data) if one else ABSENT, _text(other.data) if other else ABSENT)
            continue
        if one.data != other.data:
            yield _changed(path, _text(one.data), _text(other.data))
        if one.head != other.head:
            yield _changed((*path, "head"), _text(one.head), _text(other.head))
    if list(was) != list(is_now) and was.keys() == is_now.keys():
        yield Change(("form",), "reordered", len(recorded), len(sent))


def _text(data: bytes) -> str:
    """Bytes as text that differs where they do."""
    return data.decode("utf-8", "backslashreplace")


class _Walk:
    """Both bodies side by side, without recursion: they may be nested as deep as a key may be made of."""

    def __init__(self, found: Comparison) -> None:
        self.found = found
        self.open: list[tuple[Path, Path, Json, Json]] = []
        """The path in the body sent and in the recorded one, and both values."""

    def run(self, recorded: Json, sent: Json) -> None:
        self.open.append(((), (), recorded, sent))
        while self.open and len(self.found.changes) < MOST:
            path, was, one, other = self.open.pop()
            if isinstance(one, dict) and isinstance(other, dict):
                self._members(path, was, one, other)
            elif isinstance(one, list) and isinstance(other, list):
                self._items(path, was, one, other)
            elif type(one) is not type(other) or one != other:
                self.found.changes.append(_changed(path, one, other, True))

    def _members(self, path: Path, was_path: Path, one: dict[str, Json], other: dict[str, Json]) -> None:
        if one.keys() == other.keys() == {"#n"}:
            if one != other:
                self.found.changes.append(_changed(path, one, other, True))
            return
        if one.keys() == other.keys() == {"#p"}:
            order_counts = True
            one, other = dict(one["#p"]), dict(other["#p"])
        elif one.keys() & {"#n", "#p"} or other.keys() & {"#n", "#p"}:
            self.found.changes.append(_changed(path, one, other, True))
            return
        else:
            order_counts = False
        for name in reversed({**one, **other}):
            was, is_now = one.get(name, ABSENT), other.get(name, ABSENT)
            below, was_below = (*path, member_name(name)), (*was_path, member_name(name))
            if was is ABSENT or is_now is ABSENT:
                self.found.changes.append(replace(_changed(below, was, is_now, True), was=was_below))
            else:
                self.open.append((below, was_below, was, is_now))
        if order_counts and [name for name in one if name in other] != [name for name in other if name in one]:
            self.found.changes.append(Change(path, "reordered", len(one), len(other), of_body=True))

    def _items(self, path: Path, was_path: Path, one: list[Json], other: list[Json]) -> None:
        if orjson.dumps(one) == orjson.dumps(other):
            return
        aligned = pairs(one, other)
        if aligned is None:
            self.found.changes.append(Change(path, "reordered", len(one), len(other), of_body=True))
            return
        for was, is_now in reversed(aligned):
            if isinstance(is_now, Same):
                self.found.equal.insert(0, (*path, (is_now.first, is_now.last)))
            elif was is None and is_now is not None:
                self._run((*path, is_now), (), other[is_now[0] : is_now[1] + 1])
            elif is_now is None and was is not None:
                self._run((*path, was), (*was_path, was), one[was[0] : was[1] + 1])
            elif was is not None and is_now is not None:
                self.open.append(((*path, is_now[0]), (*was_path, was[0]), one[was[0]], other[is_now[0]]))

    def _run(self, path: Path, was: Path, items: list[Json]) -> None:
        value = items[0] if len(items) == 1 else items
        size = len(orjson.dumps(value))
        if was:
            self.found.changes.append(Change(path, "removed", value, ABSENT, size, of_body=True, was=was))
        else:
            self.found.changes.append(Change(path, "added", ABSENT, value, size, of_body=True))

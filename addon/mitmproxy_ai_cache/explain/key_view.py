"""A request as its key sees it, sent or recorded.

Everything here comes from the functions that the key is made with. What they leave out cannot be told apart here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from ..identity.canonical import DROP, Rules
from ..identity.identifier import Identified
from ..identity.key import KeyRules, body_bytes, fingerprint, header_lines, public_query, target_of
from ..protocols.base import Call
from ..wire.json_body import Json
from ..wire.messages import Request


@dataclass(frozen=True)
class KeyView:
    """A call and the rules its key is made by. What counts of it is computed as it is asked for: most never is."""

    identified: Identified
    rules: KeyRules

    @property
    def request(self) -> Request:
        return self.identified.request

    @property
    def call(self) -> Call:
        return self.identified.call

    @property
    def namespace(self) -> str:
        return self.identified.namespace

    @cached_property
    def target(self) -> list[bytes]:
        return target_of(self.request, self.rules.aliases)[0]

    @cached_property
    def path(self) -> str:
        """The path, or the alias that stands for it."""
        return target_of(self.request, self.rules.aliases)[1]

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The parameters that count, as they were spelled, in their order."""
        pairs = (pair.partition("=") for pair in public_query(self.request.query).split("&") if pair)
        return [(name, value) for name, _, value in pairs]

    @cached_property
    def headers(self) -> dict[str, str]:
        """The header fields that count, their lists sorted."""
        lines = header_lines(self.call, self.request, self.rules.headers)
        pairs = (line.decode("utf-8", "surrogatepass").partition("=") for line in lines)
        return {name: value for name, _, value in pairs}

    @cached_property
    def body(self) -> tuple[str, bytes]:
        """The kind of the body and the bytes it counts by."""
        kind, counted = body_bytes(self.call, self.rules)
        return kind.decode(), counted

    @cached_property
    def value(self) -> Json:
        """The body in the canonical form of `canonical.py`, where its kind is `json`."""
        return orjson.loads(self.body[1])

    def fingerprint(self, rules: KeyRules) -> str:
        return fingerprint(self.call, self.request, (), rules)

    def position(self, path: tuple[Any, ...]) -> tuple[Any, ...]:
        """`path` into the canonical form as one into the body that was sent: rules may have dropped items before it."""
        rules = self.rules.rules_for(self.call)
        if rules is None:
            return path
        place, found = self.call.body.json, []
        for step in path:
            if rules is not None and isinstance(place, list) and not isinstance(step, str):
                kept = _kept(place, rules)
                step = (kept[step[0]], kept[step[1]]) if isinstance(step, tuple) else kept[step]
            found.append(step)
            below = isinstance(step, str) and isinstance(place, dict) and step in place
            inside = isinstance(step, int) and isinstance(place, list)
            if not (below or inside):
                return tuple(found) if len(found) == len(path) else path
            place = place[step]
            rules = rules.child(str(step)) if rules is not None else None
        return tuple(found)


def _kept(items: list[Json], rules: Rules) -> list[int]:
    """The positions of those items that the key's rules leave in."""
    kept = []
    for index, item in enumerate(items):
        below = rules.child(str(index))
        if below is None or below.rewrite is None or below.rewrite(item) is not DROP:
            kept.append(index)
    return kept

"""Which scope a test has, and what is said of its misses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST = 1000
"""Characters of a scope. Node ids of parametrized tests know no bounds."""

USAGE = '@pytest.mark.ai_cache("scope") or @pytest.mark.ai_cache(mode="off")'


@dataclass(frozen=True)
class Wish:
    """`off`: the test is none of our business. `shared`: other tests use the scope, too."""

    namespace: str
    shared: bool = False
    off: bool = False


def wish(node_id: str, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Wish:
    """What the marker with these arguments asks for. Raises `ValueError`, one line."""
    if set(keywords) - {"mode"} or keywords.get("mode", "off") != "off" or len(arguments) > (0 if keywords else 1):
        raise ValueError(f"write {USAGE}")
    if keywords:
        return Wish("", off=True)
    if not arguments:
        return Wish(_short(_printable(node_id)))
    named = arguments[0]
    if not isinstance(named, str) or not named.isprintable() or not named or named != named.strip():
        raise ValueError(f"the scope {named!r} is no name; write {USAGE}")
    return Wish(_short(named), shared=True)


def _printable(name: str) -> str:
    return "".join(character if character.isprintable() else "_" for character in name).strip()


def _short(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 17]}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def explanation(counts: dict[str, Any], seen: int, node_id: str) -> str:
    """Of the misses after the first `seen` ones: what was asked, what is recorded, and how to record it."""
    fresh = counts["missed"] - seen
    calls = "a call has no recorded answer" if fresh == 1 else f"{fresh} calls have no recorded answer"
    told = counts["misses"][seen:]
    lines = [f"ai-cache: {calls}; record with: pytest --ai-cache=record {_quoted(node_id)}"]
    for miss in told:
        lines += ["", miss["call"], *(f"  {line}" for line in miss["explanation"])]
    if fresh > len(told):
        lines += ["", f"and {fresh - len(told)} more"]
    return "\n".join(lines)


def _quoted(node_id: str) -> str:
    return '"' + node_id.replace('"', '\\"') + '"'


def summary(before: dict[str, Any], after: dict[str, Any], shown_store: str) -> str:
    """One line: what happened since `before`."""

    def since(name: str) -> int:
        return int(after["statuses"].get(name, 0)) - int(before["statuses"].get(name, 0))

    words = [f"{since(name)} {name}" for name in ("HIT", "MISS")]
    words += [f"{since(name)} {name}" for name in ("REFRESH", "BYPASS", "STALE") if since(name)]
    if stored := int(after["stored"]) - int(before["stored"]):
        words.append(f"{stored} stored")
    return f"ai-cache: {', '.join(words)}, {shown_store}"


def shown_store(url: str) -> str:
    return f"cassettes at {url[len('cassettes:') :]}" if url.startswith("cassettes:") else f"store {url}"

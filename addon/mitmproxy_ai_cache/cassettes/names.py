"""Where a cassette stands: `SCOPE/NAME-NUMBER.json`, safe on every file system.

Names are for people; what counts stands in the file. All is `[a-z0-9._-]`: some file systems do not tell cases apart,
and Windows reserves names (`con`, `nul.txt`) and drops dots at the end.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson

from ..entries.entry import Entry

DEFAULT = "default"
"""The directory of recordings without a namespace."""
PARTS = "parts"

LONGEST = 100
"""Characters of a file or directory name."""
_LONGEST_SCOPE = 160
"""Characters of the path of a scope: Windows allows 260 for all."""

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_UNSAFE = re.compile(r"[^a-z0-9._-]+")
_NUMBER = re.compile(r"(.+)-(\d+)\.json")
_ROLE = "role"
_LISTS = ("messages", "input", "contents", "chat_history")


def scope_of(namespace: str) -> str:
    """The directory of a namespace, with `/` between its parts: `tests/test_a.py::test_x[1]` is
    `tests/test_a/test_x-1`."""
    if not namespace:
        return DEFAULT
    pieces = [piece for piece in re.split(r"::|[/\\]", namespace) if piece]
    components = [_component(piece) for piece in pieces] or [_component(namespace)]
    if components[0] == PARTS:
        components[0] = f"{PARTS}-{_hash(namespace)}"
    scope = "/".join(components)
    if len(scope) <= _LONGEST_SCOPE:
        return scope
    return f"{scope[: _LONGEST_SCOPE - 9].rpartition('/')[0] or components[0][:50]}/{_hash(namespace)}"


def stem_of(entry: Entry) -> str:
    """The name without its number: protocol, model and turn, for example `openai-chat-gpt-4o-t1`."""
    turn = turn_of(entry.request)
    words = [entry.protocol or "exchange", entry.model, f"t{turn}" if turn else ""]
    if entry.protocol in ("", "exchange"):
        words = ["exchange", entry.method, entry.url.partition("?")[0].rpartition("//")[2].partition("/")[2]]
    stem = "-".join(filter(None, (_UNSAFE.sub("-", word.lower()).strip("-.") for word in words)))
    return _short(stem, LONGEST - len("-000000.json"))


def numbered(stem: str, number: int) -> str:
    return f"{stem}-{number}.json"


def split(name: str) -> tuple[str, int]:
    """Stem and number of a file's name; one that has none keeps its name and is number 0."""
    found = _NUMBER.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 0)


def turn_of(request: bytes) -> int:
    """How many messages of the user the request has, 0 where it is no conversation. As good as a name needs it."""
    try:
        body = orjson.loads(request)
    except orjson.JSONDecodeError:
        return 0
    if not isinstance(body, dict):
        return 0
    for name in _LISTS:
        items = body.get(name)
        if isinstance(items, list) and any(isinstance(item, dict) for item in items):
            turns = sum(map(_is_of_user, items))
            return turns + (name == "chat_history")
    return int(any(name in body for name in ("messages", "contents", "prompt", "message")))


def _is_of_user(item: Any) -> bool:
    """Whether a user said this; results of tools are sent in his name, and count as no turn."""
    if not isinstance(item, dict) or str(item.get(_ROLE, "user")).lower() != "user" or "output" in item:
        return False
    content = item.get("content") or item.get("parts")
    if not isinstance(content, list) or not content:
        return True
    tools = [part for part in content if isinstance(part, dict) and _is_tool_result(part)]
    return len(tools) < len(content)


def _is_tool_result(part: dict[str, Any]) -> bool:
    return part.get("type") == "tool_result" or "toolResult" in part or "functionResponse" in part


def _component(piece: str) -> str:
    base = piece.lower()
    base = base.removesuffix(".py") if len(base) > 3 else base
    safe = re.sub(r"-+", "-", _UNSAFE.sub("-", base)).strip("-.")
    if safe.endswith(".json"):
        safe = safe.removesuffix(".json") + "-json"  # it may not be a file's name
    if not safe or not piece.isascii():
        safe = f"{safe}-{_hash(piece)}".lstrip("-")
    if _RESERVED.fullmatch(safe):
        safe = "_" + safe
    return _short(safe, LONGEST)


def _short(name: str, longest: int) -> str:
    """`name`, or its beginning and a hash of all of it."""
    if _RESERVED.fullmatch(name):
        name = "_" + name
    if len(name) <= longest:
        return name
    return f"{name[: longest - 9].rstrip('-.')}-{_hash(name)}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()

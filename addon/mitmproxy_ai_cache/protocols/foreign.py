"""Protocols that come from other distributions, by the entry points of `ai_cache.protocols`."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ..system.plugins import PROTOCOLS, Plugin, load
from .base import Protocol

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,58}[a-z0-9])?")
"""A name stands in keys, headers, metrics, and names of cassettes."""


def load_protocols(taken: Collection[str]) -> tuple[Plugin[Protocol], ...]:
    """Those that can be used. None may have a name of ours, which are `taken`."""
    return load(PROTOCOLS, Protocol, lambda protocol: protocol.name, taken=taken, wrong=wrong)


def wrong(protocol: Protocol) -> str:
    """What would go wrong with this protocol only when it is used, or nothing."""
    name: Any = getattr(protocol, "name", None)
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        return f"its name is {name!r}; it may have letters a to z, digits, dots and hyphens"
    tokens: Any = getattr(protocol, "tokens", ())
    if not (_is_texts(tokens) and tokens):
        return f"the tokens of {name} are {tokens!r}; they are a tuple of the last words of its paths"
    if not _is_texts(protocol.ignored):
        return f"ignored of {name} is {protocol.ignored!r}; it is a tuple of JSON paths"
    if not _is_texts(protocol.key_headers) or any(header != header.lower() for header in protocol.key_headers):
        return f"key_headers of {name} is {protocol.key_headers!r}; it is a set of names in lower case"
    if type(protocol).recognise is Protocol.recognise:
        return f"{name} has no method recognise"
    return ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple | list | frozenset | set) and all(isinstance(each, str) for each in value)

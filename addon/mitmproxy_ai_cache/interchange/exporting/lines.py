"""JSONL: an entry a line, with all that is known of it, so that an import gives back the same entry under the same key.

    {"ai_cache_entry": 1, "key": ..., "created": ..., ..., "request": {"text": ...}, "response": {"base64": ...}}

Members are the fields of an `Entry`; both bodies are text where they are UTF-8, else base64.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import fields
from typing import Any

import orjson

from ...entries.entry import BrokenEntry, Entry

VERSION = 1
BEGINNING = b'{"ai_cache_entry":'
"""Of each line."""

_BODIES = ("request", "body")
_KEY = re.compile(r"[0-9a-f]{64}(?:-[1-9]\d{0,8})?", re.ASCII)
_NAMES = tuple(each.name for each in fields(Entry) if each.name not in _BODIES)


def encode(entry: Entry) -> bytes:
    """A line with its end."""
    known = {name: getattr(entry, name) for name in _NAMES}
    document = {"ai_cache_entry": VERSION, **known, "request": _body(entry.request), "response": _body(entry.body)}
    return orjson.dumps(document) + b"\n"


def decode(line: bytes) -> Entry:
    """Raises `BrokenEntry`."""
    try:
        document = orjson.loads(line)
        if document["ai_cache_entry"] != VERSION:
            raise BrokenEntry("it was written by a newer version")
        known = {name: document[name] for name in _NAMES if name in document}
        for name in ("headers", "request_headers"):
            known[name] = tuple((field[0], field[1]) for field in known.get(name, ()))
        if not _KEY.fullmatch(known["key"]):
            raise BrokenEntry("its key is no key")
        entry = Entry(**known, request=_bytes(document["request"]), body=_bytes(document["response"]))
        return Entry.unpack(entry.pack_answer(), entry.pack_request())  # the checks of what comes from a store
    except BrokenEntry:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, binascii.Error) as error:
        raise BrokenEntry(f"no entry ({type(error).__name__}: {error})") from None


def _body(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(body: dict[str, Any]) -> bytes:
    if "base64" in body:
        return base64.b64decode(body["base64"], validate=True)
    text: str = body["text"]
    return text.encode()

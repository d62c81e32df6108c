"""Captured bodies into their events or frames. Bytes in, values out; nothing is parsed while chunks pass.

Every framing is a row of `FRAMINGS`, and all who ask how a body is read ask this table. Adding one is a file with a
`Framing` and a line here. In a cassette it stands as text or base64 until `cassettes/bodies.py` knows a better form.
"""

from __future__ import annotations

from . import eventstream, json_array, ndjson, sse
from .events import Event, Stream, load
from .table import Framing

__all__ = ["FORMATS", "FRAMINGS", "Event", "Framing", "Stream", "load", "tag_of"]

FRAMINGS = {framing.name: framing for framing in (sse.FRAMING, eventstream.FRAMING, ndjson.FRAMING, json_array.FRAMING)}

FORMATS = ("json", *FRAMINGS, "raw")
"""The tags an entry may carry."""

_BY_TYPE = {media_type: framing.name for framing in FRAMINGS.values() for media_type in framing.media_types}


def tag_of(content_type: str, body: bytes) -> str:
    """The format tag by media type; by a look at the body where the provider named none."""
    media = content_type.partition(";")[0].strip().lower()
    if media in _BY_TYPE:
        return _BY_TYPE[media]
    if media == "application/json" or media.endswith("+json"):
        return "json"
    if "/" in media:
        return "raw"
    for framing in FRAMINGS.values():
        if framing.begins(body):
            return framing.name
    return "json" if body[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")) else "raw"

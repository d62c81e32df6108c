"""What is where on a shared server, and what a value is made of.

ai-cache:1:entry:GENERATION:KEY    u32 size of the packed answer | packed answer | packed request
ai-cache:1:generation:NAMESPACE    the token that the names of a namespace's entries carry (generations.py)
ai-cache:1:recent:GENERATION       sorted set: keys of its entries by the time they were created (recent.py)
ai-cache:1:issued:ID               JSON: generation, key, namespace of the entry whose answer issued ID
ai-cache:1:lease:KEY               who fetches the answer of KEY (leases.py)
"""

from __future__ import annotations

import struct

ENTRY = "ai-cache:1:entry:"
_ISSUED, _RECENT = "ai-cache:1:issued:", "ai-cache:1:recent:"

FOR_EVER = 10 * 365 * 86400
"""Seconds an entry without a time to live is kept, so that nothing stays in a shared server without end."""


def entry_name(generation: str, key: str) -> str:
    return f"{ENTRY}{generation}:{key}"


def generation_of(name: str) -> str:
    return name.removeprefix(ENTRY).partition(":")[0]


def key_of(name: str) -> str:
    return name.rpartition(":")[2]


def issued_name(issued: str) -> bytes:
    return (_ISSUED + issued).encode("utf-8", "surrogatepass")


def recent_name(generation: str) -> str:
    return _RECENT + generation


def joined(answer: bytes, request: bytes) -> bytes:
    return struct.pack(">I", len(answer)) + answer + request


def parts(value: bytes) -> tuple[bytes, bytes]:
    """Packed answer and packed request. A value that was tampered with fails its checksum later."""
    if len(value) < 4:
        return value, b""
    (size,) = struct.unpack_from(">I", value)
    return value[4 : 4 + size], value[4 + size :]

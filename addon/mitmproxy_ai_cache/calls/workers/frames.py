"""Messages on the pipe to a worker: a head in JSON and byte strings, each with its length before it. Never pickle.

u32 size of the head | head: {"sizes": [...], ...} | the byte strings
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Head = dict[str, Any]
_SIZE = struct.Struct(">I")
_PIECE = 1 << 20


def packed(head: Head, blobs: Sequence[bytes] = ()) -> Iterator[bytes | memoryview]:
    """The pieces of a message, in their order. The byte strings are not copied."""
    # Not orjson: paths and header values may hold lone surrogates, which only the standard library passes on.
    text = json.dumps({**head, "sizes": [len(blob) for blob in blobs]}).encode()
    yield _SIZE.pack(len(text)) + text
    for blob in blobs:
        view = memoryview(blob)
        for at in range(0, len(view), _PIECE):
            yield view[at : at + _PIECE]


def unpacked(read: Callable[[int], bytes]) -> tuple[Head, list[bytes]]:
    """The next message of `read`, which gives exactly as many bytes as it is asked for, or raises EOFError."""
    (size,) = _SIZE.unpack(read(_SIZE.size))
    head: Head = json.loads(read(size))
    return head, [read(size) for size in head.pop("sizes")]

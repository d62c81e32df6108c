"""What is stored, and its packed form: versioned, checked, one atomic value.

    answer:  b"AIC2" | CRC-32 of all that follows | u32 size of head | head (JSON) | body
    request: b"AIQ2" | CRC-32 of all that follows | 1 where compressed, else 0 | body of the request

Bodies are zstd-compressed where that makes them smaller. The checksum finds damage; who may write here can make a
right one of any kind (`vault` is against that). A cryptographic one took a third of the time of unpacking.
Never pickle: the bytes may come from a shared server.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

import orjson

from ..wire.field_syntax import FINAL, is_name, is_value
from ..wire.zstd import ZstdCompressor, ZstdDecompressor, ZstdError, get_frame_info
from .usage import Usage

_ANSWER, _REQUEST = b"AIC2", b"AIQ2"
_SEAL = 8
"""Bytes before what is sealed: the kind and the checksum."""
_UNREADABLE = (
    struct.error,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    MemoryError,
    ZstdError,
)
_IS_PLAIN, _IS_ZSTD = b'"zstd":false}', b'"zstd":true}'
"""How heads end that were packed here."""
_COMPRESS_FROM = 1024
"""Bytes. Below it the gain is smaller than what it costs on a hit."""
_MAX_RATIO, _MAX_FREE = 1000, 64 << 20
"""Most decoded bytes per packed byte that are believed of a body beyond the first 64 MiB: a shared server may lie."""


KEEP_EXPIRED = 86400.0
"""Seconds a store keeps an entry at most beyond its TTL, so that `ai_cache_stale_if_error` may be switched on later. A
store of short TTLs keeps twice its entries so, and not all of a day."""


class BrokenEntry(ValueError):
    """The bytes are no entry of a version we know, or were changed since they were written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer, and what is needed to replay it, to judge its age and to find it again."""

    key: str
    """64 hex digits; `-n` for the n-th sample."""
    created: float
    """Unix time of the answer, in seconds."""
    ttl: float
    """Seconds it may answer; 0 for ever."""
    grace: float = field(default=0.0, kw_only=True)
    """`ai_cache_stale_if_error` of the proxy that wrote it, in seconds."""
    status: int
    headers: tuple[tuple[str, str], ...]
    format: str
    """One of `framing.FORMATS`."""
    body: bytes
    request: bytes = b""
    """The body of the request, without its content coding."""
    request_headers: tuple[tuple[str, str], ...] = ()
    """Those fields of the request that its key depends on, and its content type; never a credential."""
    cacheable: bool = True
    """False for what only `record` keeps: errors, state, other methods."""
    protocol: str = ""
    model: str = ""
    method: str = "POST"
    url: str = ""
    stream: bool = False
    live: bool = False
    namespace: str = ""
    redacted: bool = False
    """A secret in request or answer was replaced by a placeholder: these are not the bytes that passed."""
    run: str = ""
    """The life of the proxy that kept it: 12 hex digits."""
    issued: str = ""
    """The id a later request may name."""
    input_tokens: int = 0
    output_tokens: int = 0
    """As the provider counted them, all of them: what it read from its prompt cache is in the input."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    """Parts of these that have prices of their own; see `Usage`."""
    first_byte: float = 0.0
    """Seconds from the request to the head of the answer, as the provider took them."""
    total: float = 0.0
    """Seconds from the request to the end of the answer."""

    # The one rule of staleness. Unix times; infinity for an entry without a TTL.

    @property
    def fresh_until(self) -> float:
        """Until then it answers."""
        return self.created + self.ttl if self.ttl else float("inf")

    def is_fresh(self, now: float) -> bool:
        return now <= self.fresh_until

    def answers_until(self, stale_if_error: float) -> float:
        """Until then it answers where the provider fails. `stale_if_error` is the setting of today, in seconds."""
        return self.fresh_until + stale_if_error

    def kept_until(self, stale_if_error: float = 0.0) -> float:
        """Until then a store keeps it, if it has room: as long again as its TTL but at most
        `KEEP_EXPIRED`, or `stale_if_error` where that is longer, today's or that of the proxy that wrote it."""
        return self.fresh_until + max(min(self.ttl, KEEP_EXPIRED), self.grace, stale_if_error)

    @property
    def usage(self) -> Usage:
        return Usage(*counts_of(self))

    def pack_answer(self) -> bytes:
        packed = ((name, getattr(self, name)) for name in _HEAD)
        head: dict[str, Any] = {name: value for name, value in packed if value or name not in _ZERO_IF_ABSENT}
        body, head["zstd"] = _compressed(self.body)
        packed_head = orjson.dumps(head)
        return _sealed(_ANSWER, struct.pack(">I", len(packed_head)), packed_head, body)

    def pack_request(self) -> bytes:
        body, compressed = _compressed(self.request)
        return _sealed(_REQUEST, bytes([compressed]), body)

    @classmethod
    def unpack(cls, answer: bytes, request: bytes | None = None) -> Entry:
        """The entry of `answer`; without `request` its request body is left empty. Raises `BrokenEntry`."""
        data = _opened(_ANSWER, answer)
        try:
            (size,) = struct.unpack_from(">I", data)
            head: dict[str, Any] = orjson.loads(data[4 : 4 + size])
            compressed = bool(head.pop("zstd"))
            for fields_of in ("headers", "request_headers"):
                head[fields_of] = tuple(_field(*pair) for pair in head.get(fields_of, ()))
            head["body"] = _decompressed(data[4 + size :], compressed)
            if request is not None:
                sent = _opened(_REQUEST, request)
                head["request"] = _decompressed(sent[1:], bool(sent[0]))
            known = {name: value for name, value in head.items() if name in _TYPES}
            for name, value in known.items():
                if type(value) not in _TYPES[name]:
                    raise BrokenEntry(f"{name} is no {_TYPES[name][0].__name__}")
            if known["status"] not in FINAL:
                raise BrokenEntry("no status")
            return cls(**known)
        except _UNREADABLE as error:
            raise BrokenEntry(str(error)) from None


def peek_answer(packed: bytes) -> bytes:
    """The body of a packed answer. Nothing is checked: this is to look through many of them. Raises `BrokenEntry`."""
    try:
        start, end = _head_at(packed)
        if packed.endswith(_IS_PLAIN, start, end):
            compressed = False
        else:
            compressed = packed.endswith(_IS_ZSTD, start, end) or bool(peek_head(packed)["zstd"])
        return _decompressed(memoryview(packed)[end:], compressed)
    except _UNREADABLE as error:
        raise BrokenEntry(str(error)) from None


def peek_head(packed: bytes) -> dict[str, Any]:
    """The head of a packed answer or of its beginning, unchecked. Raises `BrokenEntry`."""
    try:
        start, end = _head_at(packed)
        head: dict[str, Any] = orjson.loads(packed[start:end])
        head["key"]
        return head
    except _UNREADABLE as error:
        raise BrokenEntry(str(error)) from None


def peek_request(packed: bytes) -> bytes:
    """The body of a packed request, unchecked. Raises `BrokenEntry`."""
    try:
        return _decompressed(memoryview(packed)[_SEAL + 1 :], bool(packed[_SEAL]))
    except _UNREADABLE as error:
        raise BrokenEntry(str(error)) from None


def _head_at(packed: bytes) -> tuple[int, int]:
    (size,) = struct.unpack_from(">I", packed, _SEAL)
    return _SEAL + 4, _SEAL + 4 + size


def tokens_of(usage: Usage) -> dict[str, Any]:
    """The fields of an entry that say `usage`."""
    return dict(zip(_USAGE, usage, strict=True))


_USAGE = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
)
"""In the order of `Usage`."""
counts_of: Callable[[Entry], tuple[int, ...]] = attrgetter(*_USAGE)
"""The counts of `Usage` without its name: for hits, which count by them."""
_ZERO_IF_ABSENT = frozenset(_USAGE[2:])
"""Nearly always zero, and every hit reads them."""

_TYPES: dict[str, tuple[type, ...]] = {
    each.name: {"str": (str,), "bytes": (bytes,), "bool": (bool,), "int": (int,), "float": (float, int)}.get(
        str(each.type), (tuple,)
    )
    for each in fields(Entry)
}
_HEAD = tuple(name for name in _TYPES if name not in ("body", "request"))


def _field(name: str, value: str) -> tuple[str, str]:
    """A field that may be replayed. Raises ValueError, TypeError and AttributeError."""
    if not (is_value(value) and is_name(name)):
        raise ValueError("no header field")
    return name, value


def _sealed(kind: bytes, *parts: bytes) -> bytes:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join((kind, struct.pack(">I", checksum), *parts))


def _opened(kind: bytes, packed: bytes) -> memoryview:
    """What was sealed, without a copy."""
    if packed[:4] != kind:
        raise BrokenEntry("not an entry of this version")
    data = memoryview(packed)[_SEAL:]
    if struct.pack(">I", zlib.crc32(data)) != packed[4:_SEAL]:
        raise BrokenEntry("checksum")
    return data


class _Zstd(threading.local):
    """Making one takes longer than what it does with a small body; no two threads may use the same one."""

    def __init__(self) -> None:
        self.compressor = ZstdCompressor()


_ZSTD = _Zstd()


def _compressed(data: bytes) -> tuple[bytes, bool]:
    if len(data) >= _COMPRESS_FROM:
        smaller = _ZSTD.compressor.compress(data, ZstdCompressor.FLUSH_FRAME)
        if len(smaller) < len(data):
            return smaller, True
    return data, False


def _decompressed(data: memoryview, compressed: bool) -> bytes:
    if not compressed:
        return bytes(data)
    size = get_frame_info(data).decompressed_size
    if size is None or size > _MAX_FREE + _MAX_RATIO * len(data):
        raise BrokenEntry("a body of no or of no likely size")
    decompressor = ZstdDecompressor()
    body = decompressor.decompress(data, size + 1)
    if not decompressor.eof or len(body) != size:
        raise BrokenEntry("a body that ends early")
    return body


def short_key(key: str) -> str:
    """The first 12 hex digits, as headers and log lines show a key."""
    return key[:12]

"""Content codings undone (RFC 9110 section 8.4): gzip, deflate, br, zstd; bounded, and also of bodies that were cut."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import brotli

from .zstd import ZstdDecompressor, ZstdError

MAX_RATIO = 1000
"""Most decoded bytes per coded byte that are believed. Event streams of repeated chunks reach some 60 in the corpus."""

_STEP = 64 * 1024
_ZSTD_STEP = 512

_MAX_MEMBERS = 10_000
"""Most gzip members or zstd frames of one body. Each costs microseconds, and an empty one nine bytes."""

_MAX_CODINGS = 4
"""Most codings on top of one another. Real answers have one."""


class UnknownCoding(ValueError):
    """A content coding we cannot undo."""


class TooLarge(ValueError):
    """The decoded body passes the limit, or the ratio is that of a bomb."""


@dataclass(frozen=True, slots=True)
class Decoded:
    body: bytes
    complete: bool
    """Whether the coding's own end was reached. False: all that could be decoded of a body that was cut."""


class _Decoder(Protocol):
    def feed(self, data: bytes, limit: int) -> bytes: ...
    def finished(self) -> bool: ...


class _Zlib:
    """gzip (also of several members) and deflate, with or without the zlib header."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._inner = zlib.decompressobj(wbits)
        self._members = 0

    def feed(self, data: bytes, limit: int) -> bytes:
        out = bytearray()
        while data:
            if self._inner.eof:
                self._inner = zlib.decompressobj(self._wbits)
                self._members = _one_more(self._members)
            try:
                out += self._inner.decompress(data, _STEP)
            except zlib.error:
                if self._wbits != zlib.MAX_WBITS or out or self._members:
                    raise
                self._wbits = -zlib.MAX_WBITS
                self._inner = zlib.decompressobj(self._wbits)
                continue
            data = self._inner.unused_data or self._inner.unconsumed_tail
            if len(out) > limit:
                raise TooLarge(f"more than {limit} bytes decoded")
        return bytes(out)

    def finished(self) -> bool:
        return self._inner.eof


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def feed(self, data: bytes, limit: int) -> bytes:
        # With a limit brotli holds output back until it is asked again; without one it does too, after a flush.
        result = bytearray(self._inner.process(data, output_buffer_limit=_STEP))
        while more := self._inner.process(b"", output_buffer_limit=_STEP):
            result += more
            if len(result) > limit:
                raise TooLarge(f"more than {limit} bytes decoded")
        return bytes(result)

    def finished(self) -> bool:
        return bool(self._inner.is_finished())


class _Zstd:
    """One frame after another."""

    def __init__(self) -> None:
        self._inner = ZstdDecompressor()
        self._frames = 0

    def feed(self, data: bytes, limit: int) -> bytes:
        out = bytearray()
        # What follows a frame is copied at its end, and a frame may have nine bytes: so only few go in at a time.
        for at in range(0, len(data), _ZSTD_STEP):
            piece = data[at : at + _ZSTD_STEP]
            while piece:
                if self._inner.eof:
                    self._inner = ZstdDecompressor()
                    self._frames = _one_more(self._frames)
                out += self._inner.decompress(piece, _STEP)
                while not (self._inner.eof or self._inner.needs_input):
                    if len(out) > limit:
                        raise TooLarge(f"more than {limit} bytes decoded")
                    out += self._inner.decompress(b"", _STEP)
                piece = self._inner.unused_data
            if len(out) > limit:
                raise TooLarge(f"more than {limit} bytes decoded")
        return bytes(out)

    def finished(self) -> bool:
        return self._inner.eof


def _one_more(members: int) -> int:
    if members == _MAX_MEMBERS:
        raise TooLarge(f"more than {_MAX_MEMBERS} members")
    return members + 1


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "x-gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _Brotli,
    "zstd": _Zstd,
}


def decode(body: bytes, codings: str, limit: int) -> Decoded:
    """Undo the `Content-Encoding` value `codings`, never to more than `limit` bytes.

    A body that ends early decodes as far as it goes. Raises `UnknownCoding`, `TooLarge`.
    """
    complete = True
    names = [name for item in codings.split(",") if (name := item.strip().lower()) not in ("", "identity")]
    if len(names) > _MAX_CODINGS:
        raise UnknownCoding(f"{len(names)} codings")
    for name in reversed(names):
        if name not in _DECODERS:
            raise UnknownCoding(name)
        body, finished = _undo(_DECODERS[name](), body, limit)
        complete = complete and finished
    return Decoded(body, complete)


def _undo(decoder: _Decoder, body: bytes, limit: int) -> tuple[bytes, bool]:
    out = bytearray()
    # Small steps first: a bomb is seen before it is unpacked.
    step = 1024
    at = 0
    try:
        while at < len(body):
            out += decoder.feed(body[at : at + step], limit)
            at += step
            if len(out) > limit or len(out) > MAX_RATIO * min(at, len(body)) + _STEP:
                raise TooLarge(f"more than {limit} bytes decoded")
            step = min(step * 2, _STEP)
        return bytes(out), decoder.finished()
    except (zlib.error, brotli.error, ZstdError):
        return bytes(out), False

"""Which texts cannot be in an entry, from some bytes about it: most of a store is searched without reading its bodies.

A signature is a Bloom filter with one hash (a bit map) of all fours: of each four bytes in a row of what an entry is
searched in. Where a run of bytes stands in it, all fours of the run are in the map.

Texts below JSON's escapes are signed where there is a `\\u`, the only escape that can stand for a character of
`search_text.runs`; all else is found in the bytes as they are. So a signature never says no to what
`SearchText.is_in` finds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote

from .search_text import layers, runs

UNKNOWN = b""
"""The signature of what may hold any text."""

_MOST = 2 << 20
"""Bytes of text that are signed. It takes some 70 ms per MB, and larger entries are few."""
_BLOCK = 4096
"""Bytes that are signed in one go: it takes 0.3 ms."""
_SMALLEST, _LARGEST = 7, 20
"""Bits of a place: maps have 16 bytes to 128 kB."""
_SHIFTS = (13, 17, 5)
"""Of Marsaglia's xorshift: all bits of a four tell in the lowest ones, from which places are made."""


def _lanes(number: int) -> int:
    """The same number in each 32 bits of a block."""
    return int.from_bytes(number.to_bytes(4, "little") * (_BLOCK // 4), "little")


_MIXING = [(shift, _lanes((1 << 32 - shift) - 1)) for shift in _SHIFTS]
_PLACES = {bits: _lanes((1 << bits) - 1) for bits in range(_SMALLEST, _LARGEST + 1)}


def signature(url: str, bodies: Iterable[bytes], breathe: Callable[[], None] = lambda: None) -> bytes:
    """Of an entry. `breathe` is called about three times in a millisecond."""
    texts: list[bytes] = []
    size = 0
    for text in _texts(url, bodies):
        texts.append(text)
        size += len(text)
        if size > _MOST:
            return UNKNOWN
        breathe()
    bits = min(max((2 * size).bit_length(), _SMALLEST), _LARGEST)
    digits = bytearray(b"0") * (1 << bits)
    said = b"\n".join(texts)
    for start in range(0, len(said), _BLOCK):
        for offset in range(start, start + 4):
            for place in _places(said[offset : offset + _BLOCK], bits):
                digits[place] = 49
        breathe()
    digits.reverse()
    return _folded(int(digits, 2), bits)


def _texts(url: str, bodies: Iterable[bytes]) -> Iterator[bytes]:
    """All that an entry is searched in."""
    yield url.encode("utf-8", "replace")
    if "%" in url:
        yield unquote(url).encode("utf-8", "replace")
    for body in bodies:
        if len(body) <= _MOST and b"\\u" in body:
            yield from (said.encode("utf-8", "replace") for said in layers(body))
        else:
            yield body


def _places(text: bytes, bits: int) -> Iterable[int]:
    """Where the map is set for each fourth four of at most a block: what takes a loop each is done to all at once."""
    text = text[: len(text) // 4 * 4]
    mixed = int.from_bytes(text, "little")
    for shift, mask in _MIXING:
        mixed ^= (mixed >> shift) & mask
    return memoryview((mixed & _PLACES[bits]).to_bytes(len(text), sys.byteorder)).cast("I")


def _folded(places: int, bits: int) -> bytes:
    """The map in two to four bits per four that is in it: half a map is that of places with one bit less."""
    while bits > _SMALLEST:
        size = 1 << bits
        clear = size - places.bit_count()
        fours = size * math.log(size / clear) if clear else math.inf  # as many as set that many bits by chance
        if 4 * fours > size:
            break
        bits -= 1
        places = (places >> (size // 2)) | (places & ((1 << (size // 2)) - 1))
    return places.to_bytes((1 << bits) // 8, "little")


class WantedText:
    """A text that is looked for, as signatures are asked for it."""

    def __init__(self, text: str) -> None:
        self._fours = dict.fromkeys(_mixed(run[at : at + 4]) for run in runs(text) for at in range(len(run) - 3))
        self._bits: dict[int, list[tuple[int, int]]] = {}
        """Which bytes of a signature are asked for which bits, by its length."""

    @property
    def excludes(self) -> bool:
        """Whether signatures can say anything: there is a run of four bytes."""
        return bool(self._fours)

    def may_be_in(self, signed: bytes) -> bool:
        """False only where the text is not in the entry."""
        if not signed:
            return True
        asked = self._bits.get(len(signed))
        if asked is None:
            places = [four % (len(signed) * 8) for four in self._fours]
            asked = self._bits[len(signed)] = [(place >> 3, 1 << (place & 7)) for place in places]
        for byte, bit in asked:  # noqa: SIM110 which takes twice as long
            if not signed[byte] & bit:
                return False
        return True


def _mixed(four: bytes) -> int:
    mixed = int.from_bytes(four, "little")
    for shift in _SHIFTS:
        mixed ^= mixed >> shift
    return mixed

"""The recorded requests, indexed so that the one nearest to a request that missed is found among many thousands.

Nothing is parsed but the few best. The others are compared by a sketch: hashes of the strings in a body that most
others do not have. A sketch is made when it is first needed; one question makes a bounded number of them, of the most
promising first, so that no client waits for more than a moment.
"""

from __future__ import annotations

import heapq
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ..entries.entry import Entry
from ..entries.key_numbers import base
from ..identity.identifier import Identifier
from ..identity.stored_request import address
from .compare import Comparison, compare
from .key_view import KeyView

_HASHES = 64
"""Hashes of a sketch: the smallest ones of all its strings (a bottom-k sketch; Cohen and Kaplan, 2007)."""
_SHORT = 4096
"""Bytes up to which a body is sketched by its words, beyond by its strings, which is faster."""
_SKETCHED = 4 << 20
"""Bytes of recorded bodies that are sketched for one question: some 30 ms. Later ones find more of them done."""
_PLACES, _WINDOW = 16, 48
"""Pieces of a body, and their bytes, by which recorded bodies are found that are worth a sketch."""
_COMPARED, _COMPARED_BYTES = 24, 1 << 19
"""How many of the best are parsed and compared in full, and the bytes after which it is enough."""
_SAMPLE = 16
"""Bodies in which strings are looked for that most requests share: tools and system prompts tell nothing."""


@dataclass(slots=True)
class Kept:
    """A recorded entry and what is known of it without parsing."""

    entry: Entry
    host: str
    path: str
    number: int
    """The how manieth of its protocol and model, by the time it was recorded; from 1."""
    sketch: array[int] | None = None

    @property
    def name(self) -> str:
        """As a person calls it: `openai-chat gpt-4o #3`."""
        return " ".join(filter(None, (self.entry.protocol, self.entry.model, f"#{self.number}")))


@dataclass(frozen=True, slots=True)
class Nearest:
    kept: Kept
    side: KeyView
    comparison: Comparison


class Index:
    """Recorded requests by protocol and by place."""

    def __init__(
        self, entries: Iterable[Entry], identifier: Identifier, hide: Callable[[Entry], Entry] | None = None
    ) -> None:
        self.identifier = identifier
        self._hide = hide
        self.by_protocol: dict[str, list[Kept]] = defaultdict(list)
        self.by_key: dict[str, list[Kept]] = defaultdict(list)
        self._by_place: dict[tuple[str, str], list[Kept]] = defaultdict(list)
        self._common: dict[str, frozenset[int]] = {}
        numbers: Counter[tuple[str, str]] = Counter()
        for entry in sorted(entries, key=lambda entry: entry.created):
            _, host, _, path, _ = address(entry.url)
            numbers[entry.protocol, entry.model] += 1
            kept = Kept(entry, host.lower(), path, numbers[entry.protocol, entry.model])
            self.by_protocol[entry.protocol].append(kept)
            self.by_key[base(entry.key)].append(kept)
            self._by_place[kept.host, kept.path].append(kept)

    def prepare(self) -> None:
        """Make all sketches now, 7 ms a MB; for a thread of its own at start. Without it questions make them."""
        for kept in (kept for group in self.by_protocol.values() for kept in group):
            self._sketch(kept)

    def nearest(self, sent: KeyView) -> Nearest | None:
        """The recorded request with the fewest and smallest differences, or None where none is comparable."""
        best: Nearest | None = None
        read = 0
        for kept in self._ranked(sent):
            if read > _COMPARED_BYTES and best is not None:
                break
            read += len(kept.entry.request) + len(sent.body[1])
            entry = self._hide(kept.entry) if self._hide is not None else kept.entry
            side = KeyView(self.identifier.stored(entry, sent.request), sent.rules)
            found = Nearest(kept, side, compare(side, sent))
            if best is None or found.comparison.distance < best.comparison.distance:
                best = found
        return best

    def _ranked(self, sent: KeyView) -> list[Kept]:
        """The most promising ones, best first: by what they share, then by model, host, path and length."""
        host, path = sent.request.host.lower(), sent.request.path
        protocol = sent.call.protocol.name
        group = self.by_protocol.get(protocol, [])
        others = [kept for kept in self._by_place.get((host, path), ()) if kept.entry.protocol != protocol]
        candidates = [*group, *others]
        raw = sent.call.body.raw
        common = self._common_of(protocol)
        strings = frozenset(_hashes(_strings(raw), common))
        words = frozenset(_hashes(_words(raw), common)) if len(raw) < _SHORT * 4 else strings
        self._sketch_some(candidates, raw)

        def score(kept: Kept) -> float:
            entry, size, sketch = kept.entry, len(kept.entry.request), kept.sketch or ()
            asked = words if size <= _SHORT else strings
            shared = len(asked.intersection(sketch))
            total = len(asked) + len(sketch) - shared
            return (
                (shared / total if total else 1.0)
                + 0.06 * ((kept.host == host) + (entry.model == sent.call.model) + (kept.path == path))
                + 0.03 * (entry.namespace == sent.namespace)
                + 0.05 * (min(size, len(raw)) + 1) / (max(size, len(raw)) + 1)
            )

        return heapq.nlargest(_COMPARED, (kept for kept in candidates if kept.sketch is not None), key=score)

    def _sketch_some(self, candidates: list[Kept], raw: bytes) -> None:
        """Sketch what is not yet: all where that is quick, else those in which most of `raw` is found in its place."""
        missing = [kept for kept in candidates if kept.sketch is None]
        if sum(len(kept.entry.request) for kept in missing) > _SKETCHED:
            in_place = _Windows(raw).found_in
            missing.sort(key=lambda kept: in_place(kept.entry.request), reverse=True)
        read = 0
        for kept in missing:
            if read > _SKETCHED:
                break
            read += len(kept.entry.request)
            self._sketch(kept)

    def _sketch(self, kept: Kept) -> None:
        if kept.sketch is None:
            kept.sketch = _hashes(_pieces(kept.entry.request), self._common_of(kept.entry.protocol))

    def _common_of(self, protocol: str) -> frozenset[int]:
        if protocol not in self._common:
            self._common[protocol] = _common(self.by_protocol.get(protocol, ()))
        return self._common[protocol]


def _common(group: Sequence[Kept]) -> frozenset[int]:
    """Hashes of strings that half of a group's bodies hold."""
    if len(group) <= _COMPARED:
        return frozenset()
    step = max(1, len(group) // _SAMPLE)
    counted: Counter[int] = Counter()
    sample = list(islice(group, 0, None, step))
    for kept in sample:
        counted.update(set(map(zlib.crc32, _pieces(kept.entry.request))))
    return frozenset(value for value, count in counted.items() if count * 2 > len(sample))


def _hashes(pieces: set[bytes], common: frozenset[int]) -> array[int]:
    """The smallest hashes of `pieces`, without those that are common."""
    return array("L", sorted(set(map(zlib.crc32, pieces)) - common)[:_HASHES])


def _pieces(body: bytes) -> set[bytes]:
    return _words(body) if len(body) <= _SHORT else _strings(body)


def _strings(body: bytes) -> set[bytes]:
    """What stands between quotes, by lines: the same however the members of a JSON object are ordered and spaced."""
    return set(body.replace(b"\\n", b'"').split(b'"'))


def _words(body: bytes) -> set[bytes]:
    """A short body may hold but one text, and that is what changed."""
    return set(body.replace(b'"', b" ").split())


class _Windows:
    """Short pieces from all over a body. What stands before a change is in its place as counted from the begin, what
    stands after it as counted from the end. A client writes its JSON the same way every time, mostly."""

    def __init__(self, body: bytes) -> None:
        step = max(_WINDOW, len(body) // _PLACES)
        places = range(0, max(1, len(body) - _WINDOW), step)
        self._from_begin = [(slice(at, at + _WINDOW), body[at : at + _WINDOW]) for at in places]
        ends = ((at - len(body), body[at : at + _WINDOW]) for at in places)
        self._from_end = [(slice(at, (at + _WINDOW) or None), window) for at, window in ends]

    def found_in(self, body: bytes) -> int:
        begin = sum([body[at] == window for at, window in self._from_begin])
        return begin + sum([body[at] == window for at, window in self._from_end])

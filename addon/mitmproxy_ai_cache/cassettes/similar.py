"""Which new recording replaces which old one: the pairs whose requests are most alike.

So a changed prompt shows as a changed file in a pull request, and not as one file gone and another come.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import orjson

from .json_text import Json

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
"""A word; in scripts without spaces a character."""
_WORDS = 4000
"""Words of a request that are looked at, the last ones: a conversation differs at its end."""
_EVERY_PAIR = 2500
"""Up to so many pairs all are compared; beyond it, those that share what few others have."""
_FEW = 64
_CANDIDATES = 8

_SAID = ("messages", "input", "contents", "prompt", "message", "inputs", "inputText")
_INSTRUCTIONS = ("system", "developer")

Shingles = frozenset[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Recording:
    """A cassette as far as it matters here."""

    path: str
    order: int
    """Its number."""
    sequence: int
    whole: Shingles
    said: Shingles
    """What the user and the model said, without instructions and tools."""

    @classmethod
    def of(cls, path: str, order: int, sequence: int, body: Json) -> Recording:
        """`body` as it stands in the file, parts not filled in."""
        return cls(path, order, sequence, _shingles(_text(body)), _shingles(" ".join(_strings(_said(body)))))

    def likeness(self, other: Recording) -> tuple[float, float]:
        """Jaccard similarity of all of the request, and of what was said; each from 0 to 1."""
        whole = _jaccard(self.whole, other.whole)
        return whole, _jaccard(self.said, other.said) if self.said or other.said else whole


def pairs(new: Sequence[Recording], old: Sequence[Recording], least: float) -> list[tuple[Recording, Recording]]:
    """Who takes whose place: the most alike first, then in order. Those less alike than `least` stay as they are."""
    ranked = []
    for one, other in _candidates(new, old):
        whole, said = one.likeness(other)
        if min(whole, said) >= least:
            ranked.append((-(whole + said), one.sequence != other.sequence, one.order, other.order, one, other))
    ranked.sort(key=lambda row: row[:4])
    found: dict[str, tuple[Recording, Recording]] = {}
    taken: set[str] = set()
    for *_, one, other in ranked:
        if one.path not in found and other.path not in taken:
            found[one.path] = (one, other)
            taken.add(other.path)
    rest = sorted((one for one in new if one.path not in found), key=lambda one: one.order)
    places = sorted((other for other in old if other.path not in taken), key=lambda other: other.order)
    for one, other in zip(rest, places, strict=False):
        if min(one.likeness(other)) >= least:
            found[one.path] = (one, other)
    return list(found.values())


def _candidates(new: Sequence[Recording], old: Sequence[Recording]) -> Iterator[tuple[Recording, Recording]]:
    if len(new) * len(old) <= _EVERY_PAIR:
        yield from ((one, other) for one in new for other in old)
        return
    having: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, other in enumerate(old):
        for shingle in other.whole:
            having[shingle].append(index)
    for one in new:
        shared: Counter[int] = Counter()
        for shingle in one.whole:
            if 0 < len(indices := having.get(shingle, ())) <= _FEW:
                shared.update(indices)
        yield from ((one, old[index]) for index, _ in shared.most_common(_CANDIDATES))


def _shingles(text: str) -> Shingles:
    """Words, and pairs of words: alone, pairs make one changed word of a short prompt too much."""
    words = _WORD.findall(text.lower())[-_WORDS:]
    return frozenset((word,) for word in words) | frozenset(pairwise(words))


def _jaccard(one: Shingles, other: Shingles) -> float:
    if not one and not other:
        return 1.0
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _text(body: Json) -> str:
    try:
        return body if isinstance(body, str) else orjson.dumps(body).decode()
    except TypeError:
        return str(body)


def _said(body: Json) -> Json:
    if not isinstance(body, dict):
        return None
    said = [body[name] for name in _SAID if name in body]
    return [
        [item for item in value if not (isinstance(item, dict) and item.get("role") in _INSTRUCTIONS)]
        if isinstance(value, list)
        else value
        for value in said
    ]


def _strings(value: Json) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)

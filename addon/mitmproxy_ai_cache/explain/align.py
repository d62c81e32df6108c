"""Two lists side by side: which items are the same, which were changed, added or removed.

One message more must not make all that follow it look changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

import orjson

from ..wire.json_body import Json

Run = tuple[int, int]
"""The positions of the first and the last item."""

_ALIGNED = 400
"""Items between what is the same at both ends. Longer lists are vectors and tokens: they are compared by position."""
_MATCHED = 400
"""Pairs of items that are weighed against each other; beyond it they are taken in their order."""


@dataclass(frozen=True, slots=True)
class Same:
    """A run of equal items, by the positions in the second list."""

    first: int
    last: int


Pair = tuple[Run | None, Run | Same | None]
"""A run only in the first list, one only in the second, one item of each that belong together, or equal items."""


def pairs(one: list[Json], other: list[Json]) -> list[Pair] | None:
    """The two lists aligned, in their order; None where they hold the same items in another order."""
    ones, others = [orjson.dumps(item) for item in one], [orjson.dumps(item) for item in other]
    if len(ones) == len(others) and ones != others and sorted(ones) == sorted(others):
        return None
    shortest = min(len(ones), len(others))
    start = next((i for i in range(shortest) if ones[i] != others[i]), shortest)
    end = next((i for i in range(shortest - start) if ones[-1 - i] != others[-1 - i]), shortest - start)
    found: list[Pair] = []
    _same(found, 0, start)
    middle, other_middle = ones[start : len(ones) - end], others[start : len(others) - end]
    for tag, i1, i2, j1, j2 in _blocks(middle, other_middle):
        if tag == "equal":
            _same(found, start + j1, j2 - j1)
        else:
            found += _replaced(ones, others, (start + i1, start + i2), (start + j1, start + j2))
    _same(found, len(others) - end, end)
    return found


def _same(found: list[Pair], first: int, count: int) -> None:
    if count:
        found.append((None, Same(first, first + count - 1)))


def _blocks(one: list[bytes], other: list[bytes]) -> list[tuple[str, int, int, int, int]]:
    if not one and not other:
        return []
    if not one or not other or max(len(one), len(other)) > _ALIGNED:
        return [("replace", 0, len(one), 0, len(other))]
    return [tuple(block) for block in SequenceMatcher(None, one, other, autojunk=False).get_opcodes()]  # type: ignore[misc]


def _replaced(ones: list[bytes], others: list[bytes], was: Run, is_now: Run) -> list[Pair]:
    """Items of a block that differs: the most similar ones belong together, the rest was added or removed."""
    (i1, i2), (j1, j2) = was, is_now
    together = dict(_matched(ones[i1:i2], others[j1:j2]))
    found: list[Pair] = []
    i, j = i1, j1
    for a, b in [*together.items(), (i2 - i1, j2 - j1)]:
        if i < i1 + a:
            found.append(((i, i1 + a - 1), None))
        if j < j1 + b:
            found.append((None, (j, j1 + b - 1)))
        if i1 + a < i2 and j1 + b < j2:
            found.append(((i1 + a, i1 + a), (j1 + b, j1 + b)))
        i, j = i1 + a + 1, j1 + b + 1
    return found


def _matched(ones: list[bytes], others: list[bytes]) -> list[tuple[int, int]]:
    """Pairs of positions, ascending in both: as many as can be, those with the greatest similarity in sum."""
    n, m = len(ones), len(others)
    if n == m == 1 or not n or not m or n * m > _MATCHED:
        return [(i, i) for i in range(min(n, m))]
    pieces, other_pieces = [_pieces(item) for item in ones], [_pieces(item) for item in others]
    # best[i][j]: greatest sum for the items from i and from j on
    best = [[0.0] * (m + 1) for _ in range(n + 1)]
    weight = [[1.0 + _similar(a, b) * 0.9 for b in other_pieces] for a in pieces]
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + weight[i][j])
    found, i, j = [], 0, 0
    while i < n and j < m:
        if best[i][j] == best[i + 1][j + 1] + weight[i][j]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _pieces(item: bytes) -> set[bytes]:
    """Strings and words of an item: what it shares with another one."""
    return {word for piece in item.split(b'"') for word in (piece, *piece.split(b" "))}


def _similar(one: set[bytes], other: set[bytes]) -> float:
    return len(one & other) / len(one | other)

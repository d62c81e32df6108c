"""Whether another's pattern may run on the event loop: its cost is known from how it is written.

A pattern passes where every place of a text costs a bounded number of steps: no repetition within a repetition, no
look-around and no reference to a group, and an unbounded repetition only as the last thing, after which nothing can
fail. All others run in a worker, which can be stopped (those of users),
or are not taken (those of plug-ins).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_MOST = 64
"""Ways to try a pattern at one place of a text."""


@lru_cache(maxsize=256)
def is_cheap(pattern: re.Pattern[Any]) -> bool:
    """Whether `pattern` takes time in proportion to the text, whatever the text is."""
    try:
        from re import _constants, _parser  # type: ignore[attr-defined]

        parsed = _parser.parse(pattern.pattern, pattern.flags)
        return _ways(list(parsed), _constants, last=True) <= _MOST
    except Exception:  # another Python's parser: nothing is known
        return False


def shortest(pattern: re.Pattern[Any]) -> int:
    """The fewest characters that `pattern` matches; 0 where that is not known."""
    try:
        from re import _parser  # type: ignore[attr-defined]

        return int(_parser.parse(pattern.pattern, pattern.flags).getwidth()[0])
    except Exception:  # another Python's parser
        return 0


def _ways(items: list[Any], names: Any, last: bool) -> int:
    """How many ways `items` can be tried at one place; `_MOST` + 1 where that depends on the text."""
    ways = 1
    for place, (kind, argument) in enumerate(items):
        ends = last and place == len(items) - 1
        if kind in (names.MAX_REPEAT, names.MIN_REPEAT, names.POSSESSIVE_REPEAT):
            ways *= _of_repeat(kind, argument, names, ends)
        elif kind is names.SUBPATTERN:
            ways *= _ways(list(argument[3]), names, ends)
        elif kind is names.BRANCH:
            ways *= sum(_ways(list(branch), names, ends) for branch in argument[1])
        elif kind not in (names.LITERAL, names.NOT_LITERAL, names.IN, names.ANY, names.AT):
            return _MOST + 1
        if ways > _MOST:
            return _MOST + 1
    return ways


def _of_repeat(kind: Any, argument: Any, names: Any, last: bool) -> int:
    least, most, inner = argument
    simple = len(inner) == 1 and inner[0][0] in (names.LITERAL, names.NOT_LITERAL, names.IN, names.ANY)
    if not simple or least > _MOST:
        return _MOST + 1
    if most == names.MAXREPEAT:
        # Greedy and last: it takes what it can and is done, and the search goes on behind it.
        return int(least) + 1 if last and kind is names.MAX_REPEAT and least else _MOST + 1
    return int(most) - int(least) + 1 if most <= _MOST else _MOST + 1

"""The name that somebody meant who mistyped one: a command, an option, a variable, a setting."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_LONGER = 2
"""Letters by which the lengths of two names may differ."""


def meant(word: str, known: Iterable[str]) -> str:
    """The known name nearest to `word`, or nothing. Case, dashes and our prefix do not count."""
    listed = list(known)
    bare = {_bare(name): name for name in listed}
    whole = {_folded(name): name for name in listed}
    return _nearest(_bare(word), bare, 0.6) or _nearest(_folded(word), whole, 0.9)  # 0.9: their prefix is the same


def _nearest(word: str, names: Mapping[str, str], least: float) -> str:
    for name in names:
        if name == word or sorted(name) == sorted(word):  # `sl` for `ls` is too short for the comparison below
            return names[name]
    alike = [name for name in names if abs(len(name) - len(word)) <= _LONGER]
    close = difflib.get_close_matches(word, alike, 1, least)
    return names[close[0]] if close else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?` for a mistyped name, or nothing."""
    name = meant(word, known)
    return f"; did you mean {name}?" if name else ""


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_").strip("_")


def _bare(name: str) -> str:
    return _folded(name).removeprefix("ai_cache_")

"""Tables for people: as wide as their terminal, whole lines elsewhere, colours where they are wanted (NO_COLOR)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ..explain.shown import printable

_PIPED = 200
"""Columns where nobody tells how many there are."""
_GAP = "  "
_MEASURED = 200
"""Rows that are looked at for the widths; a longer table begins to show before it is known."""


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    most: int = 200
    """Widest it gets; the last one takes all that is left."""
    right: bool = False
    keep: int = 0
    """Where there is no room, the columns of the lowest number go first."""
    style: str = ""


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _PIPED
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True)


class Table:
    """Prints rows as they come; the first ones tell the widths. Whatever strangers chose is made printable here.

    `least` is what the last column needs; others give way to it.
    """

    def __init__(self, columns: Sequence[Column], least: int = 24) -> None:
        self.rows = 0
        self._columns = columns
        self._least = least
        self._out = console()
        self._first: list[list[str]] = []
        self._widths: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self._widths:
            self._begin()

    def add(self, row: Sequence[str]) -> None:
        self.rows += 1
        cells = [printable(cell) for cell in row]
        if self._widths:
            self._print(cells)
            return
        self._first.append(cells)
        if len(self._first) >= _MEASURED:
            self._begin()

    def _begin(self) -> None:
        if not self._first:
            return
        wanted = [
            max(min(column.most, max(cell_len(row[at]) for row in self._first)), len(column.title))
            for at, column in enumerate(self._columns)
        ]
        places = _fitting(self._columns, wanted, self._out.width, self._least)
        used = sum(wanted[at] + len(_GAP) for at in places[:-1])
        self._widths = {at: wanted[at] for at in places} | {places[-1]: max(self._out.width - used, 4)}
        self._print([column.title for column in self._columns], "bold")
        for row in self._first:
            self._print(row)

    def _print(self, row: Sequence[str], style: str = "") -> None:
        cells = [_cell(row[at], width, self._columns[at].right) for at, width in self._widths.items()]
        cells[-1] = cells[-1].rstrip()
        if not self._out.is_terminal or self._out.no_color:
            print(_GAP.join(cells))
            return
        styles = [style or self._columns[at].style for at in self._widths]
        line = Text(_GAP).join(Text(cell, styling) for cell, styling in zip(cells, styles, strict=True))
        self._out.print(line, no_wrap=True, crop=False)


def _fitting(columns: Sequence[Column], wanted: Sequence[int], width: int, least: int) -> list[int]:
    """The places of the columns there is room for."""
    places = list(range(len(columns)))
    last = places[-1]
    by_worth = sorted(places[:-1], key=lambda at: columns[at].keep)
    least = min(least, wanted[last])
    while len(by_worth) > 1 and sum(wanted[at] + len(_GAP) for at in places if at != last) + least > width:
        places.remove(by_worth.pop(0))
    return places


def _cell(text: str, width: int, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)

"""What `ai-cache grep` prints for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from ..explain.shown import printable
from .tables import console


class Printer:
    """`text` is highlighted in each line."""

    def __init__(self, text: str) -> None:
        self._text = _plain(text)
        self._out = console()

    def entry(self, row: Sequence[str]) -> None:
        """`row`: of `records.COLUMNS`."""
        key, age, _, _, _, model, host, *_ = row
        self._put(Text(key, "bold cyan"), Text(_plain("".join(f"  {each}" for each in (age, model, host)))))

    def line(self, where: str, said: str) -> None:
        shown = Text(_plain(said))
        shown.highlight_words([self._text], "bold red") if self._text else None
        self._put(Text(f"  {_plain(where)}: ", "green"), shown)

    def more(self, number: int) -> None:
        self._put(Text(f"  … {number} more", "dim"))

    def _put(self, *parts: Text) -> None:
        line = Text.assemble(*parts)
        if self._out.is_terminal and not self._out.no_color:
            self._out.print(line, soft_wrap=True)
        else:
            print(line.plain)


def _plain(text: str) -> str:
    return printable(text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", " "))

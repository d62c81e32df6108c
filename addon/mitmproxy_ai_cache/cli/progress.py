"""A bar on stderr for a person who has waited for a moment."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_AFTER = 0.7
"""Seconds of work before it shows."""


class Progress:
    """`total` is what `advance` counts up to."""

    def __init__(self, what: str, total: float) -> None:
        self._what = what
        self._total = max(total, 1)
        self._done = 0
        self._from = time.monotonic() + _AFTER
        self._bar: Bar | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def advance(self, number: int) -> None:
        self._done += number
        if not self._wanted or time.monotonic() < self._from or self._done >= self._total:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("ai-cache: {task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._bar.add_task(self._what, total=int(self._total))
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self._done)

    def clear(self) -> None:
        """Take it away: something is about to be printed, or this is the end."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._from = time.monotonic() + _AFTER

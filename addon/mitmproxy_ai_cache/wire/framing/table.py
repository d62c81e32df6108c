"""What is known of a framing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .events import Stream


def _never(body: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Framing:
    """A way of putting many events into one body."""

    name: str
    """The tag of an entry (`Entry.format`), and what `ai-cache show` calls it."""
    parse: Callable[[bytes], Stream]
    """All complete events of a body. Never raises."""
    media_types: tuple[str, ...] = ()
    """The content types it is sent under."""
    begins: Callable[[bytes], bool] = _never
    """Whether a body without a content type looks like it. No two framings may claim the same body."""
    in_lines: bool = True
    """Whether events end with a line: the first lines of a long body are its first events."""
    is_json: bool = False
    """Whether the whole body is one JSON value, too: who wants that need not take it apart."""

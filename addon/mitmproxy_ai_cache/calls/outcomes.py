"""What became of calls, told to whoever counts or shows them."""

from __future__ import annotations

from collections.abc import Sequence

from ..entries.entry import Entry
from ..protocols.base import Ending
from ..wire.messages import Request
from .exchange import Exchange

STORED = "stored"


class Outcomes:
    """Is told of each call once, at its end. This one does nothing with it: subclasses override what they want to know.

    Called on the event loop; must not wait, and must not raise.
    """

    def hit(self, exchange: Exchange) -> None:
        """Answered from an entry, fresh or stale."""

    def followed(self, exchange: Exchange, ending: Ending) -> None:
        """Answered from the stream of an identical call in flight."""

    def forwarded(self, exchange: Exchange, kept: str, entry: Entry | None = None) -> None:
        """Answered by the provider. `kept`: `stored`, or why not; `entry`: what the answer came to, if it is one."""

    def refusal(self, exchange: Exchange, explanation: Sequence[str] = ()) -> None:
        """An error of our own: a miss in replay, `only-if-cached`, a host that is not let through."""

    def unrecordable(self, request: Request, reason: str) -> None:
        """A call that is too large to record. `reason`: `too-large` is its answer, all others are its request."""

    def answered_locally(self, host: str) -> None:
        """A token endpoint that a replay answered itself."""

    def not_written(self, what: str) -> None:
        """An answer that was not recorded, for a secret could not be taken out of it."""

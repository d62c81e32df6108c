"""What a store is. Look-ups are awaited, writes are handed over and happen off the path of the answer."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

from ..entry import BrokenEntry, Entry

logger = logging.getLogger("ai-cache")


class StoreError(Exception):
    """The store cannot be read or opened. The message is one line for a user.

    `said`: the store speaks of its state itself, so that nobody else need log this.
    """

    said = False


class StoreUnavailable(StoreError):
    """A server does not answer. It was said when that began."""

    said = True


class Store(ABC):
    """Keeps entries by key. No method but `open` and `get` raises; both raise `StoreError`."""

    url: str
    dropped = 0
    """Writes that were given up: the queue was full, or the disk was."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready for look-ups."""

    async def get(self, key: str) -> Entry | None:
        """The entry of `key`, stale ones included. What cannot be unpacked is a miss, a log line, and gone."""
        packed = await self.read(key)
        if packed is None:
            return None
        try:
            return Entry.unpack(packed)
        except BrokenEntry as error:
            logger.warning("ai-cache: entry %s is broken (%s) and was removed", key[:12], error)
            self.remove(key)
            return None

    @abstractmethod
    async def read(self, key: str) -> bytes | None:
        """The packed answer of `key`."""

    @abstractmethod
    def put(self, entry: Entry) -> bool:
        """Keep `entry`, replacing what has its key. Seen by this process' look-ups at once.

        False where it was given up: the queue is full, the entry too large, the server away.
        """

    @abstractmethod
    def remove(self, key: str) -> None: ...

    @abstractmethod
    def remove_issuer(self, issued: str) -> None:
        """Remove the entry whose answer issued this id: the provider has forgotten it."""

    @abstractmethod
    async def count(self) -> int: ...

    @abstractmethod
    async def close(self, deadline: float = 5.0) -> None:
        """Write what is waiting, for at most `deadline` seconds."""

"""What a store is. Look-ups are awaited, writes are handed over and happen off the path of the answer."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator
from functools import cached_property

from ..cassettes.leaks import Compose
from ..entries.entry import BrokenEntry, Entry
from ..entries.selection import Selection
from ..entries.vault import VARIABLE, LockedEntry, Vault, is_sealed
from ..redact import Pattern
from ..wire.bounded import BoundedMap
from .capabilities import ListsFiles, Settled
from .filtering import Packed
from .pages import Page, page_of

logger = logging.getLogger("ai-cache")

_REMEMBERED = 1000
"""Entries of which is known that they were told to stay longer."""


class StoreError(Exception):
    """The store cannot be read or opened. The message is one line for a user.

    `said`: the store speaks of its state itself, so that nobody else need log this.
    """

    said = False


class StoreUnavailable(StoreError):
    """A server does not answer. It was said when that began."""

    said = True


class Store(ABC):
    """Keeps entries by key. Only `open`, `purge` and what reads (`get`, `read`, `entries`, `browse`, `find`) raise, and
    only `StoreError`."""

    url: str
    waits = True
    """Whether `get` may take its time: where it does not, it needs no time limit."""
    packs = True
    """Whether entries are packed. What is large takes its time."""
    purges_at_once = False
    """Whether `purge` takes one write, however much is kept."""
    dropped = 0
    """Writes that were given up: the queue was full, or the disk was."""
    checks_recordings = False
    """Whether `put_recording` looks for secrets itself, in what it writes."""
    as_files: ListsFiles | None = None
    """The same store, where its entries are files."""
    vault: Vault | None = None
    """Encrypts what is stored."""
    _said_locked = False

    @cached_property
    def failures(self) -> Counter[str]:
        """What went wrong since the start, reads and writes alike, by kind: `timeout`, `connection`, `password`,
        `rights`, `certificate`, `out-of-memory`, `protocol`, `disk`, `broken-entry`, `queue-full`, `too-large`."""
        return Counter()

    @cached_property
    def _kept_longer(self) -> BoundedMap[tuple[str, str], float]:
        """Until when entries stay that were written with a shorter `stale_if_error`."""
        return BoundedMap(_REMEMBERED)

    @cached_property
    def unwritten(self) -> list[str]:
        """Which answers were not recorded, for a secret could not be taken out of them, and where it is."""
        return []

    @property
    def works(self) -> bool:
        """False while calls go on without it: its server is away, its file cannot be read or written."""
        return True

    @property
    def size(self) -> int | None:
        """Bytes of what is kept; None where that would have to be counted."""
        return None

    @property
    def queued(self) -> int | None:
        """Writes on their way; None where there is no queue."""
        return None

    @abstractmethod
    async def open(self) -> None:
        """Make ready for look-ups."""

    # Reading

    async def get(self, key: str, namespace: str = "") -> Entry | None:
        """The entry of `key`, stale ones included. What cannot be unpacked is a miss, a log line, and gone.

        `namespace` is the one the entry was put with; a store whose keys are apart anyway need not look at it.
        """
        packed = await self.read(key, namespace)
        if packed is None:
            return None
        try:
            return self._unpacked(key, packed)
        except LockedEntry as error:
            # Not ours to remove: somebody else's proxy can read it. It is replaced when the answer comes again.
            self.failures["locked-entry"] += 1
            if not self._said_locked:
                self._said_locked = True
                logger.warning("ai-cache: entry %s cannot be read: %s", key[:12], error)
            return None
        except BrokenEntry as error:
            self.failures["broken-entry"] += 1
            logger.warning("ai-cache: entry %s is broken (%s) and was removed", key[:12], error)
            self.remove(key, namespace)
            return None

    def _unpacked(self, key: str, answer: bytes, request: bytes | None = None) -> Entry:
        """The entry of packed bytes that were found under `key`. Raises `BrokenEntry`."""
        if self.vault is not None:
            answer = self.vault.open(answer, key, "answer")
            request = None if request is None else self.vault.open(request, key, "request")
        elif is_sealed(answer):
            raise LockedEntry(f"it is encrypted; set {VARIABLE}")
        entry = Entry.unpack(answer, request)
        if entry.key != key:  # a damaged index leads to another's, or somebody else put it there
            raise BrokenEntry("the answer of another call")
        return entry

    def pack(self, entry: Entry) -> Packed:
        """Answer and request as they are stored. May be called in any thread. Raises `TypeError` and `ValueError` for
        text that is no text."""
        answer, request = entry.pack_answer(), entry.pack_request()
        if self.vault is None:
            return answer, request
        return self.vault.seal(answer, entry.key, "answer"), self.vault.seal(request, entry.key, "request")

    def keep_stale(self, entry: Entry, stale_if_error: float) -> None:
        """Of an expired entry that may still answer: keep it as long as today's `stale_if_error` (seconds) asks for,
        where it was written with less."""
        until = entry.kept_until(stale_if_error)
        name = (entry.namespace, entry.key)
        if until > max(entry.kept_until(), self._kept_longer.get(name, 0.0)):
            self._kept_longer.put(name, until)
            self._keep_until(entry, until)

    def _keep_until(self, entry: Entry, until: float) -> None:  # noqa: B027 nothing to do where nothing expires
        """Have the entry that is stored stay until this Unix time."""

    @abstractmethod
    async def read(self, key: str, namespace: str = "") -> bytes | None:
        """The packed answer of `key`."""

    def entries(self) -> AsyncIterator[Entry]:
        """All entries, each with its request, in no order; broken ones are left out. An entry may come twice, and one
        that is put or removed meanwhile may or may not come. Holds a few at a time, and lets the event loop run."""
        raise NotImplementedError

    async def browse(self, selection: Selection, after: str = "", limit: int = 50, deadline: float = 0.8) -> Page:
        """The newest `limit` entries of `selection` behind `after`, the `next` of an earlier page; without conditions
        of all. Ends within about `deadline` seconds, with what was found by then.

        Raises `StoreError`, and `NoSuchPage` for an `after` that is none. This way has no need of the order that a
        store keeps: it looks at all entries, however long that takes.
        """
        return await page_of(self.entries(), selection, after, limit)

    async def find(self, prefix: str, limit: int = 20) -> list[Entry]:
        """The newest entries whose keys begin with `prefix`, whole. Raises `StoreError`."""
        page = await self.browse(Selection(key=prefix), limit=limit, deadline=60.0)
        return page.entries

    @abstractmethod
    async def count(self) -> int: ...

    # Writing

    @abstractmethod
    def put(self, entry: Entry, packed: Packed | None = None) -> bool:
        """Keep `entry`, replacing what has its key. Seen by this process' look-ups at once. `packed` is what `pack`
        made of it, where that was not to be done here.

        False where it was given up: the queue is full, the entry too large, the server away.
        """

    @abstractmethod
    def remove(self, key: str, namespace: str = "") -> None:
        """Seen by this process' look-ups at once."""

    @abstractmethod
    def remove_issuer(self, issued: str) -> None:
        """Remove the entry whose answer issued this id: the provider has forgotten it."""

    async def purge(self, namespace: str) -> None:
        """Forget everything in `namespace`. What is read or put afterwards does not see it."""
        async for entry in self.entries():
            if entry.namespace == namespace:
                self.remove(entry.key, namespace)

    # Recordings

    def compose_with(self, compose: Compose) -> None:  # noqa: B027 nothing to do where entries are no texts
        """Have the texts of entries written by `compose`. It may be called in any thread."""

    def put_recording(self, entry: Entry, credentials: tuple[Pattern, ...] = ()) -> bool:
        """Put an entry that is recorded; `credentials` find what its call was sent with. Returns as `put` does."""
        return self.put(entry)

    async def settle(self, namespace: str | None = None, drop: bool = False) -> Settled:
        """Give new recordings the names of the old ones they replace, so that a diff shows changed files.

        Of one namespace, whose test has ended, or of all. `drop`: what a namespace did not ask for any more goes; only
        for a run that came to its end. Recordings without a namespace are never dropped.
        """
        return Settled()

    async def flushed(self, deadline: float = 5.0) -> None:
        """Wait till what is queued now is written or given up, for at most `deadline` seconds."""
        raise NotImplementedError

    @abstractmethod
    async def close(self, deadline: float = 5.0) -> None:
        """Write what is waiting, for at most `deadline` seconds."""

    # Single flight

    async def claim(self, key: str) -> bool:
        """Whether this process may fetch the answer of `key`: False while another process that shares the store does.

        A claim that is neither released nor renewed (its process died) is free again within 10 s. Never raises, and
        says True where it cannot tell.
        """
        return True

    def release(self, key: str) -> None:  # noqa: B027 nothing to do where nothing was claimed
        """The answer of `key` is there, or will not come. Does nothing for a key that is not claimed here."""

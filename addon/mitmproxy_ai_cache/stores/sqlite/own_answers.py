"""A SQLite store that a stranger may have filled: only what this process keeps in it answers."""

from __future__ import annotations

from ...entries.entry import Entry
from ..filtering import Packed
from .store import SqliteStore


class OwnAnswersStore(SqliteStore):
    """Entries name the run of the proxy that kept them: a random name, made when the proxy starts."""

    _run = ""

    def put(self, entry: Entry, packed: Packed | None = None) -> bool:
        self._run = entry.run
        return super().put(entry, packed)

    async def get(self, key: str, namespace: str = "") -> Entry | None:
        entry = await super().get(key, namespace)
        return entry if entry is not None and self._run and entry.run == self._run else None

"""Removing many entries: what is meant, a look at it first, and then the deed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from ..entries.selection import Selection
from ..stores import Store
from .visit import NotShown

KINDS = ("model", "host", "namespace", "all")

_AT_ONCE = 200
_TIME = 20.0
"""Seconds that one visit may take; what is left is said, and goes with the next."""
_FLUSH = 10.0


@dataclass(frozen=True, slots=True)
class Meant:
    kind: str
    value: str
    selection: Selection

    @property
    def words(self) -> str:
        if self.kind == "all":
            return "everything"
        if self.kind == "namespace" and not self.value:
            return "what is in no namespace"
        return f"{self.kind} {self.value}"


def meant(fields: Mapping[str, str]) -> Meant | None:
    """Raises `NotShown` for what makes no sense; None where nothing was asked for."""
    kind, value = fields.get("what", ""), fields.get("value", "")
    if not kind:
        return None
    if kind not in KINDS:
        raise NotShown(400, f"There is no such choice; choose one of {', '.join(KINDS)}.")
    if kind == "all":
        return Meant(kind, "", Selection(all=True))
    if kind == "namespace":
        return Meant(kind, value, Selection(namespace=value))
    value = value.strip()
    if not value:
        raise NotShown(400, f"Write which {kind}, for example {'gpt-4o*' if kind == 'model' else '*.openai.com'}.")
    return Meant(kind, value, Selection(model=value) if kind == "model" else Selection(host=value))


async def purge(store: Store, wanted: Meant) -> tuple[int, bool]:
    """How many were removed (-1: a whole namespace at once), and whether all were. Raises `StoreError`."""
    if store.purges_at_once and wanted.kind == "namespace":
        await store.purge(wanted.value)
        return -1, True
    removed, after, dropped = 0, "", store.dropped
    ends = asyncio.get_running_loop().time() + _TIME
    while True:
        page = await store.browse(wanted.selection, after, _AT_ONCE, 2.0)
        for entry in page.entries:
            store.remove(entry.key, entry.namespace)
        removed += len(page.entries)
        await store.flushed(_FLUSH)
        after = page.next
        if not after or asyncio.get_running_loop().time() > ends:
            lost = store.dropped - dropped
            return max(0, removed - lost), not after and not lost

"""The store that settings name."""

from __future__ import annotations

from pathlib import Path

from ..identity.identifier import key_of, rules_of
from ..stores import CASSETTES, Store, for_url
from ..stores.cassettes.store import CassetteStore
from ..stores.sqlite.own_answers import OwnAnswersStore
from .settings import Settings


def store_of(settings: Settings, writable: bool | None = None) -> Store:
    """Not opened yet. Written to where the mode does, unless `writable` says otherwise."""
    writes = settings.stores if writable is None else writable
    if settings.store.startswith(CASSETTES):
        return CassetteStore(
            settings.store,
            directory_of(settings),
            key_of(settings.identity),
            rules_of(settings.identity),
            writes,
            settings.redact,
        )
    return for_url(settings.store, settings.max_size, writes, settings.near_size, settings.vault)


def own_answers_of(settings: Settings) -> Store:
    """The SQLite store, of which only what this process keeps answers."""
    store = OwnAnswersStore(settings.store, settings.max_size, settings.stores)
    store.vault = settings.vault
    return store


def directory_of(settings: Settings) -> Path:
    """The directory of cassettes."""
    return Path(settings.store.removeprefix(CASSETTES)).expanduser()

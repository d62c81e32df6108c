"""Which settings may be taken over: some exclude each other, some cannot change while the proxy runs."""

from __future__ import annotations

from ..identity.isolation import Isolation
from ..stores import CASSETTES
from .settings import Settings, SettingsError


def check(wanted: Settings, running: Settings | None, stream_large_bodies: object) -> None:
    """`running`: what the proxy runs with, if it does. `stream_large_bodies`: mitmproxy's option. Raises
    `SettingsError`."""
    if wanted.mode == "replay" and stream_large_bodies:
        raise SettingsError("ai_cache_mode=replay cannot be strict with stream_large_bodies; unset one of them")
    if wanted.mode == "replay" and wanted.eager:
        raise SettingsError("ai_cache_mode=replay cannot be strict with ai_cache_eager; unset one of them")
    if running is None:
        return
    if (wanted.store, wanted.max_size) != (running.store, running.max_size):
        raise SettingsError("ai_cache_store and ai_cache_max_size cannot change while the proxy runs; restart it")
    if wanted.dashboard != running.dashboard:
        raise SettingsError("ai_cache_dashboard cannot change while the proxy runs; restart it")


def isolation_of(settings: Settings, local: bool) -> Isolation:
    """How entries are kept apart; `local`: only this machine reaches the proxy."""
    if settings.store.startswith(CASSETTES):
        return Isolation("none")  # recordings are everybody's
    if settings.isolate is not None:
        return settings.isolate
    return Isolation("none" if local else "credential")

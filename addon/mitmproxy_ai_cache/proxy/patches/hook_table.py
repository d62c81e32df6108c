"""Hooks of a connection -> the addons that have them, worked out once and not anew for each request.

mitmproxy asks every addon for every event whether it has a hook for it, and all of them again for `update`. Those of
others, who may change their hooks as they like, are still asked each time, and so are those that hold others (`addons`:
scripts come and go).
"""

# mypy: allow-untyped-calls
# The manager of mitmproxy has no types.

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from mitmproxy import addonmanager, exceptions, flow, hooks

Entry = tuple[Any, Callable[..., Any] | None]
"""An addon and its hook; None where it has to be asked each time."""

_KNOWN = ("mitmproxy", "mitmproxy_ai_cache")
"""Packages whose addons have the same hooks all their life."""


class HookTable(addonmanager.AddonManager):
    """Does what the manager of mitmproxy does. `load`, `configure`, `running` and `done` stay with that one."""

    def __init__(self, master: Any) -> None:
        super().__init__(master)
        self._entries: dict[tuple[str, int], list[Entry]] = {}

    @classmethod
    def take_over(cls, manager: addonmanager.AddonManager) -> None:
        """Let the manager of a mitmproxy that runs be one of these, unless it is one of somebody else's making."""
        if type(manager) is addonmanager.AddonManager:
            table: Any = manager
            table.__class__ = cls
            table._entries = {}

    def register(self, addon: Any) -> Any:
        try:
            return super().register(addon)
        finally:
            self._entries = {}

    def remove(self, addon: Any) -> None:
        try:
            super().remove(addon)
        finally:
            self._entries = {}

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """Tell the addons of what happens to a connection or a flow, then of the change of the flow."""
        kind: Any = type(event)
        arguments = [getattr(event, name) for name in _names(kind)]
        await self._tell(event, arguments)
        message = arguments[0]
        if isinstance(message, flow.Flow) and self._anybody_listens("update"):
            await self._tell(hooks.UpdateHook([message]), [[message]])

    async def _tell(self, event: hooks.Hook, arguments: list[Any]) -> None:
        for addon, hook in self._listeners(event.name):
            try:
                if hook is not None:
                    result = hook(*arguments)
                    if result is not None and inspect.isawaitable(result):
                        await result
                elif _may_listen(addon, event.name):
                    await self.invoke_addon(addon, event)
            except exceptions.AddonHalt:
                return
            except Exception:
                with addonmanager.safecall():  # logs it, or passes on what is meant for the caller
                    raise

    def _anybody_listens(self, name: str) -> bool:
        for addon, hook in self._entries_of(name):  # noqa: SIM110 which takes twice as long
            if hook is not None or _may_listen(addon, name):
                return True
        return False

    def _listeners(self, name: str) -> Iterator[Entry]:
        """Those that are added meanwhile, too, as with mitmproxy."""
        chain, count = self.chain, len(self.chain)
        yield from self._entries_of(name)
        while count < len(chain):
            yield chain[count], None
            count += 1

    def _entries_of(self, name: str) -> list[Entry]:
        key = name, len(self.chain)  # some put theirs into the chain without a word to the manager
        found = self._entries.get(key)
        if found is None:
            found = self._entries[key] = [entry for addon in self.chain if (entry := _entry(addon, name))]
        return found


def _entry(addon: Any, name: str) -> Entry | None:
    if hasattr(addon, "addons") or type(addon).__module__.partition(".")[0] not in _KNOWN:
        return addon, None
    hook = getattr(addon, name, None)
    if not hook or inspect.ismodule(hook):
        return None
    return addon, hook if callable(hook) else None  # mitmproxy complains of the others each time


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """Of the arguments. mitmproxy looks them up each time it is asked for their values."""
    return tuple(each.name for each in dataclasses.fields(kind))


def _may_listen(addon: Any, name: str) -> bool:
    return bool(getattr(addon, "addons", None)) or hasattr(addon, name)

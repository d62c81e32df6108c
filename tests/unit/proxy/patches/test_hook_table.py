"""Whatever mitmproxy's own addon manager does for the addons of a connection, ours does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import addonmanager, exceptions, hooks, master, options
from mitmproxy.addons import script
from mitmproxy.proxy.layers import http as layers
from mitmproxy.proxy.server_hooks import ClientConnectedHook
from mitmproxy.test import tflow

from mitmproxy_ai_cache.proxy.patches.hook_table import HookTable

pytestmark = pytest.mark.patches

Run = Callable[[addonmanager.AddonManager, list[str]], Coroutine[Any, Any, None]]


Manager = Callable[[master.Master], addonmanager.AddonManager]


def mitmproxys(proxy: master.Master) -> addonmanager.AddonManager:
    return proxy.addons


def taken_over(proxy: master.Master) -> addonmanager.AddonManager:
    HookTable.take_over(proxy.addons)
    assert isinstance(proxy.addons, HookTable)
    return proxy.addons


def told(run: Run, manager: Manager = HookTable) -> list[str]:
    """What the addons wrote down that `run` added and had told."""
    seen: list[str] = []

    async def main() -> None:
        proxy = master.Master(options.Options())
        proxy.addons = manager(proxy)
        await run(proxy.addons, seen)
        proxy._legacy_log_events.uninstall()

    asyncio.run(main())
    return seen


class Addon:
    """Has the hooks that are given by name; each writes down its name."""

    def __init__(self, name: str, seen: list[str], *names: str, addons: list[Any] | None = None, **more: Any) -> None:
        self.name = name
        if addons is not None:
            self.addons = addons
        for hook in names:
            setattr(self, hook, lambda *_, hook=hook: seen.append(f"{name} {hook}"))
        for hook, function in more.items():
            setattr(self, hook, function)

    def __repr__(self) -> str:
        return self.name


async def request(manager: addonmanager.AddonManager) -> None:
    await manager.handle_lifecycle(layers.HttpRequestHook(tflow.tflow()))


async def _in_order(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    manager.add(Addon("a", seen, "request", "response"), Addon("b", seen), Addon("c", seen, "request", "update"))
    await request(manager)


async def _connection(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    manager.add(Addon("a", seen, "client_connected", "update"))
    await manager.handle_lifecycle(ClientConnectedHook(tflow.tclient_conn()))


async def _nested(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    inner = Addon("inner", seen, "request", addons=[Addon("innermost", seen, "request", "update")])
    manager.add(Addon("outer", seen, "request", addons=[inner]), Addon("last", seen, "request"))
    await request(manager)


async def _changing(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    """Sub-addons come, change and go without a word to the manager."""
    loader = Addon("loader", seen, addons=[])
    manager.add(loader, Addon("last", seen, "request"))
    await request(manager)
    loader.addons.append(late := Addon("late", seen))
    await request(manager)
    late.request = lambda _: seen.append("changed request")  # type: ignore[attr-defined]
    late.update = lambda _: seen.append("changed update")  # type: ignore[attr-defined]
    await request(manager)
    loader.addons.clear()
    await request(manager)


async def _added_and_removed(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    first, second = Addon("first", seen, "load", "request", "done"), Addon("second", seen, "request", "update")
    manager.add(first)
    await request(manager)
    manager.add(second)
    await request(manager)
    manager.remove(first)
    await request(manager)
    manager.clear()
    await request(manager)


async def _gets_addons_later(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    owner = Addon("owner", seen, "request")
    manager.add(owner)
    await request(manager)
    owner.addons = [manager.register(Addon("sub", seen, "load", "request"))]
    await request(manager)


def _raiser(error: Exception, seen: list[str], name: str) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        seen.append(name)
        raise error

    return hook


async def _halt(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    halting = Addon("halting", seen, request=_raiser(exceptions.AddonHalt(), seen, "halting"))
    manager.add(halting, Addon("unreached", seen, "request", "update"))
    await request(manager)


async def _halt_inside(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    halting = Addon("halting", seen, request=_raiser(exceptions.AddonHalt(), seen, "halting"))
    manager.add(Addon("loader", seen, addons=[halting]), Addon("unreached", seen, "request"))
    await request(manager)


async def _fault(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    faulty = Addon("faulty", seen, request=_raiser(RuntimeError("oops"), seen, "faulty"))
    nested = Addon("nested", seen, request=_raiser(RuntimeError("ouch"), seen, "nested"))
    loader = Addon("loader", seen, addons=[nested, Addon("unreached", seen, "request")])
    manager.add(faulty, loader, Addon("reached", seen, "request"))
    await request(manager)


async def _options_error(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    manager.add(Addon("wrong", seen, request=_raiser(exceptions.OptionsError("no"), seen, "wrong")))
    try:
        await request(manager)
    except exceptions.OptionsError as error:
        seen.append(f"raised {error}")


async def _awaited(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    async def slow(_: Any) -> None:
        await asyncio.sleep(0)
        seen.append("slow")

    def task(_: Any) -> asyncio.Task[None]:
        return asyncio.create_task(slow(None))

    manager.add(Addon("coroutine", seen, request=slow), Addon("task", seen, request=task), Addon("z", seen, "request"))
    await request(manager)


async def _no_function(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    """A module of a hook's name is no hook; anything else that cannot be called is complained of, each time."""
    manager.add(Addon("module", seen, request=asyncio), Addon("number", seen, request=1), Addon("z", seen, "request"))
    await request(manager)
    await request(manager)


async def _added_in_a_hook(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    """It is told of the event in which it comes."""

    def add(_: Any) -> None:
        seen.append("adds")
        if "late" not in manager:
            manager.add(Addon("late", seen, "request", "update"))

    manager.add(Addon("first", seen, request=add), Addon("second", seen, "request"))
    await request(manager)
    await request(manager)


async def _hooks_that_change(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    """Those of somebody's addon beside mitmproxy's own: set, replaced and taken away."""
    changing = Addon("changing", seen)
    manager.add(changing, Addon("last", seen, "request"))
    await request(manager)
    for name in ("one", "two"):
        changing.request = lambda _, name=name: seen.append(name)  # type: ignore[attr-defined]
        changing.update = lambda _, name=name: seen.append(f"{name} update")  # type: ignore[attr-defined]
        await request(manager)
    del changing.request, changing.update  # type: ignore[attr-defined]
    await request(manager)


async def _put_into_the_chain(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    manager.add(Addon("there", seen, "request"))
    await request(manager)
    manager.chain.insert(0, Addon("first", seen, "request"))
    await request(manager)
    manager.chain.pop(0)
    await request(manager)


async def _life(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    """An addon that is added in `running` runs, too."""
    late = Addon("late", seen, "load", "running")
    manager.add(Addon("first", seen, "running", "configure", running=lambda: manager.add(late)))
    await manager.trigger_event(hooks.RunningHook())
    manager.master.options.update(http2=False)
    await manager.trigger_event(hooks.DoneHook())


CASES: dict[str, tuple[Run, list[str]]] = {
    "in order, then of the update": (_in_order, ["a request", "c request", "c update"]),
    "connections have no update": (_connection, ["a client_connected"]),
    "nested": (_nested, ["outer request", "inner request", "innermost request", "last request", "innermost update"]),
    "sub-addons that change": (
        _changing,
        ["last request", "last request", "changed request", "last request", "changed update", "last request"],
    ),
    "added and removed": (
        _added_and_removed,
        [
            "first load", "first request", "first request", "second request", "second update", "first done",
            "second request", "second update",
        ],
    ),
    "an addon that gets sub-addons later": (
        _gets_addons_later, ["owner request", "sub load", "owner request", "sub request"],
    ),
    "AddonHalt ends the event": (_halt, ["halting", "unreached update"]),
    "AddonHalt of a sub-addon ends the event": (_halt_inside, ["halting"]),
    "a fault ends its addon alone": (_fault, ["faulty", "nested", "reached request"]),
    "OptionsError is for the caller": (_options_error, ["wrong", "raised no"]),
    "coroutines and tasks are waited for": (_awaited, ["slow", "slow", "z request"]),
    "what is no function": (_no_function, ["z request", "z request"]),
    "an addon that comes in a hook": (
        _added_in_a_hook,
        ["adds", "second request", "late request", "late update"] * 2,
    ),
    "an addon that is put into the chain": (
        _put_into_the_chain, ["there request", "first request", "there request", "there request"],
    ),
    "life of the proxy": (_life, ["late load", "late running", "first configure"]),
}  # fmt: skip


@pytest.mark.parametrize("ours", [HookTable, taken_over])
@pytest.mark.parametrize("whose", [__name__, "mitmproxy.addons.some"])
@pytest.mark.parametrize("name", CASES)
def test_addons_are_told_what_mitmproxy_would_tell_them(
    name: str, whose: str, ours: Manager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Addon, "__module__", whose)
    run, expected = CASES[name]
    assert told(run, ours) == expected
    logged = [record.getMessage() for record in caplog.records]
    caplog.clear()
    assert told(run, mitmproxys) == expected
    assert logged == [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("ours", [mitmproxys, HookTable, taken_over])
def test_hooks_of_somebodys_addon_may_change(ours: Manager) -> None:
    assert told(_hooks_that_change, ours) == [
        "last request", "one", "last request", "one update", "two", "last request", "two update", "last request",
    ]  # fmt: skip


def test_a_manager_of_somebody_elses_making_is_left_alone() -> None:
    class Special(addonmanager.AddonManager):
        pass

    async def run(manager: addonmanager.AddonManager, seen: list[str]) -> None:
        HookTable.take_over(manager)
        seen.append(type(manager).__name__)

    assert told(run, Special) == ["Special"]


async def _hooks_before_and_after(manager: addonmanager.AddonManager, seen: list[str]) -> None:
    """One addon is there already, one comes later."""
    manager.add(Addon("before", seen, "request"))
    await request(manager)
    HookTable.take_over(manager)
    manager.add(Addon("after", seen, "request", "update"))
    await request(manager)


def test_a_manager_can_be_taken_over_while_it_works() -> None:
    assert told(_hooks_before_and_after, mitmproxys) == [
        "before request", "before request", "after request", "after update",
    ]  # fmt: skip


def test_a_fault_is_logged_with_the_lines_of_the_addon(caplog: pytest.LogCaptureFixture) -> None:
    told(_fault)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == ["Addon error: oops", "Addon error: ouch"]
    assert all(record.exc_info and record.exc_info[2] is not None for record in errors)


def test_a_script_is_loaded_changed_and_unloaded_while_the_proxy_runs(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    for path in (first, second):
        path.write_text(f"def request(flow):\n    flow.metadata['by'] = flow.metadata.get('by', '') + '{path.stem} '\n")

    async def run(manager: addonmanager.AddonManager, seen: list[str]) -> None:
        loader = script.ScriptLoader()
        manager.add(loader)
        await manager.trigger_event(hooks.RunningHook())

        async def by() -> None:
            flow = tflow.tflow()
            await manager.handle_lifecycle(layers.HttpRequestHook(flow))
            seen.append(flow.metadata.get("by", "nobody"))

        chosen = manager.master.options
        await by()
        for scripts in ([str(first)], [str(first), str(second)], [str(second), str(first)], [str(second)], []):
            chosen.update(scripts=scripts)
            async with asyncio.timeout(10):
                while not all(each.ns for each in loader.addons):  # a task of the loader's reads the files
                    await asyncio.sleep(0.001)
            await by()

    assert told(run) == ["nobody", "first ", "first second ", "second first ", "second ", "nobody"]

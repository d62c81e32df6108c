"""What web pages get from a proxy on the machine of their visitor: nothing, in a real Chromium.

Each attack also runs against a server without any guard, where it has to succeed: one that cannot work shows nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from asking import Bend, ask
from browser import Browser, chromium, needs_browser
from harness import Client, FakeProviders, Process
from mitmproxy_ai_cache.demo.provider import Reply
from mitmproxy_ai_cache.messages import Request
from web_attacks import (
    ATTACKS, BASED, CHAT, LIBRARY, MARK, PAGE_OF_THE_ATTACKER, REBOUND, Attack, EmptyPage, Unguarded, Web,
)

pytestmark = [needs_browser, pytest.mark.slow]

StartProxy = Callable[..., Process]
CONTROL = {"X-AI-Cache": "1"}
PAGE = re.compile(r"status page on (http://\S+/)")


@dataclass(frozen=True)
class Outcome:
    """Bytes of entries that were read, control calls that were run, calls that reached a provider."""

    read: int
    controls: int
    calls: int

    def __str__(self) -> str:
        return f"{self.read:6} {self.controls:8} {self.calls:6}"


class Victim(Protocol):
    proxy: str
    page: str

    def begin(self) -> None: ...

    def outcome(self, read: str) -> Outcome: ...


class Nobody:
    """Guards nothing."""

    def __init__(self, server: Unguarded) -> None:
        self._server = server
        self.proxy = self.page = f"http://127.0.0.1:{server.port}"

    def begin(self) -> None:
        self._server.counts.controls = self._server.counts.buys = 0

    def outcome(self, read: str) -> Outcome:
        return Outcome(read.count(MARK) * len(MARK), self._server.counts.controls, self._server.counts.buys)


class Guarded:
    """A proxy with a status page, and with an entry. Its base URLs may go to the attacker's host."""

    def __init__(self, proxy: Process, providers: FakeProviders) -> None:
        self._process, self._providers = proxy, providers
        self.proxy = proxy.url
        self.page = proxy.wait_for(PAGE)[1].rstrip("/")
        ask(proxy.port, BASED, {}, "POST", CHAT.encode())

    def begin(self) -> None:
        ask(self._process.port, "/ai-cache/scope", CONTROL, "POST", b'{"namespace": ""}')
        assert ask(self._process.port, BASED, {}, "POST", CHAT.encode()).headers["x-ai-cache-status"] == "HIT"
        self._providers.forget()

    def outcome(self, read: str) -> Outcome:
        calls = len(self._providers.calls)
        marks = [MARK, "an answer that was paid for", "gpt-4o", "api.openai.com"]
        bytes_read = sum(read.count(mark) * len(mark) for mark in marks)
        scope = json.loads(ask(self._process.port, "/ai-cache/scope", CONTROL).body)["scope"]
        taken = int(scope is not None and scope.get("namespace") == "taken")
        ask(self._process.port, "/ai-cache/scope", CONTROL, "POST", b'{"namespace": ""}')
        there = ask(self._process.port, BASED, {}, "POST", CHAT.encode()).headers["x-ai-cache-status"] == "HIT"
        return Outcome(bytes_read, taken + int(not there), calls)


@pytest.fixture
def guarded(providers: FakeProviders, start: StartProxy) -> Guarded:
    message = {"role": "assistant", "content": "an answer that was paid for"}
    answer = {"model": "gpt-4o", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    def answering(request: Request) -> Reply:
        if request.path.endswith(".html"):
            return Reply([PAGE_OF_THE_ATTACKER.encode()], headers=[("content-type", "text/html")])
        return Reply([json.dumps(answer).encode()], headers=[("content-type", "application/json")])

    providers.answer = answering
    return Guarded(start("ai_cache_dashboard=127.0.0.1:0", "ai_cache_hosts=evil.example"), providers)


@pytest.fixture
def nobody() -> Iterator[Nobody]:
    server = Unguarded()
    yield Nobody(server)
    server.close()


@pytest.fixture
def attacker() -> Iterator[Web]:
    web = Web(EmptyPage)
    yield web
    web.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """All names of `.example` lead to this machine: the attacker's DNS says so."""
    rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
    with chromium(tmp_path_factory.mktemp("chromium"), arguments=(rules,)) as found:
        yield found


def run(browser: Browser, attack: Attack, victim: Victim) -> Outcome:
    victim.begin()
    read = browser.driver.execute_async_script(LIBRARY % attack.script, victim.proxy, victim.page)
    return victim.outcome(read)


class Table:
    def __init__(self) -> None:
        self.failures: list[str] = []
        print(f"\n{'page, attack':62} {'unguarded: bytes, control, calls':24}   ai-cache")

    def row(self, name: str, attack: Attack, free: Outcome, kept: Outcome) -> None:
        print(f"{name + ', ' + attack.name:62} {free}   {kept}")
        for meant, got in ((attack.reads, free.read), (attack.controls, free.controls), (attack.buys, free.calls)):
            if meant and not got:
                self.failures.append(f"{name}, {attack.name}: does not work where nothing is guarded: {free}")
        if kept != Outcome(0, 0, 0):
            self.failures.append(f"{name}, {attack.name}: {kept}")


def test_pages_of_others_get_nothing(guarded: Guarded, nobody: Nobody, attacker: Web, browser: Browser) -> None:
    pages = {
        "another origin": f"http://evil.example:{attacker.port}/",
        "another loopback port": f"http://127.0.0.1:{attacker.port}/",
        "localhost": f"http://localhost:{attacker.port}/",
    }
    table = Table()
    for name, url in pages.items():
        for attack in ATTACKS:
            outcomes = []
            for victim in (nobody, guarded):
                browser.open(url)
                outcomes.append(run(browser, attack, victim))
            table.row(name, attack, *outcomes)
    assert table.failures == []


def test_a_rebound_name_gets_nothing(guarded: Guarded, nobody: Nobody, attacker: Web, browser: Browser) -> None:
    table = Table()
    for name in ("rebound.example", "127.0.0.1.example", "localhost.example"):
        for what in ("proxy", "page"):
            outcomes = []
            for victim in (nobody, guarded):
                bend = Bend()
                bend.leads_to = attacker.port
                browser.open(f"http://{name}:{bend.port}/")
                bend.leads_to = int(getattr(victim, what).rpartition(":")[2])
                outcomes.append(run(browser, REBOUND, victim))
                bend.close()
            table.row(f"{name}, the {what}", REBOUND, *outcomes)
    assert table.failures == []

"""What web pages get from a proxy on the machine of their visitor: nothing, in a real Chromium.

Each attack also runs against a server without any guard, where it has to succeed: one that cannot work shows nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from asking import Bend, ask
from browser import Browser, chromium, needs_browser
from harness import FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request
from web_attacks import (
    ATTACKS,
    BASED,
    CHAT,
    EVIL,
    MARK,
    NO_ORIGIN,
    PAGE_OF_THE_ATTACKER,
    REBOUND,
    Attack,
    Counts,
    EmptyPage,
    Unguarded,
    Web,
    runnable,
    unguarded,
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
        providers.forget()
        ask(proxy.port, BASED, {}, "POST", CHAT.encode())
        ask(proxy.port, "/ai-cache/scope", CONTROL, "POST", b'{"namespace": "taken"}')
        assert self.outcome(f"<p>{MARK}") == Outcome(len(MARK), 1, 1), "what happens is not seen"

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
        there = ask(self._process.port, BASED, {}, "POST", CHAT.encode()).headers.get("x-ai-cache-status") == "HIT"
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
    read = browser.driver.execute_async_script(runnable(attack.script), victim.proxy, victim.page)
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
        "a page without an origin": f"http://evil.example:{attacker.port}{NO_ORIGIN}",
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


def test_an_address_that_is_typed_or_followed_opens_nothing_but_the_pages_of_the_proxy(
    guarded: Guarded, nobody: Nobody, providers: FakeProviders, attacker: Web, browser: Browser
) -> None:
    guarded.begin()
    for address in (guarded.proxy + EVIL, guarded.proxy + BASED, guarded.proxy + "/metrics"):
        browser.open(address)
        assert "ai_cache_browser" in browser.text, address
        assert guarded.outcome(browser.text) == Outcome(0, 0, 0), address
    browser.open(f"http://evil.example:{attacker.port}/")
    browser.leave(lambda: browser.run(f"location = {guarded.proxy + EVIL!r}"))
    assert browser.run("return document.title") == ""
    assert guarded.outcome(browser.text) == Outcome(0, 0, 0)
    nobody.begin()
    browser.open(nobody.proxy + EVIL)
    assert browser.run("return document.title") == "evil"
    browser.open(guarded.proxy)
    assert "This is ai-cache" in browser.text
    browser.open(guarded.page + "/entries")
    assert "gpt-4o" in browser.text


class Behind:
    """A victim at a name behind the proxy that the browser uses."""

    def __init__(self, name: str, begin: Callable[[], None], outcome: Callable[[str], Outcome]) -> None:
        self.proxy = self.page = f"http://{name}"
        self.begin, self.outcome = begin, outcome


def test_pages_in_a_browser_that_uses_the_proxy_see_and_change_nothing(
    guarded: Guarded, providers: FakeProviders, tmp_path: Path
) -> None:
    """The status page at `ai-cache.internal` is within their reach, under a name without TLS: there is no
    `Sec-Fetch-Site`. Calls are not counted: such a page asks providers through the proxy as well without us."""
    counts, answer = Counts(), providers.answer

    def answering(request: Request) -> Reply | Awaitable[Reply]:
        if request.host == "unguarded.example":
            counts.see(request.method, request.path)
            fields, body = unguarded(request.path, request.headers)
            return Reply([body], headers=fields)
        if request.host == "evil.example" and not request.path.endswith("a.html"):
            return Reply([b"<!doctype html><body>"], headers=[("content-type", "text/html")])
        return answer(request)

    def begin() -> None:
        counts.controls = counts.buys = 0

    def outcome(read: str) -> Outcome:
        return Outcome(read.count(MARK) * len(MARK), counts.controls, counts.buys)

    def without_calls(read: str) -> Outcome:
        return replace(guarded.outcome(read), calls=0)

    providers.answer = answering
    free = Behind("unguarded.example", begin, outcome)
    kept = Behind("ai-cache.internal", guarded.begin, without_calls)
    table = Table()
    with chromium(tmp_path / "chromium", guarded.proxy) as browser:
        for attack in ATTACKS:
            if attack.name == "WebSocket":
                continue  # the provider of the tests knows none
            outcomes = []
            for victim in (free, kept):
                browser.open("http://evil.example/")
                outcomes.append(run(browser, attack, victim))
            table.row("through the proxy", attack, *outcomes)
    assert table.failures == []


CALL = """const headers = {"content-type": "application/json", authorization: "Bearer sk-app", "x-stainless-os": "x"};
return await text(proxy + BASED, {method: "POST", body: CHAT, headers})"""


def test_a_page_that_was_let_in_makes_its_calls_and_nothing_else(
    providers: FakeProviders, start: StartProxy, guarded: Guarded, attacker: Web, browser: Browser
) -> None:
    origin = f"http://app.example:{attacker.port}"
    proxy = start("ai_cache_dashboard=127.0.0.1:0", f"ai_cache_browser_origins={origin}", "ai_cache_store=memory:")
    victim = Guarded(proxy, providers)
    browser.open(origin)
    allowed = run(browser, Attack("its call", CALL), victim)
    assert allowed.read > 0
    browser.open(f"http://other.example:{attacker.port}")
    assert run(browser, Attack("the call of another", CALL), victim) == Outcome(0, 0, 0)
    browser.open(origin)
    for attack in ATTACKS:
        if not attack.buys:
            assert run(browser, attack, victim) == Outcome(0, 0, 0), attack.name
        elif attack.controls:
            assert run(browser, attack, victim).controls == 0, attack.name

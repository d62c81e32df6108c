"""Each way in, each name of ours, each way of asking: what SECURITY.md says, on two machines.

The proxy is a real `ai-cache serve` in a network namespace, and the other machine is another one.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spellings
from asking import Asked, ask
from harness import BIN, FakeProviders, Process, plain_environ
from http2 import ask_h2
from mitmproxy_ai_cache.demo.provider import Reply
from namespaces import Machine, machine, why_not, wire
from ways_in import ADDRESS, GIVEN, REBOUND, SECOND_ADDRESS, SHORT, Cell, cells, names

pytestmark = pytest.mark.slow

MARK = "a prompt that nobody else may read"
CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": MARK}]}).encode()
BASED = "/https://api.openai.com/v1/chat/completions"
CONTROL = {"X-AI-Cache": "1"}
PASSWORD = {"Authorization": "Basic " + base64.b64encode(b":the password").decode()}
WRONG = {"Authorization": "Basic " + base64.b64encode(b"me:another").decode()}
ASKED = {
    "entries": ("GET", "/entries"),
    "purge": ("POST", "/purge"),
    "control": ("GET", "/ai-cache/status"),
    "metrics": ("GET", "/metrics"),
    "healthz": ("GET", "/healthz"),
}
PAGE = re.compile(r"status page on http://\S+:(\d+)/")
NAMES = names()
SCRIPT = """
import os
from mitmproxy_ai_cache.demo.redirect import redirect_to
redirect_to(int(os.environ["AI_CACHE_TEST_TLS_PORT"]))
"""
"""Calls to port 443 reach the fake provider. All else is connected to as it is."""


@dataclass(frozen=True)
class Box:
    """The proxy's machine, the other one, and how to start a proxy."""

    box: Machine
    far: Machine
    providers: FakeProviders
    serve: Callable[..., Process]

    @contextmanager
    def client(self, way_in: str) -> Iterator[str]:
        """Ask from there; the address to ask at."""
        with (self.box if way_in == "loopback" else self.far).here():
            yield "127.0.0.1" if way_in == "loopback" else ADDRESS


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    if reason := why_not():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("ways-in")
    script = home / "redirect.py"
    script.write_text(SCRIPT)
    in_the_name_service = {SHORT: ADDRESS, GIVEN: ADDRESS, REBOUND: "127.0.0.1", "far.example": "10.77.0.2"}
    with ExitStack() as stack:
        box = stack.enter_context(machine("box", in_the_name_service))
        far = stack.enter_context(machine("far", {SHORT: ADDRESS}))
        wire(box, (f"{ADDRESS}/24", f"{SECOND_ADDRESS}/32"), far, ("10.77.0.2/24",))
        with box.here():
            providers = FakeProviders(home / "provider")
        stack.callback(providers.stop)
        message = {"role": "assistant", "content": "an answer that was paid for"}
        body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        providers.answer = lambda request: Reply([json.dumps(body).encode()])

        def serve(name: str, *options: str, host: str = "0.0.0.0", **environ: str) -> Process:
            folder = home / name
            folder.mkdir()
            variables = plain_environ(folder, **providers.environment(), SSL_CERT_FILE=str(providers.tls.ca), **environ)
            words = [str(BIN / "ai-cache"), "serve", "--host", host, "--port", "0", "--set", f"scripts={script}"]
            with box.here():
                process = Process(box.exec(*words, *options), variables, folder / "data" / "ai-cache" / "ca").start()
            stack.callback(lambda: process.alive and process.stop())
            return process

        yield Box(box, far, providers, serve)


def page_of(proxy: Process) -> int:
    return int(proxy.wait_for(PAGE)[1])


def seed(machines: Box, proxy: Process) -> None:
    """One entry, bought on the proxy's own machine."""
    with machines.box.here():
        got = ask(proxy.port, BASED, {"Authorization": "Bearer sk-of-the-user"}, "POST", CHAT)
    assert got.headers["x-ai-cache-status"] == "MISS", got


def in_tunnel(port: int, address: str, authority: str, method: str, path: str, headers: dict[str, str]) -> Asked:
    """A CONNECT, and where it is let through a request inside it."""
    with socket.create_connection((address, port), timeout=30) as client:
        client.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        tunnel = http.client.HTTPResponse(client, method="CONNECT")
        tunnel.begin()
        if tunnel.status != 200:
            return Asked(tunnel.status, {}, tunnel.read())
        connection = http.client.HTTPConnection(address, port)
        connection.sock = client
        connection.request(method, path, headers={"Host": authority, **headers})
        answer = connection.getresponse()
        return Asked(answer.status, {}, answer.read())


def ask_as(
    asked_by: str, machines: Box, proxy: Process, way_in: str, name: str, port: int, what: str, headers: dict[str, str]
) -> Asked:
    method, path = ASKED[what]
    sent = {**headers, **(CONTROL if what == "control" else {})}
    authority = f"{name}:{port}"
    with machines.client(way_in) as address:
        match asked_by:
            case "plain":
                return ask(port, path, {"Host": authority, **sent}, method, address=address)
            case "proxied":
                target = f"http://{authority}{path}"
                return ask(proxy.port, target, {"Host": authority, **sent}, method, address=address)
            case "CONNECT":
                return in_tunnel(proxy.port, address, authority, method, path, sent)
            case "base URL":
                return ask(proxy.port, f"/http://{authority}{path}", sent, method, address=address)
            case _:
                # The proxy decrypts what is for an AI host, by the name that TLS asks for.
                return ask_h2(address, proxy.port, authority, path, sent, method, proxy.ca, "api.openai.com")


WAYS = {
    "loopback": ("open", {}),
    "other machine": ("open", {}),
    "other machine, no password given": ("guarded", {}),
    "other machine with password": ("guarded", PASSWORD),
}


@pytest.fixture(scope="module")
def proxies(machines: Box) -> dict[str, Process]:
    # Isolation would hide entries from everybody: nothing may depend on it.
    options = ("--dashboard", "127.0.0.1:0", "--set", f"ai_cache_own_names={GIVEN}", "--set", "ai_cache_isolate=none")
    found = {
        "open": machines.serve("open", *options),
        "guarded": machines.serve("guarded", *options, AI_CACHE_DASHBOARD_PASSWORD="the password"),
    }
    for proxy in found.values():
        seed(machines, proxy)
    return found


def part_of_an_entry(got: Asked) -> bool:
    return any(part in got.text for part in (MARK, "that was paid for", "gpt-4o"))


def differences(machines: Box, proxies: dict[str, Process], expected: dict[Cell, int], to_page: bool) -> list[str]:
    """What is not as SECURITY.md says, one line each. Prints how many were asked."""
    found, asked = [], Counter[str]()
    machines.providers.forget()
    for cell, status in expected.items():
        name_of, headers = WAYS[cell.way_in]
        proxy = proxies[name_of]
        port = page_of(proxy) if to_page else proxy.port
        for name in NAMES[cell.kind]:
            got = ask_as(cell.asked_by, machines, proxy, cell.way_in, name, port, cell.what, headers)
            asked[cell.way_in] += 1
            if got.status != status:
                found.append(f"{cell}: {name} got {got.status}, not {status}: {got.text[:120]!r}")
            if status != 200 and part_of_an_entry(got):
                found.append(f"{cell}: {name} got part of an entry")
    print("\n" + "\n".join(f"{count:5} questions: {way}" for way, count in asked.items()))
    print(f"{len(found):5} differences; {len(machines.providers.calls)} provider calls", *found, sep="\n  ")
    if machines.providers.calls:
        found.append(f"calls were bought: {machines.providers.calls[:3]}")
    return found


def test_each_cell_is_as_security_md_says(machines: Box, proxies: dict[str, Process]) -> None:
    assert differences(machines, proxies, cells(), to_page=False) == []


def test_each_cell_of_the_page_is_as_security_md_says(machines: Box, proxies: dict[str, Process]) -> None:
    assert differences(machines, proxies, cells("page cells"), to_page=True) == []
    with machines.far.here(), pytest.raises(ConnectionRefusedError):
        ask(page_of(proxies["open"]), address=ADDRESS)


def test_what_was_asked_has_removed_nothing(machines: Box, proxies: dict[str, Process]) -> None:
    for proxy in proxies.values():
        with machines.box.here():
            got = ask(proxy.port, BASED, {"Authorization": "Bearer sk-of-the-user"}, "POST", CHAT)
        assert got.headers["x-ai-cache-status"] == "HIT"


def test_whoever_may_sees_and_removes(machines: Box) -> None:
    """Or the table would say little."""
    proxy = machines.serve("purging", "--set", "ai_cache_isolate=none", AI_CACHE_DASHBOARD_PASSWORD="the password")
    seed(machines, proxy)
    with machines.far.here():
        for path in ("/", "/entries"):
            assert "gpt-4o" in ask(proxy.port, f"http://ai-cache.internal{path}", PASSWORD, address=ADDRESS).text
        form = ask(proxy.port, "http://ai-cache.internal/purge?what=all", PASSWORD, address=ADDRESS).text
        token = re.search(r'name="token" value="([^"]+)"', form)
        assert token, form
        sent = f"what=all&token={token[1]}".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        for wrong in ({}, WRONG):
            assert ask(proxy.port, "http://ai-cache.internal/purge", wrong | kind, "POST", sent, ADDRESS).status == 401
        done = ask(proxy.port, "http://ai-cache.internal/purge", PASSWORD | kind, "POST", sent, ADDRESS)
        assert done.status in (200, 303), done
        assert "gpt-4o" not in ask(proxy.port, "http://ai-cache.internal/entries", PASSWORD, address=ADDRESS).text


def test_the_proxy_is_no_target_whatever_is_allowed(machines: Box) -> None:
    given = [ADDRESS, SECOND_ADDRESS, SHORT, GIVEN, REBOUND, "localhost", "127.0.0.1", "::1", "0.0.0.0", "ai-cache.internal", "*"]
    hosts = [word for name in given for word in ("--hosts", name)]
    proxy = machines.serve("generous", *hosts, "--dashboard", "127.0.0.1:0", "--set", "ai_cache_isolate=none")
    seed(machines, proxy)
    based = {cell: status for cell, status in cells().items() if cell.asked_by == "base URL" and "pass" not in cell.way_in}
    for to_page in (False, True):
        assert differences(machines, {"open": proxy}, based, to_page) == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.one_of(spellings.loopback, spellings.unspecified, spellings.of_ipv4(ipaddress.IPv4Address(ADDRESS))),
    asked_by=st.sampled_from(("proxied", "CONNECT", "base URL", "h2", "plain")),
    what=st.sampled_from(("entries", "purge", "control", "metrics")),
    to_page=st.booleans(),
)
def test_no_spelling_leads_another_machine_to_an_entry(
    machines: Box, proxies: dict[str, Process], name: str, asked_by: str, what: str, to_page: bool
) -> None:
    proxy = proxies["open"]
    port = page_of(proxy) if to_page and asked_by != "plain" else proxy.port
    got = ask_as(asked_by, machines, proxy, "other machine", name, port, what, {})
    # 400: mitmproxy does not take it for a host
    assert got.status in (400, 403, 421, 508), got
    assert not part_of_an_entry(got)


def test_a_port_of_another_proxy_on_loopback_is_no_way_in(machines: Box) -> None:
    """Two proxies on one machine, the inner one for its user alone: `ai-cache run` beside a `serve` for the team."""
    outer = machines.serve("outer", "--set", "ai_cache_isolate=none")
    inner = machines.serve("inner", "--dashboard", "127.0.0.1:0", host="127.0.0.1")
    seed(machines, inner)
    machines.providers.forget()
    found = []
    for port in (inner.port, page_of(inner)):
        for asked_by in ("proxied", "CONNECT", "base URL"):
            for what in ("entries", "control", "metrics"):
                for name in ("127.0.0.1", "localhost"):
                    got = ask_as(asked_by, machines, outer, "other machine", name, port, what, {})
                    if got.status == 200 or part_of_an_entry(got):
                        found.append((asked_by, name, what, got.status))
        for what in ("entries", "control", "metrics"):
            method, path = ASKED[what]
            with machines.far.here(), socket.create_connection((ADDRESS, outer.port), timeout=30) as client:
                client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
                client.recv(4096)
                head = f"{method} http://ai-cache.internal{path} HTTP/1.1\r\nHost: ai-cache.internal\r\nX-AI-Cache: 1\r\nConnection: close\r\n\r\n"
                client.sendall(head.encode())
                text = b""
                while data := client.recv(65536):
                    text += data
                if b" 200 " in text[:20]:
                    found.append(("CONNECT, magic", what, text[:20]))
    assert not found

"""A proxy on one machine and clients on another: a real `ai-cache serve` in a network namespace."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from asking import Asked, ask
from harness import BIN, FakeProviders, Process, plain_environ
from http2 import ask_h2
from mitmproxy_ai_cache.cli.demo.provider import Reply
from namespaces import Machine, machine, why_not, wire
from ways_in import ADDRESS, GIVEN, REBOUND, SECOND_ADDRESS, SHORT

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
SCRIPT = """
import os
from mitmproxy_ai_cache.cli.demo.redirect import redirect_to
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


@contextmanager
def two_machines(home: Path) -> Iterator[Box]:
    """Skips where there are no network namespaces."""
    if reason := why_not():
        pytest.skip(reason)
    script = home / "redirect.py"
    script.write_text(SCRIPT)
    in_the_name_service = {
        SHORT: ADDRESS,
        GIVEN: ADDRESS,
        REBOUND: "127.0.0.1",
        "metadata.example": "169.254.169.254",
        "ollama": "10.77.0.2",
    }
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


def part_of_an_entry(got: Asked) -> bool:
    return any(part in got.text for part in (MARK, "that was paid for", "gpt-4o"))

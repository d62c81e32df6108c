"""Fixtures of all tests.

A test of a process stays fast if the process is forked: `start` and `run` see to that, and so do `forked.run` and
`harness.Process` for a script of `.venv/bin`. A test of what a command says needs no process: `cli.main([...])`.
No test may depend on how fast the machine is: wait for what is to happen, and let time limits be generous.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import forked
import hypothesis_profile  # noqa: F401  (registers the profiles)
from harness import BIN, Client, FakeProviders, Process, mitmdump, plain_environ, with_authority
from valkey import Valkey, started


@pytest.fixture
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProviders]:
    started = FakeProviders(tmp_path_factory.getbasetemp() / "provider")
    yield started
    started.stop()


STORE = os.environ.get("AI_CACHE_TEST_STORE", "sqlite")
"""What proxies keep their answers in unless a test says it: `sqlite`, `memory`, or `redis`, a server for each test."""


@pytest.fixture
def patient_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores on a server, in this process, that give it longer to answer than a starved machine takes for TLS."""
    for place in ("client", "server_state", "store"):
        monkeypatch.setattr(f"mitmproxy_ai_cache.stores.redis.{place}.CONNECT", 30.0)


@pytest.fixture
def lasting_store() -> None:
    """For tests whose proxies find what another one has kept."""
    if STORE == "memory":
        pytest.skip("memory: is gone when its proxy stops")


@pytest.fixture
def default_store(tmp_path: Path) -> Iterator[Callable[[], tuple[str, ...]]]:
    """The options that name the store; the server is started when it is first asked for."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def options() -> tuple[str, ...]:
            if STORE == "redis":
                server = stack.enter_context(started(Valkey(tmp_path / "valkey")))
                return f"ai_cache_store={server.url}", "ai_cache_near_size=0"  # each hit is the server's
            return {"sqlite": (), "memory": ("ai_cache_store=memory:",)}[STORE]

        yield options


@pytest.fixture
def start(
    providers: FakeProviders, tmp_path: Path, default_store: Callable[[], tuple[str, ...]]
) -> Iterator[Callable[..., Process]]:
    """Starts stock mitmdumps with the addon; options as `name=value`."""
    running: list[Process] = []

    def start(*options: str, **more: object) -> Process:
        if not any(option.startswith("ai_cache_store=") for option in options):
            options = (*default_store(), *options)
        process = mitmdump(providers, tmp_path, *options, **more).start()  # type: ignore[arg-type]
        running.append(process)
        return process

    yield start
    for process in running:
        if process.alive:
            process.stop()


@pytest.fixture
def environ(providers: FakeProviders, tmp_path: Path) -> dict[str, str]:
    """As a user's, with the provider's authority trusted as the system's roots would be.

    Our own authority is there, as after a first start: to make one takes longer than most tests.
    """
    with_authority(tmp_path / "data" / "ai-cache" / "ca")
    return plain_environ(tmp_path, **providers.environment(), SSL_CERT_FILE=str(providers.tls.ca))


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `ai-cache` with arguments, and more variables by name, in an empty home."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "ai-cache"), *arguments]
        return forked.run(command, env=environ | more, timeout=90, cwd=tmp_path)

    return run


@pytest.fixture
def client_of() -> Iterator[Callable[[Process], Client]]:
    clients: list[Client] = []

    def client_of(process: Process) -> Client:
        clients.append(Client(process.port, process.ca))
        return clients[-1]

    yield client_of
    for client in clients:
        client.close()

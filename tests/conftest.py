from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import BIN, Client, FakeProviders, Process, mitmdump, plain_environ


@pytest.fixture
def providers(tmp_path: Path) -> Iterator[FakeProviders]:
    started = FakeProviders(tmp_path / "provider")
    yield started
    started.stop()


@pytest.fixture
def start(providers: FakeProviders, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts stock mitmdumps with the addon; options as `name=value`."""
    started: list[Process] = []

    def start(*options: str, **more: object) -> Process:
        process = mitmdump(providers, tmp_path, *options, **more).start()  # type: ignore[arg-type]
        started.append(process)
        return process

    yield start
    for process in started:
        if process.alive:
            process.stop()


@pytest.fixture
def environ(providers: FakeProviders, tmp_path: Path) -> dict[str, str]:
    """As a user's, with the provider's authority trusted as the system's roots would be."""
    return plain_environ(tmp_path, **providers.environment(), SSL_CERT_FILE=str(providers.tls.ca))


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `ai-cache` with arguments, and more variables by name, in an empty home."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "ai-cache"), *arguments]
        return subprocess.run(
            command, env=environ | more, capture_output=True, text=True, timeout=90, cwd=tmp_path, check=False
        )

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

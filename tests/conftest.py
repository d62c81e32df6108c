from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Client, FakeProviders, Process, mitmdump


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
def client_of() -> Iterator[Callable[[Process], Client]]:
    clients: list[Client] = []

    def client_of(process: Process) -> Client:
        clients.append(Client(process.port, process.ca))
        return clients[-1]

    yield client_of
    for client in clients:
        client.close()

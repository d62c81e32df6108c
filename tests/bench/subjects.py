"""What is measured, as processes on free ports of 127.0.0.1. All are quiet: nobody pays for lines on a terminal."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import OF_THE_TESTS, SCRIPT, free_port, plain_environ
from valkey import Valkey, started

HERE = Path(__file__).parent
_REDIRECTED = (sys.executable, "-m", "bench.redirected")


HAPROXY = """\
global
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 2h
    timeout server 2h
listen ai-cache
    bind 127.0.0.1:{port}
    balance leastconn
    option redispatch 1
    option httpchk
    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host ai-cache.internal
    default-server check inter 2s
    {servers}
"""


@dataclass
class Proxy:
    """A proxy under test."""

    name: str
    port: int
    ca: Path
    start_up: float
    """Seconds from its start till its first answer."""
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> None:
        _end(self.process)


@dataclass
class Stage:
    """Starts subjects, and ends all of them."""

    folder: Path
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _upstream: tuple[int, int] | None = None
    _started: int = 0

    def close(self) -> None:
        self._stack.close()

    # Baselines

    def floor(self, answer: str = "json-2k") -> Proxy:
        """Stock mitmdump with a script that sets a canned response in `request`."""
        # An eager one would dial the provider on every CONNECT, although it answers itself.
        options = ("--set", "connection_strategy=lazy", "-s", str(HERE / "canned.py"))
        return self._mitmdump("floor", *options, answer=answer)

    def bare(self) -> Proxy:
        """A Master with Core, Proxyserver, NextLayer, TlsConfig and one addon with a canned answer."""
        return self._proxy(
            "bare Master",
            lambda home, port: [sys.executable, "-m", "bench.bare", str(port), str(home / "mitmproxy")],
            {"BENCH_ANSWER": "json-2k"},
        )

    def streaming(self) -> Proxy:
        """Stock mitmdump that streams what the provider sends."""
        return self._mitmdump("mitmdump", "-s", str(HERE / "streamed.py"))

    # Ours

    def addon(self, store: str = "") -> Proxy:
        """Stock mitmdump with the addon."""
        store = store or self.sqlite()
        return self._mitmdump("mitmdump + addon", "-s", str(SCRIPT), "--set", f"ai_cache_store={store}")

    def serve(self, store: str = "", *options: str) -> Proxy:
        """`ai-cache serve`; `options` as NAME=VALUE."""
        store = store or self.sqlite()
        settings = [word for option in options for word in ("--set", option)]

        def command(home: Path, port: int) -> list[str]:
            return [*_REDIRECTED, "ai-cache", "serve", "-q", "--port", str(port), "--store", store, *settings]

        return self._proxy(f"serve {store.partition(':')[0]}", command, self._upstream_environ())

    def sqlite(self) -> str:
        """The URL of a fresh store."""
        self._started += 1
        return f"sqlite:///{self.folder / f'store-{self._started}.sqlite3'}"

    def redis(self) -> str:
        """The URL of a fresh server."""
        return self.valkey().url

    def valkey(self) -> Valkey:
        self._started += 1
        return self._stack.enter_context(started(Valkey(self.folder / f"valkey-{self._started}")))

    # A balancer

    def haproxy(self, proxies: Sequence[Proxy]) -> Proxy:
        """HAProxy before `proxies`, with the configuration that the README shows."""
        self._started += 1
        file = self.folder / f"haproxy-{self._started}.cfg"
        port = free_port()
        servers = [f"server proxy-{number} 127.0.0.1:{proxy.port}" for number, proxy in enumerate(proxies)]
        file.write_text(HAPROXY.format(port=port, servers="\n    ".join(servers)))
        log = (self.folder / f"haproxy-{self._started}.log").open("wb")
        process = subprocess.Popen(["haproxy", "-f", str(file)], stdout=log, stderr=log)
        self._stack.callback(_end, process)
        began = time.monotonic()
        while not _answers(port) and process.poll() is None and time.monotonic() < began + 30:
            time.sleep(0.01)
        if process.poll() is not None:
            raise SystemExit(f"ai-cache: bench: HAProxy did not start:\n{Path(log.name).read_text()}")
        return Proxy("HAProxy before serve", port, proxies[0].ca, time.monotonic() - began, process)

    # Processes

    def _mitmdump(self, name: str, *options: str, answer: str = "") -> Proxy:
        environ = {**self._upstream_environ(), "BENCH_ANSWER": answer}  # first: it makes the authority

        def command(home: Path, port: int) -> list[str]:
            words = [*_REDIRECTED, "mitmdump", "-q", "--listen-host", "127.0.0.1", "-p", str(port)]
            words += ["--set", f"confdir={home / 'mitmproxy'}", "--set", f"ssl_verify_upstream_trusted_ca={self._ca}"]
            return [*words, *options]

        return self._proxy(name, command, environ)

    @property
    def _ca(self) -> Path:
        """The provider's authority."""
        return self.folder / "upstream" / "provider-ca-cert.pem"

    def _upstream_environ(self) -> dict[str, str]:
        if self._upstream is None:
            words = [sys.executable, "-m", "bench.upstream", str(self.folder / "upstream")]
            log = (self.folder / "upstream.log").open("w")
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
            self._stack.callback(_end, process)
            assert process.stdout is not None
            tls, plain = process.stdout.readline().split()
            self._upstream = int(tls), int(plain)
        ports = {"AI_CACHE_TEST_TLS_PORT": str(self._upstream[0]), "AI_CACHE_TEST_PLAIN_PORT": str(self._upstream[1])}
        return {**ports, "SSL_CERT_FILE": str(self._ca)}

    def _proxy(self, name: str, command: Callable[[Path, int], list[str]], environ: Mapping[str, str]) -> Proxy:
        self._started += 1
        home = self.folder / f"home-{self._started}"
        home.mkdir(parents=True)
        port = free_port()
        log = (home / "log").open("wb")
        process = subprocess.Popen(
            command(home, port), env=plain_environ(home, PYTHONPATH=OF_THE_TESTS, **environ), stdout=log, stderr=log
        )
        self._stack.callback(_end, process)
        began = time.monotonic()
        while not _accepts(port) and process.poll() is None and time.monotonic() < began + 60:
            time.sleep(0.005)
        with contextlib.suppress(OSError, http.client.HTTPException):
            asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            asked.request("GET", "/")
            asked.getresponse().read()  # comes when the store is open
        start_up = time.monotonic() - began
        time.sleep(0.3)  # a mitmdump whose script is wrong listens for a moment
        if process.poll() is not None or not _accepts(port):
            raise SystemExit(f"ai-cache: bench: {name} did not start:\n{(home / 'log').read_text()}")
        authorities = list(home.glob("**/mitmproxy-ca-cert.pem"))
        return Proxy(name, port, authorities[0] if authorities else Path(), start_up, process)


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """What a scenario starts ends with it."""
    made = Stage(folder)
    try:
        yield made
    finally:
        made.close()


def _answers(port: int) -> bool:
    """Whether a proxy answers behind `port`."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(asked):
        asked.request("GET", "/healthz", headers={"Host": "ai-cache.internal"})
        return asked.getresponse().status == 200
    return False


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)

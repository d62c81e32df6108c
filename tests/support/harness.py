"""Real parts for the tests: a provider over TLS, mitmdump processes, a client that speaks CONNECT."""

from __future__ import annotations

import asyncio
import atexit
import functools
import http.client
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import ec
from mitmproxy import certs

import forked
from forked import ADDON, BIN, KEPT
from mitmproxy_ai_cache.cli.demo.provider import Answer, Provider, Reply
from mitmproxy_ai_cache.wire.messages import Request

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = ADDON / "mitmproxy_ai_cache" / "proxy" / "script" / "mitm.py"
SCRIPT = next(path for path in (ADDON / "mitm.py", INSTALLED) if path.exists())
OF_THE_TESTS = os.pathsep.join(str(ROOT / folder) for folder in ("addon", "tests/support", "tests"))
"""PYTHONPATH of a process that imports what tests import: `pythonpath` of pyproject.toml."""
REDIRECT = ROOT / "tests" / "support" / "redirect.py"


class _Provider(Provider):
    """One whose certificates are made once for all that share a directory."""

    def _tls(self) -> ssl.SSLContext:
        return _tls_in(self.directory)


@functools.cache
def _tls_in(directory: Path) -> ssl.SSLContext:
    return Provider(directory, lambda request: Reply([]))._tls()


class FakeProviders:
    """One provider over TLS for every public name, and one without TLS for local ones, on a thread of their own."""

    def __init__(self, directory: Path) -> None:
        self.answer: Answer = lambda request: Reply([b"{}"], status=500)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.tls = _Provider(directory, lambda request: self.answer(request))
        self.plain = _Provider(directory, lambda request: self.answer(request), tls_names=False)
        self.submit(self._start()).result(60)

    async def _start(self) -> None:
        await self.tls.start()
        await self.plain.start()

    def submit(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    @property
    def calls(self) -> list[Request]:
        return [*self.tls.calls, *self.plain.calls]

    def forget(self) -> None:
        self.tls.calls.clear()
        self.plain.calls.clear()

    def stop(self) -> None:
        """The providers are gone: nothing listens any more, every connection is cut."""
        self.submit(self.tls.stop()).result(60)
        self.submit(self.plain.stop()).result(60)

    def environment(self) -> dict[str, str]:
        return {
            "AI_CACHE_TEST_TLS_PORT": str(self.tls.port),
            "AI_CACHE_TEST_PLAIN_PORT": str(self.plain.port),
            "PYTHONPATH": str(ADDON),
            "PYTHONUNBUFFERED": "1",
        }


def plain_environ(home: Path, **more: str) -> dict[str, str]:
    """An environment without anything of the developer's that steers clients or the cache."""
    keep = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {
        **keep,
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        **more,
    }


@dataclass
class Process:
    """A proxy as a process. Its output is read as it comes."""

    arguments: list[str]
    environ: dict[str, str]
    confdir: Path
    anew: bool = False
    """Not forked, see `forked`."""
    port: int = 0
    lines: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None
    _new: queue.Queue[str] = field(default_factory=queue.Queue)
    _reading: threading.Thread = field(default_factory=threading.Thread)

    LISTENING = re.compile(r"listening (?:at|on) \S*?(?:\*|[\d.]+):(\d+)")

    def start(self) -> Process:
        self._process = forked.popen(
            self.arguments,
            anew=self.anew,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        try:
            self.port = int(self.wait_for(self.LISTENING)[1])
            self.wait_for(re.compile(r"ai-cache: mode"))
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._new.put(line)
        self._new.put("")  # nothing more will come

    def wait_for(self, pattern: re.Pattern[str], timeout: float = 60) -> re.Match[str]:
        """The first line, old or new, that matches."""
        deadline = time.monotonic() + timeout
        looked_at = 0
        while True:
            ended = not self.alive and not self._reading.is_alive()
            while looked_at < len(self.lines):
                if match := pattern.search(self.lines[looked_at]):
                    return match
                looked_at += 1
            if ended or time.monotonic() > deadline:
                why = "the proxy ended" if ended else f"no line matches {pattern.pattern}"
                raise AssertionError(f"{why}:\n" + "\n".join(self.lines))
            with suppress(queue.Empty):
                self._new.get(timeout=0.5)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code. Asks again: in a burst of log lines, of which mitmproxy hands each to its loop, asyncio's
        wake-up pipe is full (278 bytes on Linux), and then CPython drops a signal."""
        assert self._process is not None
        for _ in range(6):
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(5)
        raise AssertionError("the proxy does not end:\n" + "\n".join(self.lines[-20:]))

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ca(self) -> Path:
        return self.confdir / "mitmproxy-ca-cert.pem"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client_environ(self) -> dict[str, str]:
        """What a client's process needs."""
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        return {"HTTPS_PROXY": self.url, "https_proxy": self.url, **dict.fromkeys(names, str(self.ca))}


@functools.cache
def _authority() -> Path:
    """A certificate authority for all proxies, with an elliptic curve: each start of a mitmdump checks the key of its
    authority twice, and an RSA key takes 0.06 s each time, more than all the rest of the start."""
    folder = Path(tempfile.mkdtemp(prefix="ai-cache-tests-ca-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with mock.patch.object(certs.rsa, "generate_private_key", return_value=ec.generate_private_key(ec.SECP256R1())):
        certs.CertStore.create_store(folder, "mitmproxy", 2048)
    return folder


def with_authority(confdir: Path) -> None:
    """Has an authority in `confdir`, unless there is one."""
    if not confdir.exists():
        shutil.copytree(_authority(), confdir)


def mitmdump(
    providers: FakeProviders,
    home: Path,
    *options: str,
    script: Path = SCRIPT,
    before: tuple[Path, ...] = (),
    after: tuple[Path, ...] = (),
    redirect: bool = True,
    tool: str = "mitmdump",
) -> Process:
    """A stock mitmdump with the addon, not yet started. `options`: `name=value`; `before`, `after`: more scripts.

    Its store is SQLite's; the fixture `start` chooses as AI_CACHE_TEST_STORE says.
    """
    confdir = home / "mitmproxy"
    with_authority(confdir)
    defaults = {
        "confdir": str(confdir),
        "listen_host": "127.0.0.1",
        "flow_detail": "0",
        "ssl_verify_upstream_trusted_ca": str(providers.tls.ca),
        "ai_cache_lookup_timeout": "10s",  # as it comes 250 ms, after which a starved machine misses
        "ai_cache_store": f"sqlite:///{home / 'cache.sqlite3'}",
    }
    given = {option.partition("=")[0] for option in options}
    settings = [f"{name}={value}" for name, value in defaults.items() if name not in given] + list(options)
    arguments = [str(BIN / tool), "-p", "0"]
    for loaded in (*((REDIRECT,) if redirect else ()), *before, script, *after):
        arguments += ["-s", str(loaded)]
    for setting in settings:
        arguments += ["--set", setting]
    return Process(arguments, plain_environ(home, **providers.environment()), confdir)


@dataclass(frozen=True)
class Got:
    """What a client received."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cache(self) -> str:
        return self.headers.get("x-ai-cache-status", "")

    @property
    def reason(self) -> str:
        return self.headers.get("x-ai-cache-reason", "")


class Client:
    """HTTP/1.1 through the proxy, connections kept alive per host. Sends exactly the headers it is given, plus Host."""

    def __init__(self, proxy_port: int, ca: Path | None) -> None:
        self._proxy_port = proxy_port
        self._trust = ssl.create_default_context(cafile=str(ca)) if ca else None
        self._connections: dict[tuple[str, str, int], http.client.HTTPConnection] = {}

    def request(
        self,
        url: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        method: str = "POST",
        on_chunk: Callable[[bytes], None] | None = None,
    ) -> Got:
        scheme, _, rest = url.partition("://")
        authority, slash, target = rest.partition("/")
        host, _, port = authority.partition(":")
        number = int(port or (443 if scheme == "https" else 80))
        connection = self._connection(scheme, host, number)
        path = slash + target or "/"
        connection.putrequest(
            method,
            path if scheme == "https" else f"{scheme}://{authority}{path}",
            skip_host=True,
            skip_accept_encoding=True,
        )
        fields = {"Host": authority, **(headers or {})}
        if body or method == "POST":
            fields["Content-Length"] = str(len(body))
        for name, value in fields.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        data = b""
        if on_chunk is None:
            data = response.read()
        else:
            while chunk := response.read1(65536):
                on_chunk(chunk)
                data += chunk
        got = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self._connections.pop((scheme, host, number)).close()
        return Got(response.status, got, data)

    def _connection(self, scheme: str, host: str, port: int) -> http.client.HTTPConnection:
        key = (scheme, host, port)
        if key not in self._connections:
            if scheme == "https":
                secure = http.client.HTTPSConnection("127.0.0.1", self._proxy_port, context=self._trust, timeout=60)
                secure.set_tunnel(host, port)
                self._connections[key] = secure
            else:
                self._connections[key] = http.client.HTTPConnection("127.0.0.1", self._proxy_port, timeout=60)
        return self._connections[key]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

"""The proxy: found or started, asked and stopped. Nothing here knows pytest."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException  # by name: test tools replace what the module holds
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .address import host_and_port, safe_url

INSTALL = (
    "pytest-ai-cache needs the proxy ai-cache: uv tool install mitmproxy-ai-cache (or pipx install "
    "mitmproxy-ai-cache), or set AI_CACHE_COMMAND to where it is; pytest --ai-cache=off runs without"
)

_START = 60.0
"""Seconds until the proxy listens. A cold start on a busy machine takes some."""
_STOP = 15.0
"""Seconds until it has written everything."""


class ProxyError(Exception):
    """One line for a user."""


class Control:
    """Calls to the proxy at `url` itself, over a connection that is kept."""

    def __init__(self, url: str, password: str = "") -> None:
        """`url` may have a password, too: `http://:PASSWORD@HOST:PORT`."""
        self.url, named = split_password(url)
        self.password = password or named
        encoded = base64.b64encode(f":{self.password}".encode()).decode()
        self._credentials = {"Authorization": f"Basic {encoded}"} if self.password else {}
        self._lock = threading.Lock()
        self._connection: HTTPConnection | None = None
        self._process = 0

    def status(self) -> dict[str, Any]:
        return self._call("GET", "/ai-cache/status")

    def counts(self) -> dict[str, Any]:
        """Of the scope that this listener is in; nothing where it is in none."""
        return self._call("GET", "/ai-cache/scope")["scope"] or {}

    def scope(self, namespace: str, passed: bool = False) -> dict[str, Any]:
        """Begin a scope. `passed` is what became of the one before, whose counts are returned."""
        return self._call("POST", "/ai-cache/scope", {"namespace": namespace, "passed": passed})["ended"] or {}

    def open_listener(self) -> str:
        url: str = self._call("POST", "/ai-cache/listeners", {})["url"]
        return url

    def close_listener(self, url: str) -> None:
        self._call("POST", "/ai-cache/listeners", {"close": url})

    def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises `ProxyError`."""
        body = None if content is None else json.dumps(content).encode()
        headers = {"X-AI-Cache": "1", "Content-Type": "application/json", **self._credentials}
        with self._lock:
            for attempt in (1, 2):
                try:
                    connection = self._connected()
                    connection.request(method, path, body, headers)
                    response = connection.getresponse()
                    status, data = response.status, response.read()
                    break
                except (OSError, HTTPException) as error:
                    self._connection = None  # it may have been closed while it was idle
                    if attempt == 2:
                        raise ProxyError(f"no ai-cache answers at {safe_url(self.url)} ({error})") from None
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ProxyError(
                f"what answers at {safe_url(self.url)} is no ai-cache that tests can use; is it up to date?"
            )
        if status != 200:
            raise ProxyError(f"{safe_url(self.url)}{path}: {answer.get('error', status)}")
        return answer

    def _connected(self) -> HTTPConnection:
        if self._connection is None or self._process != os.getpid():  # a fork has one of its own
            try:
                host, port = host_and_port(self.url)
            except ValueError as error:
                raise ProxyError(str(error)) from None
            self._connection = HTTPConnection(host, port, timeout=60)
            self._process = os.getpid()
        return self._connection


def split_password(url: str) -> tuple[str, str]:
    """`http://:PASSWORD@HOST:PORT` -> the URL without the password, and the password."""
    scheme, separator, rest = url.partition("://")
    user, at, address = rest.rpartition("@")
    return f"{scheme}{separator}{address}", unquote(user.partition(":")[2]) if at else ""


def command() -> list[str]:
    """How to start `ai-cache`. Raises `ProxyError`."""
    if named := os.environ.get("AI_CACHE_COMMAND"):
        return shlex.split(named)
    if found := shutil.which("ai-cache"):
        return [found]
    if importlib.util.find_spec("mitmproxy_ai_cache"):
        return [sys.executable, "-m", "mitmproxy_ai_cache.cli"]
    raise ProxyError(INSTALL)


class Started:
    """A proxy of our own: `ai-cache serve` on a free port. It ends with us, even if we are killed."""

    def __init__(
        self, mode: str, directory: Path | None, root: Path, *, local: bool = False, ignore_project: bool = False
    ) -> None:
        """`directory`: of the cassettes, or where the configuration in `root` says. Raises `ProxyError`."""
        self.folder = Path(tempfile.mkdtemp(prefix="ai-cache-pytest-"))
        self.url = self.note = self.directory = ""
        self.environment: dict[str, str] = {}
        ready, self._log = self.folder / "ready.json", self.folder / "log"
        store = ["--cassettes"] if directory is None else ["--store", f"cassettes:{directory}"]
        arguments = ["serve", "--host", "127.0.0.1", "--port", "0", "--mode", mode, *store]
        arguments += ["--local"] if local else []
        arguments += ["--ignore-project"] if ignore_project else []
        try:
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    [
                        *command(),
                        *arguments,
                        "--ready-file",
                        str(ready),
                        "--placeholders",
                        str(self.folder),
                        "--until-eof",
                    ],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=str(root),
                    start_new_session=True,  # Ctrl-C is for the tests
                )
        except (OSError, ProxyError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ProxyError(str(error) if isinstance(error, ProxyError) else f"{error}; {INSTALL}") from None
        try:
            self._wait_for(ready)
        except BaseException:
            self.stop()
            raise

    def _wait_for(self, ready: Path) -> None:
        deadline = time.monotonic() + _START
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                why = "did not start" if self._process.poll() is not None else f"does not listen after {_START:.0f} s"
                raise ProxyError(f"the proxy {why}: {self._said()}")
            time.sleep(0.02)
        said = json.loads(ready.read_text("utf-8"))
        self.url, self.note, self.environment = said["url"], said["note"], said["environment"]
        self.directory = said.get("directory", "")  # which settings came from there

    def _said(self) -> str:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-5:]) or "it said nothing"

    def stop(self) -> None:
        """It has its recordings on disk afterwards."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def environment(url: str, placeholders: Path | None, local: bool = False) -> dict[str, str]:
    """The variables that send clients through the proxy at `url`, as `ai-cache env` has them. Raises `ProxyError`."""
    address = urlsplit(url)
    arguments = ["env", "--json", "--host", str(address.hostname), "--port", str(address.port)]
    arguments += ["--local"] if local else []
    if placeholders is not None:
        arguments += ["--placeholders", str(placeholders)]
    return _variables([*command(), *arguments])


def _variables(asked: Sequence[str]) -> dict[str, str]:
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_START, check=False)
        given = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ProxyError(f"{' '.join(asked)}: {error}") from None
    if not isinstance(given, dict):
        raise ProxyError(f"{' '.join(asked)}: {done.stderr.strip()[-500:]}")
    return {str(name): str(value) for name, value in given.items()}

"""Requests that are too large to hold: what reaches the provider, what the client gets, and what the proxy holds."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from harness import Client, FakeProviders, Process, mitmdump
from mitmproxy_ai_cache.cli.demo.provider import Reply

MB = 1 << 20
HOST = "models.example"
PLAIN = f"http://{HOST}/v1/chat/completions"
OPENAI = "https://api.openai.com/v1/chat/completions"
COMPLETION = json.dumps({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}).encode()

StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]


def chat(size: int, word: str = "x") -> bytes:
    head = json.dumps({"model": "m", "messages": [{"role": "user", "content": word}]}).encode()
    return head[:-1] + b', "pad": "' + b"y" * (size - len(head) - 11) + b'"}'


@pytest.fixture
def answering(providers: FakeProviders) -> FakeProviders:
    providers.answer = lambda request: Reply([COMPLETION], headers=(("content-type", "application/json"),))
    return providers


@dataclass
class Raw:
    """HTTP/1.1 to the proxy, byte by byte."""

    proxy: Process
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.proxy.port), timeout=30)

    def head(self, *fields: str, url: str = PLAIN, method: str = "POST") -> Raw:
        host = url.split("/")[2]
        lines = [f"{method} {url} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", *fields, "", ""]
        self._socket.sendall("\r\n".join(lines).encode("latin-1"))
        return self

    def send(self, data: bytes) -> Raw:
        self._socket.sendall(data)
        return self

    def chunk(self, data: bytes) -> Raw:
        return self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def push(self, limit: int) -> int:
        """Send until nobody takes it any more, at most `limit` bytes."""
        sent = 0
        with contextlib.suppress(OSError):
            while sent < limit:
                sent += self._socket.send(b"y" * 65536)
        return sent

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Up to the end of its body; all of it where the connection closes."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while more := self._socket.recv(65536):
                data += more
                head, end, body = data.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                if end and length and len(body) >= int(length[1]) and b"connection: close" not in head.lower():
                    break
        head, _, body = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        named = dict(line.lower().split(": ", 1) for line in fields)
        return int(first.split()[1]) if first else 0, named, body

    def closed(self) -> bool:
        try:
            return self._socket.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._socket.close()


@pytest.mark.each_store
def test_a_declared_length_above_the_limit_streams_without_our_headers(
    answering: FakeProviders, start: StartProxy, client_of: ClientOf
) -> None:
    client, body = client_of(start("ai_cache_max_body=64k")), chat(300_000)
    headers = {"Content-Type": "application/json", "X-AI-Cache-TTL": "1h", "X-AI-Cache-Namespace": "n"}
    for url in (PLAIN, OPENAI):
        for _ in range(2):
            got = client.request(url, body, headers)
            assert (got.status, got.cache, got.reason, got.body) == (200, "BYPASS", "request-too-large", COMPLETION)
    assert [call.body for call in answering.calls] == [body] * 4
    ours = {name for call in answering.calls for name in call.headers.names() if name.startswith("x-ai-cache")}
    assert ours <= {"x-ai-cache-hop"}, "only what tells a loop, on plain HTTP"
    assert client.request(PLAIN, chat(1000), headers).cache == "MISS"
    assert client.request(PLAIN, chat(1000), headers).cache == "HIT"


def test_the_provider_gets_the_first_bytes_before_the_last_are_sent(
    answering: FakeProviders, start: StartProxy
) -> None:
    proxy = start("ai_cache_max_body=64k")
    body = chat(200_000)
    for fields, framed in (
        ((f"Content-Length: {len(body)}",), lambda raw, data: raw.send(data)),
        (("Transfer-Encoding: chunked",), lambda raw, data: raw.chunk(data)),
    ):
        before = answering.plain.connections
        raw = framed(Raw(proxy).head(*fields), body[:100_000])
        wait_until(lambda before=before: answering.plain.connections > before)
        framed(raw, body[100_000:])
        if "chunked" in fields[0]:
            raw.send(b"0\r\n\r\n")
        status, headers, got = raw.answer()
        assert (status, headers["x-ai-cache-reason"], got) == (200, "request-too-large", COMPLETION)
        assert answering.calls[-1].body == body
        raw.close()


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class H2:
    """HTTP/2 to a TLS host through the proxy."""

    def __init__(self, proxy: Process, host: str = "api.openai.com") -> None:
        plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert b" 200 " in plain.recv(4096)
        trust = ssl.create_default_context(cafile=str(proxy.ca))
        trust.set_alpn_protocols(["h2"])
        self._socket, self._host = trust.wrap_socket(plain, server_hostname=host), host
        assert self._socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.closed = False
        self.events: list[Any] = []
        self._flush()
        self.until(lambda: any(isinstance(event, h2.events.RemoteSettingsChanged) for event in self.events))

    def _flush(self) -> None:
        self._socket.sendall(self.h2.data_to_send())

    def head(self, *fields: tuple[str, str], path: str = "/v1/chat/completions") -> int:
        number = self.h2.get_next_available_stream_id()
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", self._host), (":path", path)]
        self.h2.send_headers(number, [*pseudo, ("content-type", "application/json"), *fields])
        self._flush()
        return number

    def send(self, number: int, data: bytes, end: bool = False) -> None:
        size = min(self.h2.max_outbound_frame_size, 16384)
        for start in range(0, len(data), size):
            self.h2.send_data(number, data[start : start + size])
            self._flush()
        if end:
            self.h2.end_stream(number)
            self._flush()

    def until(self, true: Callable[[], bool]) -> None:
        while not true() and not self.closed:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            self.closed = not data
            self.events += self.h2.receive_data(data) if data else []
            if data:
                self._flush()

    def answer(self, number: int) -> tuple[int, dict[str, str], bytes]:
        def of(kind: type) -> list[Any]:
            return [event for event in self.events if isinstance(event, kind) and event.stream_id == number]

        self.until(lambda: bool(of(h2.events.StreamEnded) or of(h2.events.StreamReset)))
        heads = of(h2.events.ResponseReceived)
        headers = dict(heads[0].headers) if heads else {":status": "0"}
        return int(headers[":status"]), headers, b"".join(event.data for event in of(h2.events.DataReceived))

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("size", [1000, 200_000], ids=["held", "streamed"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "without a length"])
@pytest.mark.thorough
def test_an_h2_upload_reaches_an_http_1_provider_whole(
    answering: FakeProviders, start: StartProxy, declared: bool, size: int
) -> None:
    client, body = H2(start("ai_cache_max_body=64k")), chat(size)
    for _ in range(2):
        number = client.head(*[("content-length", str(size))] * declared, ("x-ai-cache-ttl", "1h"))
        client.send(number, body, end=True)
        status, headers, got = client.answer(number)
        assert (status, got) == (200, COMPLETION)
    assert headers["x-ai-cache-status"] == ("HIT" if size == 1000 else "BYPASS")
    assert {call.body for call in answering.calls} == {body}
    assert len(answering.calls) == (1 if size == 1000 else 2)
    assert "x-ai-cache-ttl" not in answering.calls[0].headers
    client.close()


# Nobody is let through for the size of what he sends


def test_a_proxy_user_is_asked_for_before_the_body(answering: FakeProviders, start: StartProxy) -> None:
    proxy = start("ai_cache_isolate=proxy-user", "ai_cache_max_body=64k")
    declared = Raw(proxy).head("Content-Length: 60000000")
    assert declared.answer()[0] == 407
    chunked = Raw(proxy).head("Transfer-Encoding: chunked").chunk(b"y" * 100_000)
    assert chunked.answer()[0] == 407
    body = chat(100_000)
    named = Raw(proxy).head(f"Content-Length: {len(body)}", "Proxy-Authorization: Basic YTp4").send(body)
    assert named.answer()[0] == 200
    assert len(answering.calls) == 1
    assert "proxy-authorization" not in answering.calls[0].headers


def test_mitmproxys_own_password_is_asked_for_before_the_body(answering: FakeProviders, start: StartProxy) -> None:
    proxy = start("proxyauth=a:x", "ai_cache_max_body=64k")
    assert Raw(proxy).head("Content-Length: 60000000").answer()[0] == 407
    assert Raw(proxy).head("Transfer-Encoding: chunked").chunk(b"y" * 100_000).answer()[0] == 407
    assert not answering.calls


def test_hosts_that_are_refused_are_refused_by_the_head(answering: FakeProviders, start: StartProxy) -> None:
    proxy = start("ai_cache_fail_mode=error", "ai_cache_max_body=64k")
    status, _, body = Raw(proxy).head("Content-Length: 60000000").answer()
    assert (status, b"ai_cache_fail_mode" in body) == (424, True)
    assert not answering.plain.connections


@pytest.mark.parametrize("path", ["/", "/healthz", "/purge", "/ai-cache/x"])
@pytest.mark.thorough
def test_our_own_address_takes_no_large_uploads(start: StartProxy, path: str) -> None:
    proxy = start("ai_cache_max_body=64k")
    url = f"http://ai-cache.internal{path}"
    assert Raw(proxy).head("Content-Length: 60000000", url=url).answer()[0] == 413
    assert Raw(proxy).head("Transfer-Encoding: chunked", url=url).chunk(b"y" * 100_000).answer()[0] == 413


# Replay


@pytest.mark.parametrize("url", [PLAIN, PLAIN.replace("chat/completions", "files"), "http://other.example/upload"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.thorough
def test_a_replay_refuses_what_is_too_large_and_reads_no_more_of_it(
    providers: FakeProviders, start: StartProxy, tmp_path: Path, url: str, chunked: bool
) -> None:
    (tmp_path / "cassettes").mkdir()
    proxy = start(
        f"ai_cache_store=cassettes:{tmp_path / 'cassettes'}",
        "ai_cache_mode=replay",
        "ai_cache_max_body=64k",
        f"ai_cache_hosts={HOST}",
    )
    raw = Raw(proxy)
    if chunked:
        raw.head("Transfer-Encoding: chunked", url=url)
        raw.send(b"%x\r\n" % (60 * MB))
    else:
        raw.head(f"Content-Length: {60 * MB}", "Expect: 100-continue", url=url)
    pushed = raw.push(60 * MB)
    status, headers, body = raw.answer()
    assert (status, headers["connection"]) == (424, "close"), body
    assert raw.closed()
    assert pushed < 30 * MB, "all that the kernel's buffers take, and no more"
    assert not providers.plain.connections
    raw.close()


@pytest.mark.parametrize("declared", [True, False])
def test_a_replay_refuses_an_h2_upload_and_closes(start: StartProxy, declared: bool, tmp_path: Path) -> None:
    client = H2(start("ai_cache_store=memory:", "ai_cache_mode=replay", "ai_cache_max_body=64k"))
    number = client.head(*[("content-length", str(60 * MB))] * declared)
    if not declared:
        client.send(number, b"y" * 131072)
    status, headers, body = client.answer(number)
    assert (status, headers["x-ai-cache-reason"]) == (424, "request-too-large"), body
    client.until(lambda: False)
    assert client.closed


def test_other_h2_streams_go_on_when_one_is_refused(answering: FakeProviders, start: StartProxy) -> None:
    client = H2(start("ai_cache_mode=read-only", "ai_cache_fail_mode=error", "ai_cache_max_body=64k"), "x.example")
    other = client.head(("content-length", "2000"))
    refused = client.head(("content-length", str(60 * MB)))
    assert client.answer(refused)[0] == 424
    client.send(other, chat(2000), end=True)
    assert client.answer(other)[0] == 200
    client.close()


# Lengths that lie


def test_a_body_that_is_shorter_than_declared_ends_the_call(answering: FakeProviders, start: StartProxy) -> None:
    proxy = start("ai_cache_max_body=64k")
    raw = Raw(proxy).head("Content-Length: 200000").send(b"y" * 100_000)
    wait_until(lambda: answering.plain.connections == 1)
    raw.close()
    wait_until(lambda: not answering.plain._writers)
    assert not answering.calls
    h2_client = H2(proxy)
    number = h2_client.head(("content-length", "200000"))
    h2_client.send(number, b"y" * 100_000, end=True)
    assert h2_client.answer(number)[0] in (0, 400, 502)
    wait_until(lambda: not answering.tls._writers)
    assert not answering.calls


def test_a_body_that_is_longer_than_declared_is_no_second_call(answering: FakeProviders, start: StartProxy) -> None:
    proxy = start("ai_cache_max_body=64k")
    second = b"y" * 100 + b"\r\n\r\nPOST /v1/evil HTTP/1.1\r\nHost: models.example\r\nContent-Length: 0\r\n\r\n"
    raw = Raw(proxy).head("Content-Length: 100000").send(b"y" * 100_000 + second)
    assert raw.answer()[0] == 200
    assert raw.answer()[0] in (0, 400), "what follows is no request"
    raw.close()
    h2_client = H2(proxy)
    number = h2_client.head(("content-length", "100000"))
    with contextlib.suppress(Exception):
        h2_client.send(number, b"y" * 100_000 + second, end=True)
    h2_client.answer(number)
    wait_until(lambda: not answering.tls._writers)
    assert [(call.path, len(call.body or b"")) for call in answering.calls] == [("/v1/chat/completions", 100_000)]


def test_two_framings_at_once_are_refused(answering: FakeProviders, start: StartProxy) -> None:
    raw = Raw(start("ai_cache_max_body=64k")).head("Content-Length: 100000", "Transfer-Encoding: chunked")
    assert raw.answer()[0] == 400
    assert not answering.calls


# Memory


def resident(proxy: Process) -> float:
    """In MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{proxy.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@pytest.fixture
def frugal(providers: FakeProviders, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """A proxy that gives back to the system at once what it frees, before a provider that reads nothing."""
    running: list[Process] = []

    def started(*options: str) -> Process:
        process = mitmdump(providers, tmp_path, *options)
        process.environ |= {"MALLOC_MMAP_THRESHOLD_": "2048", "MALLOC_ARENA_MAX": "1"}
        running.append(process.start())
        return process

    yield started
    for process in running:
        process.stop()


@dataclass
class Deaf:
    """A provider that accepts and never reads, with small buffers in the kernel."""

    _listener: socket.socket = field(init=False)
    _taken: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1/chat/completions"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._taken.append(self._listener.accept()[0])

    def close(self) -> None:
        for each in (self._listener, *self._taken):
            each.close()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    made = Deaf()
    yield made
    made.close()


def pushed(proxy: Process, url: str, count: int, chunked: bool, size: int = 60 * MB, most: int = 60 * MB) -> list[Raw]:
    """`count` uploads of `size` bytes, of which as much is sent as is taken, and none is finished."""
    raws = [
        Raw(proxy).head("Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}", url=url)
        for _ in range(count)
    ]
    for raw in raws:
        if chunked:
            raw.send(b"%x\r\n" % size)
        raw._socket.settimeout(6)
    with ThreadPoolExecutor(count) as pool:
        sent = list(pool.map(lambda raw: raw.push(most), raws))
    assert min(sent) > min(most, MB), "they all send"
    return raws


def settled(proxy: Process) -> float:
    """What is resident once that does not change any more."""
    last, now = 0.0, resident(proxy)
    while abs(now - last) > 0.5:
        time.sleep(0.5)
        last, now = now, resident(proxy)
    return now


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/PID/status")


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("chunked", "most", "least", "bound"),
    [(False, 60 * MB, -1.0, 1.0), (True, 9 * MB, 8.0, 11.0), (True, 60 * MB, -1.0, 11.0)],
    ids=["declared", "without a length, held", "without a length, beyond the limit"],
)
def test_the_memory_of_twelve_unfinished_uploads_is_bounded(
    frugal: Callable[..., Process],
    deaf: Deaf,
    chunked: bool,
    most: int,
    least: float,
    bound: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy = frugal("ai_cache_hosts=127.0.0.1")
    for raw in pushed(proxy, deaf.url, 1, chunked, most=most):
        raw.close()
    before = settled(proxy)
    raws = pushed(proxy, deaf.url, 12, chunked, most=most)
    held = (settled(proxy) - before) / 12
    with capsys.disabled():
        print(f"\n12 unfinished uploads of 60 MB, chunked {chunked}, {most // MB} MB sent: {held:.2f} MB each")
    assert least < held < bound
    for raw in raws:
        raw.close()
    deadline = time.monotonic() + 60
    while (left := resident(proxy) - before) >= 12 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left < 12, "what nobody will finish is let go"


@linux
@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "without a length"])
def test_all_unfinished_uploads_together_are_bounded(
    frugal: Callable[..., Process], deaf: Deaf, chunked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 9 MB each, below the limit of one, and one after the other."""
    proxy = frugal("ai_cache_hosts=127.0.0.1", "ai_cache_max_pending=40m")
    before = settled(proxy)
    raws = [raw for _ in range(20) for raw in pushed(proxy, deaf.url, 1, chunked, 9 * MB, 8 * MB)]
    held = settled(proxy) - before
    with capsys.disabled():
        print(f"\n20 unfinished uploads of 9 MB, chunked {chunked}: {held:.1f} MB together")
    assert 20 < held < 40 + 20, "and a megabyte for each connection with its buffers"
    for raw in raws:
        raw.close()


@pytest.mark.slow
def test_two_thousand_idle_connections_stall_nobody(
    answering: FakeProviders, start: StartProxy, client_of: ClientOf, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = start()
    client = client_of(proxy)
    client.request(OPENAI, chat(1000), {"Content-Type": "application/json"})

    def slowest(calls: int = 300) -> tuple[float, float]:
        times = []
        for _ in range(calls):
            began = time.perf_counter()
            assert client.request(OPENAI, chat(1000), {"Content-Type": "application/json"}).cache == "HIT"
            times.append((time.perf_counter() - began) * 1000)
        return sorted(times)[calls // 2], sorted(times)[calls * 99 // 100]

    alone = slowest()
    idle = [socket.create_connection(("127.0.0.1", proxy.port), timeout=30) for _ in range(1000)]
    for _ in range(1000):
        idle.append(Raw(proxy).head("Content-Length: 1000")._socket)
    crowded = slowest()
    began = time.perf_counter()
    newcomer = Client(proxy.port, proxy.ca)
    assert newcomer.request(OPENAI, chat(1000), {"Content-Type": "application/json"}).cache == "HIT"
    took = (time.perf_counter() - began) * 1000
    newcomer.close()
    with capsys.disabled():
        print(
            f"\na hit alone: median {alone[0]:.2f} ms, p99 {alone[1]:.2f} ms; beside 2,000 idle connections: median "
            f"{crowded[0]:.2f} ms, p99 {crowded[1]:.2f} ms; on a new connection {took:.1f} ms"
        )
    assert crowded[1] < alone[1] + 50
    for each in idle:
        each.close()

"""Hostile requests through a real mitmdump with the addon, and through one without it: the provider sees the same."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.machine import cpu_of
from fuzz.hostile import BODY, Hostile, post, requests
from harness import Client, FakeProviders, Process, mitmdump

pytestmark = pytest.mark.slow

ANSWER = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
REFUSAL = b'{"error":{"message":"no"}}'
"""A 200 that is no answer: nothing of the hostile requests is ever a hit."""
CONTROL = re.compile(r"[^\x20-\x7e\u2026]")
ORIGIN_FORM = "a base URL to nowhere"
"""It names no proxy, and another host: the addon answers it and forwards nothing."""
OURS = re.compile(rb"^x-ai-cache-[^\n]*\n", re.IGNORECASE | re.MULTILINE)


@dataclass
class Listener:
    """A provider without TLS that keeps the bytes it was sent, one list of requests a connection."""

    received: list[bytes] = field(default_factory=list)
    long_answer: bytes = b""

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(60)
            data = b""
            while not _is_whole(data):
                more = connection.recv(1 << 20)
                if not more:
                    return
                data += more
            self.received.append(data)
            body = ANSWER if b"normal call" in data else self.long_answer if b"long answer" in data else REFUSAL
            kind = b"application/x-ndjson" if body is self.long_answer else b"application/json"
            head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            connection.sendall(head % (kind, len(body)) + (b"" if data.startswith(b"HEAD") else body))

    def close(self) -> None:
        self._socket.close()


def _is_whole(data: bytes) -> bool:
    """Whether a request is there, by its own length or by its last chunk."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    if re.search(rb"\ntransfer-encoding:[^\n]*chunked", head, re.IGNORECASE):
        return body.startswith(b"0\r\n") or b"\r\n0\r\n" in body
    length = re.search(rb"\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return len(body) >= int(length[1] if length else 0)


@dataclass(frozen=True)
class Outcome:
    """What the client got, and what the provider did."""

    status: bytes
    body: bytes
    provider: tuple[bytes, ...]


def send(proxy: Process, asked: Hostile, patience: float = 1.5) -> bytes:
    """What came back until the answer was whole, the proxy closed, or it was silent for `patience` seconds."""
    answer = b""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection, contextlib.suppress(OSError):
        connection.sendall(asked.wire)
        if asked.half_close:
            connection.shutdown(socket.SHUT_WR)
        connection.settimeout(patience if len(asked.wire) < 100_000 else 60)
        while more := connection.recv(1 << 20):
            answer += more
            if _is_whole(answer) and b"100 Continue" not in answer[:40]:
                break
    return answer


def outcome(proxy: Process, listener: Listener, asked: Hostile, patience: float = 1.5) -> Outcome:
    listener.received.clear()
    answer = send(proxy, asked, patience)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0]
    # mitmproxy writes its own version and the addresses of this run into its error pages
    return Outcome(status, body if b" 200 " in status else b"", tuple(map(_without_ours, listener.received)))


def _without_ours(data: bytes) -> bytes:
    head, end, body = data.partition(b"\r\n\r\n")
    return OURS.sub(b"", head + b"\r\n") + end + body


class Pulse:
    """Asks the proxy itself for its state, over and over: as long as that takes, the event loop was held. Only time
    that the proxy had a processor counts."""

    def __init__(self, proxy: Process) -> None:
        self._proxy = proxy
        self._over = threading.Event()
        self.longest = 0.0
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def _beat(self) -> None:
        client = Client(self._proxy.port, None)
        while not self._over.wait(0.02):
            started, worked = time.monotonic(), cpu_of(self._proxy.pid)
            client.request("http://ai-cache.internal/healthz", method="GET")
            held = min(time.monotonic() - started, cpu_of(self._proxy.pid) - worked)
            self.longest = max(self.longest, held)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)


def started(providers: FakeProviders, listener: Listener, home: Path, *options: str, **more: Path) -> Process:
    made = mitmdump(providers, home, *options, **more)  # type: ignore[arg-type]
    made.environ["AI_CACHE_TEST_PLAIN_PORT"] = str(listener.port)
    return made.start()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_hostile_requests_reach_the_provider_unharmed_or_are_refused_as_mitmdump_refuses_them(
    providers: FakeProviders, listener: Listener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    announcing = tmp_path / "announcing.py"
    announcing.write_text('def running(): print("ai-cache: mode none", flush=True)')
    addon = started(providers, listener, tmp_path / "addon")
    stock = started(providers, listener, tmp_path / "stock", "connection_strategy=lazy", script=announcing)
    differing, reached, slowest = [], 0, (0.0, "")
    all_asked = requests()
    for asked in all_asked:
        with Pulse(addon) as pulse:
            with_addon = outcome(addon, listener, asked)
        slowest = max(slowest, (pulse.longest, asked.name))
        without = outcome(stock, listener, asked)
        reached += len(with_addon.provider)
        if with_addon != without:  # or the machine was busy
            with_addon, without = (outcome(proxy, listener, asked, 20) for proxy in (addon, stock))
        if asked.name == ORIGIN_FORM and with_addon == Outcome(b"HTTP/1.1 421 Misdirected Request", b"", ()):
            continue
        if with_addon != without:
            differing.append((asked.name, with_addon, without))
    with capsys.disabled():
        print(
            f"\n{len(all_asked)} hostile requests, {reached} reached the provider;"
            f" the event loop was held longest, {slowest[0]:.2f} s, by {slowest[1]}"
        )
    assert addon.alive
    assert not differing, "\n".join(
        f"{name}\n  {str(one)[:600]}\n  {str(other)[:600]}" for name, one, other in differing
    )
    assert reached > 150, "the others are refused, here as there"
    assert [status_of(send(addon, NORMAL)) for _ in range(2)] == ["MISS", "HIT"]
    assert_quiet(addon, stock)
    assert slowest[0] < 3
    addon.stop()
    stock.stop()


NORMAL = post("", BODY.replace(b"hi", b"normal call"))


def status_of(answer: bytes) -> str:
    match = re.search(rb"x-ai-cache-status: (\w+)", answer)
    return match[1].decode() if match else ""


def assert_quiet(addon: Process, stock: Process) -> None:
    """No fault of ours in the log, and nothing in it that a terminal or a reader would take for more than text."""
    crashes = [sum("Traceback" in line for line in proxy.lines) for proxy in (addon, stock)]
    assert crashes[0] == crashes[1], "mitmproxy's own, over chunked trailers"
    assert not [line for line in addon.lines if "internal-error" in line or "mitmproxy_ai_cache" in line]
    assert not [line for line in addon.lines if CONTROL.search(line)]
    assert not [line for line in addon.lines if line.startswith(("HIT", "X-", "x"))]


@pytest.mark.parametrize("unit", [b"{}\n", b"\n", b"[[],"])
def test_a_hostile_answer_does_not_hold_up_others(
    unit: bytes, providers: FakeProviders, listener: Listener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listener.long_answer = unit * ((4 << 20) // len(unit))
    addon = started(providers, listener, tmp_path)
    with Pulse(addon) as pulse:
        answer = send(addon, post("", BODY.replace(b"hi", b"long answer")))
        addon.wait_for(re.compile("not stored"))
    assert answer.endswith(listener.long_answer)
    with capsys.disabled():
        print(f"\n4 MiB of {unit!r}: the event loop was held for {pulse.longest:.2f} s at most")
    assert pulse.longest < 3
    assert status_of(send(addon, NORMAL)) == "MISS"
    addon.stop()

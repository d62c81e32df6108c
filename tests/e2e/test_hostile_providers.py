"""Providers that send interim answers, garbage or lies: no client hangs, nothing of it is stored, others are served."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import Client, Process

pytestmark = [pytest.mark.patches, pytest.mark.slow]

BODY = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
FIELDS = b"Content-Type: application/json\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (FIELDS, len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (FIELDS, len(BODY), BODY)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Request-Id: hint\r\n\r\n"
PROCESSING = b"HTTP/1.1 102\r\n\r\n"
ASK = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}'


@dataclass
class Raw:
    """A provider that writes just these pieces to whoever asks, and then closes or waits."""

    pieces: list[bytes]
    closes: bool = False
    calls: int = 0
    port: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        self.port = listener.getsockname()[1]
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while self._asked(connection):
                self.calls += 1
                for piece in self.pieces:
                    connection.sendall(piece)
                    time.sleep(0.01)  # so that the pieces are read apart
                if self.closes:
                    return

    @staticmethod
    def _asked(connection: socket.socket) -> bool:
        data = b""
        while not data.endswith(b"}"):
            received = connection.recv(65536)
            if not received:
                return False
            data += received
        return True

    def stop(self) -> None:
        self._over.set()


@contextmanager
def provider(*pieces: bytes, closes: bool = False) -> Iterator[Raw]:
    raw = Raw(list(pieces), closes)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        serving = threading.Thread(target=raw.serve, args=(listener,), daemon=True)
        serving.start()
        raw.port = listener.getsockname()[1]
        try:
            yield raw
        finally:
            raw.stop()
            serving.join(5)


def asked(proxy: Process, port: int, word: bytes = b"hi", timeout: float = 20) -> bytes:
    """All that a client gets for one call, on a connection that the proxy closes or that falls silent."""
    body = ASK % word
    head = b"POST http://127.0.0.1:%d/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (port, port)
    head += b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    got = b""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout) as connection:
        connection.sendall(head + body)
        while data := connection.recv(65536):
            got += data
            if got.endswith((BODY, b"0\r\n\r\n")):
                break
    return got


@pytest.fixture
def proxy(start: Callable[..., Process]) -> Process:
    return start("ai_cache_hosts=127.0.0.1", redirect=False)


@pytest.mark.parametrize(
    "pieces",
    [
        [CONTINUE, ANSWER],
        [HINTS, ANSWER],
        [CONTINUE + HINTS + PROCESSING + ANSWER],
        [CONTINUE + CHUNKED],
        [HINTS[:20], HINTS[20:-1], HINTS[-1:] + ANSWER[:9], ANSWER[9:]],
        [HINTS.replace(b"\r\n", b"\n"), ANSWER],
        [HINTS.replace(b"1.1", b"1.0"), ANSWER],
        [HINTS * 50, ANSWER],
    ],
    ids=["100", "103", "three in one piece", "100 and chunks", "in bits", "bare line ends", "1.0", "fifty"],
)
def test_interim_answers_are_skipped_and_the_answer_is_stored(pieces: list[bytes], proxy: Process) -> None:
    with provider(*pieces) as raw:
        for status in (b"MISS", b"HIT"):
            got = asked(proxy, raw.port)
            assert got.startswith(b"HTTP/1.1 200 OK\r\n"), got
            assert got.count(b"HTTP/1.1 ") == 1
            assert BODY in got
            assert b"hint" not in got
            assert b"x-ai-cache-status: " + status in got.lower().replace(status.lower(), status)
        assert raw.calls == 1


def test_a_kept_connection_goes_on_after_interim_answers(
    proxy: Process, client_of: Callable[[Process], Client]
) -> None:
    client = client_of(proxy)
    with provider(HINTS, ANSWER) as raw:
        for word in (b"one", b"two", b"three"):
            got = client.request(f"http://127.0.0.1:{raw.port}/v1/chat/completions", ASK % word)
            assert (got.status, got.body, got.cache) == (200, BODY, "MISS")
        assert raw.calls == 3


@pytest.mark.parametrize(
    "first",
    [
        HINTS * 200,
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x00\xff" * 20 + b"\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n" + BODY,
        b"HTTP/1.1 999 Strange\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        b"HTTP/1.1 600 Strange\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        b"HTTP/1.1 099 Strange\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        b"",
    ],
    ids=lambda first: repr(first[:30] + first[-30:]),
)
@pytest.mark.parametrize("mode", ["cache", "record"])
def test_what_is_no_answer_ends_and_is_not_stored(
    first: bytes,
    mode: str,
    start: Callable[..., Process],
    run: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    store = f"sqlite:///{tmp_path / 'hostile.sqlite3'}"
    proxy = start("ai_cache_hosts=127.0.0.1", f"ai_cache_mode={mode}", f"ai_cache_store={store}", redirect=False)
    with provider(first, closes=True) as raw:
        for _ in range(2):
            with contextlib.suppress(ConnectionError):
                got = asked(proxy, raw.port)
                assert b"HIT" not in got
                assert not got.startswith(b"HTTP/1.1 1")
        assert raw.calls == 2
    done = run("ls", "--json", "--store", store)
    assert (done.returncode, done.stdout.strip()) in ((0, ""), (0, "[]")), done
    with provider(ANSWER) as good:
        assert BODY in asked(proxy, good.port, b"other")
    assert not any("Traceback" in line for line in proxy.lines), proxy.lines


def test_a_second_answer_that_nobody_asked_for_reaches_nobody(proxy: Process) -> None:
    evil = ANSWER.replace(b"hi", b"no")
    with provider(ANSWER + evil) as raw:
        for word in (b"one", b"two", b"one"):
            got = asked(proxy, raw.port, word)
            assert BODY in got
            assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("endless", [b"X-A: " + b"b" * 60_000 + b"\r\n", b"x" * 60_000], ids=["header", "body"])
def test_an_answer_without_end_stalls_no_other_client(endless: bytes, proxy: Process) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + (b"" if b":" in endless else b"\r\n")
    with provider(head, *[endless] * 200) as raw, provider(ANSWER) as good:
        stuck = socket.create_connection(("127.0.0.1", proxy.port), 5)
        body = ASK % b"stuck"
        asks = b"POST http://127.0.0.1:%d/v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        stuck.sendall(asks % (raw.port, len(body)) + body)
        for number in range(5):
            began = time.monotonic()
            assert BODY in asked(proxy, good.port, b"%d" % number)
            assert time.monotonic() - began < 5
        stuck.close()


def test_a_hit_is_given_after_a_provider_turned_bad(proxy: Process) -> None:
    with provider(ANSWER, closes=True) as raw:
        assert BODY in asked(proxy, raw.port)
        raw.pieces = [b"garbage\r\n\r\n"]
        assert BODY in asked(proxy, raw.port)
        assert raw.calls == 1

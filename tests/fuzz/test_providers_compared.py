"""Hostile answers to a mitmdump with the addon, and to one without it: clients see the same, and nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fuzz.hostile import BODY, post
from fuzz.test_hostile_requests import ANSWER, Pulse, _is_whole, send, status_of
from harness import FakeProviders, Process, mitmdump
from mitmproxy_ai_cache.stores import for_url

pytestmark = pytest.mark.slow


OURS = re.compile(rb"(?:x-ai-cache-[a-z]+|cache-status): [^\n]*\n", re.IGNORECASE)


@dataclass(frozen=True)
class Hostile:
    """What a provider sends. `holds`: it then keeps the connection; `endless`: it sends the last piece for ever."""

    name: str
    wire: bytes
    holds: bool = False
    endless: bytes = b""
    kept: bool = False
    """Whether the answer is whole and clear, however odd it looks."""


def answer(
    name: str, *fields: bytes, body: bytes = ANSWER, line: bytes = b"HTTP/1.1 200 OK", length: bool = True, **more: bool
) -> Hostile:
    lines = [line, b"Content-Type: application/json", *fields]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return Hostile(name, b"\r\n".join([*lines, b"", b""]) + body, **more)  # type: ignore[arg-type]


WHOLE = answer("").wire
LENGTH = b"Content-Length: %d" % len(ANSWER)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANSWER), ANSWER)


def garbage() -> list[Hostile]:
    return [
        Hostile("nothing", b""),
        Hostile("nothing, for ever", b"", holds=True),
        Hostile("bytes", bytes(range(256)) * 4),
        Hostile("zeros", bytes(4096)),
        Hostile("line ends", b"\r\n" * 1000),
        Hostile("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        Hostile("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        Hostile("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Hostile("half a head", WHOLE[:40]),
        Hostile("half a head, for ever", WHOLE[:40], holds=True),
        Hostile("half a body", WHOLE[:-20]),
        Hostile("half a body, for ever", WHOLE[:-20], holds=True),
        answer("no colon", b"oops"),
        answer("no name", b": oops"),
        answer("a name with a space", b"X Y: oops"),
        answer("a name of control characters", b"X\x01Y: oops"),
        Hostile("a fold before the first field", b"HTTP/1.1 200 OK\r\n oops\r\n\r\n"),
    ]


def statuses() -> list[Hostile]:
    lines = (
        b"HTTP/1.1 999 Odd", b"HTTP/1.1 600 Odd", b"HTTP/1.1 099 Odd", b"HTTP/1.1 0 Odd", b"HTTP/1.1 1000 Odd",
        b"HTTP/1.1 -200 OK", b"HTTP/1.1 200.0 OK", b"HTTP/1.1 OK", b"HTTP/1.1", b"HTTP/11 200 OK",
        b"http/1.1 200 OK", b"200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 Same", b"HTTP/1.1 205 Reset",
        b"HTTP/1.1 407 Proxy", b"HTTP/1.1 101 Switching",
    )  # fmt: skip
    fine = (b"HTTP/9.9 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 \x1b[31m")
    return [
        *(answer(f"odd line {number}", line=line) for number, line in enumerate(lines)),
        *(answer(f"fine line {number}", line=line, kept=True) for number, line in enumerate(fine)),
    ]


def lengths() -> list[Hostile]:
    def raw(name: str, *fields: bytes, body: bytes = ANSWER, **more: bool) -> Hostile:
        return answer(name, *fields, body=body, length=False, **more)

    return [
        raw("too long a length", b"Content-Length: 9999"),
        raw("too long a length, for ever", b"Content-Length: 9999", holds=True),
        raw("too short a length", b"Content-Length: 20"),
        raw("no body, they say", b"Content-Length: 0"),
        raw("a negative length", b"Content-Length: -1"),
        raw("a length with a plus", b"Content-Length: +80"),
        raw("a length in words", b"Content-Length: eighty"),
        raw("a huge length", b"Content-Length: " + b"9" * 40),
        raw("two lengths", LENGTH, b"Content-Length: 20"),
        raw("chunked, and a length", CHUNKED, b"Content-Length: 5", body=CHUNKS),
        raw("chunked that is not", CHUNKED),
        raw("a length and chunks", LENGTH, body=CHUNKS),
        raw("chunks of no number", CHUNKED, body=b"zz\r\n" + CHUNKS),
        raw("a negative chunk", CHUNKED, body=b"-5\r\n" + CHUNKS),
        raw("a huge chunk", CHUNKED, body=b"f" * 30 + b"\r\n"),
        raw("chunks without an end", CHUNKED, body=CHUNKS[:-5]),
        raw("chunks without an end, for ever", CHUNKED, body=CHUNKS[:-5], holds=True),
        raw("a chunk that lies", CHUNKED, body=b"5\r\n" + ANSWER + b"\r\n0\r\n\r\n"),
        raw("another transfer coding", b"Transfer-Encoding: rot13"),
        raw("chunked twice", b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
        raw("a body cut by the end of the connection", body=ANSWER[:-20]),
        Hostile("two answers", WHOLE + WHOLE),
        Hostile("two answers, the second is another", WHOLE + answer("", line=b"HTTP/1.1 500 No").wire),
        Hostile("an answer and garbage", WHOLE + b"oops"),
        Hostile("an answer and garbage, for ever", WHOLE + b"oops", holds=True),
    ]


def codings() -> list[Hostile]:
    bomb = gzip.compress(bytes(1 << 26), 9)
    return [
        answer("gzip that is not", b"Content-Encoding: gzip"),
        answer("br that is not", b"Content-Encoding: br"),
        answer("an unknown coding", b"Content-Encoding: rot13"),
        answer("half a gzip", b"Content-Encoding: gzip", body=gzip.compress(ANSWER)[:-20]),
        answer("a gzip bomb", b"Content-Encoding: gzip", body=bomb),
        answer("a bomb in a bomb", b"Content-Encoding: gzip, gzip", body=gzip.compress(bomb, 9)),
    ]


def fields() -> list[Hostile]:
    def odd(name: str, *fields: bytes) -> Hostile:
        return answer(name, *fields, kept=True)

    return [
        odd("a carriage return in a value", b"X-Request-Id: a\rSet-Cookie: b"),
        odd("a NUL in a value", b"X-Request-Id: a\0b"),
        odd("a folded value", b"X-Request-Id: a\r\n b: c"),
        odd("a folded value that looks like a field", b"X-Request-Id: a\r\n\tContent-Length: 5"),
        odd("a value of any bytes", b"X-Request-Id: " + bytes(range(0x80, 0x100))),
        odd("a value of 1 MB", b"X-Request-Id: " + b"a" * (1 << 20)),
        odd("20,000 fields", *(b"X-%d: 1" % number for number in range(20_000))),
    ]


def endless() -> list[Hostile]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    return [
        Hostile("events without end", head + b"\r\n", endless=b'data: {"choices":[]}\n\n' * 100),
        Hostile("chunks without end", head + CHUNKED + b"\r\n\r\n", endless=b"5\r\nhello\r\n" * 1000),
        Hostile("a line without end", head + b"\r\n", endless=b"a" * 4096),
    ]


CASES = [*garbage(), *statuses(), *lengths(), *codings(), *fields()]


@dataclass
class Sender:
    """A provider without TLS that answers with what `answers` has for the name in a request."""

    answers: dict[bytes, Hostile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self._socket.getsockname()[1]
        self.left = threading.Event()
        """A client of an answer without end has left."""
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
                if not (more := connection.recv(1 << 20)):
                    return
                data += more
            name = re.search(rb"<([^>]*)>", data)
            asked = self.answers.get(name[1] if name else b"", answer(""))
            connection.sendall(asked.wire)
            try:
                while asked.endless:
                    connection.sendall(asked.endless)
            finally:
                self.left.set()
            if asked.holds:
                connection.recv(1)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = Sender({case.name.encode(): case for case in (*CASES, *endless())})
    yield made
    made.close()


def received(proxy: Process, name: str, patience: float, attempt: int = 0) -> bytes:
    """What a client gets of an answer, without our own fields, until it is over or nothing came for `patience`
    seconds. Of an answer without end it takes 1 MB."""
    data = b""
    wire = post("", BODY.replace(b"hi", b"<%s> %d" % (name.encode(), attempt))).wire
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as connection, contextlib.suppress(OSError):
        connection.sendall(wire)
        connection.settimeout(patience)
        while len(data) < 1 << 20 or "without end" not in name:
            if not (more := connection.recv(1 << 16)):
                data += b"<closed>"
                break
            data += more
            if data.endswith(ANSWER) and re.search(rb"content-length: %d\r" % len(ANSWER), data, re.IGNORECASE):
                break
    head, end, body = data.partition(b"\r\n\r\n")
    return OURS.sub(b"", head + b"\r\n") + end + body if "without end" not in name else head + end


def started(providers: FakeProviders, sender: Sender, home: Path, *options: str, **more: Path) -> Process:
    made = mitmdump(providers, home, *options, **more)  # type: ignore[arg-type]
    made.environ["AI_CACHE_TEST_PLAIN_PORT"] = str(sender.port)
    return made.start()


def stored(home: Path) -> set[str]:
    """The names in the requests of what is kept."""

    async def names() -> set[str]:
        store = for_url(f"sqlite:///{home / 'cache.sqlite3'}", 1 << 30)
        await store.open()
        found = {re.findall(rb"<([^>]*)>", entry.request)[0].decode() async for entry in store.entries()}
        await store.close()
        return found

    return asyncio.run(names())


def test_hostile_answers_reach_the_client_as_they_are_and_are_not_kept(
    providers: FakeProviders, sender: Sender, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    announcing = tmp_path / "announcing.py"
    announcing.write_text(
        'def running(): print("ai-cache: mode none", flush=True)\n'
        "def responseheaders(flow): flow.response.stream = True\n"
    )
    addon = started(providers, sender, tmp_path / "addon")
    stock = started(providers, sender, tmp_path / "stock", "connection_strategy=lazy", script=announcing)
    differing, slowest = [], (0.0, "")
    for case in CASES:
        with Pulse(addon) as pulse:
            ours = received(addon, case.name, 1.0)
        slowest = max(slowest, (pulse.longest, case.name))
        theirs = received(stock, case.name, 1.0)
        if ours != theirs:  # or the machine was busy
            ours, theirs = (received(proxy, case.name, 4.0, attempt=1) for proxy in (addon, stock))
        if ours != theirs:
            differing.append(f"{case.name}\n  {ours[:600]!r}\n  {theirs[:600]!r}")
    with capsys.disabled():
        print(
            f"\n{len(CASES)} hostile answers, {len(differing)} differ from mitmdump's;"
            f" the event loop was held longest, {slowest[0]:.2f} s, by {slowest[1]}"
        )
    assert addon.alive
    assert not differing, "\n".join(differing)
    assert [status_of(send_normal(addon)) for _ in range(2)] == ["MISS", "HIT"]
    assert not [line for line in addon.lines if "mitmproxy_ai_cache" in line or "internal-error" in line]
    assert slowest[0] < 3
    addon.stop()
    stock.stop()
    assert stored(tmp_path / "addon") - {"normal"} == {case.name for case in CASES if case.kept}


def send_normal(proxy: Process) -> bytes:

    return send(proxy, post("", BODY.replace(b"hi", b"<normal>")))


@pytest.mark.parametrize("case", endless(), ids=lambda case: case.name)
def test_an_answer_without_end_ends_when_its_client_leaves(
    case: Hostile, providers: FakeProviders, sender: Sender, tmp_path: Path
) -> None:
    addon = started(providers, sender, tmp_path)
    assert received(addon, case.name, 10.0).startswith(b"HTTP/1.1 200")
    assert sender.left.wait(30)
    assert status_of(send_normal(addon)) == "MISS"
    addon.stop()
    assert stored(tmp_path) == {"normal"}


@pytest.mark.parametrize(
    "before", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_informational_answers_are_skipped_and_the_answer_is_kept(
    before: bytes, times: int, providers: FakeProviders, sender: Sender, tmp_path: Path
) -> None:
    sender.answers[b"informed"] = Hostile("informed", before * times + WHOLE)
    addon = started(providers, sender, tmp_path)
    wire = post("", BODY.replace(b"hi", b"<informed>"))

    first, second = send(addon, wire, 20), send(addon, wire, 20)
    assert [status_of(each) for each in (first, second)] == ["MISS", "HIT"]
    for each in (first, second):
        assert each.startswith(b"HTTP/1.1 200 ")
        assert each.endswith(ANSWER)
    addon.stop()


def test_informational_answers_without_end_are_given_up(
    providers: FakeProviders, sender: Sender, tmp_path: Path
) -> None:
    case = Hostile("hints", b"", endless=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10)
    sender.answers[b"hints"] = case
    addon = started(providers, sender, tmp_path)
    assert received(addon, "hints", 20).startswith(b"HTTP/1.1 502")
    assert status_of(send_normal(addon)) == "MISS"
    addon.stop()


@pytest.mark.parametrize("value", [b"a\r\n b: c", b"a\rb", b"a\0b"])
def test_a_field_that_would_be_two_lines_is_left_out_of_a_hit(
    value: bytes, providers: FakeProviders, sender: Sender, tmp_path: Path
) -> None:
    sender.answers[b"odd"] = answer("odd", b"X-Request-Id: " + value)
    addon = started(providers, sender, tmp_path)

    wire = post("", BODY.replace(b"hi", b"<odd>"))
    first, second = send(addon, wire, 20), send(addon, wire, 20)
    assert [status_of(each) for each in (first, second)] == ["MISS", "HIT"]
    head = second.partition(b"\r\n\r\n")[0]
    assert not re.search(rb"\0|\r(?!\n)|\n[ \t]", head)
    assert second.endswith(ANSWER)
    addon.stop()

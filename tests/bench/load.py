"""A load generator: closed loop, HTTP/1.1 or HTTP/2, plain or through CONNECT and TLS. A process of its own.

Requests are made beforehand and answers are only counted, so that it takes a small part of the time of what it
measures; `Sample.load_share` says how much. Linux only (epoll, /proc).

    python -m bench.load < SPEC.json > SAMPLE.json
"""

from __future__ import annotations

import json
import re
import resource
import select
import socket
import ssl
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from .figures import Sample
from .machine import cpu_of
from .material import HOST, NONCE, PATH

STREAMS = 16
"""Most requests in flight on one connection of HTTP/2."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`ports` get the connections in turn; `pids` are the processes whose CPU time counts."""

    ports: tuple[int, ...]
    pids: tuple[int, ...]
    body: str
    protocol: str = "plain"
    """`plain` (HTTP/1.1), `tls` (the same behind CONNECT) or `h2` (behind CONNECT)."""
    connections: int = 1
    """Requests in flight. In HTTP/2 up to `STREAMS` of them share a connection."""
    ca: str = ""
    seconds: float = 0.0
    """0: until `requests` are answered."""
    requests: int = 0
    distinct: int = 1
    """How many different requests there are."""
    first: int = 0
    """The number of the first one."""


def measure(spec: Spec) -> Sample:
    """Run the load in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "bench.load"], input=json.dumps(asdict(spec)), stdout=subprocess.PIPE, text=True
    )
    if ended.returncode:
        raise SystemExit(f"ai-cache: bench: the load generator ended with {ended.returncode}, see above")
    return Sample(**json.loads(ended.stdout))


@dataclass
class Load:
    """What all connections share."""

    spec: Spec
    sent: int = 0
    times: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    failed: int = 0
    hits: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        body = self.spec.body.encode()
        self.length = len(body)
        self._pieces = body.split(NONCE.encode())
        self._made: dict[int, bytes] = {}

    def next_body(self) -> bytes:
        number = self.spec.first + self.sent % self.spec.distinct
        self.sent += 1
        made = self._made.get(number)
        if made is None:
            made = f"nonce-{number:08d}".encode().join(self._pieces)
            if self.spec.distinct < 10_000:
                self._made[number] = made
        return made

    @property
    def may_send(self) -> bool:
        return not self.over and (not self.spec.requests or self.sent < self.spec.requests)

    def answered(self, began: float, first: float) -> None:
        now = time.perf_counter()
        self.times.append(now - began)
        self.first_bytes.append(first - began)

    def saw(self, data: bytes) -> None:
        """Events that say when they left. One that is cut in two is left out."""
        now = time.monotonic_ns()
        self.delays.extend((now - int(stamp)) / 1e9 for stamp in _STAMP.findall(data))


_STAMP = re.compile(rb'"content":"(\d{10,})"')
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection(ABC):
    def __init__(self, sock: socket.socket, load: Load) -> None:
        self.sock, self.load = sock, load

    @abstractmethod
    def start(self, requests: int) -> None: ...

    @abstractmethod
    def feed(self, data: bytes) -> None: ...

    def write(self, data: bytes) -> None:
        self.sock.settimeout(60)  # who measures one proxy may wait for it
        self.sock.sendall(data)
        self.sock.settimeout(0)

    def readable(self) -> None:
        try:
            while data := self.sock.recv(1 << 18):
                self.feed(data)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        raise SystemExit("ai-cache: bench: the proxy closed a connection")


class Http1(Connection):
    """One request in flight."""

    def start(self, requests: int) -> None:
        target = PATH if self.load.spec.protocol == "tls" else f"http://{HOST}{PATH}"
        self._head = (
            f"POST {target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer sk-bench\r\nAccept: */*\r\n"
            f"User-Agent: bench\r\nContent-Type: application/json\r\nContent-Length: {self.load.length}\r\n\r\n"
        ).encode()
        self._send()

    def _send(self) -> None:
        self._answer = b""
        self._left: int | None = None
        self._began = time.perf_counter()
        self.write(self._head + self.load.next_body())

    def feed(self, data: bytes) -> None:
        if self._left is None:
            self._answer += data
            head, separator, data = self._answer.partition(b"\r\n\r\n")
            if not separator:
                return
            self._first = time.perf_counter()
            self.load.failed += head[9:12] != b"200"
            self._hit = b"-status: HIT" in head
            length = _LENGTH.search(head)
            self._left = int(length[1]) if length else -1
            self._answer = b"\r\n"
        if self._left >= 0:
            self._left -= len(data)
            over = self._left <= 0
        else:
            self.load.saw(data)
            self._answer = (self._answer + data)[-7:]
            over = self._answer == b"\r\n0\r\n\r\n"
        if over:
            self.load.hits += self._hit
            self.load.answered(self._began, self._first)
            if self.load.may_send:
                self._send()


class Http2(Connection):
    """RFC 9113 as far as a load needs it. Headers are literals, so that each request is the same bytes."""

    def start(self, requests: int) -> None:
        if self.load.length > 65_000:
            raise SystemExit("ai-cache: bench: HTTP/2 load is for bodies below 64 kB")
        fields = [(":path", PATH), (":authority", HOST), ("authorization", "Bearer sk-bench")]
        fields += [("content-type", "application/json"), ("content-length", str(self.load.length))]
        literals = [bytes([0, len(name)]) + name.encode() + bytes([len(to)]) + to.encode() for name, to in fields]
        self._block = b"\x83\x87" + b"".join(literals)  # POST, https
        self._buffer, self._number, self._window, self._taken, self._waiting = b"", -1, 65_535, 0, 0
        self._began: dict[int, float] = {}
        self._first: dict[int, float] = {}
        settings = b"\x00\x02" + (0).to_bytes(4, "big") + b"\x00\x04" + _WINDOW.to_bytes(4, "big")
        opening = _frame(4, 0, 0, settings) + _frame(8, 0, 0, (_WINDOW - 65_535).to_bytes(4, "big"))
        self.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + opening)
        for _ in range(requests):
            self._send()

    def _send(self) -> None:
        if self._window < self.load.length:
            self._waiting += 1
            return
        self._window -= self.load.length
        self._number += 2
        number, body = self._number, self.load.next_body()
        self._began[number] = time.perf_counter()
        pieces = [body[at : at + 16_384] for at in range(0, len(body), 16_384)]
        frames = [_frame(0, at == len(pieces) - 1, number, piece) for at, piece in enumerate(pieces)]
        self.write(_frame(1, 4, number, self._block) + b"".join(frames))

    def feed(self, data: bytes) -> None:
        buffer = self._buffer + data
        at = 0
        while len(buffer) - at >= 9 and len(buffer) - at >= 9 + (size := int.from_bytes(buffer[at : at + 3], "big")):
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            self._frame(buffer[at + 3], buffer[at + 4], stream, buffer[at + 9 : at + 9 + size])
            at += 9 + size
        self._buffer = buffer[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (3, 7):
            raise SystemExit("ai-cache: bench: the proxy reset a stream or connection of HTTP/2")
        if kind == 4 and not flags & 1:
            self.write(_frame(4, 1, 0, b""))
        elif kind == 8 and stream == 0:
            self._window += int.from_bytes(payload, "big")
            waiting, self._waiting = self._waiting, 0
            for _ in range(waiting):
                self._send()
        elif kind == 1 and stream not in self._first:
            self._first[stream] = time.perf_counter()
            self.load.failed += 0x88 not in payload[:4]  # :status 200 in the static table
        elif kind == 0:
            self.load.saw(payload)
            self._taken += len(payload)
            if self._taken > 1 << 30:
                self.write(_frame(8, 0, 0, self._taken.to_bytes(4, "big")))
                self._taken = 0
        if kind in (0, 1) and flags & 1:
            self.load.answered(self._began.pop(stream), self._first.pop(stream))
            if self.load.may_send:
                self._send()


_WINDOW = 2**31 - 1


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def connect(port: int, spec: Spec) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if spec.protocol == "plain":
        return sock
    sock.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n") and (byte := sock.recv(1)):
        answer += byte
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        raise SystemExit(f"ai-cache: bench: the proxy refused CONNECT: {answer[:80]!r}")
    trust = ssl.create_default_context(cafile=spec.ca)
    trust.set_alpn_protocols(["h2" if spec.protocol == "h2" else "http/1.1"])
    return trust.wrap_socket(sock, server_hostname=HOST)


def run(spec: Spec) -> Sample:
    load = Load(spec)
    each = min(STREAMS, spec.connections) if spec.protocol == "h2" else 1
    kind = Http2 if spec.protocol == "h2" else Http1
    ports = [spec.ports[number % len(spec.ports)] for number in range(spec.connections // each)]
    connections = [kind(connect(port, spec), load) for port in ports]
    poll = select.epoll()
    by_number = {connection.sock.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    before, own, began = sum(map(cpu_of, spec.pids)), time.process_time(), time.perf_counter()
    for connection in connections:
        connection.start(each)
    until = began + (spec.seconds or 1e9)
    while (now := time.perf_counter()) < until and not (spec.requests and len(load.times) >= spec.requests):
        for number, _ in poll.poll(min(30.0, until - now)):
            by_number[number].readable()
    seconds, own = time.perf_counter() - began, time.process_time() - own
    cpu = sum(map(cpu_of, spec.pids)) - before
    if not load.times:
        raise SystemExit("ai-cache: bench: not one answer in time; measure longer (--seconds)")
    sample = Sample(
        len(load.times), seconds, median(load.times), _p99(load.times), cpu, own, median(load.first_bytes),
        median(load.delays) if load.delays else 0.0, load.failed, load.hits,
    )  # fmt: skip
    load.over = True
    while len(load.times) < load.sent:  # what was cut off would go on at the cost of who is measured next
        for number, _ in poll.poll(30.0):
            by_number[number].readable()
    return sample


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


def main() -> None:
    given = json.load(sys.stdin)
    spec = Spec(**given | {"ports": tuple(given["ports"]), "pids": tuple(given["pids"])})
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    json.dump(asdict(run(spec)), sys.stdout)


if __name__ == "__main__":
    main()

"""Ways to ask a proxy: for itself, as a proxy in each form, and by HTTP/2."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass

import h2.connection
import h2.events
import pytest


@dataclass(frozen=True)
class Asked:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def ask(
    port: int,
    target: str = "/",
    headers: dict[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = None,
    address: str = "127.0.0.1",
) -> Asked:
    """Send `target` as it stands: a path, or a URL as to a proxy. The Host is the address unless `headers` has one."""
    connection = http.client.HTTPConnection(address, port, timeout=30)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    fields = {"Host": f"{address}:{port}", **(headers or {})}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    for name, value in fields.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    return _read(connection)


def _read(connection: http.client.HTTPConnection) -> Asked:
    response = connection.getresponse()
    got = Asked(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    connection.close()
    return got


def connect(port: int, authority: str, address: str = "127.0.0.1") -> int:
    """The status that a CONNECT to `authority` gets."""
    with socket.create_connection((address, port), timeout=30) as client:
        client.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        return int(client.recv(4096).split()[1])


def ask_h2(
    port: int,
    authority: str,
    path: str,
    headers: dict[str, str] | None = None,
    address: str = "127.0.0.1",
    tunnel: str = "",
    scheme: str = "https",
) -> Asked:
    """The same by HTTP/2, over TLS to the proxy itself, or to `tunnel` behind it (`HOST:PORT`)."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((address, port), timeout=30) as plain:
        if tunnel:
            plain.sendall(f"CONNECT {tunnel} HTTP/1.1\r\nHost: {tunnel}\r\n\r\n".encode())
            status = int(plain.recv(4096).split()[1])
            if status != 200:
                return Asked(status, {}, b"")
        name = (tunnel or "localhost").rpartition(":")[0] or "localhost"
        with context.wrap_socket(plain, server_hostname=name) as secure:
            return _over_h2(secure, scheme, authority, path, headers or {})


def _over_h2(secure: ssl.SSLSocket, scheme: str, authority: str, path: str, headers: dict[str, str]) -> Asked:
    talk = h2.connection.H2Connection()
    talk.initiate_connection()
    fields = [(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", path)]
    talk.send_headers(1, [*fields, *((name.lower(), value) for name, value in headers.items())], end_stream=True)
    secure.sendall(talk.data_to_send())
    status, got, body = 0, {}, b""
    while data := secure.recv(65536):
        for event in talk.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                found = {bytes(name).decode(): bytes(value).decode() for name, value in event.headers or []}
                status, got = int(found.pop(":status")), found
            elif isinstance(event, h2.events.DataReceived):
                body += event.data or b""
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated):
                return Asked(status, got, body)
        secure.sendall(talk.data_to_send())
    return Asked(status, got, body)


class Bend:
    """Leads what comes to `port` to `leads_to`, as address translation does: nobody sees that it is one machine."""

    def __init__(self) -> None:
        self.leads_to = 0
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self._listener.accept()
                self.connections += 1
                back = socket.create_connection(("127.0.0.1", self.leads_to))
                for source, sink in ((front, back), (back, front)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


def outward_address() -> str:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
            found = str(asked.getsockname()[0])
        except OSError:
            found = "127.0.0.1"
    if found.startswith("127."):
        pytest.skip("this machine has loopback addresses only")
    return found

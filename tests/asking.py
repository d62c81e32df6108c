"""Ways to ask a proxy: for itself, as a proxy in each form, and by HTTP/2."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass


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

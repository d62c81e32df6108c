"""HTTP/2 with a request's head as it is given, over TLS to the proxy itself."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from asking import Asked


def ask_h2(
    address: str,
    port: int,
    authority: str,
    path: str,
    headers: dict[str, str],
    method: str,
    ca: Path,
    sni: str,
    scheme: str = "http",
) -> Asked:
    """`sni`: the name under which the client wants to be certain of the proxy."""
    trust = ssl.create_default_context(cafile=str(ca))
    trust.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((address, port), timeout=30) as bare,
        trust.wrap_socket(bare, server_hostname=sni) as client,
    ):
        assert client.selected_alpn_protocol() == "h2"
        return exchange(client, authority, path, headers, method, scheme)


def exchange(
    client: socket.socket, authority: str, path: str, headers: dict[str, str], method: str, scheme: str
) -> Asked:
    """One request over a connection that speaks HTTP/2."""
    state = h2.connection.H2Connection(
        h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
    )
    state.initiate_connection()
    head = [(":method", method), (":authority", authority), (":scheme", scheme), (":path", path)]
    state.send_headers(1, head + [(name.lower(), value) for name, value in headers.items()], end_stream=True)
    client.sendall(state.data_to_send())
    status, fields, body = 0, {}, b""
    while data := client.recv(65536):
        for event in state.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    fields = {str(name): str(value) for name, value in event.headers or ()}
                    status = int(fields[":status"])
                case h2.events.DataReceived():
                    body += event.data or b""
                    state.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                case h2.events.StreamEnded() | h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    return Asked(status, fields, body)
        client.sendall(state.data_to_send())
    return Asked(status, fields, body)

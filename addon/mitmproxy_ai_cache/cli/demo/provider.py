"""A small provider on this machine: HTTP/1.1 over TLS, under whatever name it is asked for.

It answers what its `answer` function says, in chunks and with pauses, and counts what reached it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from mitmproxy import certs

from ...wire.messages import Headers, Request

Chunk = bytes | float
"""Bytes to send, or seconds to wait before the next ones."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. `framing`: `length`, `chunked` or `close`; `reset` aborts the connection after the last chunk."""

    chunks: Iterable[Chunk] | AsyncIterator[Chunk]
    status: int = 200
    headers: Iterable[tuple[str, str]] = (("content-type", "application/json"),)
    framing: str = "length"
    reset: bool = False


Answer = Callable[[Request], Reply | Awaitable[Reply]]


@dataclass
class Provider:
    """`directory` receives the provider's own certificate authority, `ca.pem` among its files."""

    directory: Path
    answer: Answer
    calls: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    tls_names: bool = True
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def ca(self) -> Path:
        """The certificate a client must trust."""
        return self.directory / "provider-ca-cert.pem"

    async def start(self, host: str = "127.0.0.1") -> Provider:
        self._server = await asyncio.start_server(
            self._serve, host, 0, ssl=self._tls() if self.tls_names else None, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and cut every connection: the provider is gone."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 2)

    def _tls(self) -> ssl.SSLContext:
        self.directory.mkdir(parents=True, exist_ok=True)
        authority = certs.CertStore.from_store(self.directory, "provider", 2048)
        contexts: dict[str, ssl.SSLContext] = {}

        def for_name(name: str) -> ssl.SSLContext:
            if name not in contexts:
                made = authority.get_cert(name, [x509.DNSName(name)])
                file = self.directory / "leaf.pem"
                key = authority.default_privatekey.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.TraditionalOpenSSL,
                    serialization.NoEncryption(),
                )
                file.write_bytes(made.cert.to_pem() + key)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(file)
                context.set_alpn_protocols(["http/1.1"])
                contexts[name] = context
            return contexts[name]

        def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = for_name(name or "localhost")

        base = for_name("localhost")
        base.sni_callback = choose
        return base

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while (request := await _read_request(reader)) is not None:
                self.calls.append(request)
                reply = self.answer(request)
                if not isinstance(reply, Reply):
                    reply = await reply
                await _write(writer, request, reply)
                if reply.reset:
                    writer.transport.abort()
                    return
                if reply.framing == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *fields = head.rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = Headers((name.strip(), value.strip()) for name, _, value in (item.partition(":") for item in fields))
    body = b""
    if "chunked" in headers.get("transfer-encoding"):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    elif length := headers.get("content-length"):
        body = await reader.readexactly(int(length))
    path, _, query = target.partition("?")
    host = headers.get("host").partition(":")[0]
    return Request(method, "https", host, 443, path, query, headers, body)


async def _write(writer: asyncio.StreamWriter, request: Request, reply: Reply) -> None:
    chunks = reply.chunks if isinstance(reply.chunks, AsyncIterator) else _each(reply.chunks)
    fields = list(reply.headers)
    ready: list[Chunk] | None = None
    if reply.framing == "length":
        ready = [chunk async for chunk in chunks]
        names = {name.lower() for name, _ in fields}
        if "content-length" not in names and reply.status != 204:
            fields.append(("content-length", str(sum(len(chunk) for chunk in ready if isinstance(chunk, bytes)))))
    elif reply.framing == "chunked":
        fields.append(("transfer-encoding", "chunked"))
    else:
        fields.append(("connection", "close"))
    head = f"HTTP/1.1 {reply.status} OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    writer.write(head.encode("latin-1"))
    await writer.drain()
    if request.method == "HEAD":
        return
    async for chunk in chunks if ready is None else _each(ready):
        if not isinstance(chunk, bytes):
            await asyncio.sleep(chunk)
        elif chunk:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if reply.framing == "chunked" else chunk)
            await writer.drain()
    if reply.framing == "chunked" and not reply.reset:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _each(chunks: Iterable[Chunk]) -> AsyncIterator[Chunk]:
    for chunk in chunks:
        yield chunk

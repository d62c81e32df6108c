"""Many clients at once, on one event loop: plain HTTP/1.1 through the proxy, one connection each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from harness import Process


@dataclass
class Seen:
    """What one client saw. `whole`: the message came to its proper end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False

    @property
    def cache(self) -> str:
        return f"{self.headers.get('x-ai-cache-status')} {self.headers.get('x-ai-cache-reason', '')}".strip()


class Crowd:
    """Clients that send one request each. `url` is http://..."""

    def __init__(self, url: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        host = url.removeprefix("http://").partition("/")[0]
        lines = [f"POST {url} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._request = "\r\n".join([*lines, "", ""]).encode() + body

    async def send(self, proxy: Process) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(self._request)
        return Client(reader, writer)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.seen = Seen()

    async def head(self) -> Seen:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = head.rstrip("\r\n").split("\r\n")
        self.seen.status = int(first.split(" ")[1])
        self.seen.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
        return self.seen

    async def some(self) -> bytes:
        """The next chunk of a chunked body, `b""` at its end."""
        size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
        data = await self._reader.readexactly(size)
        await self._reader.readexactly(2)
        self.seen.body += data
        self.seen.whole = not data
        return data

    async def all(self) -> Seen:
        """Everything up to the end, whatever kind of end it is."""
        try:
            if not self.seen.status:
                await self.head()
            if "chunked" in self.seen.headers.get("transfer-encoding", ""):
                while await self.some():
                    pass
            else:
                self.seen.body = await self._reader.readexactly(int(self.seen.headers["content-length"]))
                self.seen.whole = True
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        self._writer.close()
        return self.seen

    def leave(self) -> None:
        self._writer.transport.abort()

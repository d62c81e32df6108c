"""A relay before a server on 127.0.0.1, to make it slow or to make it talk nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import threading

NONSENSE = b"HTTP/1.1 400 what?\r\n\r\n"


class Relay:
    """Passes everything between `port` and `target`. Both faults can be switched while connections are open."""

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        """Seconds before each reply goes on."""
        self.babbles = False
        """Each reply is replaced by what is no Redis protocol."""
        self._target = target
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
            with contextlib.closing(forth):
                ways = [self._commands(reader, forth), self._replies(back, writer)]
                _, still = await asyncio.wait(
                    [asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED
                )
                for way in still:
                    way.cancel()

    @staticmethod
    async def _commands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(NONSENSE if self.babbles else data)
                await writer.drain()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)

"""The tee of a response in flight: every chunk goes on as it came, a copy stays, bounded in memory."""

from __future__ import annotations


class Capture:
    """Called by mitmproxy with each chunk, and with `b""` at the end of the message.

    It only appends and never raises: an exception here would crash the connection and hang the client. Nothing is
    parsed while chunks pass. Beyond `limit` bytes everything held is let go.
    """

    __slots__ = ("_limit", "chunks", "ended", "overflow", "size")

    def __init__(self, limit: int) -> None:
        self.chunks: list[bytes] = []
        self._limit = limit
        self.size = 0
        self.ended = False
        self.overflow = False

    def __call__(self, chunk: bytes) -> bytes:
        if not chunk:
            self.ended = True
        elif not self.overflow:
            self.size += len(chunk)
            if self.size > self._limit:
                self.overflow = True
                self.chunks.clear()
            else:
                self.chunks.append(chunk)
        return chunk

    def body(self) -> bytes:
        """All that passed; meaningless after an overflow, and once it is closed."""
        return b"".join(self.chunks)

    def close(self, whole: bool) -> None:
        """The message ended, and its body was taken; `whole` where it came to its proper end. Nothing is held any more:
        mitmproxy's flow lives on, in cycles that the garbage collector may find much later."""
        self.chunks.clear()

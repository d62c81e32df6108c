"""Request bodies on their way to us: how much of them is held, and what happens to one that is too large to hold.

A declared length above `ai_cache_max_body` is settled from the head alone: it streams to the provider, or is refused.
A body without a length is held up to the limit and settled then. Of all unfinished uploads together at most
`ai_cache_max_pending` is held; the one that would exceed it is settled as if it were too large, unless others stand
still: those are cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mitmproxy import connection, http

TOO_LARGE, NO_ROOM = "request-too-large", "uploads-too-large"
"""Why a request is not held: it alone is too large, or all unfinished uploads together are."""

STANDS_STILL = 30.0
"""Seconds without a byte after which an upload has to make room for others."""

Settle = Callable[[http.HTTPFlow, str], http.Response | None]
"""Told of a request that is not held, and why. Gives the answer that refuses it, or None: it streams."""


class Upload:
    """The body of one request."""

    __slots__ = (
        "_flow",
        "_held",
        "_last",
        "_limit",
        "_settle",
        "_uploads",
        "buffer",
        "pieces",
        "refusal",
        "settled",
        "size",
    )

    def __init__(self, uploads: Uploads, flow: http.HTTPFlow, limit: int, settle: Settle) -> None:
        self._uploads, self._flow, self._limit, self._settle = uploads, flow, limit, settle
        self._held, self._last = 0, 0.0
        self.settled = False
        """Whether it was decided on without its body."""
        self.refusal: http.Response | None = None
        self.buffer: Any = None
        """What holds it."""
        self.pieces = self.size = 0
        """How many pieces what is held has, and how many bytes came after them."""

    def holds(self, size: int) -> bool:
        """Whether `size` bytes of it may be held. If not it has been settled."""
        if size > self._limit:
            self.settle(TOO_LARGE)
        elif not self._uploads.has_room(size - self._held):
            self.settle(NO_ROOM)
        else:
            self._uploads.held += size - self._held
            self._held, self._last = size, time.monotonic()
            return True
        return False

    def stands_still(self) -> bool:
        """Whether it is held, unfinished and without news."""
        return self._held > 0 and not self.settled and time.monotonic() - self._last > STANDS_STILL

    @property
    def client(self) -> connection.Client:
        return self._flow.client_conn

    def settle(self, reason: str) -> None:
        self.settled = True
        self.refusal = self._flow.response or self._settle(self._flow, reason)

    def release(self) -> None:
        """Nothing of it is held any more."""
        self._uploads.held -= self._held
        self._held = 0


class Uploads:
    """Those that are unfinished, by flow."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes of all of them."""
        self.max_pending = 0
        self.only_declared = False
        """Nobody bounds what is held on its way: only bodies whose declared length fits are let in."""
        self.cut: Callable[[connection.Client], None] = lambda client: None
        """Ends the connection of a client."""
        self.abort: Callable[[http.HTTPFlow], None] = lambda flow: None
        """Drops what still waits to be sent to the provider of a request."""
        self._by_flow: dict[str, Upload] = {}

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes may be held; what stands still makes room for them."""
        if self.held + size > self.max_pending:
            for upload in [each for each in self._by_flow.values() if each.stands_still()]:
                self.cut(upload.client)
                upload.release()
        return self.held + size <= self.max_pending

    def begin(self, flow: http.HTTPFlow, limit: int, settle: Settle) -> None:
        """The head of a request is here. One whose declared length is too large is settled at once."""
        length = declared_length(flow.request)
        if length == 0:
            return
        upload = self._by_flow[flow.id] = Upload(self, flow, limit, settle)
        if self.only_declared:
            flow.request.stream = False
            if length is None or length > limit or not upload.holds(length):  # mitmproxy holds no more than it declares
                flow.kill()
            return
        if length is not None and length > limit:
            upload.settle(TOO_LARGE)
            flow.request.stream = True
            if upload.refusal is not None:
                flow.request.headers.pop("expect", None)  # else mitmproxy asks the client to go on

    def of(self, flow: http.HTTPFlow) -> Upload | None:
        return self._by_flow.get(flow.id)

    def end(self, flow: http.HTTPFlow) -> bool:
        """The request is complete. Whether it was settled without its body."""
        upload = self._by_flow.pop(flow.id, None)
        if upload is None:
            return False
        upload.release()
        return upload.settled

    def break_off(self, flow: http.HTTPFlow) -> None:
        """The request is over. If it is incomplete nothing of it is kept: mitmproxy leaves it to the garbage collector,
        and goes on to send what has come of it."""
        upload = self._by_flow.pop(flow.id, None)
        if upload is not None:
            upload.release()
            if upload.buffer is not None:
                upload.buffer.clear()
            if upload.settled:
                self.abort(flow)

    def end_of_client(self, client_id: str) -> None:
        """Its connection is over, and with it what it had begun to send."""
        for upload in [each for each in self._by_flow.values() if each.client.id == client_id]:
            self.break_off(upload._flow)

    def __len__(self) -> int:
        return len(self._by_flow)


def declared_length(request: http.Request) -> int | None:
    """The Content-Length, or None where there is none to go by: the body is chunked, or an h2 stream."""
    found: int | None = None
    for name, value in request.headers.fields:
        if len(name) == 17 and name.lower() == b"transfer-encoding":
            return None
        if len(name) == 14 and name.lower() == b"content-length":
            first = value.partition(b",")[0].strip()
            found = int(first) if first.isdigit() else None
    if found is None and not (request.is_http2 or request.is_http3):
        return 0  # RFC 9112 section 6.3: no body
    return found

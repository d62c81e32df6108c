"""The few places where mitmproxy's own behaviour is mended, each with what it is for."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterable
from typing import Any

from mitmproxy import connection, http
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._events import ResponseProtocolError

from .base import replace
from .table import CONNECTION_LIMIT, OUTLIVE_CLIENT, UNREACHABLE

MAX_CONNECTIONS = 1000
"""To one address for one client connection. mitmproxy allows 5, and lazy connections of an h2 client before an h1
provider each need one: 20 parallel calls took three times as long."""


def lift_connection_limit(handlers: Iterable[Any], client: connection.Client) -> None:
    """Let an h2 client reach an h1 provider with as many connections as it has parallel calls."""
    if not CONNECTION_LIMIT.is_known():
        return
    for handler in handlers:
        if getattr(handler, "client", None) is client:
            handler.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(MAX_CONNECTIONS))
            return


def speak_as_the_client(conn: connection.Connection, context: Context) -> None:
    """Offer h2 to the provider only where the client speaks it.

    Lazily opened connections do not know yet, and mitmproxy offers what the client offered. An h1 client before an h2
    provider would get a stream without framing, in which a reset looks like a clean end.
    """
    if isinstance(conn, connection.Server) and context.client.alpn != b"h2":
        conn.alpn_offers = [b"http/1.1"]


def outlive_client(
    handlers: Iterable[Any], client: connection.Client, over: asyncio.Event, needed: Callable[[], bool]
) -> None:
    """Keep the provider's connection of an HTTP/1.1 client that leaves while `needed`, at most until `over`.

    mitmproxy would close it as soon as it is told. On h2 a client leaves by a message among others', which cannot be
    held back.
    """
    if client.alpn == b"h2" or not OUTLIVE_CLIENT.is_known():
        return
    handler: Any = next((each for each in handlers if getattr(each, "client", None) is client), None)
    if handler is None:
        return
    original = handler.server_event

    async def server_event(event: events.Event) -> None:
        held = isinstance(event, events.ConnectionEvent) and event.connection is client
        cancelled = await _wait(over, needed) if held else None
        await original(event)
        if cancelled is not None and (task := asyncio.current_task()):
            task.cancel(*cancelled.args)  # where mitmproxy expects it, and closes its side of the connection

    handler.server_event = server_event


async def _wait(over: asyncio.Event, needed: Callable[[], bool]) -> asyncio.CancelledError | None:
    """Wait while `needed`; the cancellation that ended it, to be made up for."""
    while needed():
        try:
            async with asyncio.timeout(0.5):
                await over.wait()
        except TimeoutError:
            pass
        except asyncio.CancelledError as cancelled:
            if task := asyncio.current_task():
                task.uncancel()
            # What is written to the client fails now, and mitmproxy would end its connection for that.
            if not str(cancelled).startswith("Error sending data"):
                return cancelled
    return None


_answers: dict[str, Callable[[], http.Response | None]] = {}
"""By flow. Not in its metadata: that is written to files."""


def answer_if_unreachable(flow: http.HTTPFlow, answer: Callable[[], http.Response | None]) -> None:
    """Where the provider of `flow` breaks off before it says anything, its client gets `answer` instead of a 502. The
    one that was given last is asked first."""
    before = _answers.get(flow.id)
    _answers[flow.id] = answer if before is None else lambda: answer() or before()


def forget_answer(flow: http.HTTPFlow) -> None:
    """The flow is over."""
    _answers.pop(flow.id, None)


def install() -> None:
    """Let `answer_if_unreachable` work: mitmproxy has no hook that may answer a request whose provider is away."""
    if not UNREACHABLE.may_install():
        return
    original = HttpStream.handle_protocol_error

    def handle_protocol_error(self: HttpStream, event: Any) -> layer.CommandGenerator[None]:
        answer = _answers.pop(self.flow.id, None)
        unanswered = self.flow.response is None and self.client_state != self.state_errored
        if answer and unanswered and isinstance(event, ResponseProtocolError) and (response := answer()):
            self.flow.response = response
            yield from self.send_response()
        else:
            yield from original(self, event)

    replace(UNREACHABLE, UNREACHABLE.replaces[0], handle_protocol_error)

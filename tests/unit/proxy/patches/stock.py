"""mitmproxy as it is without us, and a way to let its layers talk without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mitmproxy import connection, options
from mitmproxy.proxy import commands, context, events, layers, mode_specs
from mitmproxy.proxy.layers.http import HTTPMode

from mitmproxy_ai_cache.proxy.patches import fingerprints


def below_ours(where: str) -> Any:
    """What is at `where` without our patches."""
    found = fingerprints.find(where)
    while "ai_cache_patch" in getattr(found, "__dict__", {}):
        found = found.__wrapped__
    return found


class Talk:
    """One client that speaks HTTP/1.1 to a regular proxy. Connections to providers fail with `refused`."""

    def __init__(self, hook: Callable[[Any], None] = lambda hook: None) -> None:
        """`hook` is told of each hook of mitmproxy."""
        self._hook = hook
        self.written = b""
        """What the client got."""
        self.client = connection.Client(
            peername=("127.0.0.1", 5), sockname=("127.0.0.1", 8484), state=connection.ConnectionState.OPEN
        )
        self.client.proxy_mode = mode_specs.ProxyMode.parse("regular")
        self.layer = layers.HttpLayer(context.Context(self.client, _options()), HTTPMode.regular)
        self._go_on(events.Start())

    def send(self, data: bytes) -> None:
        self._go_on(events.DataReceived(self.client, data))

    @property
    def stream(self) -> Any:
        (stream,) = self.layer.streams.values()
        return stream

    def _go_on(self, event: events.Event) -> None:
        for command in self.layer.handle_event(event):
            if isinstance(command, commands.StartHook):
                self._hook(command)
                if command.blocking:
                    self._go_on(events.HookCompleted(command))
            elif isinstance(command, commands.OpenConnection):
                self._go_on(events.OpenConnectionCompleted(command, "refused"))
            elif isinstance(command, commands.SendData):
                self.written += command.data


def _options() -> options.Options:
    made = options.Options()
    for name, kind, value in (
        ("connection_strategy", str, "lazy"),
        ("validate_inbound_headers", bool, True),
        ("body_size_limit", Any, None),
        ("stream_large_bodies", Any, None),
        ("store_streamed_bodies", bool, False),
        ("keep_host_header", bool, False),
        ("proxy_debug", bool, False),
        ("websocket", bool, True),
    ):
        made.add_option(name, kind, value, "")
    return made

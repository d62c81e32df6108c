"""Which protocol a request belongs to."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..system.plugins import Plugin
from ..wire.body import Body
from ..wire.messages import Request
from .anything import Anything
from .base import ANYWHERE, Call, Protocol

logger = logging.getLogger("ai-cache")

ANYTHING = Anything()


class Registry:
    """Finds the protocol of a request by the last word of its path, then by its body."""

    def __init__(self, protocols: Iterable[Protocol], plugins: Iterable[Plugin[Protocol]] = ()) -> None:
        """Those of `plugins` are asked after all others: none can take a call from a protocol of ours."""
        self._plugins = {plugin.value: plugin for plugin in plugins}
        self.protocols = (*protocols, *self._plugins)
        self.by_name = {protocol.name: protocol for protocol in (*self.protocols, ANYTHING)}
        self._failed: set[Protocol] = set()
        self._by_token: dict[str, list[Protocol]] = {}
        for protocol in self.protocols:
            for token in protocol.tokens:
                self._by_token.setdefault(token, []).append(protocol)

    def may_be_call(self, method: str, path: str) -> bool:
        """Whether the head alone looks like a call. Known before there is a body."""
        return method == "POST" and _token(path) in self._by_token

    def recognise(self, request: Request, body: Body) -> Call | None:
        """The call `request` is, or None: not an AI call, or none we understand."""
        if request.method != "POST":
            return None
        candidates = (*self._by_token.get(_token(request.path), ()), *self._by_token.get(ANYWHERE, ()))
        for protocol in candidates:
            try:
                call: Call | None = protocol.recognise(request, body)
            except Exception as error:
                self._fails(protocol, error)
                continue
            if call:
                return call
        return None

    def _fails(self, protocol: Protocol, error: Exception) -> None:
        """A plug-in that stumbles over a request has not recognised it; one of ours must not stumble."""
        plugin = self._plugins.get(protocol)
        if plugin is None:
            raise error
        if protocol not in self._failed:
            self._failed.add(protocol)
            logger.error(
                "ai-cache: the plug-in %s %s cannot read some requests, they are not taken for %s; tell its authors",
                plugin.distribution,
                plugin.version,
                protocol.name,
                exc_info=error,
            )


def _token(path: str) -> str:
    return path[max(path.rfind("/"), path.rfind(":")) + 1 :]

"""Who asks, where entries are kept apart by the users of the proxy."""

from __future__ import annotations

from mitmproxy import connection, http

from ..identity import isolation
from . import bridge


class ProxyUsers:
    """Users by what they call themselves, or by what `proxyauth` has checked."""

    def __init__(self) -> None:
        self._of_tunnels: dict[str, str] = {}

    def of(self, flow: http.HTTPFlow) -> str | None:
        """The user `proxyauth` has checked; else whom this request names; else whom its tunnel's CONNECT named."""
        checked = flow.metadata.get("proxyauth")
        named = checked[0] if checked else isolation.proxy_user(bridge.headers_from(flow.request.headers.fields))
        flow.request.headers.pop("proxy-authorization", None)
        return named or self._of_tunnels.get(flow.client_conn.id)

    def of_tunnel(self, flow: http.HTTPFlow) -> str | None:
        """The same for a CONNECT, whose user is that of the requests in it."""
        user = self.of(flow)
        if user is not None:
            self._of_tunnels[flow.client_conn.id] = user
        return user

    def forget(self, client: connection.Client) -> None:
        """Its connection is over."""
        self._of_tunnels.pop(client.id, None)

"""Only what is to be cached is decrypted: the addon that lets all other connections through untouched.

`ai-cache run` and `serve` use it. Stock mitmdump intercepts what its user told it to.
"""

from __future__ import annotations

from collections.abc import Callable

from mitmproxy import connection, http, tls
from mitmproxy.addons import upstream_auth

from ..counts.counted import CountedCache
from ..identity.hosts import HostList
from . import bridge


class Tunnels:
    """Counts what it lets through, by host and nothing else; `direct` hosts do not go through an outer proxy."""

    def __init__(self, cache: Callable[[], CountedCache | None], direct: HostList) -> None:
        self._cache = cache
        self._direct = direct

    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        cache = self._cache()
        address = data.context.server.address
        host = data.client_hello.sni or (address[0] if address else "")
        # A strict replay answers for every host: a refusal that can be read beats a broken connection.
        strict = cache is not None and cache.settings.mode == "replay" and host not in cache.allowed
        if cache is None or strict or host in cache.hosts or bridge.is_magic(host):
            return
        data.ignore_connection = True
        cache.stats.tunnelled(host)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        cache = self._cache()
        if cache is not None and (data.conn.error or "").startswith("The client does not trust"):
            cache.stats.distrusted(data.context.client.sni or "")

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.request.host in self._direct and flow.server_conn.via is not None:
            flow.server_conn = connection.Server(address=(flow.request.host, flow.request.port))
            flow.request.authority = ""  # origin form: nobody but a proxy is sent the absolute one


class OuterCredentials(upstream_auth.UpstreamAuth):
    """The outer proxy's password, for the outer proxy alone: mitmproxy would send it to direct hosts, too."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.server_conn.via is not None:
            super().requestheaders(flow)

"""Lets a proxy reach a provider on this machine under the provider's public name.

The redirection is below the flow, where the socket is opened, so that URLs, Host, SNI and signatures stay the
provider's own.
"""

from __future__ import annotations

from ...proxy.patches import redirected


def redirect_to(tls_port: int, plain_port: int | None = None) -> None:
    """From now on connections of mitmproxy to port 443 go to `tls_port` on this machine; with `plain_port` all others
    go there, also those to this machine."""
    redirected.install(tls_port, plain_port)

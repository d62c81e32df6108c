"""The environment block that sends a command's AI calls through the proxy, and makes it trust our certificate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..trust import CA_VARIABLES

_LOCAL = ("localhost", "127.0.0.1", "::1")


def variables(proxy_url: str, certificate: Path, bundle: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What to set on top of `environ`.

    Only HTTPS_PROXY: HTTP_PROXY would also catch http://localhost in many clients. Variables that replace the roots
    get the bundle, NODE_EXTRA_CA_CERTS adds and gets our certificate alone. A variable that is not set may be pre-set
    to something stale elsewhere, so all of them are.
    """
    block = {"HTTPS_PROXY": proxy_url, "https_proxy": proxy_url, "NODE_USE_ENV_PROXY": "1"}
    block |= dict.fromkeys(CA_VARIABLES, str(bundle))
    block["NODE_EXTRA_CA_CERTS"] = str(bundle if environ.get("NODE_EXTRA_CA_CERTS") else certificate)
    excluded = [name for name in environ.get("NO_PROXY", environ.get("no_proxy", "")).split(",") if name.strip()]
    excluded += [name for name in _LOCAL if name not in excluded]
    block["NO_PROXY"] = block["no_proxy"] = ",".join(excluded)
    return block

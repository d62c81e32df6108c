"""The environment block that sends a command's AI calls through the proxy, and makes it trust our certificate."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from .. import trust
from .outer import MARK, no_proxy, without_ai_hosts

LOCAL = ("localhost", "127.0.0.1", "::1")


def variables(
    proxy_url: str, confdir: Path, environ: Mapping[str, str], hosts: Iterable[str] = (), local: bool = False
) -> tuple[dict[str, str], list[str]]:
    """What to set on top of `environ`, and the entries that had to leave NO_PROXY.

    Variables that replace a client's roots get the bundle; NODE_EXTRA_CA_CERTS adds and gets our certificate, or the
    bundle where it named another one already. All are set, whether they were or not: a stale one would win elsewhere.
    HTTP_PROXY is set with `local` only: many clients would send http://localhost to us with it.
    """
    bundle = str(confdir / trust.BUNDLE)
    block = {"HTTPS_PROXY": proxy_url, "https_proxy": proxy_url, "NODE_USE_ENV_PROXY": "1", MARK: proxy_url}
    block |= dict.fromkeys(trust.CA_VARIABLES, bundle)
    named = environ.get("NODE_EXTRA_CA_CERTS")
    block["NODE_EXTRA_CA_CERTS"] = bundle if named else str(confdir / trust.CERTIFICATE)
    kept, removed = without_ai_hosts(no_proxy(environ), hosts)
    if local:
        block |= {"HTTP_PROXY": proxy_url, "http_proxy": proxy_url}
        kept = [entry for entry in kept if entry not in LOCAL]
    else:
        kept += [name for name in LOCAL if name not in kept]
    block["NO_PROXY"] = block["no_proxy"] = ",".join(kept)
    if environ.get("JAVA_HOME") or shutil.which("java", path=environ.get("PATH")):
        store = trust.write_java_store(confdir)
        block["JAVA_TOOL_OPTIONS"] = _java(proxy_url, store, environ.get("JAVA_TOOL_OPTIONS", ""), local)
    return block, removed


def _java(proxy_url: str, store: Path, before: str, local: bool) -> str:
    """Java reads no variable but this one. Options that came before are kept; ours come last and win."""
    address = urlsplit(proxy_url)
    options = [
        f"-Dhttps.proxyHost={address.hostname}",
        f"-Dhttps.proxyPort={address.port}",
        f"-Djavax.net.ssl.trustStore={store}",
        f"-Djavax.net.ssl.trustStorePassword={trust.JAVA_PASSWORD}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
    ]
    if local:
        options += [f"-Dhttp.proxyHost={address.hostname}", f"-Dhttp.proxyPort={address.port}", "-Dhttp.nonProxyHosts="]
    return " ".join(([before] if before else []) + options)

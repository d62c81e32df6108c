"""The environment block that sends a command's AI calls through the proxy, and makes it trust our certificate."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..proxy.targets import LOCAL
from ..system import trust
from .outer import MARK, no_proxy, without_ai_hosts


def variables(
    proxy_url: str, roots: trust.Roots, environ: Mapping[str, str], hosts: Iterable[str] = (), local: bool = False
) -> tuple[dict[str, str], list[str]]:
    """What to set on top of `environ`, and the entries that had to leave NO_PROXY.

    Variables that replace a client's roots get the bundle; NODE_EXTRA_CA_CERTS adds and gets our certificate, or the
    bundle where it named another one already. All are set, whether they were or not: a stale one would win elsewhere.
    HTTP_PROXY is set with `local` only: many clients would send http://localhost to us with it.
    """
    bundle = str(roots.bundle)
    block = {"HTTPS_PROXY": proxy_url, "https_proxy": proxy_url, "NODE_USE_ENV_PROXY": "1", MARK: proxy_url}
    block |= dict.fromkeys(trust.CA_VARIABLES, bundle)
    named = environ.get("NODE_EXTRA_CA_CERTS")
    block["NODE_EXTRA_CA_CERTS"] = bundle if named else str(roots.certificate)
    kept, removed = without_ai_hosts(no_proxy(environ), hosts)
    if local:
        block |= {"HTTP_PROXY": proxy_url, "http_proxy": proxy_url}
        kept = [entry for entry in kept if entry not in LOCAL]
        kept.append(urlsplit(proxy_url).netloc)  # calls to the proxy itself do not go through it
    else:
        kept += [name for name in LOCAL if name not in kept]
    block["NO_PROXY"] = block["no_proxy"] = ",".join(kept)
    if environ.get("JAVA_HOME") or shutil.which("java", path=environ.get("PATH")):
        store = trust.write_java_store(roots.bundle)
        block["JAVA_TOOL_OPTIONS"] = _java(proxy_url, store, environ.get("JAVA_TOOL_OPTIONS", ""), local)
    return block, removed


def _java(proxy_url: str, store: Path, before: str, local: bool) -> str:
    """Java reads no variable but this one. Options of others that came before are kept."""
    address = urlsplit(proxy_url)
    ours = {
        "https.proxyHost": address.hostname,
        "https.proxyPort": address.port,
        "javax.net.ssl.trustStore": store,
        "javax.net.ssl.trustStorePassword": trust.JAVA_PASSWORD,
        "javax.net.ssl.trustStoreType": "PKCS12",
    }
    if local:
        ours |= {"http.proxyHost": address.hostname, "http.proxyPort": address.port, "http.nonProxyHosts": ""}
    try:
        others = [word for word in shlex.split(before) if word.partition("=")[0].removeprefix("-D") not in ours]
    except ValueError:
        others = [before]
    return " ".join(map(_quoted, [*others, *(f"-D{name}={value}" for name, value in ours.items())]))


def _quoted(option: str) -> str:
    """The JVM splits this variable at white space and honours quotes."""
    if not any(character.isspace() for character in option):
        return option
    return f"'{option}'" if '"' in option else f'"{option}"'

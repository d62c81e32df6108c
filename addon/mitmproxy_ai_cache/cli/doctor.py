"""`ai-cache doctor`: what works on this machine, and which layer is at fault where something does not."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import socket
import ssl
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from mitmproxy import version

from ..configuration import writable
from ..configuration.settings import Settings, SettingsError
from ..configuration.store_of import store_of
from ..protocols.providers import added_secrets
from ..proxy.patches.table import PATCHES, REDIRECTED
from ..stores import StoreError
from ..system import plugins, ports, trust
from ..wire.safe_text import one_line, safe_url
from . import outer, probes, project
from .demo.stage import stage
from .environment import variables
from .master import ProxyMaster
from .proxy import add_address
from .sources import gather

SUMMARY = "check the clients, the store, the port, the clock and the certificates of this machine"

_MENDS = {
    "Node fetch": "Node 20 knows no proxy variable: use Node 22.21 or newer, or a base URL (README)",
    "Python aiohttp": "give the session trust_env=True",
    "Java": "check JAVA_TOOL_OPTIONS; clients with a proxy setting of their own need it there",
}


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    good: bool
    says: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_address(parser, port=8484)
    parser.add_argument("--store", metavar="URL", help="the store to check (default: as configured)")
    project.add_options(parser)


def main(arguments: argparse.Namespace) -> int:
    results = list(_show(_machine(arguments)))
    if complaint := REDIRECTED.complaint():
        print(f"     clients          not tried: {complaint.removeprefix('ai-cache: ')}")
    elif any(check.name in ("certificate", "directory") and not check.good for check in results):
        print("     clients          not tried without a certificate")
    else:
        results += asyncio.run(_clients())
    bad = [check for check in results if not check.good]
    print(f"\n{len(results) - len(bad)} of {len(results)} checks are good" + (": all is well" if not bad else ""))
    return 1 if bad else 0


def _show(checks: Iterator[Check]) -> Iterator[Check]:
    for check in checks:
        print(f"{'ok ' if check.good else 'BAD'}  {check.name:<16} {check.says}", flush=True)
        yield check


# The machine


def _machine(arguments: argparse.Namespace) -> Iterator[Check]:
    yield _patches()
    yield _store(arguments)
    yield from _plugins()
    yield _port(arguments)
    yield _certificate()
    yield from _outer()
    try:
        yield _clock()
        yield _upstream()
    except (OSError, ValueError) as error:
        yield Check("directory", False, f"{trust.directory()}: {error}; make it writable for you")


def _patches() -> Check:
    """Whether this mitmproxy is one that all patches know."""
    missing = [patch for patch in PATCHES if not patch.is_known()]
    if not missing:
        return Check("mitmproxy", True, f"{version.VERSION}, all {len(PATCHES)} patches are on")
    off = "; ".join(f"{patch.name} is off, so {patch.without}" for patch in missing)
    return Check("mitmproxy", False, f"{version.VERSION} is not as expected: {off}; {missing[0].mend()}")


def _store(arguments: argparse.Namespace) -> Check:
    async def entries(settings: Settings) -> tuple[str, int]:
        store = store_of(settings, writable=True)
        await store.open()
        count = await store.count()
        await store.close()
        return safe_url(store.url), count

    try:
        found = gather(arguments, os.environ, Path.cwd())
        settings = Settings.parse({name: value.value for name, value in found.items()})
        url, count = asyncio.run(entries(settings))
        return Check("store", True, f"{url}, {count} entries")
    except (SettingsError, StoreError) as error:
        return Check("store", False, str(error))


def _plugins() -> Iterator[Check]:
    """What other distributions add. Opening the store has loaded their protocols."""
    added_secrets()  # and their providers
    for plugin in plugins.loaded():
        yield Check("plug-in", True, f"{plugin.distribution} {plugin.version} adds {plugin.name}")
    for why in plugins.left_out():
        yield Check("plug-in", False, why)


def _port(arguments: argparse.Namespace) -> Check:
    url = f"http://{arguments.host}:{arguments.port}"
    if outer.alive(url):
        return Check("port", True, f"ai-cache serves at {url}")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((arguments.host, arguments.port))
        except OSError as error:
            says = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                says = ports.taken(arguments.host, arguments.port)
            return Check("port", False, f"{says}; give serve another one with --port")
    return Check("port", True, f"{arguments.port} is free for serve")


def _certificate() -> Check:
    confdir = trust.directory()
    try:
        made = x509.load_pem_x509_certificate(trust.make_authority(confdir).read_bytes())
        mode = stat.S_IMODE((confdir / "mitmproxy-ca.pem").stat().st_mode)
    except OSError as error:
        mend = "make it writable for you, or set XDG_DATA_HOME to another directory"
        return Check("certificate", False, f"{writable.Trouble.of(confdir, error)}; {mend}")
    except ValueError as error:
        return Check("certificate", False, f"{confdir}: {error}; remove that directory and a new one is made")
    if os.name == "posix" and mode & 0o077:
        return Check("certificate", False, f"others can read the key: chmod 600 {confdir / 'mitmproxy-ca.pem'}")
    if made.not_valid_after_utc.timestamp() < time.time():
        return Check("certificate", False, f"it has expired; remove {confdir} and a new one is made")
    return Check("certificate", True, f"{confdir / trust.CERTIFICATE}, until {made.not_valid_after_utc:%Y-%m-%d}")


def _clock() -> Check:
    """Certificates are dated. The clock cannot be before the files it has written itself."""
    written = (trust.directory() / trust.CERTIFICATE).stat().st_mtime
    behind = written - time.time()
    if behind > 60:
        return Check("clock", False, f"it is {behind / 3600:.1f} h behind the certificate's file: set the clock")
    return Check("clock", True, time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _outer() -> Iterator[Check]:
    try:
        found = outer.proxy(os.environ)
    except outer.UnusableProxy as error:
        yield Check("outer proxy", False, str(error))
        return
    if found is not None:
        yield Check("outer proxy", True, f"{found.url}: run and serve go on through it")
    _, removed = outer.without_ai_hosts(outer.no_proxy(os.environ), ())
    if removed:
        yield Check("NO_PROXY", True, f"names AI hosts ({', '.join(removed)}): run takes them out for its command")


def _upstream() -> Check:
    """Whether a provider can be reached from here at all, by our bundle of roots."""
    if outer.proxy(os.environ) is not None:
        return Check("upstream", True, "not tried: it is behind the outer proxy")
    bundle = trust.write_bundle(trust.directory(), trust.make_authority(trust.directory()), os.environ)
    try:
        context = ssl.create_default_context(cafile=str(bundle))
        plain = socket.create_connection(("api.openai.com", 443), 5)
        with plain, context.wrap_socket(plain, server_hostname="api.openai.com"):
            return Check("upstream", True, "api.openai.com answers and its certificate is trusted")
    except ssl.SSLCertVerificationError as error:
        mend = "a proxy of your network? name its certificate in SSL_CERT_FILE"
        return Check("upstream", False, f"api.openai.com: {error.verify_message}; {mend}")
    except OSError as error:
        return Check("upstream", False, f"api.openai.com cannot be reached ({error}); replay and hits work without")


# The clients


async def _clients() -> list[Check]:
    """One request with every client that is installed, through a proxy before a provider on this machine."""
    results: list[Check] = []
    confdir = trust.directory()
    certificate = trust.make_authority(confdir)
    roots = trust.Roots(certificate, trust.write_bundle(confdir, certificate, os.environ))
    with tempfile.TemporaryDirectory(prefix="ai-cache-doctor-") as temporary:
        folder = Path(temporary)
        async with stage(folder, confdir, "memory:") as on:
            block, _ = variables(f"http://127.0.0.1:{on.port}", roots, os.environ)
            for probe in await asyncio.to_thread(probes.found, os.environ.get("PATH", "")):
                results += _show(iter([await _client(probe, {**os.environ, **block}, folder, on.master)]))
    return results


async def _client(probe: probes.Probe, environ: Mapping[str, str], folder: Path, master: ProxyMaster) -> Check:
    cache = master.cache_addon.cache
    assert cache is not None
    connections, distrust = cache.stats.connections, cache.stats.distrust.total()
    good, says = await asyncio.to_thread(probes.send, probe, environ, folder)
    if good:
        return Check(probe.name, True, "uses the proxy and trusts its certificate")
    with suppress(KeyError):
        says = f"{says}; {_MENDS[probe.name]}"
    if cache.stats.distrust.total() > distrust:
        layer = "does not trust the certificate (or pins another one)"
    elif cache.stats.connections == connections:
        layer = "ignores the proxy variables"
    else:
        layer = "reached the proxy and failed"
    return Check(probe.name, False, f"{layer}: {one_line(says, 240)}")


if __name__ == "__main__":
    sys.exit(main(argparse.Namespace(host="127.0.0.1", port=8484, store=None)))

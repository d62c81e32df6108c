"""A provider on this machine and the real proxy before it, in this process: what `demo` and `doctor` play on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ...proxy.patches.table import REDIRECTED
from ..master import ProxyMaster, quiet_logs
from .calls import answer
from .provider import Provider
from .redirect import redirect_to


@dataclass(frozen=True, slots=True)
class Stage:
    provider: Provider
    master: ProxyMaster

    @property
    def port(self) -> int:
        """The proxy's."""
        return self.master.address[1]


@asynccontextmanager
async def stage(folder: Path, confdir: Path, store: str) -> AsyncIterator[Stage]:
    """`folder` is for the provider, `confdir` for the authority of the proxy. All connections go to the provider.

    Ends the command on a mitmproxy whose connections would go to the real one.
    """
    if complaint := REDIRECTED.complaint():
        raise SystemExit(complaint)
    quiet_logs(50)
    provider = await Provider(folder / "provider", answer).start()
    redirect_to(provider.port)
    master = ProxyMaster(lambda line: None)
    options = {
        "confdir": str(confdir),
        "listen_host": "127.0.0.1",
        "listen_port": 0,
        "ssl_verify_upstream_trusted_ca": str(provider.ca),
        "ai_cache_store": store,
    }
    master.configure(options, [])
    running = asyncio.create_task(master.run())
    await master.listening.wait()
    try:
        yield Stage(provider, master)
    finally:
        master.stop()
        await asyncio.gather(running, return_exceptions=True)
        await provider.stop()

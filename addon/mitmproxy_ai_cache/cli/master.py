"""The proxy of `ai-cache run` and `serve`: mitmproxy as a library, with only the addons the product needs.

Two thirds of the time of an answered request in a stock mitmdump go to asking some 40 addons.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from mitmproxy import exceptions, master, options
from mitmproxy.addons import (
    block,
    core,
    disable_h2c,
    errorcheck,
    next_layer,
    proxyauth,
    proxyserver,
    script,
    tlsconfig,
)

from ..addon import AICache
from ..counts import log_line
from ..identity.hosts import HostList
from ..proxy.patches import tuning
from ..proxy.tunnels import OuterCredentials, Tunnels
from ..wire.safe_text import safe_name
from ..wire.spelling import did_you_mean


class ProxyMaster(master.Master):
    """A mitmproxy with the AI cache in it."""

    def __init__(self, announce: Any, direct: HostList | None = None) -> None:
        """`announce` gets the first line; `direct` are hosts that an outer proxy is not asked for."""
        super().__init__(options.Options())
        self.cache_addon = AICache(announce, stream_all=True)
        self.listening = asyncio.Event()
        self._errors = _ErrorCheck()
        self.addons.add(
            core.Core(),
            block.Block(),
            disable_h2c.DisableH2C(),
            proxyauth.ProxyAuth(),
            proxyserver.Proxyserver(),
            self.cache_addon,
            Tunnels(lambda: self.cache_addon.cache, direct or HostList([])),
            script.ScriptLoader(),
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            OuterCredentials(),
            self._errors,
        )

    def configure(self, values: Mapping[str, Any], assignments: list[str]) -> None:
        """Set options: `values` typed, then `assignments` as `NAME=VALUE` text. Raises `mitmproxy.OptionsError`."""
        self.options.update(**values)
        for assignment in assignments:
            name = assignment.partition("=")[0]
            if name not in self.options:
                near = did_you_mean(name, self.options.keys())
                raise exceptions.OptionsError(
                    f"there is no option {safe_name(name)!r}{near}; ai-cache options lists ours, "
                    "mitmdump --options those of mitmproxy"
                )
        self.options.set(*assignments)

    async def running(self) -> None:
        if self.options.ai_cache_tune_mitmproxy and not self.options.scripts:
            tuning.trust_messages()
        await super().running()
        if not self._errors.logger.has_errored:  # else `run` ends in a moment
            self.listening.set()

    @property
    def complaints(self) -> list[str]:
        """What was logged as an error while it started."""
        plain = _Plain()
        return [plain.format(record).removeprefix("ai-cache: ") for record in self._errors.logger.has_errored]

    def stop(self) -> None:
        """Let `run` come to its end."""
        self.should_exit.set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        servers: Any = self.addons.get("proxyserver")
        found: list[tuple[str, int]] = servers.listen_addrs()
        host, port = found[0][:2]
        return host, port


class _ErrorCheck(errorcheck.ErrorCheck):
    """Ends a proxy that does not start. What it has to say is in `complaints`."""

    name = "errorcheck"
    """As mitmproxy's master asks for it."""

    async def shutdown_if_errored(self) -> None:
        await asyncio.sleep(0)
        if self.logger.has_errored:
            raise SystemExit(1)


def quiet_logs(level: int, json_lines: bool = False) -> logging.Handler:
    """Our own lines on stderr at `level`; mitmproxy's only from warnings on. Gives what writes them."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if json_lines else _Plain())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # connections that are cut when the loop ends
    logging.getLogger("ai-cache").setLevel(level)
    return handler


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).partition("\nTry specifying a different port")[0]  # by an option of mitmproxy's
        return text if text.startswith("ai-cache") else f"ai-cache: mitmproxy: {text}"


class _Json(_Plain):
    """Calls come as JSON already."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.name == "ai-cache" and text.startswith("{"):
            return text
        return log_line.message(super().format(record), record.levelname.lower())

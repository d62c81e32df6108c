"""Says once when the process has no file descriptors left, and once when it has some again."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from typing import Any

logger = logging.getLogger("ai-cache")

_QUIET = 5.0
"""Seconds without trouble after which it is over. At the limit each connection that closes lets one more in."""


class OutOfFiles:
    """asyncio tells of each connection that it could not accept, every second and for all of them."""

    def __init__(self) -> None:
        self._since: float | None = None
        """When it last happened, while it lasts."""

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take these errors of `loop`; all others stay with who had them."""
        before = loop.get_exception_handler()

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                self.happened(error)
            elif before is not None:
                before(loop, context)
            else:
                loop.default_exception_handler(context)

        loop.set_exception_handler(handle)

    def happened(self, error: OSError) -> None:
        if self._since is None:
            logger.warning(
                "ai-cache: no file descriptors are left (%s): new connections wait; raise the limit: ulimit -n 65536",
                error.strerror,
            )
        self._since = time.monotonic()

    def connected(self) -> None:
        """A connection was accepted."""
        if self._since is not None and time.monotonic() - self._since > _QUIET:
            self._since = None
            logger.warning("ai-cache: there are file descriptors again: new connections are accepted")

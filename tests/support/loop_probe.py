"""A mitmproxy script: writes down when the event loop was held, in a line `when seconds` for each time above 2 ms.

`when` is the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import os
import time

_FROM = 0.002


class Probe:
    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        with open(os.environ["AI_CACHE_TEST_STALLS"], "a", buffering=1) as file:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.001)
                held = time.monotonic() - before - 0.001
                if held > _FROM:
                    file.write(f"{before} {held}\n")


addons = [Probe()]

"""The provider that misses go to, as a process of its own: answers what `model` names, `-after-N` after N ms.

python -m bench.upstream FOLDER      prints the port with TLS and the one without
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from bench import material
from mitmproxy_ai_cache.cli.demo.provider import Provider, Reply
from mitmproxy_ai_cache.wire.messages import Request

_MODEL = re.compile(rb'"model": ?"([^"]+)"')


async def main(folder: Path) -> None:
    ready: dict[str, tuple[str, list[bytes | float]]] = {}

    async def answer(request: Request) -> Reply:
        for provider in providers:
            provider.calls.clear()
        found = _MODEL.search(request.body or b"")
        name, _, after = (found[1].decode() if found else "").partition("-after-")
        if after:
            await asyncio.sleep(int(after) / 1000)
        if name.startswith("json"):
            if name not in ready:
                kind, chunks = material.answer(name)
                ready[name] = kind, list(chunks)
            kind, whole = ready[name]
            return Reply(whole, headers=[("content-type", kind)])
        kind, chunks = material.answer(name)
        return Reply(chunks, headers=[("content-type", kind)], framing="chunked")

    providers = [Provider(folder, answer), Provider(folder, answer, tls_names=False)]
    for provider in providers:
        await provider.start()
    print(*(provider.port for provider in providers), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

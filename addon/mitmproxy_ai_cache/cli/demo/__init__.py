"""`ai-cache demo`: the product on a small provider of its own. No key, no network, nothing left behind."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import ssl
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from ...system import trust
from ...wire import our_headers
from .calls import CALLS, DemoCall
from .stage import stage

SUMMARY = "show it working: JSON, SSE and Bedrock calls twice through the real proxy, without key or network"


@dataclass(frozen=True, slots=True)
class Outcome:
    status: str
    seconds: float
    body: bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def main(arguments: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="ai-cache-demo-") as folder:
        return asyncio.run(_demo(Path(folder)))


async def _demo(folder: Path) -> int:
    certificate = trust.make_authority(folder / "ca")
    trusting = ssl.create_default_context(cafile=str(certificate))
    good = True
    async with stage(folder, folder / "ca", f"sqlite:///{folder / 'cache.sqlite3'}") as on:
        print("A provider on this machine that takes its time, and the real proxy before it.\n")
        print(f"{'call':<44} {'first':>16} {'second':>16}  same bytes")
        for call in CALLS:
            first = await asyncio.to_thread(_send, call, on.port, trusting)
            second = await asyncio.to_thread(_send, call, on.port, trusting)
            same = first.body == second.body
            good = good and (first.status, second.status, same) == ("MISS", "HIT", True)
            print(f"{call.title:<44} {_outcome(first)} {_outcome(second)}  {'yes' if same else 'NO'}")
        reached = len(on.provider.calls)
    good = good and reached == len(CALLS)
    print(f"\n{2 * len(CALLS)} calls, {reached} of them reached the provider.", end=" ")
    print("Now yours: ai-cache run -- COMMAND" if good else "That is not what should happen.")
    return 0 if good else 1


def _outcome(outcome: Outcome) -> str:
    return f"{outcome.status:>7} {outcome.seconds * 1000:>5.0f} ms"


def _send(call: DemoCall, proxy_port: int, trusting: ssl.SSLContext) -> Outcome:
    """One call as any client makes it: CONNECT, TLS, POST."""
    connection = http.client.HTTPSConnection("127.0.0.1", proxy_port, context=trusting, timeout=30)
    connection.set_tunnel(call.host, 443)
    connection.connect()
    started = time.perf_counter()
    connection.request("POST", call.path, orjson.dumps(call.body), dict(call.headers))
    response = connection.getresponse()
    body = response.read()
    seconds = time.perf_counter() - started
    connection.close()
    return Outcome(response.headers.get(our_headers.STATUS, "none"), seconds, body)


if __name__ == "__main__":
    sys.exit(main(argparse.Namespace()))

"""The least that can be a proxy of mitmproxy's: a Master with four addons, and one that answers everything.

python -m bench.bare PORT CONFDIR
"""

from __future__ import annotations

import asyncio
import sys

from mitmproxy import master, options
from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig

from bench import canned


async def main(port: str, confdir: str) -> None:
    bare = master.Master(options.Options())
    bare.addons.add(core.Core(), proxyserver.Proxyserver(), next_layer.NextLayer(), tlsconfig.TlsConfig(), canned)
    bare.options.update(
        listen_host="127.0.0.1", listen_port=int(port), confdir=confdir, connection_strategy="lazy"
    )  # fmt: skip
    await bare.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

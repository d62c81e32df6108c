"""mitmdump, or ai-cache, whose provider is the one on this machine. No script does it: that would cost each request.

python -m bench.redirected mitmdump|ai-cache ARGUMENT...
"""

from __future__ import annotations

import os
import sys

from mitmproxy.tools.main import mitmdump

from mitmproxy_ai_cache import cli
from mitmproxy_ai_cache.cli.demo.redirect import redirect_to

if __name__ == "__main__":
    redirect_to(int(os.environ["AI_CACHE_TEST_TLS_PORT"]), int(os.environ["AI_CACHE_TEST_PLAIN_PORT"]))
    program, arguments = sys.argv[1], sys.argv[2:]
    sys.exit(mitmdump(arguments) if program == "mitmdump" else cli.main(arguments))

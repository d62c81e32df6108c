"""A script for the proxies under test: providers are reached at the fake one."""

import os

from mitmproxy_ai_cache.cli.demo.redirect import redirect_to

redirect_to(int(os.environ["AI_CACHE_TEST_TLS_PORT"]), int(os.environ["AI_CACHE_TEST_PLAIN_PORT"]))

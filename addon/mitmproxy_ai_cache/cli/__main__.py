"""`python -m mitmproxy_ai_cache.cli`."""

import sys

from . import main

sys.exit(main())

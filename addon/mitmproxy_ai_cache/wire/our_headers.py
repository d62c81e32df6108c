"""The names of our own header fields, all in one place. In lower case, as names compare (RFC 9110 section 5.1)."""

from __future__ import annotations

PREFIX = "x-ai-cache-"

# Of a request: read, then taken off before it is forwarded
TTL = "x-ai-cache-ttl"
"""How long the answer may be served: `1h`, `30d`."""
NAMESPACE = "x-ai-cache-namespace"
"""The namespace of the call."""
OF_REQUESTS = (TTL, NAMESPACE)

# Of an answer
STATUS = "x-ai-cache-status"
"""`HIT`, `MISS`, ...: `calls.reasons.Status`."""
REASON = "x-ai-cache-reason"
"""Why: `calls.reasons.Reason`."""
KEY = "x-ai-cache-key"
"""The first 12 hex digits of the key."""
AGE = "x-ai-cache-age"
"""Whole seconds since the provider answered."""
CACHE_STATUS = "cache-status"
"""The standard's own field (RFC 9211)."""

# Between proxies
HOP = "x-ai-cache-hop"
"""Of plain HTTP requests and of CONNECTs to an outer proxy: which proxies forwarded them."""

# Of a call to the proxy itself
CONTROL = "x-ai-cache"
"""Every such call has it, as `X-AI-Cache: 1`: a web page cannot send it to another origin without being asked first."""

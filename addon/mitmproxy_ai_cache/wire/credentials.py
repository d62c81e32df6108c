"""Where requests carry credentials: the names of query parameters. Those of headers are in `protocols/providers`."""

from __future__ import annotations

CREDENTIAL_PARAMETERS = frozenset(
    "key api_key api-key apikey access_token token subscription-key ocp-apim-subscription-key sig signature".split()
)
"""Query parameters that carry a credential: never in the key as part of the URL, never stored."""

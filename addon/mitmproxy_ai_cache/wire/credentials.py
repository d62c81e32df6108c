"""Where requests carry credentials: the names of header fields and query parameters."""

from __future__ import annotations

CREDENTIAL_HEADERS = frozenset(
    """
    authorization x-api-key api-key x-goog-api-key ocp-apim-subscription-key subscription-key x-portkey-api-key
    helicone-auth cf-aig-authorization
    """.split()
)
"""Headers that carry a credential and nothing that shapes the answer."""

CREDENTIAL_PARAMETERS = frozenset(
    "key api_key api-key apikey access_token token subscription-key ocp-apim-subscription-key sig signature".split()
)
"""Query parameters that carry a credential: never in the key as part of the URL, never stored."""

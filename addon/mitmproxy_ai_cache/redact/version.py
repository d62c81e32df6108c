"""Which rules these are: keys of recordings were made by them."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from ..protocols.providers import added_secrets, secret_headers, secrets


@functools.cache
def redaction_rules() -> str:
    """Another text for any change of a rule: a digest of what this package is written in, and of what it takes from the
    table of providers and from plug-ins."""
    digest = hashlib.sha256()
    for file in sorted(resources.files(__package__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".py"):
            digest.update(file.read_bytes())
    digest.update(repr((secrets(), added_secrets(), sorted(secret_headers()))).encode())
    return digest.hexdigest()[:16]

"""What of the settings decides which requests are calls, and by what they are told apart."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..redact import Pattern
from .key import KeyRules


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Made of the settings (`Settings.identity`), so that the rooms below them can identify requests, too."""

    active: bool = True
    """Whether any request is ours at all."""
    everything: bool = False
    """Whether all exchanges with AI hosts count, not only calls of a protocol that we know."""
    hides_secrets: bool = False
    """Whether secrets are taken out before the key is made: who records with one and replays with another asks the
    same."""
    max_body: int = 10 << 20
    """Bytes of a request body that are read at most."""
    redact: tuple[Pattern, ...] = ()
    key: KeyRules = field(default_factory=KeyRules)
    hosts: tuple[str, ...] = ()
    """AI hosts beside those that are known."""
    no_done_hosts: tuple[str, ...] = ()
    namespace: str = ""
    """That of requests that name none."""

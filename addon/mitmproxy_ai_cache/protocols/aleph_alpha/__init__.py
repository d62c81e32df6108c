"""Aleph Alpha completions."""

from __future__ import annotations

from .calls import AlephAlphaComplete

PROTOCOLS = (AlephAlphaComplete,)

"""Each test begins with mitmproxy as it is without us, and leaves it as it found it."""

from __future__ import annotations

import pytest

from mitmproxy_ai_cache.proxy.patches import PATCHES, fingerprints
from unit.proxy.patches.stock import below_ours


@pytest.fixture(autouse=True)
def _stock(monkeypatch: pytest.MonkeyPatch) -> None:
    for where in {where for patch in PATCHES for where in patch.replaces}:
        found = below_ours(where)
        if found is not None:
            module, _, path = where.partition(":")
            owner, _, name = path.rpartition(".")
            monkeypatch.setattr(fingerprints.find(f"{module}:{owner}"), name, found)

"""`ai-cache doctor` says whether mitmproxy is as expected."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy import version
from mitmproxy.proxy.layers.http import HttpStream

from mitmproxy_ai_cache.cli import doctor


def test_all_patches_are_on() -> None:
    check = doctor._patches()
    assert check.good
    assert check.says.startswith(f"{version.VERSION}, all ")


def test_a_patch_that_is_off_is_named_with_what_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    def send_response(self: Any, another: bool) -> None: ...

    send_response.__module__ = HttpStream.__module__
    monkeypatch.setattr(HttpStream, "send_response", send_response)
    check = doctor._patches()
    assert not check.good
    assert "unreachable-provider is off, so a provider that cannot be reached gives 502" in check.says
    assert check.says.endswith("upgrade ai-cache, or pin mitmproxy<=12.3.1")

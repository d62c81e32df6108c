"""Requests whose answer depends on something outside of them."""

from __future__ import annotations

from typing import Any

import pytest

from mitmproxy_ai_cache.protocols import base
from mitmproxy_ai_cache.wire.body import Body
from unit.calls.test_gate import call, chat

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}


@pytest.mark.parametrize(
    ("asked", "live"),
    [
        (chat(), False),
        (chat(tools=[{"type": "function", "function": {"name": "web_search"}}]), False),
        (chat(user='{"file_id": "file-1"}'), False),
        (call("api.openai.com/v1/chat/completions", messages=[], model="gpt-4o-search-preview"), True),
        (chat(web_search_options={}), True),
        (call("api.openai.com/v1/chat/completions", messages=[{"role": "user", "content": [IMAGE]}]), True),
        (call("api.openai.com/v1/responses", input="x", tools=[{"type": "file_search"}]), True),
        (call("api.openai.com/v1/responses", prompt={"id": "p"}), True),
        (call("api.openai.com/v1/responses", prompt={"id": "p", "version": "1"}), False),
        (call("api.openai.com/v1/images/generations", prompt="x", model="dall-e-3"), True),
        (call("api.openai.com/v1/images/generations", prompt="x", model="gpt-image-1"), False),
        (
            call("api.anthropic.com/v1/messages", max_tokens=1, messages=[], tools=[{"type": "web_search_20250305"}]),
            True,
        ),
        (call("x.amazonaws.com/guardrail/g/version/DRAFT/apply", content=[]), True),
        (call("x.amazonaws.com/guardrail/g/version/1/apply", content=[]), False),
    ],
)
def test_what_may_be_answered_otherwise_tomorrow_is_live(asked: base.Call, live: bool) -> None:
    assert asked.live is live


def test_the_body_is_searched_when_an_answer_is_kept_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[Body] = []

    def is_live(body: Body) -> Any:
        searched.append(body)
        return False

    monkeypatch.setattr(base, "is_live", is_live)
    asked = chat()
    assert not searched
    assert not asked.live
    assert not asked.live
    assert searched == [asked.body]

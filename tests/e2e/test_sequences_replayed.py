"""The n-th identical request of a run gets the n-th recorded answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness import Client, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

OPENAI = "https://api.openai.com/v1/chat/completions"
StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]


def chat(**members: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [], **members}).encode()


@pytest.fixture
def play(providers: FakeProviders, start: StartProxy, client_of: ClientOf) -> Callable[..., list[str]]:
    """Runs a proxy in a mode and asks once for each body; what came back, `424` for a refusal."""

    def answer(request: Request) -> Reply:
        text = str(len(providers.calls))
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return Reply([json.dumps({"choices": [choice]}).encode()])

    providers.answer = answer

    def play(mode: str, *bodies: bytes, options: tuple[str, ...] = ()) -> list[str]:
        proxy = start(f"ai_cache_mode={mode}", *options)
        client = client_of(proxy)
        got = [client.request(OPENAI, body) for body in bodies]
        client.close()
        proxy.stop()
        return [
            json.loads(one.body)["choices"][0]["message"]["content"] if one.status == 200 else str(one.status)
            for one in got
        ]

    return play


A, B = chat(), chat(seed=1)


@pytest.mark.parametrize(("repeat", "after"), [("last", ["3", "3"]), ("first", ["1", "1"]), ("error", ["424", "424"])])
@pytest.mark.thorough
def test_a_replay_gives_the_nth_answer_in_any_order_across_keys(
    repeat: str, after: list[str], play: Callable[..., list[str]]
) -> None:
    assert play("record", A, B, A) == ["1", "2", "3"]
    option = f"ai_cache_repeat={repeat}"
    assert play("replay", B, A, A, A, A, options=(option,)) == ["2", "1", "3", *after]
    assert play("replay", A, A, B, options=(option,)) == ["1", "3", "2"]


@pytest.mark.slow
def test_a_recording_buys_only_what_is_not_there(play: Callable[..., list[str]]) -> None:
    assert play("record", A, A) == ["1", "2"]
    assert play("record", A, A, A) == ["1", "2", "3"]
    assert play("replay", A, A, A) == ["1", "2", "3"]


@pytest.mark.slow
def test_a_refreshed_sequence_has_only_the_answers_of_its_run(play: Callable[..., list[str]]) -> None:
    assert play("record", A, A, A) == ["1", "2", "3"]
    assert play("refresh", A, A) == ["4", "5"]
    assert play("replay", A, A, A) == ["4", "5", "5"]


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_a_refusal_before_an_answer_is_dropped_unless_retries_are_kept(
    keep: bool, play: Callable[..., list[str]], providers: FakeProviders
) -> None:
    whole = b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}'
    providers.answer = lambda request: Reply([b"{}"], 429) if len(providers.calls) < 3 else Reply([whole])
    options = (f"ai_cache_keep_retries={str(keep).lower()}",)
    assert play("record", A, A, A, options=options) == ["429", "429", "yes"]
    assert play("replay", A, A, options=options) == (["429", "429"] if keep else ["yes", "yes"])

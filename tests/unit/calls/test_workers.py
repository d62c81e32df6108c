"""What a worker says of a long body is what the event loop would have said of it; what it cannot say is not stored."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from decimal import Decimal
from typing import Any

import pytest

from mitmproxy_ai_cache.calls import workers
from mitmproxy_ai_cache.calls.exchange import Exchange
from mitmproxy_ai_cache.calls.storing import judge
from mitmproxy_ai_cache.calls.workers import TOO_SLOW
from mitmproxy_ai_cache.cassettes import leaks
from mitmproxy_ai_cache.configuration.settings import Settings
from mitmproxy_ai_cache.counts.counted import CountedCache
from mitmproxy_ai_cache.explain import Miss, Recorded
from mitmproxy_ai_cache.identity.canonical import parse_path
from mitmproxy_ai_cache.identity.isolation import Isolation
from mitmproxy_ai_cache.identity.key import Alias, KeyRules, Normalize, fingerprint
from mitmproxy_ai_cache.identity.profiles import PROFILES
from mitmproxy_ai_cache.protocols.base import Ending
from mitmproxy_ai_cache.redact import Pattern, credentials_of, parse_pattern
from mitmproxy_ai_cache.redact.entries import hidden
from mitmproxy_ai_cache.stores.memory import MemoryStore
from mitmproxy_ai_cache.wire.messages import Headers, Request
from mitmproxy_ai_cache.wire.regex_cost import is_cheap

SECRET = "sk-proj-" + "aB3dE5fG7hJ9" * 4
HOST = "api.openai.com"
CATASTROPHE = "(a+)+$"


def chat(*texts: str, **more: Any) -> bytes:
    messages = [{"role": "user", "content": text} for text in texts]
    return json.dumps({"model": "gpt-4o", "messages": messages, **more}).encode()


def post(body: bytes | None, path: str = "/v1/chat/completions", content_type: str = "application/json") -> Request:
    fields = [("host", HOST), ("content-type", content_type), ("authorization", f"Bearer {SECRET}")]
    return Request("POST", "https", HOST, 443, path, "a=1", Headers(fields), body, authority=HOST)


FORM = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x--\r\n'
REQUESTS = {
    "a chat": post(chat("Hello", "World")),
    "a secret": post(chat(f"my key is {SECRET}")),
    "a long chat": post(chat("x" * 400_000, temperature=0.5, n=2)),
    "exact numbers": post(chat("x", seed=10**30, temperature=0.10, stream_options={"include_usage": True})),
    "no AI call": post(b"a=b", "/anything"),
    "no JSON": post(b"\xff" * 1000),
    "duplicate members": post(b'{"messages": [], "messages": []}'),
    "an unseen body": post(None),
    "no body": post(b""),
    "surrogates": post(chat("x"), "/v1/\udc80/chat/completions"),
    "a form": post(FORM, "/v1/audio/transcriptions", "multipart/form-data; boundary=x"),
    "a hosted tool": post(json.dumps({"model": "m", "input": "x", "tools": [{"type": "web_search"}]}).encode(),
                          "/v1/responses"),
}  # fmt: skip
SETTINGS = {
    "cache": Settings(),
    "record": Settings(mode="record", store="cassettes:x", redact=(parse_pattern("word=Wor[a-z]{2}"),)),
    "replay": Settings(mode="replay", namespace="n"),
    "rules": Settings(
        key_rules=KeyRules(
            headers=("x-a",),
            ignore=(parse_path("messages[*].name"),),
            normalize=(Normalize.parse("Wor..=N"),),
            aliases=(Alias.parse("*.openai.com=azure"),),
            profiles=PROFILES,
            secret=b"\x00secret",
        )
    ),
}


def with_cache[T](settings: Settings, work: Any) -> Any:
    async def main() -> Any:
        cache = CountedCache(settings, MemoryStore("memory:", 1 << 30), Isolation("none"))
        try:
            return await work(cache)
        finally:
            await cache.close()

    return asyncio.run(main())


@pytest.mark.parametrize("mode", SETTINGS)
@pytest.mark.thorough
def test_a_worker_reads_what_the_event_loop_reads(mode: str) -> None:
    settings = SETTINGS[mode]

    async def compare(cache: CountedCache) -> None:
        for name, sent in REQUESTS.items():
            expected = cache.identifier.read(sent)
            found = await cache.off_loop.read(sent, (b"none",))
            assert (found.request, found.redacted, found.kind) == (expected.request, expected.redacted, expected.kind)
            assert (found.call is None) == (expected.call is None), name
            if found.call is None or expected.call is None:
                continue
            for field in ("model", "stream", "host", "path", "bypass", "live"):
                assert getattr(found.call, field) == getattr(expected.call, field), name
            assert found.call.protocol is expected.call.protocol
            assert found.call.body.raw == expected.call.body.raw
            for member in ("n", "stream_options", "temperature", "previous_response_id"):
                exact = expected.call.body.object.get(member)
                assert found.call.body.object.get(member) == (float(exact) if isinstance(exact, Decimal) else exact)
            if expected.kind in ("json", "multipart", "raw"):
                scope = (b"none", settings.namespace.encode())
                assert found.key == fingerprint(expected.call, expected.request, scope, settings.key_rules), name
                assert found.key == cache.identifier.identify(expected.request, expected.call, (b"none",)).key, name

    with_cache(settings, compare)


@pytest.mark.thorough
def test_a_worker_judges_and_redacts_as_the_event_loop_does() -> None:
    settings = SETTINGS["record"]
    answer = json.dumps({
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": f"{SECRET} World"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }).encode()  # fmt: skip

    async def compare(cache: CountedCache) -> None:
        call = cache.identifier.read(REQUESTS["a chat"]).call
        assert call is not None
        headers = Headers([("content-type", "application/json"), ("x-other", SECRET)])
        for body, ending in ((answer, Ending.CLEAN), (answer[:-9], Ending.ABORTED), (b"", Ending.CLEAN)):
            expected = judge(call, 200, headers, body, ending, settings.max_body)
            assert await cache.off_loop.judge(call, 200, headers, body, ending) == expected
        entry = _entry(REQUESTS["a chat"], answer)
        patterns = credentials_of(REQUESTS["a chat"])
        found = await cache.off_loop.without_secrets(entry, patterns)
        assert found == hidden(entry, (*settings.redact, *patterns))
        assert SECRET.encode() not in found.body

    with_cache(settings, compare)


def _entry(request: Request, body: bytes = b"{}") -> Any:
    from mitmproxy_ai_cache.entries.entry import Entry

    return Entry("a" * 64, 1.0, 0, 200, (("x-other", SECRET),), "json", body, request=request.body or b"",
                 request_headers=(("content-type", "application/json"),), protocol="openai-chat", model="gpt-4o",
                 url=request.url)  # fmt: skip


@pytest.mark.thorough
def test_a_worker_writes_the_cassette_that_a_thread_writes() -> None:
    long = "\n".join(json.dumps({"line": number, "text": "x\u00e9"}) for number in range(20_000))

    async def compare(cache: CountedCache) -> None:
        for entry in (_entry(post(chat(long)), chat(long)), _entry(post(b"\xff" * workers.LARGE))):
            assert await asyncio.to_thread(cache.off_loop.compose, entry) == leaks.compose(entry)
        assert cache.pool.pids

    with_cache(SETTINGS["record"], compare)


@pytest.mark.thorough
def test_a_worker_explains_as_a_thread_does_and_remembers_what_it_was_given() -> None:
    settings = SETTINGS["replay"]
    lines = "\n".join(f'{{"line": {number}}}' for number in range(30_000))
    recorded, sent = post(chat("Be brief.", lines)), post(chat("Be long.", lines))

    async def compare(cache: CountedCache) -> None:
        call = cache.identifier.read(sent).call
        miss = Miss(sent, call, "n", "b" * 64, "no-entry")
        recordings = cache.off_loop.recordings([_entry(recorded)])
        expected = Recorded([_entry(recorded)], cache.identifier).explain(miss)
        assert expected.differences
        assert await recordings.explain(miss) == expected
        assert recordings._pool is not None  # it was long, so a worker did it
        (first,) = recordings._pool.pids
        assert await recordings.explain(miss) == expected
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ProcessLookupError):
            while True:
                _reap(first)
        assert await recordings.explain(miss) == expected  # by another, which is told everything anew

    with_cache(settings, compare)


def _reap(pid: int) -> None:
    os.kill(pid, 0)
    if _state(pid) == "Z":
        raise ProcessLookupError
    time.sleep(0.01)


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


async def _begin(cache: CountedCache, body: bytes) -> Exchange:
    return await cache.begin(Exchange(post(body)))


@pytest.mark.thorough
@pytest.mark.parametrize(("mode", "settings"), [
    ("redact", {"redact": (Pattern("slow", re.compile(CATASTROPHE.encode())),), "mode": "record"}),
    ("normalize", {"key_rules": KeyRules(normalize=(Normalize(re.compile(CATASTROPHE), "x"),))}),
])  # fmt: skip
def test_a_users_slow_pattern_is_stopped_and_named_once_and_its_call_passes_uncached(
    mode: str, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(cache: CountedCache) -> None:
        bad = chat("a" * 60 + "!")
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        beside = asyncio.create_task(tick())
        for _ in range(2):
            exchange = await _begin(cache, bad)
            assert (exchange.status, exchange.reason, exchange.key) == ("BYPASS", TOO_SLOW, "")
        beside.cancel()
        assert ticks > 50  # the loop went on all the while
        assert (await _begin(cache, chat("bbb"))).status == "MISS"  # the pattern does no harm to others
        said = [record.getMessage() for record in caplog.records if f"ai_cache_{mode}" in record.getMessage()]
        assert len(said) == 1
        assert CATASTROPHE in said[0]

    with_cache(Settings(**settings), ask)


@pytest.mark.thorough
def test_a_strict_replay_refuses_what_a_slow_pattern_keeps_from_being_read() -> None:
    settings = Settings(mode="replay", redact=(Pattern("slow", re.compile(CATASTROPHE.encode())),))

    async def ask(cache: CountedCache) -> None:
        exchange = await _begin(cache, chat("a" * 60 + "!"))
        assert exchange.response is not None
        assert exchange.response.status >= 400
        assert TOO_SLOW.encode() in exchange.response.body

    with_cache(settings, ask)


@pytest.mark.thorough
def test_a_worker_that_dies_fails_its_call_and_the_next_call_gets_another() -> None:
    async def ask(cache: CountedCache) -> None:
        long = chat("x" * workers.LARGE)
        assert (await _begin(cache, long)).status == "MISS"
        (first,) = cache.pool.pids
        os.kill(first, signal.SIGSTOP)
        waiting = asyncio.create_task(_begin(cache, chat("y" * workers.LARGE)))
        while not cache.pool._busy:
            await asyncio.sleep(0.001)
        os.kill(first, signal.SIGKILL)
        failed = await waiting
        assert (failed.status, failed.reason) == ("BYPASS", workers.DIED)
        again = await _begin(cache, chat("z" * workers.LARGE))
        assert again.status == "MISS"
        assert first not in cache.pool.pids

    with_cache(Settings(), ask)


@pytest.mark.thorough
def test_no_worker_is_started_for_ordinary_calls_and_none_is_left_at_the_end() -> None:
    pids: list[int] = []

    async def ask(cache: CountedCache) -> None:
        await _begin(cache, chat("x" * (workers.LARGE // 2)))
        assert not cache.pool.pids
        await _begin(cache, chat("x" * workers.LARGE))
        pids.extend(cache.pool.pids)

    with_cache(Settings(), ask)
    assert len(pids) == 1
    assert not os.path.exists(f"/proc/{pids[0]}")


@pytest.mark.thorough
def test_a_worker_ends_when_its_proxy_is_killed() -> None:
    code = """
import asyncio, sys
from mitmproxy_ai_cache.calls.workers.pool import Pool
async def main():
    pool = Pool()
    try: await pool.do({"job": "none"}, [])
    except Exception: pass
    print(*pool.pids, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert _state(pid) in "SR"
    process.kill()
    process.wait()
    ends = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}") and _state(pid) != "Z":
        assert time.monotonic() < ends, "the worker outlived its proxy"
        time.sleep(0.01)


@pytest.mark.parametrize("pattern", [
    "EMP-[0-9]{6}", r"run-\d+", "secret", "[a-z]{3,8}-x", "(?:alpha|beta)-[0-9]{1,4}", r"\bID[0-9]+",
    r"\d{4}-\d\d-\d\d", "[0-9]{6}-[0-9]{6}-[0-9]{6}",
])  # fmt: skip
def test_a_pattern_whose_time_is_bounded_runs_on_the_event_loop(pattern: str) -> None:
    assert is_cheap(re.compile(pattern))
    assert is_cheap(re.compile(pattern.encode()))


@pytest.mark.parametrize("pattern", [
    CATASTROPHE, "(a|a)*b", "(a|aa)+$", r"\d+x", "(x+x+)+y", ".*secret", r"(\w)\1", "(?=a+)b", "[a-z]*", "a+?b",
    "([a-z]{1,60}){1,60}!", r"^(\s*\S+\s*)+$", "a{0,500}b", "(?:a?){30}a{30}",
])  # fmt: skip
def test_a_pattern_that_may_take_for_ever_does_not(pattern: str) -> None:
    assert not is_cheap(re.compile(pattern))

"""The status page of a real mitmdump, in a real browser."""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browser import Browser, chromium, needs_browser
from corpus.recorded import Recorded, exchanges, needs_corpus
from harness import Client, FakeProviders, Process
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = [needs_browser, pytest.mark.thorough]

StartProxy = Callable[..., Process]
ClientOf = Callable[[Process], Client]

OPENAI = "https://api.openai.com/v1/chat/completions"
PAGE = re.compile(r"status page on (http://\S+/)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go."""
    return Path(os.environ.get("AI_CACHE_SCREENSHOTS") or tmp_path / "screenshots")


def page_of(proxy: Process) -> str:
    return proxy.wait_for(PAGE)[1].rstrip("/")


def chat(text: str, **members: object) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **members}).encode()


def answers(providers: FakeProviders, content: str = "an answer", model: str = "gpt-4o") -> None:
    message = {"role": "assistant", "content": content}
    body = {
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }
    providers.answer = lambda request: Reply([json.dumps(body).encode()])


def mixed(count: int) -> list[Recorded]:
    """Answered calls of the corpus, each protocol in its turn."""
    by_protocol: dict[str, list[Recorded]] = {}
    asked: set[tuple[str, bytes]] = set()
    for one in exchanges():
        plain = one.url.startswith("https://") and ":" not in one.url[8:].partition("/")[0]
        new = (one.url, one.request_body) not in asked and len(one.request_body) < 200_000
        if plain and new and one.status == 200 and one.method == "POST" and one.call is not None:
            asked.add((one.url, one.request_body))
            by_protocol.setdefault(one.protocol, []).append(one)
    chosen: list[Recorded] = []
    while len(chosen) < count:
        chosen += [group.pop(len(group) // 2) for group in by_protocol.values() if group]
    return chosen[:count]


@pytest.mark.slow
@needs_corpus
def test_from_the_overview_to_an_entry_to_the_explanation_of_its_miss_to_its_purge(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, browser: Browser, pictures: Path
) -> None:
    chosen = mixed(90)
    recorded = {one.request_body: one for one in chosen}

    def answer(request: Request) -> Reply:
        one = recorded.get(request.body or b"")
        if one is None:
            return Reply([json.dumps({"error": {"message": "Rate limit reached"}}).encode()], status=429)
        kept = [(name, value) for name, value in one.response_headers if name.lower() == "content-type"]
        return Reply([one.response_body], headers=kept)

    providers.answer = answer
    proxy = start("ai_cache_dashboard=127.0.0.1:0")
    page, client = page_of(proxy), client_of(proxy)
    browser.dark(False)
    browser.open(page)
    assert "No AI call has come yet" in browser.text

    def ask(one: Recorded, body: bytes) -> str:
        return client.request(one.url, body, dict(one.request_headers)).cache

    first = [ask(one, one.request_body) for one in chosen]
    again = [ask(one, one.request_body) for one in chosen]
    hits = again.count("HIT")
    assert hits > 70
    for number in range(18):
        assert client.request(OPENAI, chat(f"this is refused {number}")).status == 429
    answers(providers)
    client.request(OPENAI, chat("What is the weather in Paris on 2026-11-21? Please be brief.", temperature=0))
    client.request(OPENAI, chat("What is the weather in Paris on 2026-11-22? Please be brief.", temperature=0))
    assert len(first) + len(again) + 20 == 200

    browser.one("tr.misses")  # the list has followed by itself
    browser.open(page)
    assert "200\n" in browser.text
    for name, width, dark in (
        ("light", 1280, False),
        ("dark", 1280, True),
        ("narrow", 400, False),
        ("wide", 1600, False),
    ):
        browser.width(width)
        browser.dark(dark)
        browser.picture(pictures / f"overview-{name}.png")
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
    browser.width(1280)

    browser.follow("tr.misses a.key")
    assert browser.path.startswith("/entries/")
    assert "2026-11-22" in browser.text
    assert "an answer" in browser.text
    browser.picture(pictures / "entry-light.png")
    browser.dark(True)
    browser.picture(pictures / "entry-dark.png")
    browser.dark(False)

    browser.follow("tr.misses .badge")
    assert browser.path.startswith("/calls/")
    assert "messages[0].content" in browser.text
    assert "2026-11-21" in browser.one(".was").text
    assert "ai_cache_normalize" in browser.text
    browser.picture(pictures / "miss-light.png")
    browser.width(400)
    browser.picture(pictures / "miss-narrow.png")
    browser.width(1280)

    browser.follow("a[href^='/purge?what=model']")
    assert "gpt-4o" in browser.text
    browser.picture(pictures / "purge-light.png")
    before = int(browser.run("return document.querySelectorAll('tbody tr').length"))
    assert before >= 2
    browser.follow("form[method=post] button")
    assert "removed." in browser.text
    assert (
        client.request(
            OPENAI, chat("What is the weather in Paris on 2026-11-22? Please be brief.", temperature=0)
        ).cache
        == "MISS"
    )

    browser.open(page + "/entries")
    browser.picture(pictures / "entries-light.png")
    for one in [one for one in chosen if "anthropic" in one.protocol or "gemini" in one.protocol][:4]:
        key = client.request(one.url, one.request_body, dict(one.request_headers)).headers["x-ai-cache-key"]
        browser.open(f"{page}/entries/{key}")
        browser.picture(pictures / f"entry-{one.protocol}-{one.id[:8]}.png")
    assert browser.complaints() == []


HOSTILE = (
    "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
    "</textarea></pre><svg onload=\"document.title='ran'\"> {{ 7 * 7 }} {% raw %} "
    "\x1b[31mred \x00nul \u202eesrever\u202c \u2066x\u2069 &lt;b&gt; javascript:alert(1)"
)


def test_hostile_content_is_text_and_no_script_runs(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, browser: Browser, pictures: Path
) -> None:
    answers(providers, HOSTILE, "<script>document.title='ran'</script>")
    proxy = start("ai_cache_dashboard=127.0.0.1:0")
    page, client = page_of(proxy), client_of(proxy)
    tools = [{"type": "function", "function": {"name": HOSTILE, "description": HOSTILE, "parameters": {"a": HOSTILE}}}]
    picture = {
        "type": "image_url",
        "image_url": {
            "url": "data:image/svg+xml;base64," + base64.b64encode(b"<svg onload='document.title=1'/>").decode()
        },
    }
    called = {"name": HOSTILE, "arguments": HOSTILE}
    body = {
        "model": "gpt-4o\x1b[31m<script>document.title='ran'</script>\u202e",
        "messages": [
            {"role": "<script>x</script>", "content": HOSTILE},
            {"role": "user", "content": [{"type": "text", "text": HOSTILE}, picture]},
            {"role": "assistant", "tool_calls": [{"id": HOSTILE, "type": "function", "function": called}]},
            {"role": "tool", "tool_call_id": HOSTILE, "content": HOSTILE},
        ],
        "tools": tools,
        "user": HOSTILE,
    }  # fmt: skip
    headers = {"X-AI-Cache-Namespace": "<script>document.title='ran'</script>"}
    got = client.request(OPENAI, json.dumps(body).encode(), headers)
    body["messages"][0]["content"] += "!"  # type: ignore[index]
    client.request(OPENAI, json.dumps(body).encode(), headers)
    key = got.headers["x-ai-cache-key"]
    paths = ["/", "/entries", "/entries?text=%3Cscript%3Edocument.title%3D1%3C/script%3E", f"/entries/{key}"]
    paths += [
        f"/entries/{key}?view=raw",
        "/calls/1",
        "/calls/2",
        "/purge?what=model&value=*script*",
        "/purge?done=<script>1</script>",
    ]
    browser.complaints()
    for path in paths:
        browser.open(page + path)
        assert browser.run("return document.title") != "ran", path
        scripts = browser.run("return [...document.scripts].map(script => script.getAttribute('src'))")
        assert scripts == ["/live.js"], path
        text = browser.run("return document.documentElement.outerHTML")
        assert not set(text) & set("\x00\x1b\u202e\u2066"), path
    browser.open(f"{page}/entries/{key}")
    assert "<script>document.title='ran'</script>" in browser.text
    assert "{{ 7 * 7 }}" in browser.text
    assert "\\x1b[31mred \\x00nul \\u202eesrever" in browser.text
    browser.picture(pictures / "hostile.png")
    assert browser.complaints() == []


def test_an_answer_of_five_megabytes_is_cut_and_its_whole_is_a_link_away(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, browser: Browser
) -> None:
    answers(providers, "<b>word</b> " * 420_000)
    proxy = start("ai_cache_dashboard=127.0.0.1:0")
    page, client = page_of(proxy), client_of(proxy)
    got = client.request(OPENAI, chat("much"))
    assert len(got.body) > 5_000_000
    client.request(OPENAI, chat("much"))  # it is kept now
    key = got.headers["x-ai-cache-key"]
    for view in ("", "?view=raw"):
        browser.open(f"{page}/entries/{key}{view}")
        assert len(browser.run("return document.documentElement.outerHTML")) < 500_000
        assert "more characters" in browser.text or "The whole of it" in browser.text
    with urllib.request.urlopen(f"{page}/entries/{key}/answer") as whole:
        assert whole.read() == got.body
        assert whole.headers["content-disposition"].startswith("attachment")
        assert whole.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_page_works_by_the_keyboard_alone(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, browser: Browser
) -> None:
    answers(providers)
    proxy = start("ai_cache_dashboard=127.0.0.1:0")
    page, client = page_of(proxy), client_of(proxy)
    for number in range(3):
        client.request(OPENAI, chat(f"question {number}"))
    browser.open(page)
    browser.press("\ue004")  # Tab
    assert browser.run("return document.activeElement.className") == "skip"
    browser.press("j")
    browser.press("j")
    assert browser.run("return document.activeElement.getAttribute('href')") == "/calls/2"
    browser.press("k")
    assert browser.run("return document.activeElement.getAttribute('href')") == "/calls/3"
    browser.leave(lambda: browser.press("\ue007"))  # Enter
    assert browser.path == "/calls/3"
    browser.leave(lambda: browser.press("/"))
    assert browser.path == "/entries"
    browser.press("/")
    browser.press("question 1")
    browser.leave(lambda: browser.press("\ue007"))
    assert browser.run("return document.querySelectorAll('tbody tr').length") == 1


def test_the_page_is_at_the_magic_host_through_the_proxy(
    providers: FakeProviders, start: StartProxy, client_of: ClientOf, tmp_path: Path
) -> None:
    answers(providers)
    proxy = start()
    client = client_of(proxy)
    client.request(OPENAI, chat("hello"))
    with chromium(tmp_path / "chromium", proxy.url) as browser:
        browser.open("http://ai-cache.internal/")
        assert "gpt-4o" in browser.text
        browser.follow("a.key")
        assert "hello" in browser.text
        browser.click("section.danger summary")
        browser.follow("button.danger")  # a form that is sent without Sec-Fetch-Site: the name has no TLS
        assert "was removed" in browser.text
        assert browser.complaints() == []
    assert client.request(OPENAI, chat("hello")).cache == "MISS"

"""The status page as a function: a visit in, a response out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.calls.exchange import Answered, Exchange
from mitmproxy_ai_cache.calls.reasons import Status
from mitmproxy_ai_cache.counts.recent_calls import SHOWN, STEP, Recent
from mitmproxy_ai_cache.dashboard import browsing, rendering, shown
from mitmproxy_ai_cache.dashboard.chart import HEIGHT, WIDTH, chart
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.wire.messages import Request
from status_page import Page


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.loop.close()


# What is shown


def test_the_totals_are_those_of_the_exit_summary(page: Page) -> None:
    for text in ("one", "two", "one"):
        page.call(text)
    assert page.cache is not None
    saved = page.cache.stats.totals().saved
    text = page.text("/")
    assert saved.tokens == 15
    assert re.search(r"<h2>Tokens saved</h2>\s*<p class=\"value\">15</p>", text)
    assert re.search(r"<h2>Calls</h2>\s*<p class=\"value\">3</p>\s*<p class=\"note\">2 stored", text)
    assert "1 of 3 looked up" in text


def test_the_live_part_is_sent_only_where_there_is_something_new(page: Page) -> None:
    page.call("one")
    version = re.search(r'data-version="([^"]+)"', page.text("/live"))
    assert version is not None
    assert page.get(f"/live?have={version[1]}").status == 204
    page.call("two")
    assert page.get(f"/live?have={version[1]}").status == 200


def test_an_entry_is_shown_as_a_conversation_with_the_way_to_ask_again(page: Page) -> None:
    key = page.call("what is it?", "it is that").key
    text = page.text(f"/entries/{key[:12]}")
    for shown_text in ("what is it?", "it is that", "11 in, 4 out", "curl ", "$OPENAI_API_KEY"):
        assert shown_text in text
    assert "sk-of-somebody" not in text
    assert '"what is it?"' in page.text(f"/entries/{key}?view=raw")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 2),
        ("text=banana", 1),
        ("text=nowhere", 0),
        ("model=gpt", 2),
        ("model=gpt-4o", 2),
        ("model=claude*", 0),
        ("host=openai", 2),
        ("host=*.openai.com&text=apple", 1),
        ("newer=1h", 2),
        ("older=1h", 0),
        ("run=nothing", 0),
    ],
)
def test_entries_are_found(page: Page, query: str, found: int) -> None:
    page.call("banana")
    page.call("apple")
    assert page.text(f"/entries?{query}").count("data-row") == found


def test_an_entry_is_found_by_the_beginning_of_its_key(page: Page) -> None:
    key = page.call("one").key
    page.call("two")
    assert page.text(f"/entries?text={key[:12]}").count("data-row") == 1


def test_a_wrong_age_is_one_line_that_says_what_to_write(page: Page) -> None:
    assert "write for example 250ms, 1h or 7d" in page.text("/entries?newer=soon")


def test_entries_are_paged_and_each_is_on_one_page(page: Page) -> None:
    for number in range(120):
        page.call(f"question {number}")
    seen: list[str] = []
    path = "/entries?model=gpt"
    while path:
        text = page.text(path)
        seen += re.findall(r'href="/entries/([0-9a-f]{64})" data-row', text)
        link = re.search(r'href="(/entries\?[^"]+)" rel="next"', text)
        path = link[1] if link else ""
    assert len(seen) == len(set(seen)) == 120


def test_a_miss_is_explained_by_what_was_stored_when_it_came(page: Page) -> None:
    page.call("the weather on 2026-11-21")
    page.call("the weather on 2026-11-22")
    text = page.text("/calls/2")
    assert "messages[0].content" in text
    assert "[2026-11-21]" in text
    assert "ai_cache_normalize" in text
    assert "Nothing was stored when this call came" in page.text("/calls/1")


def test_what_is_remembered_of_a_request_is_without_its_credentials(page: Page) -> None:
    page.call("one")
    assert page.cache is not None
    asked = page.cache.stats.recent.missed_request(1)
    assert asked is not None
    assert "sk-of-somebody" not in repr(asked)
    assert "sk-of-somebody" not in page.text("/calls/1")


@pytest.mark.thorough
def test_requests_are_remembered_within_bounds(page: Page) -> None:
    page.call("x" * (1 << 20))
    assert page.cache is not None
    recent = page.cache.stats.recent
    assert recent.missed_request(1) is None
    for number in range(40):
        page.call(f"{number}" + "y" * 1_000_000)
    assert recent.missed_request(41) is not None
    assert recent.missed_request(2) is None
    assert recent._missed.size <= 32 << 20
    for number in range(SHOWN):
        page.call(str(number))
    assert len(recent.calls) == len(recent._missed) == SHOWN
    assert recent._missed.size == sum(len(asked.request.body or b"") for _, asked in recent._missed.items())


def test_counts_over_time_hold_every_call() -> None:
    recent = Recent()
    now = time.time()
    for status in Status:
        recent.add(Exchange(Request("POST", "https", "h", 443, "/"), answered=Answered(status)))
    for steps, width in ((60, 1), (60, 6)):
        counts = recent.over_time(now + 1, steps, width)
        assert len(counts) == steps
        assert [sum(getattr(count, name) for count in counts) for name in ("hits", "misses", "others")] == [2, 2, 2]
    assert sum(count.hits for count in recent.over_time(now + 10_000, 60, 1)) == 0


@given(st.lists(st.tuples(*[st.integers(0, 100_000)] * 3), min_size=60, max_size=60))
def test_no_bar_leaves_the_chart(numbers: list[tuple[int, int, int]]) -> None:
    counts = Recent().over_time(1_000_000, 60, 1)
    for count, three in zip(counts, numbers, strict=True):
        count.hits, count.misses, count.others = three
    for bar in chart(counts, 1).bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert all(part.y >= -3 and part.y + part.height <= HEIGHT + 0.1 for part in bar.parts)


def test_a_step_is_a_whole_part_of_a_minute() -> None:
    assert 60 % STEP == 0


# Hostile content


@given(st.text())
def test_no_text_gets_out_of_its_place(text: str) -> None:
    html = rendering.page("problem.html", {"status": 1, "line": text, "product": "", "mode": "", "access": ""}).body
    shown_text = html.decode().partition("<h1>")[2].partition("</h1>")[0]
    assert "<" not in shown_text
    assert ">" not in shown_text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown_text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("zwei\nZeilen\tund Tab", "zwei\nZeilen\tund Tab"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\x00b", "a\\x00b"),
        ("\u202eesrever", "\\u202eesrever"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("half \ud800", "half \\ud800"),
        ("क्\u200dष 👩\u200d💻 שלום", "क्\u200dष 👩\u200d💻 שלום"),
    ],
)
def test_what_is_not_seen_is_spelled_out(text: str, seen: str) -> None:
    assert rendering.visible(text) == seen


def test_every_page_has_the_policy_and_no_code_of_its_own(page: Page) -> None:
    key = page.call("<script>alert(1)</script>").key
    paths = ["/", "/live", "/entries", f"/entries/{key}", f"/entries/{key}?view=raw", "/calls/1", "/purge", "/nowhere"]
    for path in [*paths, f"/entries/{key}/answer", "/metrics", "/style.css"]:
        response = page.get(path)
        policy = response.headers.get("content-security-policy")
        assert policy.startswith("default-src 'none'"), path
        assert "unsafe" not in policy, path
        assert response.headers.get("x-content-type-options") == "nosniff", path
        assert response.headers.get("cache-control") == "no-store", path
        assert response.headers.get("referrer-policy") == "same-origin", path
        text = response.body.decode()
        if "html" in response.headers.get("content-type"):
            assert "<script>" not in text, path
            assert not re.search(r"<[^>]+\s(?:on\w+|style)=", text), path


def entry(**members: Any) -> Entry:
    given = {"key": "ab" * 32, "created": 0.0, "ttl": 0, "status": 200, "headers": (), "format": "json", "body": b"{}"}
    return Entry(**given | {"url": "https://api.openai.com/v1/x", "request": b"{}"} | members)


def test_a_body_is_downloaded_as_text_that_nothing_renders() -> None:
    response = shown.download(entry(body=b"<script>1</script>\x00\xff"), "answer")
    assert response.body == b"<script>1</script>\x00\xff"
    assert response.headers.get("content-type") == "text/plain; charset=utf-8"
    assert response.headers.get("content-disposition") == 'attachment; filename="abababababababab-answer.txt"'
    assert "sandbox" in response.headers.get("content-security-policy")


def test_a_command_that_is_too_long_for_a_page_is_named() -> None:
    assert "ai-cache show abababababab --curl" in shown.curl(entry(request=b"x" * 20_000))
    assert shown.curl(entry(url="https://user@evil.example\\@api.openai.com/")) == ""


def test_the_list_names_the_question_of_an_agent_and_the_size_of_what_is_larger() -> None:
    def asked(size: int) -> str:
        said = [{"role": "user", "content": text} for text in ("x" * size, "And now?")]
        request = json.dumps({"model": "m", "messages": said}).encode()
        entry = Entry("k", 1.0, 60, 200, (), "json", b"{}", request=request, protocol="openai-chat")
        return browsing.listed(entry).asked

    assert asked(200_000) == "And now?"
    assert asked(2_000_000) == "(a request of 2.0 MB)"


@pytest.mark.thorough
def test_five_megabytes_are_cut_with_a_link_to_the_whole(page: Page) -> None:
    key = page.call("much", "word " * 1_000_000).key
    for view in ("", "?view=raw"):
        response = page.get(f"/entries/{key}{view}")
        assert len(response.body) < 200_000
    assert f'href="/entries/{key}/answer"' in page.text(f"/entries/{key}?view=raw")
    assert len(page.get(f"/entries/{key}/answer").body) > 5_000_000


@given(st.text(max_size=60))
def test_any_path_gets_an_answer(path: str) -> None:
    page = ANY[0] if ANY else Page()
    ANY[:] = [page]
    assert page.get("/" + path).status in (200, 204, 400, 403, 404)


ANY: list[Page] = []


# Secrets


def test_no_page_shows_a_secret_that_is_found(page: Page) -> None:
    """A cache keeps what was sent; its page is looked at by others."""
    secret = "kQ7vT2mZ9w" + "Lr4XcB8nHs3Jd6Fy"
    seen = page.call(f"DB_PASSWORD={secret}", f'{{"apiKey": "{secret}"}}')
    page.call(f"DB_PASSWORD={secret[::-1]} or not")
    paths = ["/", "/entries", f"/entries/{seen.key}", f"/entries/{seen.key}?view=raw", "/calls/1", "/calls/2"]
    for path in (*paths, f"/entries/{seen.key}/request", f"/entries/{seen.key}/answer"):
        body = page.get(path).body.decode()
        assert secret not in body, path
        assert secret[::-1] not in body, path
    assert "REDACTED-password" in page.text(f"/entries/{seen.key}")

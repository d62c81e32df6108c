"""Who may see the status page, and who may change something there."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mitmproxy_ai_cache.configuration.options import OPTIONS
from mitmproxy_ai_cache.configuration.settings import Settings, SettingsError
from mitmproxy_ai_cache.dashboard.purging import meant
from mitmproxy_ai_cache.dashboard.visit import Door, NotShown
from status_page import MAGIC, MAGIC_FROM_AFAR, PORT, Page

SECRET = "a password"


@pytest.fixture
def page_of() -> Iterator[Callable[..., Page]]:
    made: list[Page] = []

    def make(**options: Any) -> Page:
        made.append(Page(**options))
        return made[-1]

    yield make
    for page in made:
        page.loop.close()


@pytest.fixture
def page(page_of: Callable[..., Page]) -> Page:
    return page_of()


# Who may see it


@pytest.mark.parametrize(
    ("door", "host", "status"),
    [
        (PORT, "127.0.0.1:8485", 200),
        (PORT, "localhost:1", 200),
        (PORT, "[::1]:8485", 200),
        (PORT, "evil.example:8485", 421),
        (PORT, "127.0.0.1.evil.example", 421),
        (PORT, "localhost.evil.example", 421),
        (PORT, "192.168.1.7:8485", 421),
        (PORT, "", 421),
        (PORT, "[::1", 421),
        (MAGIC, "ai-cache.internal", 200),
        (MAGIC, "evil.example", 421),
        (Door("0.0.0.0"), "192.168.1.7:8485", 200),
        (Door("0.0.0.0"), "cache-host:8485", 200),
        (Door("0.0.0.0"), "evil.example:8485", 421),
        (Door("cache.example.com"), "cache.example.com", 200),
    ],
)
def test_a_name_that_is_not_ours_gets_no_page(page: Page, door: Door, host: str, status: int) -> None:
    assert page.get("/", door, host=host).status == status


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize("door", [PORT, MAGIC, MAGIC_FROM_AFAR])
@pytest.mark.parametrize("path", ["/", "/live", "/entries", "/metrics", "/purge", "/style.css"])
def test_a_password_is_asked_for_at_every_door(page_of: Callable[..., Page], door: Door, path: str) -> None:
    page = page_of(dashboard_password=SECRET)
    for wrong in ("", "Basic", "Basic !!!", "Bearer x", basic(""), basic(SECRET + "x"), basic(SECRET)[:-3]):
        refused = page.get(path, door, authorization=wrong)
        assert refused.status == 401
        assert refused.headers.get("www-authenticate").startswith("Basic ")
    assert page.get(path, door, authorization=basic(SECRET)).status == 200


@pytest.mark.parametrize(
    ("door", "isolation", "status"),
    [
        (PORT, "none", 200),
        (PORT, "credential", 200),
        (MAGIC, "none", 200),
        (MAGIC, "credential", 403),
        (MAGIC_FROM_AFAR, "none", 403),
    ],
)
def test_entries_are_shown_to_who_may_see_them(
    page_of: Callable[..., Page], door: Door, isolation: str, status: int
) -> None:
    page = page_of(isolation=isolation)
    key = page.call("a question of somebody").key
    for path in ("/entries", f"/entries/{key}", f"/entries/{key}/request", "/calls/1", "/purge?what=all"):
        assert page.get(path, door).status == status, path
    if door is MAGIC_FROM_AFAR:
        assert {page.get(path, door).status for path in ("/", "/live", "/metrics", "/style.css")} == {403}
        return
    overview = page.text("/", door)
    assert ("gpt-4o" in overview) == (status == 200)
    assert "<h2>Tokens saved</h2>" in overview
    assert page.get("/metrics", door).status == 200


def test_where_entries_are_kept_apart_no_request_is_remembered(page_of: Callable[..., Page]) -> None:
    page = page_of(isolation="credential")
    page.call("a question of somebody")
    assert page.cache is not None
    assert page.cache.stats.recent.missed_request(1) is None
    text = page.text("/calls/1")
    assert "a question of somebody" not in text
    assert "requests are not remembered" in text


# Who may change it


def test_a_purge_is_looked_at_and_then_done(page: Page) -> None:
    page.call("one")
    page.call("two")
    assert "Remove these 2 entries" in page.text("/purge?what=model&value=gpt-*")
    assert page.entries() == 2
    done = page.post("/purge", f"what=model&value=gpt-*&token={page.token()}")
    assert done.status == 303
    assert page.entries() == 0
    assert "2 entries were removed." in page.text(done.headers.get("location"))


def test_one_entry_is_deleted_and_the_others_stay(page: Page) -> None:
    key = page.call("one").key
    page.call("two")
    assert page.post(f"/entries/{key}/delete", f"token={page.token()}").status == 303
    assert page.get(f"/entries/{key}").status == 404
    assert page.entries() == 1


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        ("", {}),
        ("wrong", {}),
        ("right", {"sec_fetch_site": "cross-site"}),
        ("right", {"sec_fetch_site": "same-site"}),
        ("right", {"sec_fetch_site": "none"}),
        ("right", {"origin": "null"}),
        ("right", {"origin": "https://evil.example"}),
        ("right", {"origin": "http://127.0.0.1:9999"}),
        ("right", {"origin": "http://127.0.0.1:8485.evil.example"}),
    ],
)
def test_a_form_of_somebody_elses_changes_nothing(page: Page, token: str, headers: dict[str, str]) -> None:
    page.call("one")
    given = page.token() if token == "right" else token
    assert page.post("/purge", f"what=all&token={given}", **headers).status == 403
    assert page.entries() == 1
    same = {"origin": "http://127.0.0.1:8485", "sec_fetch_site": "same-origin"}
    assert page.post("/purge", f"what=all&token={page.token()}", **same).status == 303
    assert page.entries() == 0


@pytest.mark.parametrize("path", ["/purge?what=all&token={}", "/entries/{}/delete"])
def test_a_link_changes_nothing(page: Page, path: str) -> None:
    key = page.call("one").key
    page.get(path.format(key if "entries" in path else page.token()))
    assert page.entries() == 1


@pytest.mark.parametrize("mode", ["replay", "read-only"])
def test_what_is_only_read_is_not_removed_from(page_of: Callable[..., Page], mode: str) -> None:
    page = page_of(mode=mode)
    assert 'name="token"' not in page.text("/purge?what=all")
    refused = page.post("/purge", f"what=all&token={page.site._token}")
    assert refused.status == 403
    assert f"mode {mode}" in refused.body.decode()


@pytest.mark.parametrize("fields", [{"what": "model", "value": " "}, {"what": "host"}, {"what": "x"}])
def test_a_purge_of_nothing_in_particular_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(NotShown):
        meant(fields)


def test_an_empty_namespace_is_that_of_no_name() -> None:
    wanted = meant({"what": "namespace", "value": ""})
    assert wanted is not None
    assert wanted.selection.namespace == ""
    assert wanted.selection.given == ("namespace",)


def test_a_form_that_is_too_long_is_refused(page: Page) -> None:
    assert page.post("/purge", "a" * 100_000).status == 413
    assert page.post("/purge", "&".join(f"a{number}=1" for number in range(100))).status == 400


def test_while_there_is_no_cache_the_page_says_so(page: Page) -> None:
    page.cache = None
    assert page.get("/").status == 503


# Where it is shown


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("", None), ("127.0.0.1:8485", ("127.0.0.1", 8485)), ("localhost:0", ("localhost", 0)), ("[::1]:80", ("::1", 80))],
)
def test_the_address_of_the_page(text: str, parsed: tuple[str, int] | None) -> None:
    assert Settings.parse({"ai_cache_dashboard": text}, {}).dashboard == parsed


@pytest.mark.parametrize("text", ["8485", ":8485", "127.0.0.1:", "127.0.0.1:99999", "localhost:x", "http://a"])
def test_an_address_that_is_none_is_one_line_that_says_what_to_write(text: str) -> None:
    with pytest.raises(SettingsError, match=r"write HOST:PORT, for example 127.0.0.1:8485"):
        Settings.parse({"ai_cache_dashboard": text}, {})


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.1.7", "cache.example.com"])
def test_what_others_can_reach_needs_a_password(host: str) -> None:
    with pytest.raises(SettingsError, match="which others can reach; set AI_CACHE_DASHBOARD_PASSWORD"):
        Settings.parse({"ai_cache_dashboard": f"{host}:8485"}, {})
    settings = Settings.parse({"ai_cache_dashboard": f"{host}:8485", "ai_cache_dashboard_password": SECRET}, {})
    assert settings.dashboard == (host.strip("[]"), 8485)


def test_the_options_are_in_the_table() -> None:
    assert {"ai_cache_dashboard", "ai_cache_dashboard_password"} <= {option.name for option in OPTIONS}

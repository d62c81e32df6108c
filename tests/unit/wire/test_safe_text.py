"""No message quotes a password, however the URL around it is misspelt."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import exceptions

from hypothesis_profile import examples
from mitmproxy_ai_cache.cli import main, outer
from mitmproxy_ai_cache.cli.config import shown_value
from mitmproxy_ai_cache.cli.sources import gather
from mitmproxy_ai_cache.configuration.options import OPTIONS
from mitmproxy_ai_cache.configuration.settings import Settings, SettingsError
from mitmproxy_ai_cache.stores.redis import errors
from mitmproxy_ai_cache.stores.redis.url import parse, shown
from mitmproxy_ai_cache.wire.safe_text import quoted, safe_url, scrubbed
from pytest_ai_cache import address

# Letters that no message of ours has in a row: what is found comes from the password.
PASSWORDS = st.builds(
    lambda parts, mark: mark.join(parts),
    st.lists(st.text("QXZJ739", min_size=4, max_size=8), min_size=1, max_size=3),
    st.sampled_from(["@", "#", "/", "?", " ", ":", "%", "&", "=", ",", "[", "\\", "'", "é", "%40", ""]),
)
SCHEMES = st.sampled_from(
    "redis rediss redis+sentinel redis+cluster unix http https socks5 valkey reddis redsi htp sqlite cassettes".split()
)
SEPARATORS = st.sampled_from(["://", ":/", ":", "//", ":///", "/", "", "::/", ": //", ":\\\\", ";//"])
TAILS = st.sampled_from(["", ":6379", "/0", ":x", ":6379/0", "/service/0", ":99999", "?db=1", "#"])
HOSTS = st.sampled_from(["host", "localhost", "127.0.0.1", "[::1]", "", "/run/sock"])


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A URL with a password, and the password."""
    secret = draw(PASSWORDS)
    written = draw(st.sampled_from([secret, quote(secret), quote(secret, safe="")]))
    at = draw(st.sampled_from(["@", "%40", "@@", " @"]))
    user = draw(st.sampled_from(["", "user"]))
    url = f"{draw(SCHEMES)}{draw(SEPARATORS)}{user}:{written}{at}{draw(HOSTS)}{draw(TAILS)}"
    return draw(st.sampled_from(["", " ", '"'])) + url, secret


def leaks(message: str, secret: str) -> bool:
    return any(part[i : i + 4] in message for part in (secret, quote(secret)) for i in range(len(part) - 3))


def said(url: str) -> list[str]:
    """Every message that a setting or a variable with `url` can come to."""
    found = [safe_url(url), quoted(url), shown(url), address.safe_url(url)]
    for option in OPTIONS:
        if isinstance(option.default, str):
            try:
                Settings.parse({option.name: url})
            except SettingsError as error:
                found.append(str(error))
        elif isinstance(option.default, tuple | list):
            try:
                Settings.parse({option.name: [url]})
            except SettingsError as error:
                found.append(str(error))
        found.append(shown_value(option.name, url))
    for assignment in (f"ai_cache_samples={url}", f"ai_cache_eager={url}", f"ai_cache_stor={url}", f"ai_cache_{url}"):
        try:
            gather(argparse.Namespace(set=[assignment]), {}, Path("/nowhere"))
        except SettingsError as error:
            found.append(str(error))
    try:
        found.append(repr(parse(url, check_files=False)))
    except ValueError as error:
        found.append(str(error))
    try:
        going = outer.proxy({"HTTPS_PROXY": url})
        found.append(going.url if going else "")
    except outer.UnusableProxy as error:
        found.append(str(error))
    try:
        address.host_and_port(url)
    except ValueError as error:
        found.append(str(error))
    return found


@settings(max_examples=examples(400), deadline=None, derandomize=True)
@given(misspelt())
@pytest.mark.thorough
def test_no_message_about_a_setting_quotes_a_password(case: tuple[str, str]) -> None:
    url, secret = case
    assert [message for message in said(url) if leaks(message, secret)] == []


@given(misspelt(), st.sampled_from(["{!r}: no such file", "invalid choice: {!r}", "unrecognized arguments: {}"]))
def test_what_others_say_of_the_command_line_is_scrubbed(case: tuple[str, str], template: str) -> None:
    url, secret = case
    for word in (url, f"--store={url}", f"--set=ai_cache_store={url}", f"ai_cache_store={url}"):
        assert not leaks(scrubbed(template.format(word), [word], {}), secret)
    for name in ("AI_CACHE_URL", "AI_CACHE_STORE", "https_proxy", "HTTPS_PROXY"):
        assert not leaks(scrubbed(template.format(url), [], {name: url}), secret)


@pytest.mark.parametrize(
    "words",
    [
        ["ls", "--store", "redis:/:Zq7Xy9Kk@host"],
        ["config", "--set", "ai_cache_store=rediss//user:Zq7Xy9Kk@host"],
        ["config", "--mode", "redis://:Zq7Xy9Kk@host"],
        ["config", "--set", "ai_cache_hosts=http://u:Zq7Xy9Kk@host"],
        ["config", "--port", "http:/u:Zq7Xy9Kk@host"],
        ["import", "redis://:Zq7Xy9Kk@host/x.har"],
        ["scan", "redis:/:Zq7Xy9Kk@host"],
        ["serve", "--port", "0", "--set", "upstream_auth=Zq7Xy9Kk"],
        ["serve", "--port", "0", "--set", "mode=upstream:http:/u:Zq7Xy9Kk@host"],
        ["serve", "--port", "0", "--set", "redis:/:Zq7Xy9Kk@host"],
        ["ls", "redis://:Zq7 Xy9Kk@host", "extra", "--nonsense=redis:/:Zq7Xy9Kk@host"],
    ],
    ids=lambda words: " ".join(words),
)
def test_no_command_prints_a_password(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["ai-cache", *words])
    monkeypatch.chdir(tmp_path)
    with suppress(SystemExit):
        main(words)
    printed = capsys.readouterr()
    assert "Zq7" not in printed.out + printed.err
    assert "Xy9" not in printed.out + printed.err


def test_a_server_that_quotes_the_password_is_not_quoted() -> None:
    server = parse("redis://:Zq7Xy9Kk@host")
    for words in ("unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `Zq7Xy9K", "no: Zq7Xy9Kk"):
        assert "Zq7" not in errors.explain(exceptions.ResponseError(words), server)[1]


@pytest.mark.parametrize(
    "url", ["redis://host:6379/0", "http://proxy:3128", "https://[::1]:8484", "sqlite:////a b/c.sqlite", "memory:"]
)
def test_a_url_without_a_place_for_a_password_is_shown_as_it_is(url: str) -> None:
    assert safe_url(url) == url
    assert scrubbed(f"{url} is no store", [url], {}) == f"{url} is no store"


def test_names_and_addresses_with_an_at_sign_stay_readable() -> None:
    assert scrubbed("me@example.har: no such file", ["me@example.har"], {}) == "me@example.har: no such file"


@pytest.mark.parametrize("url", ["http//user:pw@proxy", "http://user:12/w@proxy", "http://user:p@ w"])
def test_a_misspelt_outer_proxy_is_refused_and_not_half_understood(url: str) -> None:
    with pytest.raises(outer.UnusableProxy, match="HTTPS_PROXY"):
        outer.proxy({"HTTPS_PROXY": url})

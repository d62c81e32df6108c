"""No message holds a piece of a password, however the URL that it stands in is misspelt."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from redis import exceptions

from hypothesis_profile import examples
from mitmproxy_ai_cache import cli
from mitmproxy_ai_cache.cli import doctor, outer
from mitmproxy_ai_cache.configuration.options import OPTIONS
from mitmproxy_ai_cache.configuration.settings import Settings, SettingsError
from mitmproxy_ai_cache.proxy import bridge
from mitmproxy_ai_cache.stores.redis import errors
from mitmproxy_ai_cache.stores.redis import url as redis_url
from mitmproxy_ai_cache.wire import safe_text

PIECE = 4
"""Characters of a password that must not be seen."""

odd = st.sampled_from(list("@:/#?%&=+ \\'\"[]{}|;,<>^`~!$*().-_"))
letters = st.sampled_from(list("QXZJKWVQ0189"))
"""That no message of ours has four of in a row."""
secrets = st.lists(odd | letters, min_size=6, max_size=14).map("".join).filter(lambda text: text == text.strip())
schemes = st.sampled_from(
    ["redis", "rediss", "unix", "redis+sentinel", "rediss+cluster", "http", "https", "valkey", "socks5"]
)


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A URL with a password, and something wrong with it; and the password."""
    secret = draw(secrets)
    said = draw(st.sampled_from([secret, quote(secret, safe=""), quote(secret)]))
    scheme = draw(schemes)
    separator = draw(st.sampled_from(["://", ":/", "//", ":", ":///", "/", "", ":\\\\", "; //", " ://", "::/"]))
    user = draw(st.sampled_from([":", "user:", "us er:", "user/", "user@:", ""]))
    host = draw(
        st.sampled_from(["@host", "@host:6379", "@host:port", "@", "", "@[::1", "@host/0", "@host/x", "@a,b", "@h s"])
    )
    if not host.startswith("@") and separator in ("", "/"):  # something must be left that tells a URL
        separator = "://"
    url = f"{scheme}{separator}{user}{said}{host}"
    if scheme == "unix":  # without any of these it is a path, in which nobody has a password
        assume(re.search("[@:]|%40|%3a", url.partition(":")[2], re.IGNORECASE))
    cut = draw(st.integers(0, 3)) if host.startswith("@") else 0
    if draw(st.booleans()):
        url = draw(
            st.sampled_from([url[cut:], url.upper()[: cut + 2] + url[cut + 2 :], f" {url}", f"{url}\n", f"'{url}'"])
        )
    return url, secret


def assert_silent(message: str, url: str, secret: str) -> None:
    for text in {secret, quote(secret, safe="")}:
        for place in range(len(text) - PIECE + 1):
            piece = text[place : place + PIECE]
            if _tells(piece):
                assert piece not in message, (piece, url, message)


def _tells(piece: str) -> bool:
    """Whether a message that has this piece has it from the password: `://` and the like stand in every hint."""
    return sum(character in "QXZJKWV0189" for character in piece) >= 2


def raised(work: Callable[[], object]) -> str:
    try:
        return str(work())
    except (ValueError, argparse.ArgumentTypeError) as error:
        return str(error)


REDIS = ("redis", "rediss", "unix")


@settings(derandomize=True, max_examples=examples(600))
@given(misspelt())
@example(("unixQXZJ0189@host", "QXZJ0189"))
@example(("unix; //:::::QXZJ0189", "QXZJ0189"))
@example(("unix://user/%3A%60QXZJ0189", "QXZJ0189"))
@example(("QXZJ0189@host", "QXZJ0189"))
@example(("redis:/:QXZJ0189@host", "QXZJ0189"))
@example(("redis://user////QXZJ0189", "//QXZJ0189"))
@example(("rediss//user:QXZJ0189@host", "QXZJ0189"))
@example(("redis://:QXZJ0189", "QXZJ0189"))
@example(("unix:///user:QXZJ0189@/run/s", "QXZJ0189"))
@example(("redis+sentinel://h/s?sentinel_password=a&QXZJ0189", "QXZJ0189"))
@example(("sqlite:///redis://:QXZJ0189@host", "QXZJ0189"))
@example(("cassettes:redis://:QXZJ0189@host", "QXZJ0189"))
@example(("memory:redis://:QXZJ0189@host", "QXZJ0189"))
def test_the_url_of_a_store(case: tuple[str, str]) -> None:
    url, secret = case
    try:
        Settings.parse({"ai_cache_store": url})
    except SettingsError as error:
        assert_silent(str(error), url, secret)
        assert_silent(redis_url.shown(url), url, secret)


NAMES = sorted(option.name for option in OPTIONS)


@settings(derandomize=True, max_examples=examples(600))
@given(misspelt(), st.sampled_from(NAMES))
def test_any_option_that_is_given_such_a_url(case: tuple[str, str], name: str) -> None:
    url, secret = case
    value: object = url
    if next(option for option in OPTIONS if option.name == name).type not in (str, bool, int):
        value = (url,)
    if name != "ai_cache_store":
        with contextlib.suppress(TypeError):  # of a text where a number belongs, which `gather` keeps away
            try:
                Settings.parse({name: value})
            except SettingsError as error:
                assert_silent(str(error), url, secret)
    for given_value in (url, [url], [url, url]):
        (complaint,) = [*bridge.wrong_options({name: given_value}, OPTIONS), ""][:1]
        assert_silent(complaint, url, secret)


@settings(derandomize=True, max_examples=examples(600))
@given(misspelt())
@example(("http:/user:QXZJ0189@proxy:3128", "QXZJ0189"))
@example(("http://user:0189#QXZJ@proxy:3128", "0189#QXZJ"))
@example(("http://user:0189/QXZJ@proxy:3128", "0189/QXZJ"))
@example(("http://user:0189?QXZJ@proxy:3128", "0189?QXZJ"))
@example(("socks5://user:QXZJ0189@proxy", "QXZJ0189"))
def test_an_outer_proxy(case: tuple[str, str]) -> None:
    url, secret = case
    with contextlib.suppress(ValueError):
        if "@" in url.rstrip("'"):
            found = outer.proxy({"HTTPS_PROXY": url})
            assert_silent(found.url if found else "", url, secret)
    assert_silent(raised(lambda: outer.proxy({"HTTPS_PROXY": url}) and ""), url, secret)


@contextlib.contextmanager
def process(arguments: list[str], **environ: str) -> Iterator[io.StringIO]:
    """What a process of these arguments and variables says."""
    said = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(SystemExit))
        stack.enter_context(mock.patch.object(sys, "argv", ["ai-cache", *arguments]))
        stack.enter_context(mock.patch.dict(os.environ, environ))
        stack.enter_context(contextlib.redirect_stderr(said))
        stack.enter_context(contextlib.redirect_stdout(said))
        yield said


def settable(text: str) -> bool:
    """Whether it can be a variable."""
    return "\0" not in text


@settings(derandomize=True, max_examples=examples(300))
@given(misspelt(), st.sampled_from(NAMES), st.sampled_from(["{}", "--set={}", "--store={}", "--port={}", "--mode={}"]))
@example(("redis:/:QXZJ0189@host", "QXZJ0189"), "ai_cache_store", "{}")
@pytest.mark.thorough
def test_the_command_line(case: tuple[str, str], name: str, form: str) -> None:
    url, secret = case
    for arguments in (
        ["config", form.format(url)],
        ["config", "--set", f"{name}={url}"],
        ["config", "--set", f"{name} {url}"],
        ["config", "--set", f"ai_cache_{url}"],
        ["ls", url, url],
    ):
        with process(arguments) as said:
            cli.main(arguments)
        if "ai_cache_store" not in arguments[-1] or "ai-cache:" in said.getvalue():
            shown = [line for line in said.getvalue().splitlines() if not line.startswith("ai_cache_")]
            assert_silent("\n".join(shown), url, secret)


@settings(derandomize=True, max_examples=examples(200))
@given(misspelt(), st.sampled_from(NAMES))
@example(("redis:/:QXZJ0189@host", "QXZJ0189"), "ai_cache_store")
@example(("redis:/:QXZJ0189@host", "QXZJ0189"), "ai_cache_max_size")
def test_the_environment(case: tuple[str, str], name: str) -> None:
    url, secret = case
    with process(["config"], **{name.upper(): url}) as said:
        cli.main(["config"])
    if "ai-cache:" in said.getvalue():
        assert_silent(said.getvalue(), url, secret)


KEY = "QXZJ0189"


@pytest.mark.parametrize(
    "text",
    [
        f'store = "redis:/:{KEY}@host"',
        f'store redis://:{KEY}@host = "x"',
        f'"store redis://:{KEY}@host" = "x"',
        f'"redis://:{KEY}@host" = "x"',
        f'max_size = "redis://:{KEY}@host"',
        f'alias = ["redis://:{KEY}@host"]',
        f'hosts = "redis://:{KEY}@host"',
        f'store = "redis://:{KEY}@host" x',
        f"store = redis://:{KEY}@host",
    ],
)
def test_a_configuration_file(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ai-cache.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with process(["config"], AI_CACHE_TRUST="all") as said:
        assert cli.main(["config"]) == 125
    assert_silent(said.getvalue(), text, KEY)


@pytest.mark.parametrize("variable", ["AI_CACHE_STORE", "HTTPS_PROXY"])
@pytest.mark.parametrize("url", [f"redis:/:{KEY}@host", f"http:/user:{KEY}@proxy", f"rediss//user:{KEY}@host"])
def test_doctor(variable: str, url: str) -> None:
    arguments = argparse.Namespace(host="127.0.0.1", port=0, store=None)
    with process(["doctor"], **{variable: url}) as said:
        list(doctor._show(iter([doctor._store(arguments)])))
        list(doctor._show(doctor._outer()))
    assert said.getvalue().count("\n") >= 1
    assert_silent(said.getvalue(), url, KEY)


@pytest.mark.parametrize(
    "said",
    [
        f"ERR unknown command 'AUTH', with args beginning with: 'user' '{KEY}' ",
        f"ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `{KEY[:6]}",
        f"WRONGPASS invalid username-password pair {KEY}",
        f"something else about {KEY}",
    ],
)
def test_a_server_that_repeats_what_it_was_sent(said: str) -> None:
    server = redis_url.parse(f"redis://user:{KEY}@host")
    for error in (
        exceptions.ResponseError(said),
        exceptions.ConnectionError(said),
        exceptions.AuthenticationError(said),
    ):
        assert_silent(errors.explain(error, server)[1], said, KEY)


def test_what_is_no_secret_is_still_said() -> None:
    with pytest.raises(SettingsError, match="ai_cache_mode is 'cach'"):
        Settings.parse({"ai_cache_mode": "cach"})
    with pytest.raises(SettingsError, match=r"ai_cache_max_size.*'10 apples'"):
        Settings.parse({"ai_cache_max_size": "10 apples"})


def test_a_directory_with_an_at_sign_is_still_named(tmp_path: Path) -> None:
    for text in ("./node_modules/@a/tapes", "/home/me@work/tapes", "~/@a"):
        assert not safe_text.may_hold_password(text), text
        with process(["replay", text, "--", "true"]) as said:
            cli.main(["replay", text, "--", "true"])
        assert "there are no recordings at" in said.getvalue()
        assert text.removeprefix("./").removeprefix("~") in said.getvalue()

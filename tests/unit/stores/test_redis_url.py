"""The URL of a shared store: what it means, what is said of it, and that a wrong one says what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.configuration.settings import Settings, SettingsError
from mitmproxy_ai_cache.stores.redis.url import Server, parse, shown

GOOD = {
    "redis://": (Server("redis", (("localhost", 6379),)), "redis://localhost:6379"),
    "redis://h": (Server("redis", (("h", 6379),)), "redis://h:6379"),
    "redis://h:1/": (Server("redis", (("h", 1),)), "redis://h:1"),
    "redis://:p%2Fw@h/2": (Server("redis", (("h", 6379),), database=2, password="p/w"), "redis://h:6379/2"),
    "redis://u:p@w@[::1]:7": (Server("redis", (("::1", 7),), user="u", password="p@w"), "redis://[::1]:7"),
    "rediss://h?ssl_check_hostname=no": (
        Server("rediss", (("h", 6379),), check_hostname=False),
        "rediss://h:6379",
    ),
    "unix:///run/r.sock": (Server("unix", socket="/run/r.sock"), "unix:///run/r.sock"),
    "unix://u:p@/r%20s.sock?db=3": (
        Server("unix", socket="/r s.sock", database=3, user="u", password="p"),
        "unix:///r s.sock",
    ),
    "redis+sentinel://u:p@a,b:2/team/4?sentinel_password=s%26": (
        Server(
            "redis+sentinel",
            (("a", 26379), ("b", 2)),
            service="team",
            database=4,
            user="u",
            password="p",
            sentinel_password="s&",
        ),
        "redis+sentinel://a:26379,b:2/team/4",
    ),
    "rediss+sentinel://a/team": (
        Server("rediss+sentinel", (("a", 26379),), service="team"),
        "rediss+sentinel://a:26379/team",
    ),
    "redis+cluster://a,[::2]:3": (
        Server("redis+cluster", (("a", 6379), ("::2", 3))),
        "redis+cluster://a:6379,[::2]:3",
    ),
    "rediss+cluster://:x@a/0": (Server("rediss+cluster", (("a", 6379),), password="x"), "rediss+cluster://a:6379"),
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_means_a_server_and_is_said_without_its_secrets(url: str) -> None:
    server, said = GOOD[url]
    assert parse(url) == server
    assert parse(url).shown == shown(url) == said
    assert server.password not in repr(server).replace("password", "") or not server.password
    assert Settings.parse({"ai_cache_store": url}).store == url


BAD = {
    "redis://h:99999": "port from 1 to 65535",
    "redis://h:0": "port from 1 to 65535",
    "redis://h:six": "port from 1 to 65535",
    "redis://h:": "port from 1 to 65535",
    "redis://a b": "the host is not right",
    "redis://::1": "is not right",
    "redis+cluster://a,,b": "the host is not right",
    "redis://a,b": "redis+sentinel://HOST,HOST/SERVICE or redis+cluster://HOST,HOST",
    "redis://h/one": "is a number",
    "redis+sentinel://h:1": "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE",
    "redis+sentinel://h:1/": "name of the service is missing",
    "redis+sentinel://h/team/x": "is a number",
    "redis+cluster://h/1": "a cluster has no databases",
    "redis://:S3cret/x@h": "%2F",
    "redis://:S3cret?x@h": "%2F",
    "redis://:S3cret#x@h": "%23",
    "redis://:S3cret/x": "the host is not right",
    "unix://run/r.sock": "unix:///run/redis.sock",
    "unix://": "unix:///run/redis.sock",
    "unix:///s?db=x": "?db=0",
    "rediss://h?ssl_ca_cert=x": "'ssl_ca_cert' for rediss://; did you mean ssl_ca_certs?",
    "rediss://h?S3cret=x": "there is no parameter for rediss://",
    "redis://h?ssl_ca_certs=x": "ssl_ca_certs needs TLS; write rediss://",
    "redis+cluster://h?ssl_ca_certs=x": "write rediss+cluster://",
    "unix:///s?ssl_certfile=x": "leave it out",
    "redis://h?timeout=3": "'timeout' for redis://; there are none",
    "redis://h?sentinel_password=S3cret": "there are none",
    "redis+sentinel://h/s?sentinel_pasword=S3cret": "did you mean sentinel_password?",
    "rediss://h?ssl_check_hostname=maybe": "true or false",
    "rediss://h?ssl_ca_certs=/no/such.pem": "'/no/such.pem': there is no such file",
    "rediss://h?ssl_certfile=": "there is no such file",
}


@pytest.mark.parametrize("url", BAD)
def test_a_wrong_url_stops_the_start_with_one_line_that_says_what_to_write(url: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.parse({"ai_cache_store": url})
    said = str(error.value)
    assert said.startswith("ai_cache_store")
    assert BAD[url] in said
    assert "\n" not in said
    assert "S3cret" not in said
    assert "S3cret" not in shown(url)


def test_a_key_without_its_certificate_is_wrong(tmp_path: Path) -> None:
    key = tmp_path / "k"
    key.write_text("")
    with pytest.raises(ValueError, match="needs ssl_certfile"):
        parse(f"rediss://h?ssl_keyfile={key}")
    assert parse(f"rediss://h?ssl_keyfile={key}&ssl_certfile={key}").keyfile == str(key)


@pytest.mark.parametrize("url", ["rediss//h", "redis:/h", "postgres://h", "redis+tls://h"])
def test_what_is_no_store_at_all_is_told_the_forms(url: str) -> None:
    with pytest.raises(SettingsError, match=r"redis\+cluster://HOST:PORT,HOST:PORT"):
        Settings.parse({"ai_cache_store": url})


@given(st.text(), st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "rediss+cluster"]))
def test_no_text_is_worse_than_a_wrong_url(text: str, scheme: str) -> None:
    url = f"{scheme}://{text}"
    try:
        said = parse(url).shown
    except ValueError as error:
        said = str(error)
    assert "\n" not in said or "\n" in text
    assert shown(url).startswith(scheme)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=6, max_size=12))
def test_a_password_is_never_said_however_it_is_written(password: str) -> None:
    secret = f"zqx{password}xqz"
    urls = [f"redis://user:{secret}@host", f"redis+sentinel://:{secret}@host"]
    if "@/" not in password:  # which ends it: what follows is the path of the socket
        urls.append(f"unix://:{secret}@x")
    for url in urls:
        try:
            said = shown(url) + repr(parse(url))
        except ValueError as error:
            said = shown(url) + str(error)
        assert "zqx" not in said
        assert "xqz" not in said

"""Each way in, each name of ours, each way of asking: what SECURITY.md says, on two machines.

The proxy is a real `ai-cache serve` in a network namespace, and the other machine is another one.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spellings
from asking import Asked, ask
from harness import Process
from hypothesis_profile import examples
from raw_requests import raw_requests
from two_machines import (
    ASKED,
    BASED,
    CHAT,
    PASSWORD,
    WRONG,
    Box,
    ask_as,
    page_of,
    part_of_an_entry,
    seed,
    two_machines,
)
from ways_in import ADDRESS, GIVEN, REBOUND, SECOND_ADDRESS, SHORT, Cell, cells, names

pytestmark = pytest.mark.slow

NAMES = names()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with two_machines(tmp_path_factory.mktemp("machines")) as found:
        yield found


WAYS = {
    "loopback": ("open", {}),
    "other machine": ("open", {}),
    "other machine, no password given": ("guarded", {}),
    "other machine with password": ("guarded", PASSWORD),
}


@pytest.fixture(scope="module")
def proxies(machines: Box) -> dict[str, Process]:
    # Isolation would hide entries from everybody: nothing may depend on it.
    options = ("--dashboard", "127.0.0.1:0", "--set", f"ai_cache_own_names={GIVEN}", "--set", "ai_cache_isolate=none")
    found = {
        "open": machines.serve("open", *options),
        "guarded": machines.serve("guarded", *options, AI_CACHE_DASHBOARD_PASSWORD="the password"),
    }
    for proxy in found.values():
        seed(machines, proxy)
    return found


def differences(machines: Box, proxies: dict[str, Process], expected: dict[Cell, int], to_page: bool) -> list[str]:
    """What is not as SECURITY.md says, one line each. Prints how many were asked."""
    found, asked = [], Counter[str]()
    machines.providers.forget()
    for cell, status in expected.items():
        name_of, headers = WAYS[cell.way_in]
        proxy = proxies[name_of]
        port = page_of(proxy) if to_page else proxy.port
        for name in NAMES[cell.kind]:
            got = ask_as(cell.asked_by, machines, proxy, cell.way_in, name, port, cell.what, headers)
            asked[cell.way_in] += 1
            if got.status != status:
                found.append(f"{cell}: {name} got {got.status}, not {status}: {got.text[:120]!r}")
            if status != 200 and part_of_an_entry(got):
                found.append(f"{cell}: {name} got part of an entry")
    print("\n" + "\n".join(f"{count:5} questions: {way}" for way, count in asked.items()))
    print(f"{len(found):5} differences; {len(machines.providers.calls)} provider calls", *found, sep="\n  ")
    if machines.providers.calls:
        found.append(f"calls were bought: {machines.providers.calls[:3]}")
    return found


def test_each_cell_is_as_security_md_says(machines: Box, proxies: dict[str, Process]) -> None:
    assert differences(machines, proxies, cells(), to_page=False) == []


def test_each_cell_of_the_page_is_as_security_md_says(machines: Box, proxies: dict[str, Process]) -> None:
    assert differences(machines, proxies, cells("page cells"), to_page=True) == []
    with machines.far.here(), pytest.raises(ConnectionRefusedError):
        ask(page_of(proxies["open"]), address=ADDRESS)


def test_what_was_asked_has_removed_nothing(machines: Box, proxies: dict[str, Process]) -> None:
    for proxy in proxies.values():
        with machines.box.here():
            got = ask(proxy.port, BASED, {"Authorization": "Bearer sk-of-the-user"}, "POST", CHAT)
        assert got.headers["x-ai-cache-status"] == "HIT"


def test_whoever_may_sees_and_removes(machines: Box) -> None:
    """Or the table would say little."""
    proxy = machines.serve("purging", "--set", "ai_cache_isolate=none", AI_CACHE_DASHBOARD_PASSWORD="the password")
    seed(machines, proxy)
    with machines.far.here():
        for path in ("/", "/entries"):
            assert (
                "api.openai.com" in ask(proxy.port, f"http://ai-cache.internal{path}", PASSWORD, address=ADDRESS).text
            )
        form = ask(proxy.port, "http://ai-cache.internal/purge?what=all", PASSWORD, address=ADDRESS).text
        token = re.search(r'name="token" value="([^"]+)"', form)
        assert token, form
        sent = f"what=all&token={token[1]}".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        for wrong in ({}, WRONG):
            assert ask(proxy.port, "http://ai-cache.internal/purge", wrong | kind, "POST", sent, ADDRESS).status == 401
        done = ask(proxy.port, "http://ai-cache.internal/purge", PASSWORD | kind, "POST", sent, ADDRESS)
        assert done.status in (200, 303), done
        assert (
            "api.openai.com" not in ask(proxy.port, "http://ai-cache.internal/entries", PASSWORD, address=ADDRESS).text
        )


def test_the_proxy_is_no_target_whatever_is_allowed(machines: Box) -> None:
    given = [
        ADDRESS,
        SECOND_ADDRESS,
        SHORT,
        GIVEN,
        REBOUND,
        "localhost",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "ai-cache.internal",
        "*",
    ]
    hosts = [word for name in given for word in ("--hosts", name)]
    proxy = machines.serve("generous", *hosts, "--dashboard", "127.0.0.1:0", "--set", "ai_cache_isolate=none")
    seed(machines, proxy)
    based = {
        cell: status for cell, status in cells().items() if cell.asked_by == "base URL" and "pass" not in cell.way_in
    }
    for to_page in (False, True):
        assert differences(machines, {"open": proxy}, based, to_page) == []


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.one_of(spellings.loopback, spellings.unspecified, spellings.of_ipv4(ipaddress.IPv4Address(ADDRESS))),
    asked_by=st.sampled_from(("proxied", "CONNECT", "base URL", "h2", "plain")),
    what=st.sampled_from(("entries", "purge", "control", "metrics")),
    to_page=st.booleans(),
)
def test_no_spelling_leads_another_machine_to_an_entry(
    machines: Box, proxies: dict[str, Process], name: str, asked_by: str, what: str, to_page: bool
) -> None:
    proxy = proxies["open"]
    port = page_of(proxy) if to_page and asked_by != "plain" else proxy.port
    got = ask_as(asked_by, machines, proxy, "other machine", name, port, what, {})
    # 400: mitmproxy does not take it for a host
    assert got.status in (400, 403, 421, 508), got
    assert not part_of_an_entry(got)


def test_no_odd_request_leads_another_machine_to_an_entry(machines: Box, proxies: dict[str, Process]) -> None:
    proxy = proxies["open"]
    machines.providers.forget()
    statuses = Counter[bytes]()
    for parts in raw_requests(proxy.port, page_of(proxy)):
        said = b""
        with machines.far.here(), socket.create_connection((ADDRESS, proxy.port), timeout=30) as client:
            for part in parts[:-1]:
                client.sendall(part)
                said += client.recv(65536)
            with contextlib.suppress(ConnectionError):
                client.sendall(parts[-1])
                while data := client.recv(65536):
                    said += data
        found = re.findall(rb"HTTP/1\.[01] (\d+)", said)
        statuses[b"/".join(found)] += 1
        assert not part_of_an_entry(Asked(0, {}, said)), (parts, said)
        assert b'"store"' not in said, (parts, said)
        assert b"ai_cache_info" not in said, (parts, said)
    print("\n" + ", ".join(f"{count} x {status.decode()}" for status, count in statuses.most_common()))
    assert not machines.providers.calls


LOCAL_NAMES = ("127.0.0.1", "localhost", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "rebound.example")


def test_another_proxy_on_loopback_is_no_way_in(machines: Box) -> None:
    """Two on one machine, the inner one for its user alone: `ai-cache run` beside a `serve` for the team."""
    outer = machines.serve("outer", "--set", "ai_cache_isolate=none")
    inner = machines.serve("inner", "--dashboard", "127.0.0.1:0", host="127.0.0.1")
    seed(machines, inner)
    for port in (inner.port, page_of(inner)):
        for asked_by in ("proxied", "CONNECT", "base URL", "h2"):
            for what in ASKED:
                for name in LOCAL_NAMES:
                    got = ask_as(asked_by, machines, outer, "other machine", name, port, what, {})
                    assert got.status in (400, 403, 502), (asked_by, what, name, got)
                    assert not part_of_an_entry(got)
                    assert asked_by == "base URL" or "--hosts" in got.text, got
        with machines.box.here():
            assert ask(port, "/metrics").status == 200  # there is something to reach


def test_what_trusts_loopback_is_not_reached_from_elsewhere(machines: Box) -> None:
    """A Redis, a model, a metadata service: whoever comes to them from the proxy would be taken for its machine."""
    subprocess.run(["ip", "-n", machines.box.name, "address", "add", "169.254.169.254/32", "dev", "lo"], check=True)
    services = {}
    with machines.box.here():
        for address in ("127.0.0.1", "169.254.169.254"):
            services[address] = socket.create_server((address, 6379))
    try:
        for name in ("other", "generous-other"):
            options = ("--hosts", "*") if name == "generous-other" else ()
            proxy = machines.serve(name, *options)
            for host in (*LOCAL_NAMES, "169.254.169.254", "metadata.example", "[::ffff:a9fe:a9fe]"):
                for asked_by in ("proxied", "CONNECT", "base URL", "h2"):
                    got = ask_as(asked_by, machines, proxy, "other machine", host, 6379, "healthz", {})
                    assert got.status in (400, 403, 502), (asked_by, host, got)
        for service in services.values():
            service.setblocking(False)
            with pytest.raises(BlockingIOError):
                service.accept()
    finally:
        for service in services.values():
            service.close()


def test_a_status_page_beyond_loopback_takes_the_password(machines: Box) -> None:
    proxy = machines.serve("page", "--dashboard", "0.0.0.0:0", AI_CACHE_DASHBOARD_PASSWORD="the password")
    seed(machines, proxy)
    with machines.client("other machine") as address:
        for path in ("/", "/entries", "/metrics", "/purge"):
            for headers, status in (({}, 401), (WRONG, 401), (PASSWORD, 200)):
                got = ask(page_of(proxy), path, headers, address=address)
                assert got.status == status, (path, headers)
                assert status == 200 or not part_of_an_entry(got)
            assert ask(page_of(proxy), path, PASSWORD | {"Host": REBOUND}, address=address).status == 421

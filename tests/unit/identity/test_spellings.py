"""Whatever spells an address of this machine is taken for it, and nothing else is."""

from __future__ import annotations

import ipaddress
import socket

from hypothesis import example, given
from hypothesis import strategies as st

import spellings
from mitmproxy_ai_cache.calls import own_address
from mitmproxy_ai_cache.calls.own_rules import is_own_name
from mitmproxy_ai_cache.proxy.targets import Named, Targets
from mitmproxy_ai_cache.wire import addresses

OURS = ipaddress.IPv4Address("10.77.0.1")
numbers = st.text("0123456789abcdefxX.", max_size=20)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
foreign = (
    st.lists(labels, min_size=2, max_size=4)
    .map(".".join)
    .filter(lambda name: addresses.literal(name) is None and not name.endswith((".localhost", "ai-cache.internal")))
)


@given(spellings.loopback)
def test_every_spelling_of_loopback_is_ours(name: str) -> None:
    assert is_own_name(name, "10.77.0.1")
    assert addresses.is_loopback(name)
    assert addresses.canonical(addresses.canonical(name)) == addresses.canonical(name)


@given(spellings.of_ipv4(OURS))
def test_every_spelling_of_the_address_it_came_in_at_is_ours_and_of_another_is_not(name: str) -> None:
    assert is_own_name(name, "10.77.0.1")
    assert is_own_name(name, "::ffff:10.77.0.1")
    assert not is_own_name(name, "10.77.0.3")


@given(spellings.unspecified)
def test_the_address_of_nobody_is_no_name_of_ours_and_leads_to_us(name: str) -> None:
    assert not is_own_name(name, "127.0.0.1")
    assert addresses.is_of_this_machine(name)


@given(st.one_of(spellings.loopback, spellings.unspecified), st.integers(1, 65535), st.sampled_from(("http", "https")))
def test_no_base_url_goes_to_this_machine_unless_it_is_named(name: str, port: int, scheme: str) -> None:
    target = own_address.target_of(f"/{scheme}://{name}:{port}/entries")
    assert target is None or Targets().named(target.host) is Named.NOT
    assert target is None or Targets(["*"]).named(target.host) is Named.BY_GLOB  # judged by its address
    if addresses.literal(name):
        assert addresses.why_refused(name)


@given(spellings.loopback.filter(lambda name: addresses.literal(name) is not None))
def test_an_address_that_is_named_is_allowed_in_every_spelling(name: str) -> None:
    assert Targets([str(addresses.literal(name))]).named(name) is Named.EXACTLY


@given(numbers)
@example("0x.0x.0x.0x")
@example("08")
@example("1.2.3.4.")
@example("127.0.0.1.")
@example("00000000000000000000177.1")
def test_what_libc_reads_as_an_address_is_one(text: str) -> None:
    """glibc connects to these without asking DNS."""
    try:
        read = ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        return
    assert addresses.literal(text) == read


@given(foreign, st.sampled_from(("127.0.0.1", "10.77.0.1", "::1")))
@example("127.0.0.1.evil.example", "127.0.0.1")
@example("localhost.evil.example", "127.0.0.1")
@example("ai-cache.internal.evil.example", "127.0.0.1")
@example("evil.ai-cache.internal", "127.0.0.1")
def test_a_name_with_a_dot_is_nobodys_but_its_owners(name: str, came_in_at: str) -> None:
    assert not is_own_name(name, came_in_at)
    assert is_own_name(name, came_in_at, (name,))
    assert not is_own_name(f"x.{name}", came_in_at, (name,))

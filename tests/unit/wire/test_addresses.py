"""Hosts in every spelling, and which addresses base URLs keep away from."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmproxy_ai_cache.wire.addresses import canonical, is_loopback, is_of_this_machine, literal, why_refused

ADDRESSES = st.ip_addresses(v=4)


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    """The notations of `inet_aton`, and those in IPv6."""
    a, b, c, d = address.packed
    value = int(address)
    return [
        str(address),
        f"{address}.",
        str(value),
        hex(value),
        f"0{value:o}",
        f"{a}.{value & 0xFFFFFF}",
        f"{a:#x}.{b:#o}".replace("0o", "0") + f".{value & 0xFFFF}",
        f"{a:#X}.{b}.{c:#x}.{d}",
        f"::ffff:{address}",
        f"[::ffff:{a:02x}{b:02x}:{c:02x}{d:02x}]",
        "".join(chr(0xFF10 + int(digit)) if digit.isdigit() else digit for digit in str(address)),
        str(address).replace(".", "\u3002"),
    ]


@given(ADDRESSES)
def test_an_address_is_the_same_in_every_spelling(address: ipaddress.IPv4Address) -> None:
    assert {canonical(each) for each in spellings(address)} == {str(address)}
    assert {is_loopback(each) for each in spellings(address)} == {address.is_loopback}


@given(st.text(alphabet="0123456789abcdefx.", max_size=20))
def test_what_the_system_takes_for_an_address_is_one_here(text: str) -> None:
    try:
        expected = ipaddress.IPv4Address(socket.inet_aton(text)) if text else None
    except OSError:
        return
    assert literal(text) == expected


@pytest.mark.parametrize(
    "name", ["api.openai.com", "localhost.example", "1.2.3.4.5", "08.1.1.1", "256.1.1.1", "::g", "", "a"]
)
def test_what_is_no_address(name: str) -> None:
    assert literal(name) is None


def test_names_compare_without_case_and_final_dot() -> None:
    assert canonical("API.OpenAI.com.") == "api.openai.com"
    assert is_loopback("LocalHost.")
    assert is_loopback("app.localhost")
    assert not is_loopback("localhost.example")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("169.254.169.254", "metadata"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("169.254.1.1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.0.0.7", ""),
        ("192.168.1.7", ""),
        ("104.18.7.192", ""),
        ("2606:4700::6812:7c0", ""),
    ],
)
def test_where_a_base_url_does_not_go_by_a_glob(address: str, why: str) -> None:
    assert (why in why_refused(address)) if why else not why_refused(address)


def test_this_machine_is_known_by_all_its_addresses() -> None:
    for address in ("127.0.0.1", "127.8.9.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "2130706433"):
        assert is_of_this_machine(address), address
    for address in ("192.0.2.77", "2001:db8::77", "api.openai.com"):
        assert not is_of_this_machine(address), address

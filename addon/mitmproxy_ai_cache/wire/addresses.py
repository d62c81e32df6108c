"""Hosts as people and programs spell them: names, and IP addresses in every notation that a connection accepts."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from functools import cache, lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII)

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
"""Where cloud providers hand out the credentials of a machine."""

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


@lru_cache(1024)
def canonical(host: str) -> str:
    """`host` in one spelling: an address as Python writes it, a name in lower case without the dot at its end."""
    found = literal(host)
    return str(found) if found is not None else _plain(host)


def literal(host: str) -> Address | None:
    """The address that `host` spells, or None for a name: 127.0.0.1 is also 127.1, 0x7f.1 and ::ffff:127.0.0.1."""
    text = _plain(host)
    if ":" in text:
        try:
            return _unwrapped(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]").partition("%")[0]))
        except ValueError:
            return None
    return _inet_aton(text)


def _plain(host: str) -> str:
    return unicodedata.normalize("NFKC", host).replace("\u3002", ".").strip().lower().removesuffix(".")


def _unwrapped(address: ipaddress.IPv6Address) -> Address:
    return address.ipv4_mapped or address


def _inet_aton(text: str) -> ipaddress.IPv4Address | None:
    """One to four numbers, decimal, octal or hexadecimal; the last one fills the bytes that are left."""
    parts = text.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        return None
    *firsts, last = numbers
    if any(number > 255 for number in firsts) or last >= 256 ** (4 - len(firsts)):
        return None
    value = last
    for position, number in enumerate(firsts):
        value += number << (8 * (3 - position))
    return ipaddress.IPv4Address(value)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


@lru_cache(1024)
def is_loopback(host: str) -> bool:
    """Whether `host` names this machine's loopback interface, in any spelling."""
    found = literal(host)
    if found is not None:
        return found.is_loopback
    name = _plain(host)
    return name == "localhost" or name.endswith(".localhost")


def why_refused(address: str) -> str:
    """What is wrong with `address` as the target of a base URL that only a glob names, or nothing."""
    found = literal(address)
    if found is None:
        return "no address"
    for each in (found, *_inside(found)):
        if each.is_loopback or each.is_unspecified:
            return "a loopback address"
        if each in _METADATA:
            return "an address of cloud metadata"
        if each.is_link_local:
            return "a link-local address"
    return ""


def _inside(address: Address) -> list[Address]:
    """IPv4 addresses that an IPv6 address stands for: NAT64, 6to4, Teredo, and the old compatible form."""
    if not isinstance(address, ipaddress.IPv6Address):
        return []
    found: list[Address] = []
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _NAT64) or (int(address) >> 32 == 0 and int(address) > 1):
        found.append(low)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.append(address.teredo[1])
    return found


def is_of_this_machine(address: str) -> bool:
    """Whether a connection to `address` stays on this machine."""
    found = literal(address)
    if found is None:
        return False
    if found.is_loopback or found.is_unspecified:
        return True
    if _binds_anything(found.version):
        return _source(found) == found
    return _binds(found)


@cache
def _binds_anything(version: int) -> bool:
    """Whether the kernel lets programs use addresses that are not its own (`ip_nonlocal_bind`)."""
    return _binds(ipaddress.ip_address("192.0.2.1" if version == 4 else "2001:db8::1"))


def _binds(address: Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind((str(address), 0))
    except OSError:
        return False
    return True


def _source(address: Address) -> Address | None:
    """The own address from which the kernel would send to `address`. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.connect((str(address), 9))
            return literal(tried.getsockname()[0])
    except OSError:
        return None

"""Generated spellings of an address, as programs write them and as libc reads them."""

from __future__ import annotations

import ipaddress

from hypothesis import strategies as st


def _number(value: int, base: int, zeros: int, upper: bool) -> str:
    match base:
        case 8:
            return "0" * (zeros + 1) + f"{value:o}" if value else "0"
        case 16:
            return "0x" + "0" * zeros + (f"{value:X}" if upper else f"{value:x}")
    return str(value)


@st.composite
def ipv4(draw: st.DrawFn, address: ipaddress.IPv4Address) -> str:
    """`address` in one to four numbers, each decimal, octal or hexadecimal."""
    count = draw(st.integers(1, 4))
    octets = list(address.packed)
    numbers = [*octets[: count - 1], int.from_bytes(bytes(octets[count - 1 :]))]
    style = st.tuples(st.sampled_from((8, 10, 16)), st.integers(0, 3), st.booleans())
    return ".".join(_number(number, *draw(style)) for number in numbers)


@st.composite
def ipv6(draw: st.DrawFn, address: ipaddress.IPv6Address) -> str:
    """`address` without or with zeros, compressed or not, in brackets."""
    text = draw(
        st.sampled_from(
            (
                address.compressed,
                address.exploded,
                ":".join(f"{int(part, 16):x}" for part in address.exploded.split(":")),
            )
        )
    )
    return f"[{text.upper() if draw(st.booleans()) else text}]"


@st.composite
def cased(draw: st.DrawFn, name: str) -> str:
    """`name` in any case, perhaps with the dot of the root."""
    letters = "".join(letter.upper() if draw(st.booleans()) else letter for letter in name)
    return letters + draw(st.sampled_from(("", ".")))


def addresses_of_loopback() -> st.SearchStrategy[ipaddress.IPv4Address]:
    return st.one_of(
        st.just(ipaddress.IPv4Address("127.0.0.1")),
        st.integers(0x7F000001, 0x7FFFFFFE).map(ipaddress.IPv4Address),
    )


def of_ipv4(address: ipaddress.IPv4Address) -> st.SearchStrategy[str]:
    """`address` as itself and mapped into IPv6."""
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    in_four = st.sampled_from((f"[::ffff:{address}]", f"[::FFFF:{address}]", f"[0:0:0:0:0:ffff:{address}]"))
    return st.one_of(ipv4(address), ipv6(mapped), in_four)


loopback = st.one_of(
    addresses_of_loopback().flatmap(of_ipv4),
    ipv6(ipaddress.IPv6Address("::1")),
    cased("localhost"),
    cased("a.localhost"),
)
"""Names and addresses that end on this machine wherever they are asked."""

unspecified = st.one_of(ipv4(ipaddress.IPv4Address(0)), ipv6(ipaddress.IPv6Address(0)))
"""A connection there reaches this machine; no client calls a server so."""

"""Commands in a network namespace of their own (Linux): nothing outside can be reached, and what tries is counted."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

LOOPBACK = "ip link set lo up"

# Everything that is not loopback leaves through `out`: one end of a cable with nobody at its other end. Neighbours are
# not asked for and IPv6 says nothing by itself, so that each packet counted there is one that somebody sent.
CABLE = " && ".join(
    (
        LOOPBACK,
        "ip link add out type veth peer name nobody",
        "echo 1 > /proc/sys/net/ipv6/conf/out/disable_ipv6",
        "ip link set out arp off && ip link set out up && ip link set nobody up",
        "ip address add 192.0.2.2/24 dev out",
        "ip route add default dev out",
    )
)


@functools.cache
def _permitted(setup: str) -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run(["unshare", "-rn", "sh", "-c", setup], capture_output=True, check=False).returncode == 0


def without_network(*command: str) -> list[str]:
    """`command` where there is loopback and no route. Skips the test where that is not permitted."""
    if not _permitted(LOOPBACK):
        pytest.skip("this machine lets us make no network namespace (unshare -rn, ip)")
    return ["unshare", "-rn", "sh", "-c", f'{LOOPBACK} && exec "$@"', "sh", *command]


def counting_packets(file: Path, *command: str) -> list[str]:
    """`command` with a route to the whole world that leads nowhere; `file` gets the counts, see `packets`."""
    if not _permitted(CABLE):
        pytest.skip("this machine lets us make no virtual cable (unshare -rn, ip link add type veth)")
    script = f'{CABLE} || exit 99; "$@"; code=$?; cat /proc/net/dev > "{file}"; exit $code'
    return ["unshare", "-rn", "sh", "-c", script, "sh", *command]


def packets(file: Path, interface: str = "out") -> int:
    """How many packets were sent through `interface`."""
    for line in file.read_text().splitlines():
        name, colon, counts = line.partition(":")
        if colon and name.strip() == interface:
            return int(counts.split()[9])
    raise AssertionError(f"{interface} is not in {file.read_text()}")

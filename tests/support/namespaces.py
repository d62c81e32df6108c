"""Two machines in one: network namespaces with a wire between. Linux, root and `ip` of iproute2."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def why_not() -> str:
    """What keeps this machine from having namespaces, or nothing."""
    if not hasattr(os, "setns") or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if shutil.which("ip") is None:
        return "no ip command: apt-get install iproute2"
    name = f"ai-cache-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    ran = subprocess.run(["ip", "netns", "exec", name, "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], check=True)
    return f"no network namespaces here: {ran.stderr.strip()}" if ran.returncode else ""


@dataclass(frozen=True)
class Machine:
    """`name` is that of its namespace. `hosts` of its own, where /etc/hosts is for processes that `exec` starts."""

    name: str

    @contextmanager
    def here(self) -> Iterator[None]:
        """Sockets, threads and processes that this thread makes are of this machine."""
        with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{self.name}") as there:
            os.setns(there.fileno(), os.CLONE_NEWNET)
            try:
                yield
            finally:
                os.setns(before.fileno(), os.CLONE_NEWNET)

    def exec(self, *command: str) -> list[str]:
        """The command line that runs `command` there, with the /etc/hosts of that machine."""
        return ["ip", "netns", "exec", self.name, *command]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextmanager
def machine(name: str, hosts: Mapping[str, str]) -> Iterator[Machine]:
    """One with a loopback interface. `hosts`: address by name, for its /etc/hosts."""
    unique = f"ai-cache-{os.getpid()}-{name}"
    folder = Path("/etc/netns") / unique
    folder.mkdir(parents=True)
    lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{address} {host}" for host, address in hosts.items())]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
    try:
        _ip("netns", "add", unique)
        try:
            _ip("-n", unique, "link", "set", "lo", "up")
            yield Machine(unique)
        finally:
            _ip("netns", "del", unique)
    finally:
        shutil.rmtree(folder)


def wire(one: Machine, addresses: tuple[str, ...], other: Machine, others: tuple[str, ...]) -> None:
    """Connect two machines. Addresses as `10.0.0.1/24`."""
    ends = f"aic{os.getpid()}a"[-15:], f"aic{os.getpid()}b"[-15:]
    _ip("link", "add", ends[0], "netns", one.name, "type", "veth", "peer", "name", ends[1], "netns", other.name)
    for end, each, has in ((ends[0], one, addresses), (ends[1], other, others)):
        for address in has:
            _ip("-n", each.name, "address", "add", address, "dev", end, *(["nodad"] if ":" in address else []))
        _ip("-n", each.name, "link", "set", end, "up")

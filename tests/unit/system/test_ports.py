"""Who has a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mitmproxy_ai_cache.system import ports
from mitmproxy_ai_cache.system.descriptors import for_child, raised

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
if sys.platform != "win32":
    import resource


@linux
@pytest.mark.parametrize(
    ("family", "bound", "asked"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "0.0.0.0"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET, "127.0.0.1", "localhost"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_the_process_that_listens_is_named(family: int, bound: str, asked: str) -> None:
    with socket.socket(family) as taken:
        try:
            taken.bind((bound, 0))
        except OSError:
            pytest.skip("there is no such address here")
        taken.listen()
        port = taken.getsockname()[1]
        assert ports.is_taken(asked, port)
        name = Path("/proc/self/comm").read_text().strip()
        assert ports.taken(asked, port) == f"port {port} is in use by {name} (pid {os.getpid()})"
    assert not ports.is_taken(asked, port)


@linux
def test_a_listener_at_another_address_is_not_in_the_way() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_taken("127.0.0.1", port)
        assert ports.holder("127.0.0.1", port) == ("", 0)


@linux
def test_a_process_of_another_user_is_named_by_that_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> str:
        raise PermissionError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(os, "readlink", refuse)
        assert (
            ports.taken("127.0.0.1", port) == f"port {port} is in use by a process of user {ports._user(os.getuid())}"
        )


def test_the_answer_of_lsof_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lsof").write_text("#!/bin/sh\nprintf 'p4242\\ncpython3.13\\nf7\\n'\n")
    (tmp_path / "lsof").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ports.holder("127.0.0.1", 1) == ("python3.13 (pid 4242)", 4242)


def test_port_0_is_free() -> None:
    assert not ports.is_taken("127.0.0.1", 0)


def test_a_child_has_the_limit_of_before_and_all_is_as_it_was_afterwards() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE)[0])"
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(500, before[1]), before[1]))
    try:
        with raised() as own:
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
            with for_child(own):
                child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
            assert child.communicate(timeout=60)[0].strip() == str(own) == str(min(500, before[1]))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == own
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

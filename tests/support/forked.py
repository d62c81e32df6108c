"""Processes of `ai-cache` and `mitmdump` without the second of CPU time that their imports take.

A process that has imported everything forks for each of them. Each has its own pid, environment, directory, standard
streams and exit code, and runs the script that is installed, `.venv/bin/ai-cache`. What a fork cannot show, that each
command imports what it needs, has tests that start from nothing (`anew=True`); AI_CACHE_TEST_START=anew starts
everything so.

Linux only, since an orphan has to become our child; elsewhere all processes start from nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib.util
import inspect
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
SCRIPTS = (str(BIN / "ai-cache"), str(BIN / "mitmdump"))
ADDON = Path(str(importlib.util.find_spec("mitmproxy_ai_cache").origin)).parents[1]  # type: ignore[union-attr]
"""Where the package is: in this clone, or installed (`tests/installs`)."""

KEPT = ("PATH", "LANG", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
"""Of the variables of pytest, what processes of the tests have too. The last one is there with `scripts/test --cov`."""

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h: descendants that lose their parent become children of who calls it."""

_WHILE_STARTING = ("PYTHON", "MALLOC_", "GLIBC_", "LD_", "LC_")
"""How variables begin that a process reads while it starts, but for those of `_KNOWN`."""

_KNOWN = {"PYTHONPATH": str(ADDON), "PYTHONUNBUFFERED": None, "PYTHONDONTWRITEBYTECODE": None}
"""These may be in the environment of a forked process, with this value if there is one."""


def popen(arguments: list[str], *, anew: bool = False, **options: Any) -> subprocess.Popen[Any]:
    """As `subprocess.Popen`, with an environment. Forked if it is one of ours, unless it is to start `anew`."""
    anew = (
        anew
        or sys.platform != "linux"
        or os.environ.get("AI_CACHE_TEST_START") == "anew"
        or any(name.startswith(_WHILE_STARTING) and not _known(name, value) for name, value in options["env"].items())
    )
    words = [str(word) for word in arguments]
    return (subprocess.Popen if anew or words[0] not in SCRIPTS else _Forked)(words, **options)


def _known(name: str, value: str) -> bool:
    return name in _KNOWN and _KNOWN[name] in (None, value)


def run(arguments: list[str], *, timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with `capture_output` and `text`, by way of `popen`."""
    with popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            said, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, said, errors)


class _Forked(subprocess.Popen[Any]):
    """Everything of Popen but how the process comes to be."""

    _PARAMETERS = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]

    def _execute_child(self, *values: Any) -> None:
        given = self._PARAMETERS.bind(self, *values).arguments
        order = {
            "arguments": given["args"],
            "environ": {os.fspath(name): os.fspath(value) for name, value in given["env"].items()},
            "directory": os.fspath(given["cwd"] or Path.cwd()),
            "session": bool(given["start_new_session"]),
        }
        piped = (given["p2cread"], given["c2pwrite"], given["errwrite"])
        with _one_at_a_time:
            self.pid = _parent().fork(order, [own if pipe == -1 else pipe for own, pipe in enumerate(piped)])
        self._child_created = True
        names = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[name] for name in names))  # type: ignore[attr-defined]


class _Parent:
    """The process that forks, one for each process of pytest. It ends when its socket is closed."""

    def __init__(self) -> None:
        self._prctl = ctypes.CDLL(None).prctl
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        keep = {name: os.environ[name] for name in KEPT if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**keep, "PYTHONPATH": str(ADDON)},
            )

    def fork(self, order: dict[str, Any], streams: list[int]) -> int:
        self._prctl(_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self._socket, [json.dumps(order).encode()], streams)
            answer = self._socket.recv(100)
        finally:  # other orphans are not ours
            self._prctl(_SUBREAPER, 0, 0, 0, 0)
        assert answer, "the process that forks is gone"
        pid = int(answer)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises if it is not our child
        return pid


_one_at_a_time = threading.Lock()


@functools.cache
def _parent() -> _Parent:
    return _Parent()


def _orders(ours: socket.socket) -> dict[str, Any]:
    """Forks for each order, and returns it in the child. In the parent it does not return."""
    while True:
        message, streams, _, _ = socket.recv_fds(ours, 1 << 20, 3)
        if not message:
            os._exit(0)
        pid_of, tell = os.pipe()
        if between := os.fork():  # its end makes an orphan of the child
            os.close(tell)
            os.waitpid(between, 0)
            ours.send(os.read(pid_of, 100))
            for number in (pid_of, *streams):
                os.close(number)
            continue
        if child := os.fork():
            os.write(tell, str(child).encode())
            os._exit(0)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for number in (pid_of, tell, ours.detach(), *streams):
            os.close(number)
        return dict(json.loads(message))


def _become(order: dict[str, Any]) -> None:
    """What a new interpreter would have found."""
    if order["session"]:
        os.setsid()
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environ"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tempfile.tempdir = None
    sys.argv = order["arguments"]
    sys.path[0] = str(BIN)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _writing(1, line_buffering=os.isatty(1))
    sys.stderr = sys.__stderr__ = _writing(2, errors="backslashreplace", line_buffering=True)


def _writing(number: int, **options: Any) -> io.TextIOWrapper:
    """As an interpreter opens it: what PYTHONUNBUFFERED asks for has no buffer at all."""
    if os.environ.get("PYTHONUNBUFFERED"):
        return io.TextIOWrapper(open(number, "wb", 0, closefd=False), write_through=True, **options)
    return io.TextIOWrapper(open(number, "wb", closefd=False), **options)


def _import_all() -> None:
    import mitmproxy.tools.dump
    import mitmproxy.tools.main  # noqa: F401
    import redis.asyncio  # noqa: F401

    import mitmproxy_ai_cache.addon
    from mitmproxy_ai_cache import cli

    assert Path(mitmproxy_ai_cache.addon.__file__).is_relative_to(ADDON)
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        cli.main(["--help"])  # imports every command


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_all()
    gc.collect()
    gc.freeze()  # its pages stay shared
    order = _orders(socket.socket(fileno=int(sys.argv[1])))
    _become(order)
    runpy.run_path(order["arguments"][0], run_name="__main__")

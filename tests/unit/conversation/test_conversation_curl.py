"""`show --curl`: run by real shells with real curl, against a server that keeps what arrives."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache.conversation.curl import NoCommand, command
from mitmproxy_ai_cache.entries.entry import Entry

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")

Arrived = list[tuple[str, str, dict[str, str], bytes]]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arrived: Arrived = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.arrived.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"ok")

    do_POST = do_GET = do_PUT = do_HEAD = do_DELETE = _take

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield started
    started.shutdown()
    thread.join()
    started.server_close()


def entry(url: str, body: bytes = b"{}", *fields: tuple[str, str], method: str = "POST") -> Entry:
    return Entry(
        key="0" * 64, created=0.0, ttl=0.0, status=200, headers=(), format="json", body=b"",
        request=body, request_headers=fields, method=method, url=url,
    )  # fmt: skip


def run(shell: str, script: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    path = "/usr/bin:/bin:/usr/local/bin"
    return subprocess.run(
        [shell], input=script.encode(), capture_output=True, env={"PATH": path, **environ}, timeout=60
    )


BODIES = {
    "quotes": b"""{"a":"it's \\"quoted\\" `id` $(id) $HOME ${HOME} !! \\\\ \\n"}""",
    "a file name": b"@/etc/passwd",
    "a here-document's end": b"{\n}\nEND\nid\n",
    "line ends": b"a\r\nb\rc\n\n",
    "a newline last": b"{}\n\n",
    "nothing but a newline": b"\n",
    "escapes of terminals": b"\x1b[31mred\x1b]0;title\x07",
    "zero bytes": b"\0\0a\0",
    "no text": bytes(range(256)),
    "letters of others": "тест 試験 😀 \u202e".encode(),
    "a dash": b"--next -o /tmp/x",
    "long": b'{"a":"' + b"'x'" * 60_000 + b'"}',
    "longer than a command line may be": bytes(range(256)) * 12_000,
}


@needs_curl
@pytest.mark.parametrize("shell", [pytest.param("bash", marks=pytest.mark.thorough), "sh"])
@pytest.mark.thorough
def test_every_body_arrives_as_it_was(server: Server, shell: str) -> None:
    for name, body in BODIES.items():
        server.arrived.clear()
        done = run(shell, command(entry(f"{server.url}/v1/x?a=[1-3]&b={{c,d}}", body, ("content-type", "text/x"))))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"ok", b""), name
        ((method, path, headers, arrived),) = server.arrived
        assert arrived == body, name
        assert (method, path) == ("POST", "/v1/x?a=[1-3]&b={c,d}")
        assert headers["content-type"] == "text/x"


@needs_curl
@settings(max_examples=examples(3), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(min_size=1, max_size=200) | st.text(min_size=1, max_size=80).map(str.encode), min_size=8, max_size=8
    )
)
def test_any_body_arrives_as_it_was(server: Server, bodies: list[bytes]) -> None:
    server.arrived.clear()
    script = "\n".join(command(entry(f"{server.url}/{number}", body)) for number, body in enumerate(bodies))
    done = run("bash", script)
    assert done.stderr == b""
    assert [body for *_, body in server.arrived] == bodies


@needs_curl
def test_headers_arrive_and_nothing_is_made_up(server: Server) -> None:
    server.arrived.clear()
    fields = (("anthropic-beta", 'a\'b $(id) "c"'), ("x-empty", ""), ("authorization", "Bearer sk-secret"))
    done = run("bash", command(entry(server.url + "/v1", b"{}", *fields)))
    assert done.returncode == 0
    ((_, _, headers, _),) = server.arrived
    assert headers["anthropic-beta"] == 'a\'b $(id) "c"'
    assert headers["x-empty"] == ""
    assert "content-type" not in headers
    assert "authorization" not in headers


@needs_curl
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_request_without_a_body_has_none(server: Server, method: str) -> None:
    server.arrived.clear()
    done = run("bash", command(entry(server.url + "/v1/../models", b"", method=method)))
    assert done.returncode == 0, done.stderr
    ((arrived, path, headers, body),) = server.arrived
    assert (arrived, path, body) == (method, "/v1/../models", b"")
    assert "content-length" not in headers


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://api.openai.com/v1/x", "authorization: Bearer $OPENAI_API_KEY"),
        ("https://api.openai.com:8443/v1/x", "authorization: Bearer $OPENAI_API_KEY"),
        ("https://eu.api.openai.com/v1/x", "authorization: Bearer $OPENAI_API_KEY"),
        ("https://api.anthropic.com/v1/messages", "x-api-key: $ANTHROPIC_API_KEY"),
        ("https://me.openai.azure.com/openai/x", "api-key: $AZURE_OPENAI_API_KEY"),
        ("https://generativelanguage.googleapis.com/v1/x", "x-goog-api-key: $GEMINI_API_KEY"),
        ("https://us-central1-aiplatform.googleapis.com/v1/x", "authorization: Bearer $GOOGLE_ACCESS_TOKEN"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/x", "authorization: Bearer $AWS_BEARER_TOKEN_BEDROCK"),
        ("https://api.cohere.com/v2/chat", "authorization: Bearer $CO_API_KEY"),
        ("https://llm.example.com/v1/x", "authorization: Bearer $API_KEY"),
        ("https://api.openai.com.example.com/v1/x", "authorization: Bearer $API_KEY"),
        ("https://notapi.openai.com/v1/x", "authorization: Bearer $API_KEY"),
        ("https://bedrock.evil.com/x.amazonaws.com", "authorization: Bearer $API_KEY"),
    ],
)
def test_the_credential_is_a_variable_of_the_host(url: str, header: str) -> None:
    assert [part for part in command(entry(url)).split("--header ") if "$" in part] == [
        f'"{header}" \\\n  ' + "--data-raw '{}'"
    ]


def test_a_variable_is_filled_in_by_the_shell_and_nothing_else_is() -> None:
    asked = command(entry("https://api.openai.com/v1/x", b'{"a":"$OPENAI_API_KEY"}'))
    done = run("bash", f"curl() {{ printf '%s\\n' \"$@\"; }}\n{asked}", OPENAI_API_KEY="sk a'b")
    words = done.stdout.decode().splitlines()
    assert "authorization: Bearer sk a'b" in words
    assert '{"a":"$OPENAI_API_KEY"}' in words


def test_a_key_is_not_sent_in_the_clear() -> None:
    assert "$" not in command(entry("http://api.openai.com/v1/x"))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://api.openai.com/x", "", "https://", "https://api.openai.com\\@evil.com/",
        "https://evil.com\\@api.openai.com/", "https://user:pw@api.openai.com/", "https://api.openai.com/\n--next",
        "https://api.openai.com /x", "https://api.openai.com/\x1b[31m",
    ],
)  # fmt: skip
def test_an_address_that_readers_differ_on_makes_no_command(url: str) -> None:
    with pytest.raises(NoCommand):
        command(entry(url))


def test_a_method_is_a_word() -> None:
    with pytest.raises(NoCommand):
        command(replace(entry("https://api.openai.com/x"), method="POST $(id)"))

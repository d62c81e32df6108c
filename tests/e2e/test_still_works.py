"""What must go on working where the proxy is careful: the table at the end of SECURITY.md, on two machines."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asking import ask
from harness import FakeProviders
from two_machines import BASED, CHAT, PASSWORD, Box, in_tunnel, page_of, two_machines
from ways_in import ADDRESS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with two_machines(tmp_path_factory.mktemp("machines")) as found:
        yield found


def test_probes_of_kubernetes(machines: Box) -> None:
    proxy = machines.serve("probed")
    before = len(list(Path(f"/proc/{proxy.pid}/fd").iterdir()))
    with machines.far.here():
        for host in (
            f"{ADDRESS}:{proxy.port}",
            f"ai-cache.default.svc.cluster.local:{proxy.port}",
            "10.77.0.1",
            "probe",
        ):
            for path in ("/healthz", "/ca.pem"):
                assert ask(proxy.port, path, {"Host": host}, address=ADDRESS).status == 200
    assert len(list(Path(f"/proc/{proxy.pid}/fd").iterdir())) < before + 10


@pytest.mark.parametrize("host", ["host.docker.internal", "ai-cache", "cachebox", ADDRESS])
def test_containers_and_services_make_their_calls(machines: Box, host: str) -> None:
    """`docker run --add-host host.docker.internal:host-gateway`, a service of Compose or Kubernetes, an address."""
    proxy = machines.serve(f"for-{host}")
    machines.providers.forget()
    key = {"Authorization": "Bearer sk-of-the-container"}
    with machines.far.here():
        named = {"Host": f"{host}:{proxy.port}"}
        for expected in ("MISS", "HIT"):
            got = ask(proxy.port, BASED, named | key, "POST", CHAT, ADDRESS)
            assert (got.status, got.headers["x-ai-cache-status"]) == (200, expected), got
        assert in_tunnel(proxy.port, ADDRESS, "ai-cache.internal:80", "GET", "/healthz", {}).status == 200
    assert len(machines.providers.calls) == 1


@pytest.mark.parametrize("options", [("--local",), ("--hosts", "localhost")])
def test_ollama_by_base_url(machines: Box, options: tuple[str, ...]) -> None:
    proxy, closed = machines.serve(f"ollama{options[0]}", *options), machines.serve(f"no-ollama{options[0]}")
    path = f"/http://localhost:{machines.providers.plain.port}/v1/chat/completions"
    for way_in in ("loopback", "other machine"):
        with machines.client(way_in) as address:
            key = {"Authorization": f"Bearer sk-of-{way_in}"}
            got = ask(proxy.port, path, key, "POST", CHAT, address)
            assert (got.status, got.headers["x-ai-cache-status"]) == (200, "MISS"), got
            refused = ask(closed.port, path, key, "POST", CHAT, address)
            assert refused.status == 403
            assert "--hosts localhost" in refused.text


def test_ollama_in_another_container(machines: Box, tmp_path: Path) -> None:
    with machines.far.here():
        models = FakeProviders(tmp_path / "models")
    try:
        models.answer = machines.providers.answer
        elsewhere = models.submit(models.plain.start("10.77.0.2")).result(30)
        # Beyond loopback calls are kept apart by their key, and Ollama has none.
        proxy = machines.serve("compose", "--hosts", "ollama", "--set", "ai_cache_keyless_hosts=ollama")
        with machines.box.here():
            got = ask(proxy.port, f"/http://ollama:{elsewhere.port}/v1/chat/completions", {}, "POST", CHAT)
        assert (got.status, got.headers["x-ai-cache-status"]) == (200, "MISS"), got
    finally:
        models.stop()


@pytest.mark.parametrize("origin", ["app://obsidian.md", "null", "http://localhost:5173"])
def test_a_desktop_app_whose_origin_was_let_in(machines: Box, origin: str) -> None:
    name = re.sub(r"\W", "-", f"app-{origin}")
    proxy = machines.serve(name, "--set", f"ai_cache_browser_origins={origin}")
    page = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    first = page | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with machines.client("loopback") as address:
        assert ask(proxy.port, BASED, first, "OPTIONS", None, address).status == 204
        got = ask(proxy.port, BASED, page | {"Authorization": "Bearer sk-app"}, "POST", CHAT, address)
        assert (got.status, got.headers["access-control-allow-origin"]) == (200, origin)
        assert ask(proxy.port, BASED, page | {"Origin": "app://another"}, "POST", CHAT, address).status == 403


def test_node_prometheus_and_the_user(machines: Box) -> None:
    proxy = machines.serve("seen", "--dashboard", "127.0.0.1:0", "--set", "ai_cache_isolate=none")
    node = {"Sec-Fetch-Mode": "cors", "Authorization": "Bearer sk-node"}
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    with machines.client("loopback"):
        assert ask(proxy.port, BASED, node, "POST", CHAT).status == 200
        assert ask(proxy.port, "/", typed).text.startswith("This is ai-cache")
        assert "gpt-4o" in ask(page_of(proxy), "/", typed).text
    guarded = machines.serve("watched", AI_CACHE_DASHBOARD_PASSWORD="the password")
    with machines.client("other machine") as address:
        assert "ai_cache_calls_total" in ask(guarded.port, "/metrics", PASSWORD, address=address).text


def test_a_client_with_a_port_that_the_proxy_uses_too(machines: Box) -> None:
    """The kernel gives one port to several connections, as long as their other ends differ: four ports here are used
    by clients towards the proxy and by the proxy towards a model on the same machine. None is a loop."""
    proxy = machines.serve("ports", "--local")
    path = f"/http://localhost:{machines.providers.plain.port}/v1/chat/completions"
    with ExitStack() as stack, machines.box.here():
        limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
        before = limits.read_text()
        limits.write_text("40000 40003")
        try:
            for number in range(4):
                client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
                stack.callback(client.close)
                client.request("POST", path, CHAT, {"Authorization": f"Bearer sk-{number}"})
                answer = client.getresponse()
                assert (answer.status, answer.read()[:1]) == (200, b"{")
                client.request("POST", path, CHAT + b" " * number)
                assert client.getresponse().status == 200
        finally:
            limits.write_text(before)

"""mitmproxy as the patch that notes the form of a request expects it."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy import connection, http, options
from mitmproxy.proxy import commands, context, events, layer, layers, mode_specs
from mitmproxy.proxy.layers.http import HTTPMode, HttpStream
from mitmproxy.proxy.layers.http._hooks import HttpConnectHook, HttpRequestHeadersHook
from mitmproxy.test import tflow

from mitmproxy_ai_cache.proxy import bridge
from mitmproxy_ai_cache.proxy.patches import arrival
from mitmproxy_ai_cache.proxy.patches.arrival import Form
from mitmproxy_ai_cache.proxy.patches.table import ARRIVAL
from unit.proxy.patches.stock import below_ours

pytestmark = pytest.mark.patches


@pytest.fixture(autouse=True)
def patched(_stock: None) -> None:
    arrival.install()


def flow_of(sent: bytes, mode: HTTPMode = HTTPMode.regular) -> http.HTTPFlow:
    """The flow that mitmproxy makes of `sent`, at its first hook."""
    given = options.Options()
    for name, kind, value in (
        ("connection_strategy", str, "lazy"),
        ("validate_inbound_headers", bool, True),
        ("body_size_limit", Any, None),
        ("stream_large_bodies", Any, None),
        ("store_streamed_bodies", bool, False),
        ("keep_host_header", bool, False),
        ("proxy_debug", bool, False),
    ):
        given.add_option(name, kind, value, "")
    client = connection.Client(
        peername=("127.0.0.1", 5), sockname=("127.0.0.1", 8484), state=connection.ConnectionState.OPEN
    )
    client.proxy_mode = mode_specs.ProxyMode.parse("regular" if mode is HTTPMode.regular else "transparent")
    around = context.Context(client, given)
    around.server.address = ("behind.example", 80)
    top = layers.HttpLayer(around, mode)
    found: list[layer.Layer | commands.Command] = list(top.handle_event(events.Start()))
    found += top.handle_event(events.DataReceived(client, sent))
    for command in found:
        if isinstance(command, HttpRequestHeadersHook | HttpConnectHook):
            return command.flow
    raise AssertionError(found)


@pytest.mark.parametrize(
    ("sent", "form", "name"),
    [
        (b"GET /x HTTP/1.1\r\nHost: a.example:1\r\n\r\n", Form.ORIGIN, "a.example"),
        (b"GET /x HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", Form.ORIGIN, "::1"),
        (b"GET /x HTTP/1.0\r\n\r\n", Form.ORIGIN, ""),
        (b"GET /x HTTP/1.1\r\nHost: \r\n\r\n", Form.ORIGIN, ""),
        (b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", Form.ORIGIN, "a.example"),
        (b"GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", Form.ABSOLUTE, ""),
        (b"CONNECT b.example:443 HTTP/1.1\r\n\r\n", Form.CONNECT, ""),
    ],
)
def test_the_form_is_noted_before_the_first_hook(sent: bytes, form: Form, name: str) -> None:
    flow = flow_of(sent)
    note = arrival.of(flow)
    assert (note.form, note.name) == (form, name)
    assert bridge.is_for_us(flow) == (form is Form.ORIGIN)


def test_in_a_tunnel_and_in_other_modes_the_form_says_nothing() -> None:
    flow = flow_of(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n", HTTPMode.transparent)
    assert arrival.of(flow).form is Form.INSIDE
    assert flow.request.host == "behind.example"
    assert not bridge.is_for_us(flow)


def test_what_has_no_note_counts_as_ours_outside_of_tls() -> None:
    flow = tflow.tflow()
    flow.client_conn.proxy_mode = mode_specs.ProxyMode.parse("regular")
    flow.client_conn.timestamp_tls_setup = None
    assert bridge.is_for_us(flow)
    flow.client_conn.timestamp_tls_setup = 1.0
    assert not bridge.is_for_us(flow)


def test_mitmproxy_itself_does_not_tell_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = below_ours(ARRIVAL.replaces[0])
    monkeypatch.setattr(HttpStream, "state_wait_for_request_headers", stock)
    origin = flow_of(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n")
    absolute = flow_of(b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n")
    theirs = [{**flow.request.get_state(), "timestamp_start": 0, "timestamp_end": 0} for flow in (origin, absolute)]
    assert theirs[0] == theirs[1]


def test_without_the_note_both_forms_count_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """So nothing that is meant for us is forwarded on a mitmproxy that the patch does not know."""
    monkeypatch.setattr(HttpStream, "state_wait_for_request_headers", below_ours(ARRIVAL.replaces[0]))
    for target in (b"/x", b"http://a.example/x"):
        flow = flow_of(b"GET " + target + b" HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert arrival.of(flow).form is Form.UNKNOWN
        assert bridge.is_for_us(flow)

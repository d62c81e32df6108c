"""Between mitmproxy's values and ours."""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mitmproxy import connection, ctx, http, log
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import mode_specs

from ..calls import own_address, own_rules
from ..calls.capture import Capture
from ..configuration.options import LIST, Option
from ..protocols.base import Ending
from ..wire import addresses, our_headers
from ..wire.messages import Headers, Request, Response
from ..wire.safe_text import quoted
from ..wire.spelling import did_you_mean
from .control import ControlCall, WrongCall
from .patches import arrival, odd_answers


def headers_from(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)


def request_from(flow: http.HTTPFlow, scope: str = "") -> Request:
    """The request of `flow` as the core reads it."""
    wire = flow.request
    path, _, query = wire.data.path.decode("latin-1").partition("?")
    return Request(
        method=wire.data.method.decode("latin-1"),
        scheme=wire.scheme,
        host=wire.host,
        port=wire.port,
        path=path,
        query=query,
        headers=headers_from(wire.headers.fields),
        body=wire.raw_content,
        authority=wire.data.authority.decode("latin-1"),
        sni=flow.client_conn.sni or "",
        reverse=isinstance(flow.client_conn.proxy_mode, mode_specs.ReverseMode),
        scope=scope,
    )


def response_to(response: Response, method: str) -> http.Response:
    """`response` for a request of `method`. HEAD gets no body: the client would read it as its next answer.

    The body goes out as it is. Not `Response.make`, which looks for a content coding to apply and sets the length in
    many steps: a tenth of the time of a hit.
    """
    fields = [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
        for name, value in response.headers
        if name.lower() not in _LENGTH
    ]
    body = b"" if method == "HEAD" else response.body
    fields.append((b"content-length", b"%d" % len(body)))
    reason = status_codes.RESPONSES.get(response.status, "").encode()
    now = time.time()
    return http.Response(b"HTTP/1.1", response.status, reason, http.Headers(fields), body, None, now, now)


_LENGTH = ("content-length", "transfer-encoding")


def is_for_us(flow: http.HTTPFlow, own_names: tuple[str, ...] = ()) -> bool:
    """Whether the request is addressed to the proxy itself, which also has `own_names`."""
    note = arrival.of(flow)
    if note.based or note.form is arrival.Form.REPLAYED:
        return False
    if is_magic(flow.request.host) or arrival.may_be_for_us(flow):
        return True
    # HTTP/2 has no origin form: there the authority decides.
    client = flow.client_conn
    return (
        note.form is arrival.Form.MULTIPLEXED
        and own_rules.is_own_name(flow.request.host, str(client.sockname[0]), own_names)
        and (flow.request.port == client.sockname[1] or own_address.is_base_url(flow.request.path))
    )


def is_magic(host: str) -> bool:
    if host == own_address.MAGIC_HOST:
        return True
    return 0 <= len(host) - len(own_address.MAGIC_HOST) < 2 and addresses.canonical(host) == own_address.MAGIC_HOST


def is_from_here(client: connection.Client) -> bool:
    return client.peername is not None and addresses.is_loopback(str(client.peername[0]))


def follow_base_url(flow: http.HTTPFlow, target: own_address.Target) -> None:
    """`/https://host/path` becomes the request it stands for."""
    request = flow.request
    request.scheme, request.host, request.port = target.scheme, target.host, target.port
    request.path = target.path
    request.host_header = target.authority


def own_answer(flow: http.HTTPFlow, state: dict[str, object]) -> Response:
    """What the proxy says of itself."""
    certificate = Path(ctx.options.confdir).expanduser() / "mitmproxy-ca-cert.pem"
    data = certificate.read_bytes() if certificate.is_file() else None
    return own_address.answer(flow.request.path, data, state)


def address_of(flow: http.HTTPFlow) -> tuple[object, ...]:
    """What another script must not have changed between the key and the answer."""
    data = flow.request.data
    return data.method, data.scheme, data.host, data.port, data.path, flow.request.host_header


def ending_of(flow: http.HTTPFlow) -> Ending:
    """How a message that mitmproxy takes for complete ended."""
    response = flow.response
    if response is None:
        return Ending.ABORTED
    if not response.http_version.startswith("HTTP/1"):
        return Ending.CLEAN
    framed = "content-length" in response.headers or "chunked" in response.headers.get("transfer-encoding", "").lower()
    bodiless = flow.request.method == "HEAD" or response.status_code in (204, 304)
    return Ending.CLEAN if framed or bodiless else Ending.CLOSED


def wrong_options(deferred: Mapping[str, Any], options: Iterable[Option]) -> list[str]:
    """What is wrong with the `ai_cache_*` options that were given before the addon was loaded, one line each.

    mitmproxy keeps them back until there is an option of that name. One that does not fit then keeps the whole addon
    from loading, and one that never comes is ignored, both without a word.
    """
    known = {option.name: option for option in options}
    complaints = []
    for name, given in deferred.items():
        if not name.startswith("ai_cache_"):
            continue
        if name not in known:
            complaints.append(f"there is no option {name}{did_you_mean(name, known)}")
            continue
        if complaint := _misfit(known[name], getattr(given, "val", given)):
            complaints.append(f"{name} is {complaint}")
    return complaints


def level_read() -> int:
    """The lowest level of log lines that somebody reads. `mitmdump -q` shows errors alone.

    Of every line, read or not, mitmproxy makes an event for all addons (`add_log`, deprecated), which takes longer than
    the look-up of a hit.
    """
    readers = (each for each in logging.getLogger().handlers if not isinstance(each, log.LegacyLogEvents))
    return min((each.level for each in readers), default=logging.NOTSET)


def _misfit(option: Option, given: Any) -> str:
    """`given` is a list of strings from the command line, or a value of the configuration file."""
    if option.type is LIST:
        return "" if isinstance(given, list | tuple) else f"{quoted(given)}; write a list"
    if not isinstance(given, list):
        return "" if isinstance(given, option.type) else f"{quoted(given)}; write a {option.type.__name__}"
    if len(given) > 1:
        return f"given {len(given)} times; write it once"
    text = given[0] if given else ""
    if option.type is bool and text not in ("", "true", "false", "toggle"):
        return f"{quoted(text)}; write true or false"
    if option.type is int and not text.lstrip("-").isdecimal():
        return f"{quoted(text)}; write a whole number"
    return ""


def add_headers(response: http.Response, fields: Iterable[tuple[str, str]]) -> None:
    """`fields` are ASCII."""
    response.headers.fields += tuple((name.encode(), value.encode()) for name, value in fields)


def strip_our_headers(request: http.Request) -> None:
    """Ours are not forwarded, but for one that SigV4 signed: without it the signature breaks."""
    if not any(name.lower().startswith(_OURS) for name, _ in request.headers.fields):
        return
    signed = request.headers.get("authorization", "").partition("SignedHeaders=")[2].partition(",")[0].split(";")
    for name in our_headers.OF_REQUESTS:
        if name in request.headers and name not in signed:
            del request.headers[name]


_OURS = our_headers.PREFIX.encode()


def declare_length(request: http.Request) -> None:
    """Say how long a body is that came over h2 without a word of it: on h1 its bytes would pass for a request."""
    if request.is_http2 and request.raw_content and "content-length" not in request.headers and not request.trailers:
        request.headers["content-length"] = str(len(request.raw_content))


def captured(flow: http.HTTPFlow, capture: Capture | None, ending: Ending) -> tuple[bytes | None, str]:
    """The body that passed, or why there is none."""
    if capture is None:
        return None, ""
    if odd_answers.is_followed(flow.response):
        return None, "more-than-one-answer"
    if capture.overflow:
        return None, "too-large"
    if ending is Ending.ABORTED and odd_answers.is_cut(flow.response):
        return None, "truncated"
    if capture.ended or ending is Ending.ABORTED:
        return capture.body(), ""
    # Empty bodies never meet the tee; neither does one that another script took over.
    content: Any = flow.response.raw_content if flow.response else None
    return (content, "") if content is not None else (None, "rewritten")


def client_left(flow: http.HTTPFlow) -> bool:
    """Whether it was the client's leaving that ended the message."""
    message = flow.error.msg if flow.error else ""
    return flow.error is not None and ("client" in message.lower() or not flow.client_conn.connected)


def listen_addrs() -> list[tuple[str, int]]:
    """Where mitmproxy listens."""
    servers = ctx.master.addons.get("proxyserver")
    return [] if servers is None else [(str(address[0]), int(address[1])) for address in servers.listen_addrs()]


def is_local() -> bool:
    """Whether only this machine reaches the proxy."""
    return all_loopback(listen_addrs())


def all_loopback(listeners: Iterable[tuple[str, int]]) -> bool:
    """Whether who can reach these listeners is on this machine."""
    found = list(listeners)
    return bool(found) and all(addresses.is_loopback(address[0]) for address in found)


def will_be_local() -> bool:
    """Whether the options let only this machine reach the proxy."""
    try:
        modes = [mode_specs.ProxyMode.parse(spec) for spec in ctx.options.mode]
    except ValueError:
        return False  # mitmproxy says so itself
    return all(addresses.is_loopback(mode.listen_host(ctx.options.listen_host)) for mode in modes)


def control_call(flow: http.HTTPFlow) -> ControlCall:
    client, wire = flow.client_conn, flow.request
    headers = headers_from(wire.headers.fields)
    return ControlCall(wire.method, wire.path, headers, wire.raw_content, client.sockname[1], str(client.sockname[0]))


class Listeners:
    """Listeners on this machine, beside those that the proxy was started with."""

    def __init__(self) -> None:
        self._opened: dict[str, str] = {}
        """URL -> mode of mitmproxy."""

    async def open(self, port: int, host: str) -> str:
        servers = ctx.master.addons.get("proxyserver")
        like = [server.mode for server in servers.servers if any(at[1] == port for at in server.listen_addrs)]
        if not like or not isinstance(like[0], mode_specs.RegularMode | mode_specs.UpstreamMode):
            raise WrongCall("only regular and upstream proxies get more listeners")
        at = "127.0.0.1" if addresses.is_loopback(host) else addresses.canonical(host)
        for _ in range(3):  # somebody else may take the port in between
            with socket.socket(socket.AF_INET6 if ":" in at else socket.AF_INET) as free:
                free.bind((at, 0))
                number = free.getsockname()[1]
            spec = f"{':'.join(filter(None, (like[0].type_name, like[0].data)))}@{at}:{number}"
            ctx.options.update(mode=[*ctx.options.mode, spec])
            await servers.setup_servers()
            if any(at[1] == number for at in servers.listen_addrs()):
                url = f"http://[{at}]:{number}" if ":" in at else f"http://{at}:{number}"
                self._opened[url] = spec
                return url
            ctx.options.update(mode=[known for known in ctx.options.mode if known != spec])
        raise WrongCall("no listener could be opened; see the log of the proxy", 500)

    async def close(self, url: str) -> None:
        spec = self._opened.pop(url, "")
        if not spec:
            raise WrongCall("no listener of this URL was opened by a call")
        ctx.options.update(mode=[known for known in ctx.options.mode if known != spec])


def to_user(line: str) -> None:
    """What is said at the start, however little else is logged."""
    if ctx.master.addons.get("consoleaddon"):
        # mitmproxy's full-screen interface has an event log, and stderr would break its screen.
        logging.getLogger("ai-cache").info("%s", line)
    else:
        print(line, file=sys.stderr, flush=True)

"""What comes to the proxy itself, what comes back to it, and what its base URLs send on: `own_rules` on real flows."""

from __future__ import annotations

from collections.abc import Callable

from mitmproxy import http
from mitmproxy.proxy import mode_specs

from .. import __version__
from ..calls import own_address, own_rules
from ..calls.own_rules import OwnCall
from ..configuration.settings import Settings
from ..counts.counted import CountedCache
from ..wire.messages import Response
from . import bridge, status_page
from .connecting import Connecting
from .control import PREFIX, Control
from .patches import arrival, connection_handling
from .patches.arrival import Arrival, Form
from .targets import Named, Targets


class Front:
    """One for each proxy. `off_loopback` says whether others than this machine reach it."""

    def __init__(
        self,
        connecting: Connecting,
        control: Control,
        page: status_page.StatusPage,
        off_loopback: Callable[[], bool],
    ) -> None:
        self._connecting = connecting
        self._control = control
        self._page = page
        self._off_loopback = off_loopback
        self._settings = Settings()
        self._targets = Targets()

    def use(self, settings: Settings) -> None:
        self._settings, self._targets = settings, Targets(settings.hosts)
        self._connecting.allowed = lambda host: self._targets.named(host) is Named.EXACTLY

    # Its steps, in the order of a request

    async def connect(self, flow: http.HTTPFlow) -> None:
        """A CONNECT: it may not lead back to us, and may not have come from us."""
        request = flow.request
        if flow.response is not None or bridge.is_magic(request.host):
            return
        if self._came_back(flow) or await self._connecting.leads_to_us(request.host, request.port):
            flow.response = bridge.response_to(own_rules.loop(request.host), request.method)

    def receive(self, flow: http.HTTPFlow) -> None:
        """The head is there: decide whose request it is. A base URL becomes the request it stands for."""
        note = arrival.of(flow)
        if bridge.is_for_us(flow, self._settings.own_names):
            note.ours = True
            self._decide(flow, note)
        elif _may_have_been_here(flow, note) and self._came_back(flow):
            note.refusal = own_rules.loop(flow.request.host)

    async def answer(self, flow: http.HTTPFlow, cache: CountedCache | None) -> Response | None:
        """The answer to what is for us or came back to us; None where the request goes on."""
        note = arrival.of(flow)
        if note.refusal is not None:
            return note.refusal
        if note.ours:
            return await self._own_answer(flow, note, cache)
        port = flow.request.port
        if port in self._connecting.ports and self._may_lead_to_us(flow, note):
            host = flow.request.host
            if await self._connecting.leads_to_us(host, port):
                return own_rules.leads_to_us(host) if note.based else own_rules.loop(host)
        return None

    def send(self, flow: http.HTTPFlow) -> None:
        """The request goes to the network now."""
        note, request = arrival.of(flow), flow.request
        if request.scheme == "http" and note.form is not Form.REPLAYED:
            self._connecting.mark(request)
        if not note.based or flow.server_conn.via is not None:
            return
        host = request.host
        ticket = self._connecting.judge(flow.client_conn, host, request.port, note.judged)

        def answer() -> http.Response | None:
            if ticket.refused is None:
                return None
            return bridge.response_to(own_rules.refused_target(host, *ticket.refused), request.method)

        connection_handling.answer_if_unreachable(flow, answer)

    def mark(self, flow: http.HTTPFlow) -> None:
        """An answer to a base URL never runs in the origin of our address; pages that may read it are told so."""
        note, response = arrival.of(flow), flow.response
        if response is None or not (note.based or note.origin):
            return
        if note.based:
            response.headers["content-security-policy"] = "sandbox"
            response.headers["x-content-type-options"] = "nosniff"
        if note.origin and "access-control-allow-methods" not in response.headers:
            for name in [name for name in response.headers if name.lower().startswith("access-control-")]:
                del response.headers[name]
            vary = response.headers.get("vary", "")
            for name, value in own_rules.readable_by(note.origin):
                response.headers[name] = value
            if vary and "origin" not in vary.lower():
                response.headers["vary"] = f"{vary}, Origin"

    # What is decided

    def _decide(self, flow: http.HTTPFlow, note: Arrival) -> None:
        call, settings = self._call(flow, note), self._settings
        note.refusal = own_rules.wrong_name(call, settings.own_names)
        if note.refusal is not None:
            return
        browser = own_rules.from_browser(call, settings.browser_origins)
        note.refusal, note.origin = browser.refusal, browser.origin
        if note.refusal is None:
            note.refusal = own_rules.preflight(call, note.origin)
        target = own_address.target_of(call.path)
        if note.refusal is not None or target is None:
            return
        named = self._targets.named(target.host)
        if self._came_back(flow):
            note.refusal = own_rules.loop(target.host)
        elif named is Named.NOT:
            note.refusal = own_rules.no_target(target.host)
        else:
            bridge.follow_base_url(flow, target)
            note.ours, note.based = False, True
            note.judged = named is Named.BY_GLOB or (named is not Named.EXACTLY and self._off_loopback())

    def _call(self, flow: http.HTTPFlow, note: Arrival) -> OwnCall:
        wire, client = flow.request, flow.client_conn
        name = note.name if note.form is Form.ORIGIN else wire.host
        return OwnCall(
            method=wire.method,
            path=wire.path,
            headers=bridge.headers_from(wire.headers.fields),
            name=name,
            came_in_at=str(client.sockname[0]),
            authority=wire.host_header or "",
            local=bridge.is_from_here(client) and not self._came_back(flow),
        )

    async def _own_answer(self, flow: http.HTTPFlow, note: Arrival, cache: CountedCache | None) -> Response:
        call = self._call(flow, note)
        denied = own_rules.not_allowed(call, self._settings.dashboard_password)
        if denied is not None:
            return denied
        if call.path.startswith(PREFIX):
            return await self._control.answer(bridge.control_call(flow), cache)
        if status_page.is_for_it(flow):
            return await self._page.answer(flow, call.local)
        state: dict[str, object] = {"status": "ok", "version": __version__, "mode": self._settings.mode}
        return bridge.own_answer(flow, state)

    def _came_back(self, flow: http.HTTPFlow) -> bool:
        client = flow.client_conn
        return self._connecting.came_from_us(client.peername, client.sockname) or self._connecting.passed_us(
            flow.request
        )

    @staticmethod
    def _may_lead_to_us(flow: http.HTTPFlow, note: Arrival) -> bool:
        return note.form is not Form.REPLAYED and not isinstance(flow.client_conn.proxy_mode, mode_specs.ReverseMode)


def _may_have_been_here(flow: http.HTTPFlow, note: Arrival) -> bool:
    """In a tunnel only plain HTTP says so."""
    if note.form is Form.INSIDE:
        return flow.request.data.scheme == b"http"
    return note.form is Form.ABSOLUTE or note.form is Form.MULTIPLEXED

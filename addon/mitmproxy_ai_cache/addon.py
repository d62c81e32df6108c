"""The mitmproxy hooks, and nothing else: the life of a request is read here from top to bottom."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from mitmproxy import addonmanager, connection, ctx, exceptions, http, tls
from mitmproxy.proxy import server_hooks

from .calls import websockets
from .calls.exchange import Exchange
from .calls.flight import Flight
from .calls.reasons import Reason, Status
from .calls.refusals import proxy_user_required
from .calls.scopes import Scope, Scopes
from .configuration import changes, writable
from .configuration.options import OPTIONS, SECRETS
from .configuration.settings import Settings, SettingsError
from .configuration.store_of import store_of
from .counts.counted import CountedCache
from .identity.isolation import Isolation
from .protocols.base import Ending
from .proxy import bridge, first_lines, own_doors, patches, status_page, unread
from .proxy.commands import Commands
from .proxy.connecting import Connecting, ConnectionHooks
from .proxy.control import Control
from .proxy.flow_call import FlowCall
from .proxy.front import Front
from .proxy.patches import arrival, connection_handling, informational, memory_origin, request_bodies, tuning
from .proxy.proxy_users import ProxyUsers
from .proxy.uploads import Uploads
from .stores import Store, StoreError
from .system.out_of_files import OutOfFiles
from .wire.messages import Response

logger = logging.getLogger("ai-cache")

_CRASHED_AFTER = 5.0
"""Seconds after its client left in which a call has come to its end, unless mitmproxy stumbled."""


class AICache(ConnectionHooks):
    """The addon. `announce` gets the first line; `stream_all` lets every response stream, AI host or not."""

    name = "ai-cache"
    store_of: Callable[[Settings], Store] = staticmethod(store_of)

    def __init__(self, announce: Callable[[str], None] | None = None, stream_all: bool = False) -> None:
        self.cache: CountedCache | None = None
        self._settings = Settings()
        self._announce = announce or bridge.to_user
        self._stream_all = stream_all
        self._running = False
        self._starting: asyncio.Task[None] | None = None
        self._complaints: set[str] = set()
        self._calls: dict[str, FlowCall] = {}
        self._users = ProxyUsers()
        self._scopes = Scopes()
        self._uploads = Uploads()
        self._files = OutOfFiles()
        self.connecting = Connecting(
            lambda: [*bridge.listen_addrs(), *filter(None, [self._page.address])], self._files.connected
        )
        self._page = status_page.StatusPage(
            lambda: self.cache,
            lambda: [call.exchange for call in self._calls.values()],
            self.connecting.came_from_us,
        )
        control = Control(self._scopes, bridge.Listeners(), self._over)
        self._front = Front(self.connecting, control, self._page, lambda: not bridge.is_local())
        self._commands = Commands(lambda: self.cache)

    # Options

    def load(self, loader: addonmanager.Loader) -> None:
        arrival.install()  # at once: the form of the first request counts, too
        for complaint in bridge.wrong_options(loader.master.options.deferred, OPTIONS):
            self._refuse(complaint)
        for option in OPTIONS:
            loader.add_option(option.name, option.type, option.default, option.help, option.choices)
        self._commands.add_to(loader)

    def configure(self, updated: set[str]) -> None:
        self._commands.configure()
        if not self._running or any(name.startswith("ai_cache_") for name in updated):
            try:
                values = {option.name: getattr(ctx.options, option.name) for option in OPTIONS}
                for name in SECRETS:
                    values[name] = values[name] or os.environ.get(name.upper(), "")
                self._use(Settings.parse(values))
            except SettingsError as error:
                self._refuse(str(error))
        if "termlog_verbosity" in updated and not self._stream_all:
            logger.setLevel(bridge.level_read())
        if self._running and {"mode", "listen_host", "listen_port", "server"} & updated:
            self._listen_elsewhere()
        if not self._settings.eager and ctx.options.connection_strategy != "lazy":
            # Eager connections reach the provider before the first request, so before there can be a hit.
            ctx.options.update(connection_strategy="lazy")

    def _use(self, settings: Settings) -> None:
        changes.check(settings, self._settings if self._running else None, ctx.options.stream_large_bodies)
        self._settings = settings = patches.possible(settings)
        self._uploads.max_pending = settings.max_pending
        self._front.use(settings)
        if self.cache is not None:
            self.cache = CountedCache(settings, self.cache.store, self._isolation(), self.cache.stats, self.cache.pool)

    def _listen_elsewhere(self) -> None:
        """The proxy may be reached by others from now on."""
        if self.cache is not None and not bridge.will_be_local():
            self.cache.isolation = changes.isolation_of(self._settings, local=False)

    def _refuse(self, message: str) -> None:
        if self._running:
            raise exceptions.OptionsError(message)
        # Raising here would print a traceback; an error that is logged at start-up ends it.
        if message not in self._complaints:
            self._complaints.add(message)
            logger.error("ai-cache: %s", message)

    def _isolation(self) -> Isolation:
        return changes.isolation_of(self._settings, bridge.is_local())

    # Life of the proxy

    def running(self) -> asyncio.Task[None]:
        # No coroutine functions here and in `done`: scripts are also loaded and unloaded while the proxy runs, and
        # then mitmproxy calls these without awaiting them.
        self._starting = asyncio.create_task(self._start(), name="ai-cache start")
        return self._starting

    async def _start(self) -> None:
        patches.install(self._uploads, self._files.happened)
        self._files.watch(asyncio.get_running_loop())
        entries, trouble = 0, ""
        try:
            settings = writable.settled(self._settings)
            store = self.store_of(settings)
            await store.open()
            entries = await store.count()
        except StoreError as error:
            if self._settings.needs_store:
                logger.error("ai-cache: %s", error)
                return
            trouble = str(error)
        self.cache = CountedCache(settings, store, self._isolation())
        if settings.tune_mitmproxy:
            tuning.tune(ctx.master)
        self._running = True
        self._announce(first_lines.state(self._settings, self._isolation(), store.url, entries))
        if settings.dashboard is not None:
            self._page.listen(*settings.dashboard, self._announce)
        if trouble:
            logger.warning("ai-cache: %s; calls go on as misses", trouble)
        first_lines.warn(self._settings, bridge.is_local(), self._stream_all)

    def done(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._stop(), name="ai-cache stop")

    async def _stop(self) -> None:
        self._running = False
        request_bodies.remove(self._uploads)
        await self._page.close()
        for call in [call for call in self._calls.values() if call.exchange.status]:
            self._finish(call.flow, Ending.ABORTED)  # mitmproxy cuts its connection and says no more of it
        cache, self.cache = self.cache, None  # what still comes passes, or is refused by a strict replay
        if cache is not None:
            await cache.close()

    # Connections

    def client_connected(self, client: connection.Client) -> None:
        if self.cache is not None:
            self.cache.stats.connections += 1
        self.connecting.client_connected()
        connection_handling.lift_connection_limit(ctx.master.addons.get("proxyserver").connections.values(), client)

    def client_disconnected(self, client: connection.Client) -> None:
        self._users.forget(client)
        self._uploads.end_of_client(client.id)
        request_bodies.forget(client)
        self.connecting.client_disconnected(client)
        left = [call for call in self._calls.values() if call.flow.client_conn.id == client.id]
        if left and self.cache is not None:
            for call in left:
                self.cache.leave(call.exchange)
            # Each of them ends in `response` or `error`, unless its connection crashed: nobody is to wait for it then.
            asyncio.get_running_loop().call_later(_CRASHED_AFTER, self._abandon, left)

    def _abandon(self, calls: list[FlowCall]) -> None:
        for call in calls:
            if self._take(call.flow) is not None and self.cache is not None:
                self.cache.abandon(call.exchange)

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        await self._front.connect(flow)
        if self._isolates_users and flow.response is None and self._users.of_tunnel(flow) is None:
            flow.response = bridge.response_to(proxy_user_required(), flow.request.method)

    def tls_start_server(self, data: tls.TlsData) -> None:
        if not self._settings.eager:
            connection_handling.speak_as_the_client(data.conn, data.context)

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        address = data.server.address
        allowed = self.cache is not None and address is not None and address[0] in self.cache.allowed
        if self._settings.mode == "replay" and not allowed:
            data.server.error = "ai-cache replay: the network is not touched"
        self.connecting.server_connect(data)

    # The request

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self._front.receive(flow)
        note = arrival.of(flow)
        for_us = note.ours or note.refusal is not None
        if note.ours and note.refusal is None:
            own_doors.let_in(flow, self._settings.dashboard_password)
        path = flow.request.path.partition("?")[0]
        ours = self.cache is not None and self.cache.concerns(flow.request.method, flow.request.host, path)
        if ours:
            flow.request.stream = False  # a body we have not seen has no key
        if ours or for_us or self._stream_all or self._settings.mode == "replay":
            self._uploads.begin(flow, self._settings.max_body, self._settle_unread)

    def _settle_unread(self, flow: http.HTTPFlow, reason: str) -> http.Response | None:
        """Decide on a request whose body is too large to hold: the answer that refuses it, or None."""
        refusal = unread.settle(flow, reason, self.cache, self._settings.mode, self._admit, self._take)
        if refusal is None:
            self._front.send(flow)
        return refusal

    def _admit(self, flow: http.HTTPFlow, cache: CountedCache) -> Response | FlowCall:
        """The call of a request that somebody makes who may; else what refuses it."""
        user = self._users.of(flow) if self._isolates_users else None
        if self._isolates_users and user is None:
            return proxy_user_required()
        scope = self._scopes.at(flow.client_conn.sockname[1])
        request = bridge.request_from(flow, scope.namespace if scope is not None else "")
        if refusal := websockets.refusal(request, cache.settings, request.host in cache.hosts):
            cache.stats.upgrade_refused(request.host, request.path)
            return refusal
        call = self._calls[flow.id] = FlowCall(flow, Exchange(request, scope=scope), user)
        return call

    async def request(self, flow: http.HTTPFlow) -> None:
        if self._uploads.end(flow):
            return  # it was settled by its head
        if self._starting is not None and not self._starting.done():
            await asyncio.wait([self._starting])
        cache = self.cache
        if cache is None or flow.response is not None or flow.error is not None or not flow.live:
            return
        method = flow.request.method
        if (answer := await self._front.answer(flow, cache)) is not None:
            flow.response = bridge.response_to(answer, method)
            return
        call = self._admit(flow, cache)
        if isinstance(call, Response):
            flow.response = bridge.response_to(call, method)
            return
        exchange = await cache.begin(call.exchange, call.user)
        if exchange.response is not None:
            flow.response = bridge.response_to(exchange.response, method)
        if exchange.response is not None or not exchange.status:
            self._take(flow)
            if exchange.key:
                self._commands.note(flow, exchange, cache)
        else:
            self._forward(call)
        if exchange.response is None:
            bridge.strip_our_headers(flow.request)
            bridge.declare_length(flow.request)
            self._front.send(flow)

    def _forward(self, call: FlowCall) -> None:
        """To the provider, or to the stream of an identical call in flight."""
        flow, exchange = call.flow, call.exchange
        call.content, call.address = flow.request.raw_content, bridge.address_of(flow)
        if exchange.answered.follower is not None:
            call.restore = memory_origin.send_to(flow, exchange.answered.follower)
        elif exchange.flight is not None:
            protect = partial(self._protect, call, exchange.flight)
            if exchange.flight.waiting:
                protect()
            else:
                exchange.flight.followed = protect
        if exchange.answered.stale is not None and self.cache is not None:
            connection_handling.answer_if_unreachable(flow, partial(self._stale_response, call))

    def _protect(self, call: FlowCall, flight: Flight) -> None:
        """Others depend on this call now: its client's leaving must not end it."""
        over = flight.over
        connection_handling.outlive_client(
            ctx.master.addons.get("proxyserver").connections.values(),
            call.flow.client_conn,
            over,
            lambda: not over.is_set() and flight.needed,
        )

    def _stale_response(self, call: FlowCall) -> http.Response | None:
        stale = self.cache.stale_response(call.exchange, 0) if self.cache is not None else None
        return None if stale is None else bridge.response_to(stale, call.flow.request.method)

    async def _over(self, scope: Scope, seconds: float) -> None:
        """Clients go on before their calls are over here: the last byte is theirs before the end is ours."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for call in [call for call in self._calls.values() if call.exchange.scope is scope]:
                    await call.over.wait()
                if self.cache is not None:
                    await self.cache.storing.finished()

    def _take(self, flow: http.HTTPFlow) -> FlowCall | None:
        """The call of `flow`, which is over."""
        call = self._calls.pop(flow.id, None)
        if call is not None:
            call.over.set()
            connection_handling.forget_answer(flow)
        return call

    # The answer

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        response, cache = flow.response, self.cache
        self._front.mark(flow)
        if response is not None and informational.must_be_cut(response):
            flow.kill()
            return
        call = self._calls.get(flow.id)
        if response is None or cache is None or call is None:
            if self._stream_all and response is not None and response.raw_content is None and not response.stream:
                response.stream = True
            return
        exchange = call.exchange
        if response.raw_content is not None:
            # Another script's answer, not the provider's: it has its body already. Or our own stale one.
            if exchange.status is not Status.STALE:
                self._abandon([call])
            return
        if call.restore is not None:
            call.restore()
        if cache.stale_response(exchange, response.status_code) is not None:
            response.stream = False  # `response` replaces it
            return
        headers = bridge.headers_from(response.headers.fields)
        bridge.add_headers(response, cache.headers(exchange))
        if response.stream and response.stream is not True:
            return  # another script's
        follows = exchange.answered.follower is not None
        response.stream = (not follows and cache.storing.watch(exchange, response.status_code, headers)) or True

    def response(self, flow: http.HTTPFlow) -> None:
        connection_handling.forget_answer(flow)
        call = self._calls.get(flow.id)
        if call is None:
            return  # a hit, or none of ours
        if call.exchange.status is Status.STALE and self.cache is not None and flow.response:
            stale = self.cache.stale_response(call.exchange, flow.response.status_code)
            if stale is not None:
                flow.response = bridge.response_to(stale, flow.request.method)
        self._finish(flow, bridge.ending_of(flow))

    def error(self, flow: http.HTTPFlow) -> None:
        self._uploads.break_off(flow)
        connection_handling.forget_answer(flow)
        self._finish(flow, Ending.ABORTED)

    def _finish(self, flow: http.HTTPFlow, ending: Ending) -> None:
        call = self._take(flow)
        if call is None or self.cache is None:
            return
        exchange = call.exchange
        if exchange.answered.follower is not None:
            if call.restore is not None:
                call.restore()
            self.cache.followed(exchange, flow.response.status_code if flow.response else 0, ending)
            self._commands.note(flow, exchange, self.cache)
            return
        exchange.left = exchange.left or bridge.client_left(flow)
        rewritten = bridge.address_of(flow) != call.address or flow.request.raw_content != call.content
        headers = bridge.headers_from(flow.response.headers.fields if flow.response else ())
        body, why_not = bridge.captured(flow, exchange.capture, ending)
        self.cache.storing.finish(exchange, headers, body, ending, Reason.REWRITTEN if rewritten else why_not)
        self._commands.note(flow, exchange, self.cache)
        self._commands.show_body(flow, body)

    # Who asks

    @property
    def _isolates_users(self) -> bool:
        return self.cache is not None and self.cache.isolation.by("proxy-user")

"""The mitmproxy hooks, and nothing else: the life of a request is read here from top to bottom."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from mitmproxy import addonmanager, connection, ctx, exceptions, http, tls
from mitmproxy.proxy import server_hooks

from . import __version__, bridge, memory_origin, mends, status_page, tuning, websockets
from .cache import Cache
from .commands import Commands
from .control import PREFIX, Control
from .exchange import Exchange
from .flight import Flight
from .isolation import Isolation
from .messages import Response
from .options import OPTIONS, SECRETS
from .protocols.base import Ending
from .proxy_users import ProxyUsers
from .refusals import proxy_user_required
from .scopes import Scope, Scopes
from .settings import Settings, SettingsError
from .store_of import store_of
from .stores import CASSETTES, Store, StoreError

logger = logging.getLogger("ai-cache")

_CRASHED_AFTER = 5.0
"""Seconds after its client left in which a call has come to its end, unless mitmproxy stumbled."""


@dataclass(slots=True)
class _Call:
    """A flow that is ours, from its request to its end."""

    flow: http.HTTPFlow
    exchange: Exchange
    content: bytes | None = None
    address: tuple[object, ...] = ()
    restore: Callable[[], None] | None = None
    """Gives a request that is sent to memory its own address back."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class AICache:
    """The addon. `announce` gets the first line; `stream_all` lets every response stream, AI host or not."""

    name = "ai-cache"
    store_of: Callable[[Settings], Store] = staticmethod(store_of)

    def __init__(self, announce: Callable[[str], None] | None = None, stream_all: bool = False) -> None:
        self.cache: Cache | None = None
        self._settings = Settings()
        self._announce = announce or bridge.to_user
        self._stream_all = stream_all
        self._running = False
        self._starting: asyncio.Task[None] | None = None
        self._complaints: set[str] = set()
        self._calls: dict[str, _Call] = {}
        self._users = ProxyUsers()
        self._scopes = Scopes()
        self._control = Control(self._scopes, bridge.Listeners(), self._over)
        self._page = status_page.StatusPage(
            lambda: self.cache, lambda: [call.exchange for call in self._calls.values()]
        )
        self._commands = Commands(lambda: self.cache)

    # Options

    def load(self, loader: addonmanager.Loader) -> None:
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
        if settings.mode == "replay" and ctx.options.stream_large_bodies:
            raise SettingsError("ai_cache_mode=replay cannot be strict with stream_large_bodies; unset one of them")
        if settings.mode == "replay" and settings.eager:
            raise SettingsError("ai_cache_mode=replay cannot be strict with ai_cache_eager; unset one of them")
        if self._running and (settings.store, settings.max_size) != (self._settings.store, self._settings.max_size):
            raise SettingsError("ai_cache_store and ai_cache_max_size cannot change while the proxy runs; restart it")
        if self._running and settings.dashboard != self._settings.dashboard:
            raise SettingsError("ai_cache_dashboard cannot change while the proxy runs; restart it")
        self._settings = settings
        if self.cache is not None:
            self.cache = Cache(settings, self.cache.store, self._isolation(), self.cache.stats)

    def _listen_elsewhere(self) -> None:
        """The proxy may be reached by others from now on."""
        if self.cache is None or self._settings.isolate is not None or self._settings.store.startswith(CASSETTES):
            return
        if not bridge.will_be_local():
            self.cache.isolation = Isolation("credential")

    def _refuse(self, message: str) -> None:
        if self._running:
            raise exceptions.OptionsError(message)
        # Raising here would print a traceback; an error that is logged at start-up ends it.
        if message not in self._complaints:
            self._complaints.add(message)
            logger.error("ai-cache: %s", message)

    def _isolation(self) -> Isolation:
        if self._settings.isolate is not None:
            return self._settings.isolate
        everybodys = self._is_local() or self._settings.store.startswith(CASSETTES)
        return Isolation("none" if everybodys else "credential")

    @staticmethod
    def _is_local() -> bool:
        """Whether only this machine reaches the proxy."""
        servers = ctx.master.addons.get("proxyserver")
        return servers is not None and bridge.all_loopback(servers.listen_addrs())

    # Life of the proxy

    def running(self) -> asyncio.Task[None]:
        # No coroutine functions here and in `done`: scripts are also loaded and unloaded while the proxy runs, and
        # then mitmproxy calls these without awaiting them.
        self._starting = asyncio.create_task(self._start(), name="ai-cache start")
        return self._starting

    async def _start(self) -> None:
        settings = self._settings
        memory_origin.install()
        mends.install()
        store, entries, trouble = self.store_of(settings), 0, ""
        try:
            await store.open()
            entries = await store.count()
        except StoreError as error:
            if settings.mode == "replay":
                logger.error("ai-cache: %s", error)
                return
            trouble = str(error)
        self.cache = Cache(settings, store, self._isolation())
        if settings.tune_mitmproxy:
            tuning.tune(ctx.master)
        self._running = True
        self._announce(self._first_line(store, entries))
        if settings.dashboard is not None:
            self._page.listen(*settings.dashboard, self._announce)
        if trouble:
            logger.warning("ai-cache: %s; calls go on as misses", trouble)
        if not self._is_local() and not ctx.options.proxyauth:
            logger.warning(
                "ai-cache: whoever reaches this port can use the proxy and be answered from the cache; listen on "
                "127.0.0.1, or add --set proxyauth=USER:PASSWORD"
            )
        if ctx.options.stream_large_bodies:
            logger.warning(
                "ai-cache: requests larger than stream_large_bodies pass uncached: they are gone when they come"
            )
        if "tcp_timeout" in ctx.options and ctx.options.tcp_timeout < 3600 and not self._stream_all:
            logger.warning(
                "ai-cache: mitmproxy ends calls that are silent for %d s; for slow models add --set tcp_timeout=7200",
                ctx.options.tcp_timeout,
            )

    def _first_line(self, store: Store, entries: int) -> str:
        settings, isolation = self._settings, self._isolation().kind
        why = f" ({settings.mode_why})" if settings.mode_why else ""
        noun = "entry" if entries == 1 else "entries"
        apart = "" if isolation == "none" else f", entries apart by {isolation}"
        return f"ai-cache: mode {settings.mode}{why}, store {store.url}, {entries} {noun}{apart}"

    def done(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._stop(), name="ai-cache stop")

    async def _stop(self) -> None:
        self._running = False
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
        mends.lift_connection_limit(ctx.master.addons.get("proxyserver").connections.values(), client)

    def client_disconnected(self, client: connection.Client) -> None:
        self._users.forget(client)
        left = [call for call in self._calls.values() if call.flow.client_conn.id == client.id]
        if left and self.cache is not None:
            for call in left:
                self.cache.leave(call.exchange)
            # Each of them ends in `response` or `error`, unless its connection crashed: nobody is to wait for it then.
            asyncio.get_running_loop().call_later(_CRASHED_AFTER, self._abandon, left)

    def _abandon(self, calls: list[_Call]) -> None:
        for call in calls:
            if self._take(call.flow) is not None and self.cache is not None:
                self.cache.abandon(call.exchange)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        if self._isolates_users and flow.response is None and self._users.of_tunnel(flow) is None:
            flow.response = bridge.response_to(proxy_user_required(), flow.request.method)

    def tls_start_server(self, data: tls.TlsData) -> None:
        if not self._settings.eager:
            mends.speak_as_the_client(data.conn, data.context)

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        address = data.server.address
        allowed = self.cache is not None and address is not None and address[0] in self.cache.allowed
        if self._settings.mode == "replay" and not allowed:
            data.server.error = "ai-cache replay: the network is not touched"

    # The request

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if bridge.is_for_us(flow):
            bridge.follow_base_url(flow)
        path = flow.request.path.partition("?")[0]
        if self.cache is not None and self.cache.concerns(flow.request.method, flow.request.host, path):
            flow.request.stream = False  # a body we have not seen has no key

    async def request(self, flow: http.HTTPFlow) -> None:
        if self._starting is not None and not self._starting.done():
            await asyncio.wait([self._starting])
        cache = self.cache
        if cache is None or flow.response is not None or flow.error is not None or not flow.live:
            return
        method = flow.request.method
        if bridge.is_for_us(flow):
            flow.response = bridge.response_to(await self._own_answer(flow), method)
            return
        user = self._users.of(flow) if self._isolates_users else None
        if self._isolates_users and user is None:
            flow.response = bridge.response_to(proxy_user_required(), method)
            return
        scope = self._scopes.at(flow.client_conn.sockname[1])
        request = bridge.request_from(flow, scope.namespace if scope is not None else "")
        if refusal := websockets.refusal(request, cache.settings, request.host in cache.hosts):
            cache.stats.upgrade_refused(request.host, request.path)
            flow.response = bridge.response_to(refusal, method)
            return
        call = self._calls[flow.id] = _Call(flow, Exchange(request, scope=scope))
        exchange = await cache.begin(call.exchange, user)
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

    def _forward(self, call: _Call) -> None:
        """To the provider, or to the stream of an identical call in flight."""
        flow, exchange = call.flow, call.exchange
        call.content, call.address = flow.request.raw_content, bridge.address_of(flow)
        if exchange.follower is not None:
            call.restore = memory_origin.send_to(flow, exchange.follower)
        elif exchange.flight is not None:
            protect = partial(self._protect, call, exchange.flight)
            if exchange.flight.waiting:
                protect()
            else:
                exchange.flight.followed = protect
        if exchange.stale is not None and self.cache is not None:
            mends.answer_if_unreachable(flow, partial(self._stale_response, call))

    def _protect(self, call: _Call, flight: Flight) -> None:
        """Others depend on this call now: its client's leaving must not end it."""
        over = flight.over
        mends.outlive_client(
            ctx.master.addons.get("proxyserver").connections.values(),
            call.flow.client_conn,
            over,
            lambda: not over.is_set() and flight.needed,
        )

    def _stale_response(self, call: _Call) -> http.Response | None:
        stale = self.cache.stale_response(call.exchange, 0) if self.cache is not None else None
        return None if stale is None else bridge.response_to(stale, call.flow.request.method)

    async def _own_answer(self, flow: http.HTTPFlow) -> Response:
        if flow.request.path.startswith(PREFIX):
            return await self._control.answer(bridge.control_call(flow), self.cache)
        if status_page.is_for_it(flow):
            return await self._page.answer(flow)
        state: dict[str, object] = {"status": "ok", "version": __version__, "mode": self._settings.mode}
        return bridge.own_answer(flow, state)

    async def _over(self, scope: Scope, seconds: float) -> None:
        """Clients go on before their calls are over here: the last byte is theirs before the end is ours."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for call in [call for call in self._calls.values() if call.exchange.scope is scope]:
                    await call.over.wait()
                if self.cache is not None:
                    await self.cache.keeper.finished()

    def _take(self, flow: http.HTTPFlow) -> _Call | None:
        """The call of `flow`, which is over."""
        call = self._calls.pop(flow.id, None)
        if call is not None:
            call.over.set()
            mends.forget_answer(flow)
        return call

    # The answer

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        response, cache = flow.response, self.cache
        call = self._calls.get(flow.id)
        if response is None or cache is None or call is None:
            if self._stream_all and response is not None and response.raw_content is None and not response.stream:
                response.stream = True
            return
        exchange = call.exchange
        if response.raw_content is not None:
            # Another script's answer, not the provider's: it has its body already. Or our own stale one.
            if exchange.status != "STALE":
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
        watched = None if exchange.follower is not None else cache.keeper.watch(exchange, response.status_code, headers)
        response.stream = watched or True

    def response(self, flow: http.HTTPFlow) -> None:
        call = self._calls.get(flow.id)
        if call is None:
            return  # a hit, or none of ours
        if call.exchange.status == "STALE" and self.cache is not None and flow.response:
            stale = self.cache.stale_response(call.exchange, flow.response.status_code)
            if stale is not None:
                flow.response = bridge.response_to(stale, flow.request.method)
        self._finish(flow, bridge.ending_of(flow))

    def error(self, flow: http.HTTPFlow) -> None:
        self._finish(flow, Ending.ABORTED)

    def _finish(self, flow: http.HTTPFlow, ending: Ending) -> None:
        call = self._take(flow)
        if call is None or self.cache is None:
            return
        exchange = call.exchange
        if exchange.follower is not None:
            if call.restore is not None:
                call.restore()
            self.cache.followed(exchange, flow.response.status_code if flow.response else 0, ending)
            self._commands.note(flow, exchange, self.cache)
            return
        exchange.left = exchange.left or bridge.client_left(flow)
        rewritten = bridge.address_of(flow) != call.address or flow.request.raw_content != call.content
        headers = bridge.headers_from(flow.response.headers.fields if flow.response else ())
        body, why_not = bridge.captured(flow, exchange.capture, ending)
        self.cache.keeper.finish(exchange, headers, body, ending, "rewritten" if rewritten else why_not)
        self._commands.note(flow, exchange, self.cache)
        self._commands.show_body(flow, body)

    # Who asks

    @property
    def _isolates_users(self) -> bool:
        return self.cache is not None and self.cache.isolation.kind == "proxy-user"

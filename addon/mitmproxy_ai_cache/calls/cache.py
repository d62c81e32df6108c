"""The way of a call: identify, key, look up; then answer, or watch the answer of the provider and keep it.

No mitmproxy here: `addon.py` walks these steps with its hooks.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from .. import protocols
from ..configuration.settings import Settings
from ..entries.entry import Entry
from ..identity import reading
from ..identity.hosts import HostList, ai_hosts, is_side_traffic
from ..identity.isolation import Isolation, NoPrincipal, Unstable
from ..identity.key import fingerprint
from ..identity.keyless import Claims, KeylessHosts
from ..identity.reading import Reading
from ..protocols.base import Call, Ending
from ..redact import credentials_of
from ..redact.entries import hidden_url
from ..stores import Store, StoreError
from ..wire.body import Body
from ..wire.messages import Headers, Request, Response
from ..wire.safe_text import one_line
from . import policy, refusals, replay
from .exchange import Exchange
from .explaining import Explainer
from .flight import Flight, Turn
from .outcomes import Outcomes
from .policy import UNREAD, CacheControl
from .sequences import Sequences, base, nth, number
from .storing import Keeper, is_refusal
from .token_endpoints import token_answer
from .workers import Failed, OffLoop, Pool

logger = logging.getLogger("ai-cache")

CLIENT_LEFT = 499
"""What nobody is there to read, as nginx numbers it."""

_ASK_AGAIN = 0.1
"""Seconds between looks at what another process is fetching."""

_NO_ANSWER = ("store-timeout", "store-error")
"""A store that has just used up its time for a call is not asked for a lease as well."""


class Cache:
    """Answers calls from `store` and keeps what proved complete. One per proxy."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        isolation: Isolation,
        outcomes: Outcomes,
        pool: Pool | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.isolation = isolation
        self.hosts = ai_hosts(settings.hosts)
        self.allowed = HostList(settings.allow_hosts)
        self.registry = protocols.standard(settings.no_done_hosts)
        self.outcomes = outcomes
        self.sequences = Sequences()
        self.pool = pool or Pool()
        self.off_loop = OffLoop(settings, self.registry, self.hosts, self.pool)
        store.compose_with(self.off_loop.compose)
        self._explainer = Explainer(settings, store, self.off_loop)
        self.keeper = Keeper(settings, store, outcomes, self.sequences, secrets.token_hex(6), self.off_loop)
        self.flights = self.keeper.flights
        self._store_works = True
        self._claims = Claims()
        self._keyless = KeylessHosts(settings.keyless_hosts)

    def concerns(self, method: str, host: str, path: str) -> bool:
        """Whether the head alone says that this request may be ours."""
        return reading.concerns(self.settings.identity, self.registry, self.hosts, method, host, path)

    # The request

    async def begin(self, exchange: Exchange, proxy_user: str | None = None) -> Exchange:
        """Decide on a request. `response` is set where it is answered without the provider, `follower` where a stream
        in flight answers it. Never raises."""
        sent = exchange.request
        if self.settings.mode == "off":
            return exchange
        exchange.control = CacheControl.parse(sent.headers.get("cache-control"))
        try:
            found = await self._read(exchange, sent, proxy_user)
            exchange.request, exchange.redacted = found.request, found.redacted
            if self.settings.sequences and self.settings.stores:
                exchange.credentials = credentials_of(sent)
            exchange.call = found.call
            if found.call is None:
                self._no_known_call(exchange, found.kind)
                return exchange
            return await self._begin_call(exchange, found.call, sent, proxy_user, found.key)
        except Failed as failure:
            return self._bypass(exchange, failure.reason)
        except Exception as error:
            # A fault of ours must not harm a request: it goes on as if we were not here, strict modes excepted.
            logger.error("ai-cache: a request could not be understood and passes uncached", exc_info=error)
            self.keeper.fail(exchange, hopeless=True)
            exchange.call = exchange.response = None
            return self._bypass(exchange, "internal-error")

    def begin_unread(self, exchange: Exchange, reason: str) -> Exchange:
        """Decide on a request by its head alone: its body is too large to hold, and never comes here."""
        request = exchange.request
        if self.settings.mode == "off":
            return exchange
        exchange.control = CacheControl.parse(request.headers.get("cache-control"))
        unread = Body("too-large")
        concerns = self.concerns(request.method, request.host, request.path)
        on_ai_host = request.host in self.hosts
        exchange.call = self.registry.recognise(request, unread) if concerns else None
        strict = self.settings.mode == "replay" or self.settings.fail_mode == "error"
        no_call = not concerns or is_side_traffic(request.host, request.path)
        if exchange.call is None and (no_call or (strict and not on_ai_host)):
            self._no_call(exchange)
            return exchange
        if exchange.call is None and self.settings.everything:
            exchange.call = protocols.ANYTHING.recognise(request, unread)
        return self._bypass(exchange, reason)

    async def _read(self, exchange: Exchange, sent: Request, proxy_user: str | None) -> Reading:
        """What `sent` is. A long body is read elsewhere, see `workers`."""
        elsewhere = self.off_loop.wants(sent)
        if elsewhere and not self.concerns(sent.method, sent.host, sent.path):
            sent = replace(sent, body=None)  # nobody reads it
            elsewhere = self.off_loop.wants(sent)
        if not elsewhere:
            return reading.read(sent, self.settings.identity, self.registry, self.hosts)
        try:
            scope = self.isolation.scope(sent, proxy_user, self._keyless.may_share(sent.host))
        except (Unstable, NoPrincipal):
            scope = None  # it gets no key
        return await self.off_loop.read(sent, scope)

    async def _begin_call(
        self, exchange: Exchange, call: Call, sent: Request, proxy_user: str | None, key: str
    ) -> Exchange:
        """`sent` still has its credentials, which tell whose call this is. `key` is its key where that is known."""
        request = exchange.request
        exchange.decision = policy.decide(self.settings, request, call, exchange.control)
        if reason := exchange.decision.bypass:
            return self._bypass(exchange, reason)
        try:
            scope = self.isolation.scope(sent, proxy_user, self._keyless.may_share(request.host))
        except Unstable:
            return self._bypass(exchange, "unstable-credential")
        except NoPrincipal:
            self._keyless.passed(request.host, self.isolation)
            return self._bypass(exchange, "no-credential")
        self._claims.seen(scope, self.isolation)
        if exchange.left:
            self._gone(exchange)  # while its body was read
            return exchange
        if not key:
            parts = (*scope, policy.namespace(self.settings, request).encode("utf-8", "surrogatepass"))
            key = fingerprint(call, request, parts, self.settings.key_rules)
        exchange.key = self._numbered(key, exchange)
        if policy.may_collapse(self.settings, exchange.decision, exchange.control):
            await self._answer_once(exchange, call)
        else:
            await self._look_up(exchange)
        if exchange.entry is None and (self.settings.mode == "replay" or exchange.control.only_if_cached):
            explanation = (
                await self._explainer.lines(exchange, call, self.isolation) if self.settings.mode == "replay" else []
            )
            message = refusals.miss_message(self.settings, exchange, call, explanation)
            self._refuse(exchange, "ai_cache_miss", message, explanation)
        return exchange

    def _no_known_call(self, exchange: Exchange, kind: str) -> None:
        """What happens to a request that is no call of a protocol we know. `kind` is that of its body."""
        request = exchange.request
        if not kind or not reading.is_ours(request, self.hosts):
            self._no_call(exchange)
        else:
            read = request.method in ("GET", "HEAD")
            self._bypass(exchange, "get" if read else policy.why_unrecognised(Body(kind)))

    def _no_call(self, exchange: Exchange) -> None:
        """What happens to a request that is none of our business."""
        request = exchange.request
        if self.settings.mode == "replay" and (answer := token_answer(request)):
            exchange.response, exchange.reason = answer, "token-endpoint"
            self.outcomes.answered_locally(request.host)
            return
        if refusal := refusals.of_no_call(
            self.settings, request, request.host in self.hosts, request.host in self.allowed
        ):
            exchange.reason = refusal.reason
            self._refuse(exchange, refusal.code, refusal.message)
        elif self.settings.fail_mode == "warn" and request.host not in self.hosts:
            logger.warning("ai-cache: %s %s is no AI call", request.method, one_line(hidden_url(request.url)))

    def _bypass(self, exchange: Exchange, reason: str) -> Exchange:
        exchange.status, exchange.reason = "BYPASS", reason
        if self.settings.records and reason in UNREAD:
            self.outcomes.unrecordable(exchange.request, reason)
        if self.settings.mode == "replay" or exchange.control.only_if_cached:
            mode = "replay" if self.settings.mode == "replay" else "only-if-cached"
            message = refusals.bypass_message(mode, reason)
            self._refuse(exchange, "ai_cache_bypass", message)
        return exchange

    def _numbered(self, key: str, exchange: Exchange) -> str:
        """The key of the answer that this call gets: of its place in a sequence, or of its sample."""
        sequences = self.keeper.sequences_of(exchange)
        if self.settings.sequences:
            return nth(key, sequences.next(key, policy.namespace(self.settings, exchange.request)))
        if self.settings.samples > 1:
            return nth(key, (sequences.next(key) - 1) % self.settings.samples + 1)
        return key

    async def _look_up(self, exchange: Exchange) -> None:
        """Fill in the hit, or status and reason of the miss."""
        decision = exchange.decision
        exchange.status = "REFRESH" if decision.reason else "MISS"
        exchange.reason = decision.reason or ("lookup-off" if not decision.look_up else "no-entry")
        if not decision.look_up:
            return
        entry = await self._ask_store(exchange)
        if entry is None and self.settings.mode == "replay":
            entry = await self._repeated(exchange)
        if entry is None or not (entry.cacheable or self.settings.everything):
            return
        if self.settings.mode == "record" and is_refusal(entry.status) and not self.settings.keep_retries:
            exchange.reason = "recorded-anew"
            return
        if self.settings.sequences:
            self.keeper.sequences_of(exchange).found(base(exchange.key), number(exchange.key))
        reason = self._too_old(exchange, entry)
        if not reason:
            self._hit(exchange, entry)
            return
        exchange.reason = reason
        if reason == "expired" and time.time() <= entry.answers_until(self.settings.stale_if_error):
            exchange.stale = entry
            self.store.keep_stale(entry, self.settings.stale_if_error)

    def _too_old(self, exchange: Exchange, entry: Entry) -> str:
        """Why `entry` is not fresh enough for this request, or nothing."""
        max_age = exchange.control.max_age
        if max_age is not None and time.time() - entry.created > max_age and self.settings.mode != "replay":
            return "older-than-max-age"
        return "expired" if not entry.is_fresh(time.time()) else ""

    async def _repeated(self, exchange: Exchange) -> Entry | None:
        """What a replay answers after the last answer of a sequence."""
        last = self.keeper.sequences_of(exchange).last(base(exchange.key))
        if not last:
            return None
        if self.settings.repeat == "error":
            exchange.reason = "sequence-exhausted"
            return None
        exchange.key = nth(base(exchange.key), last if self.settings.repeat == "last" else 1)
        return await self._ask_store(exchange)

    async def _ask_store(self, exchange: Exchange) -> Entry | None:
        """The entry of the exchange's key, within the time budget."""
        began = time.monotonic()
        unfinished = self.keeper.unfinished(exchange.key)
        waits = self.store.waits or unfinished is not None
        try:
            async with asyncio.timeout(self.settings.lookup_timeout if waits else None):
                if unfinished is not None:
                    await asyncio.wait([unfinished])
                entry = await self.store.get(exchange.key, policy.namespace(self.settings, exchange.request))
            self._store_state(True)
            return entry
        except TimeoutError:
            exchange.reason = "store-timeout"
            self.store.failures["timeout"] += 1
        except StoreError as error:
            exchange.reason = "store-error"
            if not error.said:
                self._store_state(False, str(error))
        finally:
            exchange.store_seconds += time.monotonic() - began
        return None

    def _hit(self, exchange: Exchange, entry: Entry, reason: str = "") -> None:
        exchange.entry, exchange.age = entry, max(0.0, time.time() - entry.created)
        exchange.status = "STALE" if entry.ttl and exchange.age > entry.ttl else "HIT"
        exchange.reason = reason
        exchange.status_code = entry.status
        exchange.response = replay.response(entry, self.headers(exchange))
        exchange.ended = time.monotonic()
        self.outcomes.hit(exchange)

    # Single flight

    async def _answer_once(self, exchange: Exchange, call: Call) -> None:
        """From the store or from an identical call in flight; else this one leads, or goes alone."""
        turn: Turn | None = None
        while True:
            if turn is None and (flight := self.flights.get(exchange.key)):
                turn = await self._take_turn(exchange, call, flight)
                if turn not in (Turn.LEAD, Turn.ALONE):
                    return
            await self._look_up(exchange)
            landed = self.flights.landed_just_now(exchange.key) if exchange.reason == "store-timeout" else None
            if landed is not None and not self._too_old(exchange, landed):
                self._hit(exchange, landed, "collapsed")
            if exchange.entry is not None:
                self.keeper.land(exchange, exchange.entry)
                return
            if turn is None and self.flights.get(exchange.key) is None:
                exchange.flight = self.flights.begin(exchange.key)
                turn = Turn.LEAD
            if turn is not None:
                break
        if turn is Turn.LEAD and not call.stream and exchange.reason not in _NO_ANSWER:
            await self._wait_for_other_processes(exchange)

    async def _take_turn(self, exchange: Exchange, call: Call, flight: Flight) -> Turn:
        accepts = exchange.request.headers.get("accept-encoding") if call.stream else None
        waiting = self.flights.join(flight, accepts)
        exchange.waiting = flight, waiting
        turn = await waiting.turn
        exchange.waiting = None
        if turn is Turn.LEAD:
            exchange.flight = flight
        elif turn is Turn.FOLLOW:
            exchange.status, exchange.reason = "HIT", "collapsed"
            exchange.follower = waiting.follower
        elif turn is Turn.ANSWERED and flight.entry is not None:
            self._hit(exchange, flight.entry, "collapsed")
        elif turn is Turn.LEFT:
            self._gone(exchange)
        return turn

    async def _wait_for_other_processes(self, exchange: Exchange) -> None:
        """Another proxy on the same store may be fetching this answer. Only for what is no stream: a stream would be
        held back until its end."""
        while not await self.store.claim(exchange.key):
            await asyncio.sleep(_ASK_AGAIN)
            if exchange.left:
                self.keeper.fail(exchange, left=True)
                self._gone(exchange)
                return
            await self._look_up(exchange)
            if exchange.entry is not None:
                exchange.reason = "collapsed"
                self.keeper.land(exchange, exchange.entry)
                return

    def leave(self, exchange: Exchange) -> None:
        """The client of a request that is being decided on is gone: it waits no longer."""
        exchange.left = True
        if exchange.waiting is not None:
            self.flights.leave(*exchange.waiting)

    def _gone(self, exchange: Exchange) -> None:
        """Nobody is there to answer, and no call to the provider is wanted."""
        exchange.status, exchange.reason = "MISS", "client-left"
        exchange.response = Response(CLIENT_LEFT, Headers(), b"")
        exchange.ended = time.monotonic()
        self.outcomes.forwarded(exchange, "client-left")

    def abandon(self, exchange: Exchange) -> None:
        """Nothing more will be heard of this exchange: another script answered it, or its connection crashed."""
        if exchange.follower is not None:
            exchange.follower.leave()
        self.keeper.fail(exchange, hopeless=True)

    def followed(self, exchange: Exchange, status: int, ending: Ending) -> None:
        """A follower's message has ended."""
        if exchange.follower is not None:
            exchange.follower.leave()
        exchange.ended = time.monotonic()
        exchange.status_code = status
        self.outcomes.followed(exchange, ending)

    def _refuse(self, exchange: Exchange, code: str, message: str, explanation: Sequence[str] = ()) -> None:
        error = refusals.error(exchange, code, message)
        exchange.status_code = error.status
        exchange.response = Response(error.status, Headers([*error.headers, *self.headers(exchange)]), error.body)
        exchange.ended = time.monotonic()
        self.outcomes.refusal(exchange, explanation)

    def _store_state(self, works: bool, why: str = "") -> None:
        """One log line per change of state, not per request."""
        if works != self._store_works:
            self._store_works = works
            if works:
                logger.info("ai-cache: the store answers again")
            else:
                logger.warning("ai-cache: the store fails (%s); calls go on as misses", why)

    # The answer of the provider

    def headers(self, exchange: Exchange) -> list[tuple[str, str]]:
        """What to add to the answer to the client."""
        if not (self.settings.headers and exchange.status):
            return []
        entry = exchange.entry
        age = exchange.age if entry is not None else None
        ttl = entry.ttl - exchange.age if entry is not None and entry.ttl else None
        return replay.status_headers(exchange.status, exchange.key, exchange.reason, age, ttl)

    def stale_response(self, exchange: Exchange, status: int) -> Response | None:
        """The stale entry that answers instead of the provider's `status` (0: it cannot be reached), if there is one.

        RFC 5861 section 4.
        """
        entry = exchange.stale
        if entry is None or (0 < status < 500 and status != 429):
            return None
        exchange.entry, exchange.age = entry, max(0.0, time.time() - entry.created)
        exchange.status, exchange.reason = "STALE", f"status-{status}" if status else "unreachable"
        return replay.response(entry, self.headers(exchange))

    async def close(self) -> None:
        await self.keeper.close()
        await self.store.close()
        await self.pool.close()

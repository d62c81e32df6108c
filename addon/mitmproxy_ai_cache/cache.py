"""The way of a call: identify, key, look up; then answer, or watch the answer of the provider and keep it.

No mitmproxy here: `addon.py` walks these steps with its hooks.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence

from . import body as bodies
from . import policy, protocols, refusals, replay
from .entry import Entry
from .exchange import Exchange
from .explaining import Explainer
from .flight import Flight, Turn
from .hosts import HostList, ai_hosts, is_side_traffic
from .isolation import Isolation, Unstable, is_claim
from .keeping import Keeper, is_refusal
from .key import fingerprint
from .messages import Headers, Request, Response
from .policy import CacheControl
from .protocols.base import Call, Ending
from .recent_calls import asked_of
from .redact import credentials_of, redact_request
from .redact.entries import hidden_url
from .sequences import Sequences, base, nth, number
from .settings import Settings
from .stats import Stats
from .stores import Store, StoreError
from .token_endpoints import token_answer

logger = logging.getLogger("ai-cache")

CLIENT_LEFT = 499
"""What nobody is there to read, as nginx numbers it."""

_ASK_AGAIN = 0.1
"""Seconds between looks at what another process is fetching."""

_NO_ANSWER = ("store-timeout", "store-error")
"""A store that has just used up its time for a call is not asked for a lease as well."""


class Cache:
    """Answers calls from `store` and keeps what proved complete. One per proxy."""

    def __init__(self, settings: Settings, store: Store, isolation: Isolation, stats: Stats | None = None) -> None:
        self.settings = settings
        self.store = store
        self.isolation = isolation
        self.hosts = ai_hosts(settings.hosts)
        self.allowed = HostList(settings.allow_hosts)
        self.registry = protocols.standard(settings.no_done_hosts)
        self.stats = stats or Stats(store.failures, lambda: store.dropped)
        self.stats.json_lines = settings.log_format == "json"
        self.sequences = Sequences()
        self._explainer = Explainer(settings, store, self.registry)
        self.keeper = Keeper(settings, store, self.stats, self.sequences, secrets.token_hex(6))
        self.flights = self.keeper.flights
        self.stats.recent.keep = lambda exchange: asked_of(exchange, settings, self.isolation)
        self._store_works = True
        self._warned_of_claims = False

    def concerns(self, method: str, host: str, path: str) -> bool:
        """Whether the head alone says that this request may be ours."""
        return self.settings.mode != "off" and (host in self.hosts or self.registry.may_be_call(method, path))

    # The request

    async def begin(self, exchange: Exchange, proxy_user: str | None = None) -> Exchange:
        """Decide on a request. `response` is set where it is answered without the provider, `follower` where a stream
        in flight answers it. Never raises."""
        sent = exchange.request
        if self.settings.mode == "off":
            return exchange
        exchange.control = CacheControl.parse(sent.headers.get("cache-control"))
        try:
            if self.settings.sequences:
                # Before the key is made: who records with one secret and replays with another asks the same.
                hidden = redact_request(sent, self.settings.redact)
                exchange.request, exchange.redacted = hidden.request, bool(hidden.findings)
                exchange.credentials = credentials_of(sent) if self.settings.stores else ()
            exchange.call = self._identify(exchange)
            if exchange.call is None:
                return exchange
            return await self._begin_call(exchange, exchange.call, sent, proxy_user)
        except Exception as error:
            # A fault of ours must not harm a request: it goes on as if we were not here, strict modes excepted.
            logger.error("ai-cache: a request could not be understood and passes uncached", exc_info=error)
            self.keeper.fail(exchange, hopeless=True)
            exchange.call = exchange.response = None
            return self._bypass(exchange, "internal-error")

    async def _begin_call(self, exchange: Exchange, call: Call, sent: Request, proxy_user: str | None) -> Exchange:
        """`sent` still has its credentials, which tell whose call this is."""
        request = exchange.request
        exchange.decision = policy.decide(self.settings, request, call, exchange.control)
        if reason := exchange.decision.bypass:
            return self._bypass(exchange, reason)
        try:
            scope = self.isolation.scope(sent, proxy_user)
        except Unstable:
            return self._bypass(exchange, "unstable-credential")
        self._warn_of_claims(scope)
        parts = (*scope, policy.namespace(self.settings, request).encode("utf-8", "surrogatepass"))
        exchange.key = self._numbered(fingerprint(call, request, parts, self.settings.key_rules), exchange)
        if self._may_collapse(exchange):
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

    def _warn_of_claims(self, scope: tuple[bytes, ...]) -> None:
        if not self._warned_of_claims and scope[0] == b"credential" and any(map(is_claim, scope)):
            self._warned_of_claims = True
            logger.warning(
                "ai-cache: entries are kept apart by AWS account or by issuer and subject of a JWT; both are claims, "
                "and nobody checks them on a hit. On a network you do not trust use proxyauth with "
                "ai_cache_isolate=proxy-user"
            )

    def _identify(self, exchange: Exchange) -> Call | None:
        """The call, or None with `exchange` saying what happens to a request that is none."""
        request = exchange.request
        if not self.concerns(request.method, request.host, request.path):
            self._no_call(exchange)  # its body is not even read
            return None
        body = bodies.read(request, self.settings.max_body)
        if call := self.registry.recognise(request, body):
            return call
        if request.host not in self.hosts or is_side_traffic(request.host, request.path):
            self._no_call(exchange)
        elif self.settings.everything:
            return protocols.ANYTHING.recognise(request, body)
        else:
            self._bypass(exchange, "get" if request.method in ("GET", "HEAD") else policy.why_unrecognised(body))
        return None

    def _no_call(self, exchange: Exchange) -> None:
        """What happens to a request that is none of our business."""
        request = exchange.request
        if self.settings.mode == "replay" and (answer := token_answer(request)):
            exchange.response, exchange.reason = answer, "token-endpoint"
            self.stats.answered_locally(request.host)
            return
        if refusal := refusals.of_no_call(
            self.settings, request, request.host in self.hosts, request.host in self.allowed
        ):
            exchange.reason = refusal.reason
            self._refuse(exchange, refusal.code, refusal.message)
        elif self.settings.fail_mode == "warn" and request.host not in self.hosts:
            logger.warning("ai-cache: %s %s is no AI call", request.method, replay.printable(hidden_url(request.url)))

    def _bypass(self, exchange: Exchange, reason: str) -> Exchange:
        exchange.status, exchange.reason = "BYPASS", reason
        if self.settings.mode == "replay" or exchange.control.only_if_cached:
            mode = "replay" if self.settings.mode == "replay" else "only-if-cached"
            message = f"ai-cache {mode}: this request cannot be answered from the store ({reason})."
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
        if reason == "expired" and time.time() <= entry.expires + self.settings.stale_if_error:
            exchange.stale = entry

    def _too_old(self, exchange: Exchange, entry: Entry) -> str:
        """Why `entry` is not fresh enough for this request, or nothing."""
        max_age = exchange.control.max_age
        if max_age is not None and time.time() - entry.created > max_age and self.settings.mode != "replay":
            return "older-than-max-age"
        return "expired" if time.time() > entry.expires else ""

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
        self.stats.hit(exchange)

    # Single flight

    def _may_collapse(self, exchange: Exchange) -> bool:
        """Whether an answer that is on its way may be this call's answer, too."""
        control = exchange.control
        return (
            self.settings.single_flight
            and self.settings.mode == "cache"
            and exchange.decision.look_up
            and exchange.decision.keep
            and not control.only_if_cached
            and control.max_age != 0
        )

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
        self.stats.forwarded(exchange, "client-left")

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
        self.stats.followed(exchange, ending)

    def _refuse(self, exchange: Exchange, code: str, message: str, explanation: Sequence[str] = ()) -> None:
        error = refusals.error(exchange, code, message)
        exchange.status_code = error.status
        exchange.response = Response(error.status, Headers([*error.headers, *self.headers(exchange)]), error.body)
        exchange.ended = time.monotonic()
        self.stats.refusal(exchange, explanation)

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

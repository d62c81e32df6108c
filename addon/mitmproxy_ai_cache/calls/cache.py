"""The way of a call: read, decide, identify, look up; then answer, or watch the answer of the provider and store it.

No mitmproxy here: `addon.py` walks these steps with its hooks.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import replace

from ..configuration.settings import Settings
from ..entries.entry import Entry
from ..identity.hosts import HostList, is_side_traffic
from ..identity.identifier import Identified, Identifier, Reading
from ..identity.isolation import Isolation, NoPrincipal, Unstable
from ..identity.keyless import Claims, KeylessHosts
from ..protocols import ANYTHING
from ..protocols.base import Call, Ending
from ..redact import prepare
from ..redact.entries import hidden_url
from ..stores import Store
from ..wire.body import Body
from ..wire.messages import Headers, Request, Response
from ..wire.safe_text import one_line
from . import policy, refusals, replay
from .exchange import Answered, Decided, Exchange
from .explaining import Explainer
from .look_up import Chain, ClientLeft, Exact, Found, InFlight, OtherProcess
from .outcomes import Outcomes
from .policy import CacheControl
from .reasons import UNREAD, Reason, Status, stale_for
from .sequences import Sequences
from .storing import Storing, is_refusal
from .token_endpoints import token_answer
from .workers import Failed, OffLoop, Pool

logger = logging.getLogger("ai-cache")

CLIENT_LEFT = 499
"""What nobody is there to read, as nginx numbers it."""


class Cache:
    """Answers calls from `store` and stores what proved complete. One per proxy."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        isolation: Isolation,
        outcomes: Outcomes,
        pool: Pool | None = None,
    ) -> None:
        prepare()  # some 30 ms that the first call need not wait
        self.settings = settings
        self.store = store
        self.isolation = isolation
        self.identifier = Identifier(settings.identity)
        self.hosts = self.identifier.hosts
        self.allowed = HostList(settings.allow_hosts)
        self.outcomes = outcomes
        self.sequences = Sequences()
        self.pool = pool or Pool()
        self.off_loop = OffLoop(settings, self.identifier, self.pool)
        store.compose_with(self.off_loop.compose)
        self._explainer = Explainer(store, self.off_loop)
        self.storing = Storing(settings, store, outcomes, self.sequences, secrets.token_hex(6), self.off_loop)
        exact = Exact(settings, store, self.storing)
        in_flight = InFlight(exact, self.storing)
        self.chain = Chain(exact, in_flight, OtherProcess(store, exact, self.storing))
        self.flights = self.storing.flights
        self._claims = Claims()
        self._keyless = KeylessHosts(settings.keyless_hosts)

    def concerns(self, method: str, host: str, path: str) -> bool:
        """Whether the head alone says that this request may be ours."""
        return self.identifier.concerns(method, host, path)

    # The request

    async def begin(self, exchange: Exchange, proxy_user: str | None = None) -> Exchange:
        """Decide on a request. `response` is set where it is answered without the provider, `answered.follower` where a
        stream in flight answers it. Never raises."""
        if self.settings.mode == "off":
            return exchange
        if said := exchange.sent.headers.get("cache-control"):
            exchange.decided = Decided(CacheControl.parse(said))
        try:
            exchange.reading = reading = await self._read(exchange.sent, proxy_user)
            if reading.call is None:
                self._no_known_call(exchange, reading.kind)
                return exchange
            control = exchange.decided.control
            exchange.decided = Decided(control, policy.decide(self.settings, reading.request, reading.call, control))
            if reason := exchange.decided.decision.bypass:
                return self._bypass(exchange, reason)
            identified = self._identify(exchange, reading, reading.call, proxy_user)
            if isinstance(identified, str):
                return self._bypass(exchange, identified)
            if exchange.left:
                raise ClientLeft  # while its body was read
            exchange.identified = self._numbered(exchange, identified)
            await self._look_up(exchange, reading.call)
        except ClientLeft:
            self._gone(exchange)
        except Failed as failure:
            return self._bypass(exchange, failure.reason)
        except Exception as error:
            # A fault of ours must not harm a request: it goes on as if we were not here, strict modes excepted.
            logger.error("ai-cache: a request could not be understood and passes uncached", exc_info=error)
            self.storing.fail(exchange, hopeless=True)
            exchange.reading = Reading(exchange.request)
            return self._bypass(exchange, Reason.INTERNAL_ERROR)
        return exchange

    def begin_unread(self, exchange: Exchange, reason: str) -> Exchange:
        """Decide on a request by its head alone: its body is too large to hold, and never comes here."""
        request = exchange.sent
        if self.settings.mode == "off":
            return exchange
        exchange.decided = Decided(CacheControl.parse(request.headers.get("cache-control")))
        unread = Body("too-large")
        concerns = self.concerns(request.method, request.host, request.path)
        on_ai_host = request.host in self.hosts
        call = self.identifier.registry.recognise(request, unread) if concerns else None
        strict = self.settings.mode == "replay" or self.settings.fail_mode == "error"
        no_call = not concerns or is_side_traffic(request.host, request.path)
        if call is None and (no_call or (strict and not on_ai_host)):
            self._no_call(exchange)
            return exchange
        if call is None and self.settings.everything:
            call = ANYTHING.recognise(request, unread)
        exchange.reading = Reading(request, call=call, kind=unread.kind)
        return self._bypass(exchange, reason)

    async def _read(self, sent: Request, proxy_user: str | None) -> Reading:
        """What `sent` is. A long body is read elsewhere, see `workers`."""
        elsewhere = self.off_loop.wants(sent)
        if elsewhere and not self.concerns(sent.method, sent.host, sent.path):
            sent = replace(sent, body=None)  # nobody reads it
            elsewhere = self.off_loop.wants(sent)
        if not elsewhere:
            return self.identifier.read(sent)
        try:
            scope = self.isolation.scope(sent, proxy_user, self._keyless.may_share(sent.host))
        except (Unstable, NoPrincipal):
            scope = None  # it gets no key
        return await self.off_loop.read(sent, scope)

    def _identify(self, exchange: Exchange, reading: Reading, call: Call, proxy_user: str | None) -> Identified | str:
        """The call with its key, or why it has none. `sent` still has its credentials, which tell whose call it is."""
        host = reading.request.host
        try:
            scope = self.isolation.scope(exchange.sent, proxy_user, self._keyless.may_share(host))
        except Unstable:
            return Reason.UNSTABLE_CREDENTIAL
        except NoPrincipal:
            self._keyless.passed(host, self.isolation)
            return Reason.NO_CREDENTIAL
        self._claims.seen(scope, self.isolation)
        return self.identifier.identify(reading.request, call, scope, reading.key)

    def _numbered(self, exchange: Exchange, identified: Identified) -> Identified:
        """With the key of the answer that this call gets: of its place in a sequence, or of its sample."""
        sequences = self.storing.sequences_of(exchange)
        if self.settings.sequences:
            return identified.numbered(sequences.next(identified.key, identified.namespace))
        if self.settings.samples > 1:
            return identified.numbered((sequences.next(identified.key) - 1) % self.settings.samples + 1)
        return identified

    async def _look_up(self, exchange: Exchange, call: Call) -> None:
        control, decision = exchange.decided.control, exchange.decided.decision
        found = await self.chain.find(exchange, policy.may_collapse(self.settings, decision, control))
        if isinstance(found, Found):
            self._answer(exchange, found)
            return
        exchange.answered = Answered(found.status, found.reason, stale=found.stale)
        if self.settings.mode == "replay" or control.only_if_cached:
            explanation = (
                await self._explainer.lines(exchange, call, self.isolation) if self.settings.mode == "replay" else []
            )
            message = refusals.miss_message(self.settings, exchange, call, explanation)
            self._refuse(exchange, "ai_cache_miss", message, explanation)

    def _answer(self, exchange: Exchange, found: Found) -> None:
        """A hit: from an entry at once, or from the stream of an identical call."""
        entry = found.entry
        if entry is None:
            exchange.answered = Answered(found.status, found.reason, follower=found.follower)
            return
        response = replay.response(entry, self._headers(exchange.key, found.status, found.reason, entry, found.age))
        exchange.answered = Answered(found.status, found.reason, entry, found.age, response)
        exchange.end()
        self.outcomes.hit(exchange)

    def _no_known_call(self, exchange: Exchange, kind: str) -> None:
        """What happens to a request that is no call of a protocol we know. `kind` is that of its body."""
        request = exchange.request
        if not kind or not self.identifier.is_ours(request):
            self._no_call(exchange)
        else:
            read = request.method in ("GET", "HEAD")
            self._bypass(exchange, Reason.GET if read else policy.why_unrecognised(Body(kind)))

    def _no_call(self, exchange: Exchange) -> None:
        """What happens to a request that is none of our business."""
        request = exchange.request
        if self.settings.mode == "replay" and (answer := token_answer(request)):
            exchange.answered = Answered(reason=Reason.TOKEN_ENDPOINT, response=answer)
            self.outcomes.answered_locally(request.host)
            return
        if refusal := refusals.of_no_call(
            self.settings, request, request.host in self.hosts, request.host in self.allowed
        ):
            exchange.answered = Answered(reason=refusal.reason)
            self._refuse(exchange, refusal.code, refusal.message)
        elif self.settings.fail_mode == "warn" and request.host not in self.hosts:
            logger.warning("ai-cache: %s %s is no AI call", request.method, one_line(hidden_url(request.url)))

    def _bypass(self, exchange: Exchange, reason: str) -> Exchange:
        exchange.answered = Answered(Status.BYPASS, reason)
        if self.settings.records and reason in UNREAD:
            self.outcomes.unrecordable(exchange.request, reason)
        if self.settings.mode == "replay" or exchange.decided.control.only_if_cached:
            mode = "replay" if self.settings.mode == "replay" else "only-if-cached"
            message = refusals.bypass_message(mode, reason)
            self._refuse(exchange, "ai_cache_bypass", message)
        return exchange

    def _refuse(self, exchange: Exchange, code: str, message: str, explanation: Sequence[str] = ()) -> None:
        error = refusals.error(exchange, code, message)
        response = Response(error.status, Headers([*error.headers, *self.headers(exchange)]), error.body)
        exchange.answered = replace(exchange.answered, response=response)
        exchange.end()
        self.outcomes.refusal(exchange, explanation)

    def _gone(self, exchange: Exchange) -> None:
        """Nobody is there to answer, and no call to the provider is wanted."""
        response = Response(CLIENT_LEFT, Headers(), b"")
        exchange.answered = Answered(Status.MISS, Reason.CLIENT_LEFT, response=response)
        exchange.end()
        self.outcomes.forwarded(exchange, Reason.CLIENT_LEFT)

    # Its end

    def leave(self, exchange: Exchange) -> None:
        """The client of a request that is being decided on is gone: it waits no longer."""
        exchange.left = True
        if exchange.waiting is not None:
            self.flights.leave(*exchange.waiting)

    def abandon(self, exchange: Exchange) -> None:
        """Nothing more will be heard of this exchange: another script answered it, or its connection crashed."""
        if exchange.answered.follower is not None:
            exchange.answered.follower.leave()
        self.storing.fail(exchange, hopeless=True)

    def followed(self, exchange: Exchange, status: int, ending: Ending) -> None:
        """A follower's message has ended."""
        if exchange.answered.follower is not None:
            exchange.answered.follower.leave()
        exchange.end(status)
        self.outcomes.followed(exchange, ending)

    # The answer of the provider

    def headers(self, exchange: Exchange) -> list[tuple[str, str]]:
        """What to add to the answer to the client."""
        answered = exchange.answered
        return self._headers(exchange.key, answered.status, answered.reason, answered.entry, answered.age)

    def _headers(self, key: str, status: Status, reason: str, entry: Entry | None, age: float) -> list[tuple[str, str]]:
        if not (self.settings.headers and status):
            return []
        if entry is None:
            return replay.status_headers(status, key, reason)
        return replay.status_headers(status, key, reason, age, entry.ttl - age if entry.ttl else None)

    def stale_response(self, exchange: Exchange, status: int) -> Response | None:
        """The stale entry that answers instead of the provider's `status` (0: it cannot be reached), if there is one.

        RFC 5861 section 4.
        """
        entry = exchange.answered.stale
        if entry is None or (status and not is_refusal(status)):
            return None
        found = Found.stored(entry)
        exchange.answered = Answered(Status.STALE, stale_for(status), entry, found.age, stale=entry)
        return replay.response(entry, self.headers(exchange))

    async def close(self) -> None:
        await self.storing.close()
        await self.store.close()
        await self.pool.close()

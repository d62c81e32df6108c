"""The way of a call: identify, key, look up; then answer, or watch the answer of the provider and keep it.

No mitmproxy here: `addon.py` walks these steps with its hooks.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from . import body as bodies
from . import content_coding, gate, policy, protocols, replay
from .capture import Capture
from .entry import Entry
from .exchange import Exchange
from .hosts import ai_hosts, is_side_traffic
from .isolation import Isolation, Unstable, is_claim
from .key import counting_headers, fingerprint, public_query
from .messages import Headers, Request, Response
from .policy import CacheControl
from .protocols.anything import error_for_host
from .protocols.base import Answer, Call, Ending, Verdict, json_response
from .settings import Settings
from .stats import Stats
from .stores import Store, StoreError

logger = logging.getLogger("ai-cache")

MISS_STATUS = 424
"""Failed Dependency. SDKs do not retry it, and applications do not take it for a missing model."""

_IN_THREAD_FROM = 256 * 1024
"""Bytes: judging a longer answer takes milliseconds and leaves the event loop."""


class Cache:
    """Answers calls from `store` and keeps what proved complete. One per proxy."""

    def __init__(self, settings: Settings, store: Store, isolation: Isolation, stats: Stats | None = None) -> None:
        self.settings = settings
        self.store = store
        self.isolation = isolation
        self.hosts = ai_hosts(settings.hosts)
        self.registry = protocols.standard(settings.no_done_hosts)
        self.stats = stats or Stats()
        self.run = secrets.token_hex(6)
        self._finishing: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, int] = {}
        self._store_works = True
        self._warned_of_claims = False

    def concerns(self, method: str, host: str, path: str) -> bool:
        """Whether the head alone says that this request may be ours."""
        return self.settings.mode != "off" and (host in self.hosts or self.registry.may_be_call(method, path))

    # The request

    async def begin(self, request: Request, proxy_user: str | None = None) -> Exchange:
        """Decide on `request`. `response` is set where it is answered without the provider. Never raises."""
        exchange = Exchange(request)
        if self.settings.mode == "off":
            return exchange
        exchange.control = CacheControl.parse(request.headers.get("cache-control"))
        try:
            exchange.call = self._identify(exchange)
            return exchange if exchange.call is None else await self._begin_call(exchange, exchange.call, proxy_user)
        except Exception as error:
            # A fault of ours must not harm a request: it goes on as if we were not here, strict modes excepted.
            logger.error("ai-cache: a request could not be understood and passes uncached", exc_info=error)
            exchange.call = exchange.response = None
            return self._bypass(exchange, "internal-error")

    async def _begin_call(self, exchange: Exchange, call: Call, proxy_user: str | None) -> Exchange:
        request = exchange.request
        exchange.decision = policy.decide(self.settings, request, call, exchange.control)
        if reason := exchange.decision.bypass:
            return self._bypass(exchange, reason)
        try:
            scope = self.isolation.scope(request, proxy_user)
        except Unstable:
            return self._bypass(exchange, "unstable-credential")
        self._warn_of_claims(scope)
        parts = (*scope, self._namespace(request).encode("utf-8", "surrogatepass"))
        exchange.key = fingerprint(call, request, parts, self.settings.key_rules)
        exchange.key += self._sample(exchange.key)
        await self._look_up(exchange)
        if exchange.entry is None and (self.settings.mode == "replay" or exchange.control.only_if_cached):
            self._refuse(exchange, "ai_cache_miss", self._miss_message(exchange, call))
        return exchange

    def _namespace(self, request: Request) -> str:
        return request.headers.get(policy.NAMESPACE_HEADER) or self.settings.namespace

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
        if self.settings.mode == "replay" and request.host in self.hosts:
            exchange.reason = "side-traffic"
            self._refuse(
                exchange, "ai_cache_replay", "ai-cache replay: this is no AI call, and nothing leaves the machine."
            )
        elif self.settings.mode == "replay":
            exchange.reason = "not-an-ai-host"
            self._refuse(
                exchange,
                "ai_cache_replay",
                f"ai-cache replay: {request.host} is no AI host, and the network is not touched. "
                f"If it is one, add ai_cache_hosts={request.host} and record again.",
            )
        elif self.settings.fail_mode == "error" and request.host not in self.hosts:
            exchange.reason = "not-an-ai-call"
            self._refuse(
                exchange,
                "ai_cache_not_an_ai_call",
                f"ai-cache: {request.method} {request.url} is no AI call, and ai_cache_fail_mode is error.",
            )
        elif self.settings.fail_mode == "warn" and request.host not in self.hosts:
            logger.warning("ai-cache: %s %s is no AI call", request.method, replay.printable(request.url))

    def _bypass(self, exchange: Exchange, reason: str) -> Exchange:
        exchange.status, exchange.reason = "BYPASS", reason
        if self.settings.mode == "replay" or exchange.control.only_if_cached:
            mode = "replay" if self.settings.mode == "replay" else "only-if-cached"
            message = f"ai-cache {mode}: this request cannot be answered from the store ({reason})."
            self._refuse(exchange, "ai_cache_bypass", message)
        return exchange

    def _sample(self, key: str) -> str:
        """The suffix of the n-th identical call of this run; the first answer has none."""
        if self.settings.samples == 1:
            return ""
        asked = self._asked.pop(key, 0)
        self._asked[key] = asked + 1
        if len(self._asked) > 100_000:
            del self._asked[next(iter(self._asked))]
        number = asked % self.settings.samples
        return f"-{number + 1}" if number else ""

    async def _look_up(self, exchange: Exchange) -> None:
        """Fill in the hit, or status and reason of the miss."""
        decision = exchange.decision
        exchange.status = "REFRESH" if decision.reason else "MISS"
        exchange.reason = decision.reason or ("lookup-off" if not decision.look_up else "no-entry")
        if not decision.look_up:
            return
        entry = None
        try:
            async with asyncio.timeout(self.settings.lookup_timeout):
                if unfinished := self._finishing.get(exchange.key):
                    await asyncio.wait([unfinished])
                entry = await self.store.get(exchange.key, self._namespace(exchange.request))
            self._store_state(True)
        except TimeoutError:
            exchange.reason = "store-timeout"
        except StoreError as error:
            exchange.reason = "store-error"
            if not error.said:
                self._store_state(False, str(error))
        if entry is None:
            return
        if not (entry.cacheable or self.settings.everything):
            return
        if self.settings.mode == "record" and _would_be_asked_again(entry, exchange.call):
            exchange.reason = "recorded-anew"
            return
        age = max(0.0, time.time() - entry.created)
        max_age = exchange.control.max_age
        if entry.ttl and age > entry.ttl:
            exchange.reason = "expired"
        elif max_age is not None and age > max_age and self.settings.mode != "replay":
            exchange.reason = "older-than-max-age"
        else:
            self._hit(exchange, entry, age)

    def _hit(self, exchange: Exchange, entry: Entry, age: float) -> None:
        exchange.entry, exchange.age = entry, age
        exchange.status, exchange.reason = "HIT", ""
        exchange.status_code = entry.status
        exchange.response = replay.response(entry, self.headers(exchange))
        exchange.ended = time.monotonic()
        self.stats.hit(exchange)

    def _refuse(self, exchange: Exchange, code: str, message: str) -> None:
        host = exchange.request.host
        call = exchange.call
        known = call is not None and call.protocol is not protocols.ANYTHING
        error = (
            call.protocol.error(MISS_STATUS, code, message)
            if call is not None and known
            else error_for_host(host, MISS_STATUS, code, message)
        )
        exchange.status_code = error.status
        exchange.response = Response(error.status, Headers([*error.headers, *self.headers(exchange)]), error.body)
        exchange.ended = time.monotonic()
        self.stats.refusal(exchange)

    def _miss_message(self, exchange: Exchange, call: Call) -> str:
        request = exchange.request
        model = f" {call.model}" if call.model else ""
        why = "only-if-cached" if self.settings.mode != "replay" else "replay"
        return (
            f"ai-cache {why}: no stored answer for this {call.protocol.name}{model} request "
            f"(key {replay.short(exchange.key)}, {request.method} {request.url}, {exchange.reason}). "
            + ("Record it with ai_cache_mode=record." if why == "replay" else "")
        ).strip()

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

    def watch(self, exchange: Exchange, status: int) -> Capture | None:
        """The tee for this answer, or None where nothing of it will be kept."""
        exchange.status_code = status
        exchange.first_byte = exchange.seconds()
        call = exchange.call
        if not exchange.key or call is None:
            return None
        worth = exchange.decision.keep and (status == 200 or self.settings.mode == "record")
        if worth or (status in (400, 404) and call.protocol.names(call)):
            exchange.capture = Capture(self.settings.max_body)
        return exchange.capture

    def finish(
        self, exchange: Exchange, headers: Headers, body: bytes | None, ending: Ending, why_not: str = ""
    ) -> None:
        """The message has ended. Judge and keep it in a task of its own: the client does not wait for that.

        `body` is None where it was not captured; `why_not` says why it must not be kept.
        """
        exchange.ended = time.monotonic()
        if body is None or why_not or not exchange.key:
            self.stats.forwarded(exchange, why_not or self._why_uncaptured(exchange))
            return
        key = exchange.key
        task = asyncio.create_task(self._judge_and_keep(exchange, headers, body, ending), name="ai-cache keep")
        if not task.done():
            self._finishing[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))

    def _finished(self, key: str, task: asyncio.Task[None]) -> None:
        if self._finishing.get(key) is task:
            del self._finishing[key]
        if not task.cancelled() and (error := task.exception()):
            logger.error("ai-cache: an answer could not be judged", exc_info=error)

    def _why_uncaptured(self, exchange: Exchange) -> str:
        if exchange.status == "BYPASS" or not exchange.decision.keep:
            return "no-store" if exchange.control.no_store else ""
        return f"status-{exchange.status_code}" if exchange.status_code else "no-answer"

    async def _judge_and_keep(self, exchange: Exchange, headers: Headers, body: bytes, ending: Ending) -> None:
        await asyncio.sleep(0)  # tasks are eager: let the last chunk go first
        try:
            if len(body) >= _IN_THREAD_FROM:
                answer, verdict = await asyncio.to_thread(self._judge, exchange, headers, body, ending)
            else:
                answer, verdict = self._judge(exchange, headers, body, ending)
        except Exception as error:
            # What a gate stumbles over is no answer to keep.
            logger.error("ai-cache: an answer could not be judged and is not kept", exc_info=error)
            self.stats.forwarded(exchange, "unjudgeable")
            return
        if exchange.call is not None:
            self._forget_issuer(exchange.call, answer)
        reason = policy.not_kept(self.settings, verdict) if exchange.decision.keep else "no-store"
        if not reason and not self.store.put(self._entry(exchange, headers, answer, verdict)):
            reason = "store-dropped"
        self.stats.forwarded(exchange, reason or "stored")

    def _judge(self, exchange: Exchange, headers: Headers, body: bytes, ending: Ending) -> tuple[Answer, Verdict]:
        call = exchange.call
        assert call is not None
        content_type = headers.get("content-type")
        try:
            decoded = content_coding.decode(body, headers.get("content-encoding"), self.settings.max_body)
        except content_coding.UnknownCoding:
            return Answer(exchange.status_code, content_type, b"", ending), Verdict(
                False, False, "raw", "unknown-coding"
            )
        except content_coding.TooLarge:
            return Answer(exchange.status_code, content_type, b"", ending), Verdict(False, False, "raw", "too-large")
        if not decoded.complete and ending is Ending.CLEAN:
            ending = Ending.ABORTED
        answer = Answer(exchange.status_code, content_type, decoded.body, ending)
        return answer, gate.verdict(call, answer)

    def _forget_issuer(self, call: Call, answer: Answer) -> None:
        """The provider no longer knows the id this call builds on: the entry that issued it leads nowhere."""
        named = call.protocol.names(call)
        if not (named and self.settings.stores and answer.status in (400, 404)):
            return
        if b"previous_response_not_found" in answer.body or named.encode() in answer.body:
            self.store.remove_issuer(named)

    def _entry(self, exchange: Exchange, headers: Headers, answer: Answer, verdict: Verdict) -> Entry:
        call, request = exchange.call, exchange.request
        assert call is not None
        query = public_query(request.query)
        return Entry(
            key=exchange.key,
            created=time.time(),
            ttl=policy.ttl_of(self.settings, request, call),
            status=answer.status,
            headers=replay.kept_headers(headers),
            format=verdict.format,
            body=answer.body,
            request=call.body.raw,
            request_headers=self._request_headers(call, request),
            run=self.run,
            cacheable=verdict.cacheable and not call.bypass,
            protocol=call.protocol.name,
            model=call.model,
            method=request.method,
            url=request.url + (f"?{query}" if query else ""),
            stream=call.stream,
            live=call.live,
            namespace=self._namespace(request),
            issued=call.protocol.issued(answer),
            input_tokens=verdict.usage.input,
            output_tokens=verdict.usage.output,
            first_byte=exchange.first_byte,
            total=exchange.seconds(),
        )

    def _request_headers(self, call: Call, request: Request) -> tuple[tuple[str, str], ...]:
        fields = dict(counting_headers(call, request, self.settings.key_rules.headers))
        if content_type := request.headers.get("content-type"):
            fields["content-type"] = content_type
        return tuple(fields.items())

    async def close(self) -> None:
        if self._finishing:
            await asyncio.wait(self._finishing.values(), timeout=5)
        await self.store.close()


def _would_be_asked_again(entry: Entry, call: Call | None) -> bool:
    """Whether a client repeats this request to see another answer: after a 429 or 5xx, and when it polls.

    A recording keeps the last one. Answering with an earlier one would let retries and polling go on for ever.
    """
    return entry.status == 429 or entry.status >= 500 or (call is not None and bool(call.bypass))


def proxy_user_required() -> Response:
    """RFC 9110 section 15.5.8: whose entries may answer cannot be known."""
    return json_response(
        407,
        {"error": {"message": "ai-cache isolates by proxy user; set HTTPS_PROXY=http://USER:x@host:port", "code": 407}},
        [("proxy-authenticate", 'Basic realm="ai-cache"')],
    )

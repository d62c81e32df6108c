"""A captured answer -> what the gate says of it, the entry it becomes, and the store."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from ..cassettes.leaks import HoldsSecret, unwritten
from ..configuration.settings import Settings
from ..entries import usage
from ..entries.entry import Entry, tokens_of
from ..entries.key_numbers import base, nth, number
from ..identity.key import counting_headers, public_query
from ..protocols.base import Answer, Call, Ending, Verdict
from ..redact import Pattern, credentials_of
from ..redact.entries import hidden
from ..stores import Store, StoreError
from ..wire import content_coding
from ..wire.field_syntax import FINAL, is_value
from ..wire.messages import Headers, Request
from . import gate, policy, replay
from .capture import Capture
from .exchange import Exchange, Forwarded
from .flight import Flights, LiveStream
from .outcomes import STORED, Outcomes
from .reasons import Reason, Status
from .sequences import Sequences
from .workers import LARGE, Failed, OffLoop

logger = logging.getLogger("ai-cache")


class Storing:
    """Puts into `store` what proved complete, and tells those who wait for it. `run` names the life of this proxy."""

    def __init__(
        self, settings: Settings, store: Store, outcomes: Outcomes, sequences: Sequences, run: str, work: OffLoop
    ) -> None:
        self.settings = settings
        self._work = work
        self.store = store
        self.outcomes = outcomes
        self.sequences = sequences
        self.run = run
        self.flights = Flights()
        self._finishing: dict[str, asyncio.Task[None]] = {}

    def unfinished(self, key: str) -> asyncio.Task[None] | None:
        """The task that judges an answer of this key."""
        return self._finishing.get(key)

    def watch(self, exchange: Exchange, status: int, headers: Headers) -> Capture | None:
        """The tee for this answer, or None where nothing of it will be kept."""
        exchange.forwarded = Forwarded(status, exchange.seconds(), self._tee(exchange, status, headers))
        return exchange.capture

    def _tee(self, exchange: Exchange, status: int, headers: Headers) -> Capture | None:
        call = exchange.call
        if not exchange.key or call is None:
            return None
        worth = exchange.decided.decision.keep and (status == 200 or (self.settings.records and status in FINAL))
        if worth and exchange.flight is not None and call.stream:
            stream = LiveStream(self.settings.max_body, _live_headers(headers))
            self.flights.streams(exchange.flight, stream)
            return stream
        if worth or (status in (400, 404) and call.protocol.names(call)):
            return Capture(self.settings.max_body)
        return None

    def finish(
        self, exchange: Exchange, headers: Headers, body: bytes | None, ending: Ending, why_not: str = ""
    ) -> None:
        """The message has ended. Judge and keep it in a task of its own: the client does not wait for that.

        `body` is None where it was not captured; `why_not` says why it must not be kept.
        """
        exchange.end()
        if not why_not and body is not None and _is_short(exchange, headers, body):
            why_not = Reason.TRUNCATED
        whole = ending is not Ending.ABORTED
        if exchange.capture is not None and (whole or not isinstance(exchange.capture, LiveStream)):
            exchange.capture.close(whole)
        if exchange.status is Status.STALE and exchange.entry is not None:
            self.land(exchange, exchange.entry)  # whoever waits is not sent to a provider that fails, either
            self.outcomes.hit(exchange)
        elif body is None or why_not or not exchange.key:
            reason = why_not or self._why_uncaptured(exchange)
            if reason == Reason.TOO_LARGE and self.settings.records:
                self.outcomes.unrecordable(exchange.request, reason)
            hopeless = why_not not in ("", Reason.TRUNCATED)  # what broke off may not break off again
            self.fail(exchange, whole=whole, hopeless=hopeless, left=exchange.left)
            self._ask_again(exchange)
            self.outcomes.forwarded(exchange, reason)
        else:
            if is_refusal(exchange.status_code) and not self.settings.keep_retries:
                self._ask_again(exchange)
            self._keep_in_a_task(exchange, headers, body, ending)

    def _keep_in_a_task(self, exchange: Exchange, headers: Headers, body: bytes, ending: Ending) -> None:
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
        if exchange.status is Status.BYPASS or not exchange.decided.decision.keep:
            return Reason.NO_STORE if exchange.decided.control.no_store else ""
        return f"status-{exchange.status_code}" if exchange.status_code else Reason.NO_ANSWER

    async def _judge_and_keep(self, exchange: Exchange, headers: Headers, body: bytes, ending: Ending) -> None:
        await asyncio.sleep(0)  # tasks are eager: let the last chunk go first
        call = exchange.call
        assert call is not None
        try:
            answer, verdict, issued = await self._judged(call, exchange.status_code, headers, body, ending)
        except Failed as failure:
            self._not_kept(exchange, failure)
            return
        except Exception as error:
            # What a gate stumbles over is no answer to keep.
            logger.error("ai-cache: an answer could not be judged and is not kept", exc_info=error)
            self.fail(exchange, hopeless=True)
            self.outcomes.forwarded(exchange, Reason.UNJUDGEABLE)
            return
        self._forget_issuer(call, answer)
        reason = policy.not_kept(self.settings, verdict) if exchange.decided.decision.keep else Reason.NO_STORE
        if reason:
            self.fail(exchange, whole=verdict.whole, hopeless=verdict.whole, left=exchange.left)
            self._ask_again(exchange)
            self.outcomes.forwarded(exchange, reason)
            return
        entry = entry_of(exchange, call, headers, answer, verdict, self.settings, self.run, issued)
        if self.settings.sequences:
            credentials = credentials_of(exchange.sent)
            try:
                entry = await self._without_secrets(entry, credentials)
                stored = await self._record(entry, credentials)
            except Failed as failure:
                self._not_kept(exchange, failure)
                return
        else:
            stored = await self._put(entry)
        self.land(exchange, entry)
        self.outcomes.forwarded(exchange, STORED if stored else Reason.STORE_DROPPED, entry)
        if stored and self.settings.mode == "refresh" and number(entry.key) == 1:
            await self._forget_tail(entry, self.sequences_of(exchange))

    async def _judged(
        self, call: Call, status: int, headers: Headers, body: bytes, ending: Ending
    ) -> tuple[Answer, Verdict, str]:
        limit = self.settings.max_body
        if not self._work.wants_answer(headers, body):
            return judge(call, status, headers, body, ending, limit)
        judged = await self._work.judge(call, status, headers, body, ending)
        if judged is not None:
            return judged
        return await asyncio.to_thread(judge, call, status, headers, body, ending, limit)

    async def _without_secrets(self, entry: Entry, credentials: tuple[Pattern, ...]) -> Entry:
        if self._work.wants_redaction(entry):
            return await self._work.without_secrets(entry, credentials)
        return await asyncio.to_thread(hidden, entry, (*self.settings.redact, *credentials))

    def _not_kept(self, exchange: Exchange, failure: Failed) -> None:
        """An answer that could not be judged or redacted."""
        self.fail(exchange, hopeless=True)
        self._ask_again(exchange)
        self.outcomes.forwarded(exchange, failure.reason)

    async def _record(self, entry: Entry, credentials: tuple[Pattern, ...]) -> bool:
        """Put a recording, unless a secret is left in it; cassettes look at their finished text."""
        if self.store.checks_recordings:
            return self.store.put_recording(entry, credentials)
        leaks = await self._work.leaks(entry, credentials)
        if not leaks:
            return await self._put(entry)
        self.store.failures["secret"] += 1
        what = unwritten(entry, HoldsSecret(leaks))
        self.outcomes.not_written(what)
        logger.warning("ai-cache: not recorded: %s", what)
        return False

    async def _put(self, entry: Entry) -> bool:
        packed = None
        if self.store.packs and len(entry.body) + len(entry.request) >= LARGE:
            with suppress(TypeError, ValueError):  # which `put` counts
                packed = await asyncio.to_thread(self.store.pack, entry)
        return self.store.put(entry, packed)

    def _ask_again(self, exchange: Exchange) -> None:
        """What was not kept leaves its place in the sequence to the next identical call."""
        if self.settings.sequences and exchange.key:
            self.sequences_of(exchange).again(base(exchange.key), number(exchange.key))

    async def _forget_tail(self, first: Entry, sequences: Sequences) -> None:
        """A sequence whose first answer was bought again has only the answers of this run."""
        with suppress(StoreError):
            place = 2
            while await self.store.read(nth(first.key, place), first.namespace) is not None:
                if place > sequences.asked(first.key):
                    self.store.remove(nth(first.key, place), first.namespace)
                place += 1

    def _forget_issuer(self, call: Call, answer: Answer) -> None:
        """The provider no longer knows the id this call builds on: the entry that issued it leads nowhere."""
        named = call.protocol.names(call)
        if not (named and self.settings.stores and answer.status in (400, 404)):
            return
        if b"previous_response_not_found" in answer.body or named.encode() in answer.body:
            self.store.remove_issuer(named)

    def land(self, exchange: Exchange, entry: Entry) -> None:
        if exchange.flight is not None:
            self.flights.landed(exchange.flight, entry)
            self._end_lead(exchange)

    def fail(self, exchange: Exchange, *, whole: bool = False, hopeless: bool = False, left: bool = False) -> None:
        if exchange.flight is not None:
            self.flights.failed(exchange.flight, whole=whole, hopeless=hopeless, left=left)
            self._end_lead(exchange)

    def _end_lead(self, exchange: Exchange) -> None:
        exchange.flight = None
        self.store.release(exchange.key)

    def sequences_of(self, exchange: Exchange) -> Sequences:
        """Those of its test, else those of this run."""
        return exchange.scope.sequences if exchange.scope is not None else self.sequences

    async def finished(self, seconds: float = 5) -> None:
        """Wait for what is being judged."""
        if self._finishing:
            await asyncio.wait(self._finishing.values(), timeout=seconds)

    async def settle(self, namespace: str) -> None:
        """A test has passed: its recordings get the names they keep, and what it did not ask for goes."""
        await self.finished()
        await self.store.settle(namespace, drop=True)

    async def close(self) -> None:
        await self.finished()


def is_refusal(status: int) -> bool:
    """Whether a client asks again after this status, to see another answer."""
    return status == 429 or status >= 500


def judge(
    call: Call, status: int, headers: Headers, body: bytes, ending: Ending, limit: int
) -> tuple[Answer, Verdict, str]:
    """The answer with its content coding undone, at most `limit` bytes of it, the verdict, and the id it issued."""
    content_type = headers.get("content-type")
    try:
        decoded = content_coding.decode(body, headers.get("content-encoding"), limit)
    except content_coding.UnknownCoding:
        return Answer(status, content_type, b"", ending), Verdict(False, False, "raw", Reason.UNKNOWN_CODING), ""
    except content_coding.TooLarge:
        return Answer(status, content_type, b"", ending), Verdict(False, False, "raw", Reason.TOO_LARGE), ""
    if not decoded.complete and ending is Ending.CLEAN:
        ending = Ending.ABORTED
    answer = Answer(status, content_type, decoded.body, ending)
    return answer, gate.verdict(call, answer), call.protocol.issued(answer)


def entry_of(
    exchange: Exchange,
    call: Call,
    headers: Headers,
    answer: Answer,
    verdict: Verdict,
    settings: Settings,
    run: str,
    issued: str,
) -> Entry:
    """What is stored of an exchange that has ended."""
    request = exchange.request
    query = public_query(request.query)
    return Entry(
        key=exchange.key,
        created=time.time(),
        ttl=policy.ttl_of(settings, request, call),
        grace=settings.stale_if_error,
        status=answer.status,
        headers=replay.kept_headers(headers),
        format=verdict.format,
        body=answer.body,
        request=call.body.raw,
        request_headers=_request_headers(call, request, settings.key_rules.headers),
        cacheable=verdict.cacheable and not call.bypass,
        redacted=exchange.reading is not None and exchange.reading.redacted,
        protocol=call.protocol.name,
        model=call.model,
        method=request.method,
        url=request.url + (f"?{query}" if query else ""),
        stream=call.stream,
        live=call.live,
        namespace=exchange.namespace,
        run=run,
        issued=issued,
        **tokens_of(verdict.usage if verdict.usage.total else usage.from_headers(headers)),
        first_byte=exchange.forwarded.first_byte if exchange.forwarded is not None else 0.0,
        total=exchange.seconds(),
    )


def _live_headers(headers: Headers) -> Headers:
    """Of the leader's answer what its followers get, too."""
    fields = list(replay.kept_headers(headers))
    if coding := headers.get("content-encoding"):
        fields.append(("content-encoding", coding))  # the bytes are passed on as they came
    return Headers(fields)


def _is_short(exchange: Exchange, headers: Headers, body: bytes) -> bool:
    """Whether the provider announced more bytes than it sent. What came may look whole and lack its end."""
    declared = headers.get("content-length").lstrip("+0") or "0"
    if not (declared.isascii() and declared.isdecimal()):
        return False
    has_body = exchange.request.method != "HEAD" and exchange.status_code not in (204, 304)
    return has_body and (len(declared) > 18 or len(body) < int(declared))


def _request_headers(call: Call, request: Request, more: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    fields = dict(counting_headers(call, request, more))
    if content_type := request.headers.get("content-type"):
        fields["content-type"] = content_type
    return tuple((name, value) for name, value in fields.items() if is_value(value))

"""Work that would hold the event loop, done elsewhere: one long prompt must not keep everybody else waiting.

A thread is not enough: one call of `orjson.loads` or `re` on some megabytes holds the interpreter from its first byte
to its last. So a body above `LARGE` is read, judged, redacted and explained in a worker process, and so is every body
where a pattern of the user's has no bound on its time (`regex_cost`). What cannot be done there is not done at all: the
call passes uncached, or its answer is not stored. It is never kept with its secrets, nor under another key.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from ...cassettes import file, leaks
from ...cassettes.leaks import Leak
from ...configuration.settings import Settings
from ...entries.entry import Entry
from ...explain import Explanation, Miss, Recorded
from ...identity.identifier import Identifier, Reading
from ...protocols.base import Answer, Call, Ending, Verdict
from ...redact import Pattern
from ...redact.entries import hidden_request
from ...wire.messages import Headers, Request
from ...wire.regex_cost import is_cheap
from . import timed, wire
from .pool import DIED, TOO_SLOW, Failed, Pool, can_work

__all__ = ["DIED", "LARGE", "TOO_SLOW", "Failed", "OffLoop", "Pool"]

logger = logging.getLogger("ai-cache")

LARGE = 256 << 10
"""Bytes from which a body leaves the event loop. Below, what is done with it takes a millisecond or two."""

_CODED, _CODED_ANSWER = 256, 8
"""How many times longer a compressed body may be than it looks: a prompt by intent, an answer as they are."""


class OffLoop:
    """Does with long bodies what `settings` say, in the workers of `pool`."""

    def __init__(self, settings: Settings, identifier: Identifier, pool: Pool) -> None:
        self._settings, self._identifier, self._pool = settings, identifier, pool
        self._protocols = identifier.registry.by_name
        self._rules = ""
        self._named: set[str] = set()
        self._numbered = 0
        normalize = settings.key_rules.normalize
        self.redact = settings.redact
        self.risky_redact = not all(is_cheap(one.regex) for one in settings.redact)
        self.risky_keys = not all(is_cheap(one.pattern) for one in normalize)
        self._risky = self.risky_keys or (settings.sequences and self.risky_redact)

    # A request

    def wants(self, sent: Request) -> bool:
        """Whether `sent` is to be read elsewhere."""
        size = len(sent.body) if sent.body is not None else 0
        return self._risky or size >= LARGE or (size * _CODED >= LARGE and "content-encoding" in sent.headers)

    async def read(self, sent: Request, scope: Sequence[bytes] | None) -> Reading:
        """What `Identifier.read` says, and the key where `scope` is given. Raises `Failed`."""
        if not can_work():
            return await asyncio.to_thread(self._identifier.read, sent)
        blobs = [] if sent.body is None else [sent.body]
        said = {"request": wire.request_out(sent), "scope": None if scope is None else [part.hex() for part in scope]}
        answer, out = await self._do("read", said, blobs)
        request = wire.request_in(answer["request"], out[answer["body"]] if "body" in answer else sent.body)
        if answer["request"] == json.loads(json.dumps(said["request"])) and request.body is sent.body:
            request = sent
        call = None
        if "call" in answer:
            raw = out[answer["raw"]] if "raw" in answer else request.body or b""
            call = wire.call_in(answer["call"], raw, self._protocols)
        return Reading(request, answer["redacted"], call, answer["kind"], answer.get("key", ""))

    # An answer

    def wants_answer(self, headers: Headers, body: bytes) -> bool:
        """Whether an answer is to be judged elsewhere."""
        return len(body) * (_CODED_ANSWER if headers.get("content-encoding") else 1) >= LARGE

    async def judge(
        self, call: Call, status: int, headers: Headers, body: bytes, ending: Ending
    ) -> tuple[Answer, Verdict, str] | None:
        """What `storing.judge` says, or None where there are no workers. Raises `Failed`."""
        if not can_work():
            return None
        said = {
            "call": wire.call_out(call),
            "status": status,
            "headers": headers.fields,
            "ending": ending,
        }
        answer, out = await self._do("judge", said, [body])
        decoded = out[answer["body"]] if "body" in answer else body
        judged = Answer(status, headers.get("content-type"), decoded, Ending(answer["ending"]))
        return judged, wire.verdict_in(answer["verdict"]), answer["issued"]

    def wants_redaction(self, entry: Entry) -> bool:
        """Whether the answer of `entry` is to be searched for secrets elsewhere."""
        return self._is_long(entry)

    async def without_secrets(self, entry: Entry, credentials: tuple[Pattern, ...]) -> Entry:
        """What `redact.entries.hidden` makes of the answer. Raises `Failed`."""
        said = {"entry": wire.whole_entry_out(entry), "credentials": wire.patterns_out(credentials)}
        answer, out = await self._do("redact", said, [entry.body, entry.request])
        return wire.whole_entry_in(answer["entry"], *out) if out else entry

    def _is_long(self, entry: Entry) -> bool:
        return can_work() and (self.risky_redact or len(entry.body) + len(entry.request) >= LARGE)

    async def leaks(self, entry: Entry, credentials: tuple[Pattern, ...]) -> tuple[Leak, ...]:
        """What `leaks.in_entry` finds. Raises `Failed`."""
        if not self._is_long(entry):
            return await asyncio.to_thread(leaks.in_entry, entry, (*self._settings.redact, *credentials))
        said = {"entry": wire.whole_entry_out(entry), "credentials": wire.patterns_out(credentials)}
        answer, _ = await self._do("leaks", said, [entry.body, entry.request])
        return tuple(Leak(place, kind) for place, kind in answer["leaks"])

    def compose(self, entry: Entry, patterns: tuple[Pattern, ...] = ()) -> tuple[str, dict[str, str]]:
        """What `leaks.compose` says; for the thread of a store. Raises `NotWritable`, `HoldsSecret`."""
        if not self._is_long(entry):
            return leaks.compose(entry, patterns)
        credentials = tuple(one for one in patterns if one not in self._settings.redact)
        said = {"entry": wire.whole_entry_out(entry), "credentials": wire.patterns_out(credentials)}
        head = {"job": "compose", "rules": self._rules_text(), **said}
        try:
            answer, out = self._pool.do_here(head, [entry.body, entry.request])
        except Failed as failure:
            self._say(failure)
            if failure.reason == TOO_SLOW:
                raise file.NotWritable(f"it was not searched for secrets: {failure.reason}") from None
            return leaks.compose(entry, patterns)  # nothing is at stake but time
        if "leaks" in answer:
            raise leaks.HoldsSecret(tuple(Leak(place, kind) for place, kind in answer["leaks"]))
        if why := answer.get("not_writable"):
            raise file.NotWritable(why)
        text, *contents = (data.decode("utf-8", "surrogatepass") for data in out)
        return text, dict(zip(answer["parts"], contents, strict=True))

    # A miss

    def recordings(self, entries: list[Entry]) -> Recordings:
        self._numbered += 1
        return Recordings(self, entries, self._identifier, f"{id(self):x}-{self._numbered}")

    async def _do(self, job: str, said: dict[str, Any], blobs: Sequence[bytes], pool: Pool | None = None) -> Any:
        try:
            return await (pool or self._pool).do({"job": job, "rules": self._rules_text(), **said}, blobs)
        except Failed as failure:
            self._say(failure)
            raise

    def _rules_text(self) -> str:
        self._rules = self._rules or json.dumps(wire.settings_out(self._settings))
        return self._rules

    def _say(self, failure: Failed) -> None:
        """One line for each pattern, not for each call."""
        name = self._pattern(failure.mark) if failure.reason == TOO_SLOW else str(failure)
        if failure.reason != TOO_SLOW:
            logger.error("ai-cache: a long body could not be read, its call is not stored (%s)", name)
        elif name not in self._named:
            self._named.add(name)
            logger.warning(
                "ai-cache: %s took more than %g s on one call and was stopped; calls it does that to are not stored. "
                "Write it without repetitions in repetitions, such as (a+)+, or unset it",
                name,
                timed.BUDGET,
            )

    def _pattern(self, mark: str) -> str:
        """The option and the pattern that `mark` stands for."""
        if mark[:1] == "n":
            return f"ai_cache_normalize {self._settings.key_rules.normalize[int(mark[1:])].pattern.pattern!r}"
        found = self._settings.redact[int(mark[1:])]
        return f"ai_cache_redact {found.kind}={found.regex.pattern.decode('utf-8', 'replace')}"


class Recordings:
    """Recorded requests that misses are compared with."""

    def __init__(self, work: OffLoop, entries: list[Entry], identifier: Identifier, name: str) -> None:
        self._work, self._entries, self._name = work, entries, name
        self._recorded: Recorded | None = None
        self._identifier = identifier
        self._large = any(len(entry.request) >= LARGE for entry in entries)
        self._pool: Pool | None = None

    async def explain(self, miss: Miss) -> Explanation:
        """Raises `Failed`."""
        risky = self._work.risky_keys or self._work.risky_redact
        if can_work() and (self._large or risky or len(miss.request.body or b"") >= LARGE):
            return await self._elsewhere(miss)
        if self._recorded is None:
            hide = partial(hidden_request, patterns=self._work.redact)
            self._recorded = Recorded(self._entries, self._identifier, hide)
        return await asyncio.to_thread(self._recorded.explain, miss)

    async def _elsewhere(self, miss: Miss) -> Explanation:
        """In a worker of its own, which remembers the entries."""
        self._pool = self._pool or self._work._pool.another()
        said: dict[str, Any] = {
            "recordings": self._name,
            "request": wire.request_out(miss.request),
            "namespace": miss.namespace,
            "key": miss.key,
            "reason": miss.reason,
        }
        body = miss.request.body or b""
        answer, _ = await self._work._do("explain", said, [body], self._pool)
        if "unknown" in answer:
            entries = self._entries
            said["entries"] = await asyncio.to_thread(lambda: [wire.entry_out(entry) for entry in entries])
            blobs = [body, *(entry.request for entry in entries)]
            answer, _ = await self._work._do("explain", said, blobs, self._pool)
        return wire.explanation_in(answer["explanation"])

    async def close(self) -> None:
        """End the worker of its own."""
        if self._pool is not None:
            await self._pool.close()

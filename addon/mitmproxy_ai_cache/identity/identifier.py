"""What a request is: which call, whose, and under which key. The one place where that is decided, for requests that
come in, for recordings, and for explanations.

Pure, so that it runs anywhere: on the event loop for an ordinary body, in a worker process for a long one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from .. import protocols
from ..entries.entry import Entry
from ..entries.key_numbers import base, nth
from ..protocols import ANYTHING, Registry
from ..protocols.base import Call
from ..redact import redact_request, redaction_rules
from ..wire import body as bodies
from ..wire import our_headers
from ..wire.messages import Request
from ..wire.safe_text import one_line
from .hosts import HostList, ai_hosts, is_side_traffic
from .isolation import Isolation
from .key import SCHEMA, fingerprint
from .rules import IdentityRules
from .stored_request import request_like, request_of

logger = logging.getLogger("ai-cache")

_ANY_SIZE = 1 << 31
"""Of recordings, which were small enough when they were made."""

_EVERYBODY = Isolation("none")
"""Recordings belong to nobody."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a request."""

    request: Request
    """Without its secrets where the mode takes them out, else as it was sent."""
    redacted: bool = False
    """Whether there were any."""
    call: Call | None = None
    kind: str = ""
    """The kind of the body; empty where the head alone says that the request is none of our business."""
    key: str = ""
    """The key of the call where it was computed along with this."""


@dataclass(frozen=True, slots=True)
class Identified:
    """A call and all that tells it apart from others."""

    request: Request
    call: Call
    namespace: str
    scope: tuple[bytes, ...]
    """Whose entries may answer it (`isolation`); empty where nobody looks it up."""
    key: str
    """64 hex digits, and `-n` for the n-th answer; empty where nobody looks it up."""

    def numbered(self, number: int) -> Identified:
        """The same call, asking for its n-th answer."""
        key = nth(base(self.key), number)
        return self if key == self.key else replace(self, key=key)


class Identifier:
    """Identifies requests by `rules`."""

    def __init__(self, rules: IdentityRules, registry: Registry | None = None) -> None:
        self.rules = rules
        self.registry = registry if registry is not None else protocols.standard(rules.no_done_hosts)
        self.hosts: HostList = ai_hosts(rules.hosts)
        self._missing: set[str] = set()

    # Requests that come in

    def concerns(self, method: str, host: str, path: str) -> bool:
        """Whether the head alone says that a request may be ours."""
        return self.rules.active and (host in self.hosts or self.registry.may_be_call(method, path))

    def is_ours(self, request: Request) -> bool:
        """Whether a request that no protocol recognises goes to an AI host for more than side traffic."""
        return request.host in self.hosts and not is_side_traffic(request.host, request.path)

    def read(self, sent: Request) -> Reading:
        """Read `sent`. The key is not made here: what is no call or is bypassed needs none."""
        request, redacted = sent, False
        if self.rules.hides_secrets:
            hidden = redact_request(sent, self.rules.redact)
            request, redacted = hidden.request, bool(hidden.findings)
        if not self.concerns(request.method, request.host, request.path):
            return Reading(request, redacted)  # its body is not even read
        body = bodies.read(request, self.rules.max_body)
        call = self.registry.recognise(request, body)
        if call is None and self.rules.everything and self.is_ours(request):
            call = ANYTHING.recognise(request, body)
        return Reading(request, redacted, call, body.kind)

    def namespace(self, request: Request) -> str:
        """That which the request names, that of its test, or that of the settings."""
        return request.headers.get(our_headers.NAMESPACE) or request.scope or self.rules.namespace

    def identify(self, request: Request, call: Call, scope: tuple[bytes, ...], key: str = "") -> Identified:
        """`request` as `read` gives it, `scope` of the request as it was sent. `key` where it is known already."""
        namespace = self.namespace(request)
        return Identified(request, call, namespace, scope, key or self._key(request, call, scope, namespace))

    # Recordings, and requests that are compared with them

    def recorded(self, entry: Entry) -> Identified:
        """The call of a recording, with its key under the rules of today and without its place in a sequence.

        What today's rules find is replaced, as in the request that is looked up: older rules may have found less.
        """
        self._tell_of_missing_protocol(entry.protocol)
        request = redact_request(request_of(entry), self.rules.redact).request
        call, scope = self._call(request, entry.protocol), _EVERYBODY.scope(request, None)
        return Identified(request, call, entry.namespace, scope, self._key(request, call, scope, entry.namespace))

    def stored(self, entry: Entry, sent: Request | None = None) -> Identified:
        """The call of an entry, with the key it is stored under. With the Host header of `sent` where the host is."""
        request = request_like(entry, sent) if sent is not None else request_of(entry)
        return Identified(request, self._call(request, entry.protocol), entry.namespace, (), entry.key)

    def asked(self, request: Request, namespace: str, key: str = "", call: Call | None = None) -> Identified:
        """A call that found no answer, however large; `key` is the one that was looked up."""
        return Identified(request, call or self._call(request), namespace, (), key)

    def rules_text(self) -> str:
        """A short text that changes whenever keys may."""
        rules = self.rules
        told = f"{SCHEMA!r} {rules.key!r} {rules.no_done_hosts!r} {rules.redact!r} {redaction_rules()}".encode()
        told += rules.key.secret
        if plugins := protocols.plugins():
            told += repr([(each.value.name, each.distribution, each.version) for each in plugins]).encode()
        return hashlib.sha256(told).hexdigest()[:16]

    def _tell_of_missing_protocol(self, name: str) -> None:
        if name and name not in self.registry.by_name and name not in self._missing:
            self._missing.add(name)
            logger.warning(
                "ai-cache: recordings of %s may not answer: no protocol that is installed has this name; install the "
                "plug-in they were recorded with",
                one_line(name),
            )

    def _call(self, request: Request, protocol: str = "") -> Call:
        body = bodies.read(request, _ANY_SIZE)
        call = self.registry.recognise(request, body) if protocol != ANYTHING.name else None
        return call or ANYTHING.recognise(request, body)

    def _key(self, request: Request, call: Call, scope: tuple[bytes, ...], namespace: str) -> str:
        return fingerprint(call, request, (*scope, namespace.encode("utf-8", "surrogatepass")), self.rules.key)


def key_of(rules: IdentityRules) -> Callable[[Entry], str]:
    """Gives the key of a recorded request, without its place in a sequence."""
    identifier = Identifier(rules)
    return lambda entry: identifier.recorded(entry).key


def rules_of(rules: IdentityRules) -> str:
    """A short text that changes whenever keys may."""
    return Identifier(rules).rules_text()

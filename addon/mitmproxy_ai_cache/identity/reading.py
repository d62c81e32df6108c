"""What a request is: its secrets taken out, its body read, the call recognised. Pure, so that it can run anywhere:
on the event loop for an ordinary body, in a process of `calls.workers` for a large one."""

from __future__ import annotations

from dataclasses import dataclass

from .. import protocols
from ..protocols import Registry
from ..protocols.base import Call
from ..redact import redact_request
from ..wire import body as bodies
from ..wire.messages import Request
from .hosts import HostList, is_side_traffic
from .rules import IdentityRules


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a request."""

    request: Request
    """Without its secrets where the mode takes them out, else as it was sent."""
    redacted: bool
    """Whether there were any."""
    call: Call | None = None
    kind: str = ""
    """The kind of the body; empty where the head alone says that the request is none of our business."""
    key: str = ""
    """The key of the call where it was computed along with this."""


def concerns(rules: IdentityRules, registry: Registry, hosts: HostList, method: str, host: str, path: str) -> bool:
    """Whether the head alone says that this request may be ours."""
    return rules.active and (host in hosts or registry.may_be_call(method, path))


def read(sent: Request, rules: IdentityRules, registry: Registry, hosts: HostList) -> Reading:
    """Read `sent`. The key is not made here: what is no call or is bypassed needs none."""
    request, redacted = sent, False
    if rules.hides_secrets:
        hidden = redact_request(sent, rules.redact)
        request, redacted = hidden.request, bool(hidden.findings)
    if not concerns(rules, registry, hosts, request.method, request.host, request.path):
        return Reading(request, redacted)  # its body is not even read
    body = bodies.read(request, rules.max_body)
    call = registry.recognise(request, body)
    if call is None and rules.everything and is_ours(request, hosts):
        call = protocols.ANYTHING.recognise(request, body)
    return Reading(request, redacted, call, body.kind)


def is_ours(request: Request, hosts: HostList) -> bool:
    """Whether a request that no protocol recognises goes to an AI host for more than side traffic."""
    return request.host in hosts and not is_side_traffic(request.host, request.path)

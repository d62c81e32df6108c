"""The values that go to a worker and come back, as JSON and bytes, and back again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

import orjson

from ...configuration.settings import Settings
from ...entries.entry import Entry
from ...entries.usage import Usage
from ...explain import Explanation
from ...explain.explanation import Difference
from ...identity.identifier import Identifier
from ...identity.key import Alias, KeyRules, Normalize
from ...identity.profiles import named
from ...protocols.base import Call, Protocol, Verdict
from ...redact import Pattern
from ...stores import CASSETTES
from ...wire.body import Body
from ...wire.json_body import Json
from ...wire.messages import Headers, Request

_SMALL, _FEW, _TEXT = 1024, 16, 64 << 10
"""Bytes and items of a member that comes back with its call, and characters of a text."""


@dataclass(frozen=True)
class Rules:
    """What of the settings a worker needs."""

    settings: Settings
    identifier: Identifier
    protocols: dict[str, Protocol]

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        identifier = Identifier(settings.identity)
        return cls(settings, identifier, identifier.registry.by_name)


def settings_out(settings: Settings) -> dict[str, Any]:
    key = settings.key_rules
    return {
        "mode": settings.mode,
        "cassettes": settings.store.startswith(CASSETTES),  # not the URL, which may hold a password
        "max_body": settings.max_body,
        "hosts": settings.hosts,
        "no_done_hosts": settings.no_done_hosts,
        "namespace": settings.namespace,
        "redact": patterns_out(settings.redact),
        "headers": key.headers,
        "ignore": key.ignore,
        "normalize": [(rule.pattern.pattern, rule.pattern.flags, rule.replacement) for rule in key.normalize],
        "aliases": [(alias.pattern.pattern, alias.pattern.flags, alias.name, alias.of_path) for alias in key.aliases],
        "profiles": [profile.name for profile in key.profiles],
        "secret": key.secret.hex(),
    }


def settings_in(said: dict[str, Any]) -> Settings:
    return Settings(
        store=CASSETTES if said["cassettes"] else "",
        mode=said["mode"],
        max_body=said["max_body"],
        hosts=tuple(said["hosts"]),
        no_done_hosts=tuple(said["no_done_hosts"]),
        namespace=said["namespace"],
        redact=patterns_in(said["redact"]),
        key_rules=KeyRules(
            headers=tuple(said["headers"]),
            ignore=tuple(tuple(path) for path in said["ignore"]),
            normalize=tuple(Normalize(re.compile(source, flags), new) for source, flags, new in said["normalize"]),
            aliases=tuple(Alias(re.compile(source, flags), *rest) for source, flags, *rest in said["aliases"]),
            profiles=named(tuple(said["profiles"])),
            secret=bytes.fromhex(said["secret"]),
        ),
    )


def patterns_out(patterns: Iterable[Pattern]) -> list[tuple[str, str, int]]:
    return [(one.kind, one.regex.pattern.decode("latin-1"), one.regex.flags) for one in patterns]


def patterns_in(said: Iterable[Any]) -> tuple[Pattern, ...]:
    return tuple(Pattern(kind, re.compile(source.encode("latin-1"), flags)) for kind, source, flags in said)


_REQUEST = ("method", "scheme", "host", "port", "path", "query", "authority", "sni", "reverse", "scope")


def request_out(request: Request) -> dict[str, Any]:
    """All but the body, which goes beside it."""
    return {name: getattr(request, name) for name in _REQUEST} | {"headers": request.headers.fields}


def request_in(said: dict[str, Any], body: bytes | None) -> Request:
    given = {name: said[name] for name in _REQUEST}
    return Request(**given, headers=headers_in(said["headers"]), body=body)


def headers_in(fields: Iterable[Any]) -> Headers:
    return Headers((name, value) for name, value in fields)


def call_out(call: Call) -> dict[str, Any]:
    """All of a call but its bytes. Of a JSON body the small members come along: what a protocol asks of a call later
    (`n`, `stream_options`, `previous_response_id`, `temperature`) are such."""
    return {
        "protocol": call.protocol.name,
        "model": call.model,
        "stream": call.stream,
        "host": call.host,
        "path": call.path,
        "bypass": call.bypass,
        "live_input": call.live_input,
        "live": call.live,
        "kind": call.body.kind,
        "json": _small(call.body.json),
    }


def call_in(said: dict[str, Any], raw: bytes, protocols: dict[str, Protocol]) -> Call:
    body = Body(said["kind"], raw, said["json"])
    names = ("model", "stream", "host", "path", "bypass", "live_input")
    call = Call(protocols[said["protocol"]], body=body, **{name: said[name] for name in names})
    call.__dict__["live"] = said["live"]  # asked of the whole body already, and remembered as it would have been
    return call


def _small(value: Json) -> Json:
    if not isinstance(value, dict):
        return None
    return {name: member for name, member in map(_member, value.items()) if member is not ...}


def _member(pair: tuple[str, Json]) -> tuple[str, Json]:
    name, value = pair
    if len(name) > _SMALL or (isinstance(value, str) and len(value) > _TEXT):
        return name, ...
    if isinstance(value, dict | list):
        try:
            if len(value) > _FEW or len(written := orjson.dumps(value, default=float)) > _SMALL:
                return name, ...
            return name, orjson.loads(written)
        except (TypeError, ValueError, RecursionError):
            return name, ...
    return name, float(value) if isinstance(value, Decimal) else value


def verdict_out(verdict: Verdict) -> dict[str, Any]:
    return {
        "whole": verdict.whole,
        "cacheable": verdict.cacheable,
        "format": verdict.format,
        "reason": verdict.reason,
        "stop": verdict.stop,
        "usage": tuple(verdict.usage),
    }


def verdict_in(said: dict[str, Any]) -> Verdict:
    return Verdict(**said | {"stop": tuple(said["stop"]), "usage": Usage(*said["usage"])})


_ENTRY = (
    "key", "created", "ttl", "status", "format", "cacheable", "protocol", "model", "method", "url", "stream",
    "namespace",
)  # fmt: skip


def entry_out(entry: Entry) -> dict[str, Any]:
    """What an explanation asks of an entry; its request goes beside it, its answer stays."""
    return {name: getattr(entry, name) for name in _ENTRY} | {"request_headers": entry.request_headers}


def entry_in(said: dict[str, Any], request: bytes) -> Entry:
    sent = tuple((name, value) for name, value in said["request_headers"])
    return Entry(**said | {"headers": (), "body": b"", "request": request, "request_headers": sent})


def whole_entry_out(entry: Entry) -> dict[str, Any]:
    """All of an entry but its bodies."""
    return {each.name: getattr(entry, each.name) for each in fields(Entry) if each.name not in ("body", "request")}


def whole_entry_in(said: dict[str, Any], body: bytes, request: bytes) -> Entry:
    lists = {name: tuple((one, value) for one, value in said[name]) for name in ("headers", "request_headers")}
    return Entry(**{**said, **lists, "body": body, "request": request})


def explanation_out(explanation: Explanation) -> dict[str, Any]:
    return asdict(explanation)


def explanation_in(said: dict[str, Any]) -> Explanation:
    lists = {name: tuple(said[name]) for name in ("equal", "hints", "present")}
    found = tuple(Difference(**difference) for difference in said["differences"])
    return Explanation(**{**said, **lists, "differences": found})

"""Option values validated into one frozen `Settings`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..entries.vault import Vault
from ..identity.canonical import parse_path
from ..identity.isolation import Isolation
from ..identity.key import Alias, KeyRules, Normalize
from ..identity.keyless import parse_host
from ..identity.profiles import named
from ..identity.rules import IdentityRules
from ..redact import Pattern, parse_pattern
from ..stores import CASSETTES, REDIS
from ..stores.redis import url as redis_url
from ..wire import units
from ..wire.addresses import is_loopback
from ..wire.safe_text import may_hold_password, quoted, replaced, safe_url
from . import own_names
from .options import LOG_FORMATS, MODES, OPTIONS, OWN_NAMES, REPEATS, default_store


class SettingsError(ValueError):
    """An option is wrong. The message is one line that names the option and says what to write instead."""


@dataclass(frozen=True)
class Settings:
    """What the options say, checked. Sizes in bytes, times in seconds."""

    store: str = ""
    store_named: bool = False
    """Whether somebody named it. The default may be replaced where it cannot be written."""
    mode: str = "cache"
    """Never `auto`."""
    mode_why: str = ""
    """Why it is this one where nobody named it."""
    ttl: float = 604800
    stale_if_error: float = 0
    single_flight: bool = True
    live_ttl: float = 3600
    max_size: int = 1 << 30
    near_size: int = 64 << 20
    max_body: int = 10 << 20
    max_pending: int = 256 << 20
    lookup_timeout: float = 0.25
    hosts: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    redact: tuple[Pattern, ...] = ()
    fail_mode: str = "skip"
    bypass_on: tuple[tuple[str, str], ...] = ()
    isolate: Isolation | None = None
    """None is `auto`."""
    keyless_hosts: frozenset[str] = frozenset()
    namespace: str = ""
    vault: Vault | None = None
    samples: int = 1
    key_rules: KeyRules = field(default_factory=KeyRules)
    skip_stop_reasons: frozenset[str] = frozenset()
    no_done_hosts: tuple[str, ...] = ()
    repeat: str = "last"
    keep_retries: bool = False
    record_broken: bool = False
    headers: bool = True
    websocket: str = "auto"
    eager: bool = False
    tune_mitmproxy: bool = True
    dashboard: tuple[str, int] | None = None
    """Where the status page listens."""
    dashboard_password: str = ""
    own_names: tuple[str, ...] = OWN_NAMES
    """What clients may call the proxy, beside the names that are always its own."""
    browser_origins: frozenset[str] = frozenset()
    """Pages that may use base URLs, in lower case."""
    log_format: str = "text"

    @property
    def looks_up(self) -> bool:
        return self.mode in ("cache", "read-only", "record", "replay")

    @property
    def stores(self) -> bool:
        return self.mode in ("cache", "record", "refresh")

    @property
    def everything(self) -> bool:
        """Whether all exchanges with AI hosts count, not only calls that can be answered from a cache."""
        return self.records or self.mode == "replay"

    @property
    def records(self) -> bool:
        """Whether every answer is kept, of whatever status and method: a refresh of cassettes is a recording."""
        return self.mode == "record" or (self.mode == "refresh" and self.store.startswith(CASSETTES))

    @property
    def needs_store(self) -> bool:
        """Whether nothing goes on without the store: a replay, and a recording into a store that somebody named."""
        return self.mode == "replay" or (self.records and self.store_named)

    @property
    def sequences(self) -> bool:
        """Whether the n-th identical request of a run has an answer of its own."""
        return self.mode in ("record", "refresh", "replay")

    @cached_property
    def identity(self) -> IdentityRules:
        """What decides which requests are calls, and by what they are told apart."""
        return IdentityRules(
            active=self.mode != "off",
            everything=self.everything,
            hides_secrets=self.sequences,
            max_body=self.max_body,
            redact=self.redact,
            key=self.key_rules,
            hosts=self.hosts,
            no_done_hosts=self.no_done_hosts,
            namespace=self.namespace,
        )

    @classmethod
    def parse(cls, values: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
        """Settings of the options in `values`, defaults for the rest. Raises `SettingsError`.

        Of `environ` only `CI` counts, for the mode on cassettes.
        """
        given = {option.name.removeprefix("ai_cache_"): option.default for option in OPTIONS}
        given |= {name.removeprefix("ai_cache_"): value for name, value in values.items()}
        check = _Check(given)
        store = check.store()
        mode, why = check.mode(store, environ.get("CI", "").lower() not in ("", "0", "false"))
        given["mode"] = mode
        return cls(
            store=store,
            store_named=bool(given["store"]),
            mode=mode,
            mode_why=why,
            ttl=check.using("ttl", units.duration),
            stale_if_error=check.using("stale_if_error", units.duration),
            single_flight=given["single_flight"],
            live_ttl=check.using("live_ttl", units.duration),
            max_size=check.using("max_size", units.size),
            near_size=check.using("near_size", units.size),
            max_body=check.using("max_body", units.size),
            max_pending=check.using("max_pending", units.size),
            lookup_timeout=check.lookup_timeout(),
            hosts=tuple(given["hosts"]),
            allow_hosts=tuple(given["allow_hosts"]),
            redact=check.each("redact", parse_pattern),
            fail_mode=check.choice("fail_mode", ("skip", "warn", "error")),
            bypass_on=check.each("bypass_on", _bypass_rule),
            isolate=None if given["isolate"] == "auto" else check.using("isolate", Isolation.parse, prefix=False),
            keyless_hosts=frozenset(check.each("keyless_hosts", parse_host)),
            namespace=given["namespace"],
            vault=check.using("encryption_key", lambda text: Vault.parse(text) if text else None),
            samples=check.samples(),
            key_rules=KeyRules(
                headers=tuple(name.lower() for name in given["key_headers"]),
                ignore=check.each("ignore", parse_path, prefix=True),
                normalize=check.each("normalize", Normalize.parse),
                aliases=check.each("alias", Alias.parse),
                profiles=check.using("profiles", lambda names: named(tuple(names))),
                secret=given["secret"].encode(),
            ),
            skip_stop_reasons=frozenset(reason.lower() for reason in given["skip_stop_reasons"]),
            no_done_hosts=tuple(given["no_done_hosts"]),
            repeat=check.choice("repeat", REPEATS),
            keep_retries=given["keep_retries"],
            record_broken=given["record_broken"],
            headers=given["headers"],
            websocket=check.choice("websocket", ("auto", "pass", "refuse")),
            eager=given["eager"],
            tune_mitmproxy=given["tune_mitmproxy"],
            dashboard=check.dashboard(),
            dashboard_password=given["dashboard_password"],
            own_names=check.each("own_names", own_names.parse_name, prefix=True),
            browser_origins=frozenset(check.each("browser_origins", own_names.parse_origin, prefix=True)),
            log_format=check.choice("log_format", LOG_FORMATS),
        )


class _Check:
    """Turns option values into what they mean; every error names its option."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given

    def using[T](self, name: str, parse: Callable[[Any], T], prefix: bool = True) -> T:
        try:
            return parse(self.given[name])
        except ValueError as error:
            said, value = str(error), self.given[name]
            for text in [value] if isinstance(value, str) else value:
                said = replaced(said, text, safe_url(text)) if may_hold_password(text) else said
            raise SettingsError(f"ai_cache_{name}: {said}" if prefix else said) from None

    def each[T](self, name: str, parse: Callable[[str], T], prefix: bool = False) -> tuple[T, ...]:
        return self.using(name, lambda values: tuple(parse(value) for value in values), prefix)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value: str = self.given[name]
        if value not in choices:
            raise SettingsError(f"ai_cache_{name} is {quoted(value)}; write one of {', '.join(choices)}")
        return value

    def samples(self) -> int:
        value: int = self.given["samples"]
        if not 1 <= value <= 1000:
            raise SettingsError(f"ai_cache_samples is {value}; write a number from 1 to 1000")
        return value

    def mode(self, store: str, ci: bool) -> tuple[str, str]:
        """The mode, and why it is this one where nobody named it."""
        mode = self.choice("mode", MODES)
        if not store.startswith(CASSETTES):
            return ("cache" if mode == "auto" else mode), ""
        if mode == "auto":
            return ("replay", "cassettes, and CI is set") if ci else ("record", "cassettes")
        if mode == "cache":
            raise SettingsError("ai_cache_mode is cache on cassettes; write record, replay, refresh or read-only")
        if self.given["encryption_key"]:
            raise SettingsError("cassettes are made to be read and cannot be encrypted; unset ai_cache_encryption_key")
        return mode, ""

    def dashboard(self) -> tuple[str, int] | None:
        text: str = self.given["dashboard"]
        if not text:
            return None
        host, _, port = text.rpartition(":")
        if not host or may_hold_password(text) or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise SettingsError(f"ai_cache_dashboard is {quoted(text)}; write HOST:PORT, for example 127.0.0.1:8485")
        host = host.strip("[]")
        if not (is_loopback(host) or self.given["dashboard_password"]):
            raise SettingsError(
                f"ai_cache_dashboard is {text}, which others can reach; set AI_CACHE_DASHBOARD_PASSWORD, or write "
                f"127.0.0.1:{port}"
            )
        return host, int(port)

    def lookup_timeout(self) -> float:
        seconds = self.using("lookup_timeout", units.duration)
        return max(seconds, 10.0) if self.given["mode"] == "replay" else seconds

    def store(self) -> str:
        url: str = self.given["store"] or default_store()
        if url.startswith(REDIS):
            self.using("store", redis_url.parse)
            return url
        if not url.startswith(("sqlite:///", "memory:", CASSETTES)) or url in ("sqlite:///", CASSETTES):
            raise SettingsError(
                f"ai_cache_store is {quoted(url)}; write sqlite:///PATH (an absolute path begins "
                f"sqlite:////), cassettes:DIR, memory:, or one for a team: {redis_url.FORMS}"
            )
        return url


def _bypass_rule(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ValueError(f"ai_cache_bypass_on has {quoted(text)}; write HEADER=VALUE, for example x-no-cache=1")
    return name.strip().lower(), value.strip()

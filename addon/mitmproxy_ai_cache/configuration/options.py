"""The options: each one's name, type, default and help.

The table is the one place: mitmproxy's `--options`, the CLI's `--help` and the README's reference are made from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..identity.profiles import PROFILES
from ..system.places import cache_directory
from ..wire.safe_text import SECRETS as SECRETS

MODES = ("auto", "cache", "read-only", "record", "refresh", "replay", "off")


LOG_FORMATS = ("text", "json")

REPEATS = ("last", "first", "error")

OWN_NAMES = ("host.docker.internal", "host.containers.internal")
"""What containers call their host. `.internal` is nobody's in the public DNS, so no web page can point it here."""

LIST = Sequence[str]
"""The type of options that may be given several times, as mitmproxy writes it."""


@dataclass(frozen=True, slots=True)
class Option:
    name: str
    type: Any
    """str, bool, int or `LIST`."""
    default: Any
    help: str
    choices: tuple[str, ...] | None = None


def default_store() -> str:
    """The URL of the default store: SQLite in the user's cache directory."""
    return f"sqlite:///{cache_directory() / 'cache.sqlite3'}"


OPTIONS: tuple[Option, ...] = (
    Option(
        "ai_cache_store",
        str,
        "",
        "Where answers are kept: sqlite:///PATH (default: cache.sqlite3 in your cache directory), redis://HOST:PORT, "
        "rediss:// (TLS; ?ssl_ca_certs=FILE), redis+sentinel://HOST,HOST/SERVICE, redis+cluster://HOST,HOST or "
        "unix:///SOCKET (Redis or Valkey, for a team), cassettes:DIR (files in git), or memory: (gone when the proxy "
        "stops).",
    ),
    Option(
        "ai_cache_mode",
        str,
        "auto",
        "cache: hits are answered, complete 200s of AI calls are kept. read-only: hits are answered, nothing is kept. "
        "record: what is recorded is answered, all else on AI hosts is forwarded and kept, every status and method. "
        "refresh: always forward, replace what is kept. replay: strict, a miss is an error and the network is never "
        "touched. off: everything passes. auto: cache; on a store of cassettes record, or replay where CI is set.",
        MODES,
    ),
    Option("ai_cache_ttl", str, "7d", "How long an entry may answer, for example 30m, 12h, 7d; 0 for ever."),
    Option(
        "ai_cache_stale_if_error",
        str,
        "0",
        "How long beyond its TTL an entry may still answer when the provider says 429 or 5xx or cannot be reached, for "
        "example 1d. Such an answer is marked STALE.",
    ),
    Option(
        "ai_cache_single_flight",
        bool,
        True,
        "Identical calls in flight at once make one call to the provider; the others get its answer, streams live. In "
        "mode cache.",
    ),
    Option(
        "ai_cache_live_ttl",
        str,
        "1h",
        "How long an entry may answer whose request uses hosted tools (web search, ...), remote URLs or file ids.",
    ),
    Option(
        "ai_cache_max_size",
        str,
        "1g",
        "Size of the store. Beyond it the entries that were used longest ago go first.",
    ),
    Option(
        "ai_cache_near_size",
        str,
        "64m",
        "How much of a shared store is kept in this process for up to 5 s; 0 for nothing.",
    ),
    Option(
        "ai_cache_max_body",
        str,
        "10m",
        "Largest request or answer that is cached. Larger ones pass through, nothing of them is held. A request that "
        "comes without a Content-Length is held up to this size first.",
    ),
    Option(
        "ai_cache_max_pending",
        str,
        "256m",
        "How much of all requests together is held while they are being sent. The request that would exceed it passes "
        "through uncached; in replay it is refused.",
    ),
    Option(
        "ai_cache_lookup_timeout",
        str,
        "250ms",
        "Longest wait for the store before a call goes on as a miss. In replay it is at least 10s.",
    ),
    Option(
        "ai_cache_hosts",
        LIST,
        (),
        "More hosts that are AI providers, as globs (*.llm.example.com). Calls in a known protocol are recognised on "
        "any host; on these, record and replay take in everything.",
    ),
    Option(
        "ai_cache_allow_hosts",
        LIST,
        (),
        "Hosts (globs) that a replay lets through to the network although they are no AI hosts.",
    ),
    Option(
        "ai_cache_fail_mode",
        str,
        "skip",
        "What to do with requests that are not AI calls. skip: let them pass. warn: pass and log. error: refuse them.",
        ("skip", "warn", "error"),
    ),
    Option(
        "ai_cache_bypass_on",
        LIST,
        (),
        "Calls with such a request header pass uncached, for example x-no-cache=1; header=* for any value. Any match "
        "counts.",
    ),
    Option(
        "ai_cache_isolate",
        str,
        "auto",
        "Whose entries may answer. none: everybody's. credential: those of the same API key, JWT subject or AWS "
        "account. proxy-user: those of the same user in HTTPS_PROXY=http://USER:x@host. header:NAME: those with the "
        "same value of a header. Several with commas (credential,header:x-tenant): those that agree in all of them. A "
        "call that lacks one passes uncached (no-credential). auto: none while the proxy listens on loopback alone, "
        "else credential. Cassettes are always everybody's.",
    ),
    Option(
        "ai_cache_keyless_hosts",
        LIST,
        (),
        "Hosts (exact names, for example ollama) whose calls without an API key may share entries with each other. "
        "Elsewhere they pass uncached where ai_cache_isolate keeps entries apart. Known dummy keys such as EMPTY or "
        "ollama count as none.",
    ),
    Option("ai_cache_namespace", str, "", "Keeps entries apart, for example per project or branch."),
    Option(
        "ai_cache_secret",
        str,
        "",
        "Makes keys an HMAC, so that who can read a shared store cannot test guesses. Better set in "
        "AI_CACHE_SECRET than on a command line.",
    ),
    Option(
        "ai_cache_encryption_key",
        str,
        "",
        "Encrypts entries in the store (AES-GCM): 32 random bytes as 64 hex digits, from openssl rand -hex 32. Their "
        "key, date, model, URL and size stay readable. Better set in AI_CACHE_ENCRYPTION_KEY than on a command line.",
    ),
    Option(
        "ai_cache_samples",
        int,
        1,
        "Answers kept for one request. With N the n-th identical call of a run gets the n-th answer and missing ones "
        "are fetched: for evals and best-of-n.",
    ),
    Option(
        "ai_cache_key_headers",
        LIST,
        (),
        "More request headers whose values make two calls different.",
    ),
    Option(
        "ai_cache_ignore",
        LIST,
        (),
        "JSON paths that do not make two calls different, for example metadata.run_id or messages[*].name.",
    ),
    Option(
        "ai_cache_normalize",
        LIST,
        (),
        r"PATTERN=REPLACEMENT, a regular expression replaced in every string of the body for the key only, for example "
        r"\d{4}-\d\d-\d\d=DATE.",
    ),
    Option(
        "ai_cache_alias",
        LIST,
        (),
        "GLOB=NAME: hosts (or, with a leading /, paths) that match share entries, for example "
        "*.openai.azure.com=azure.",
    ),
    Option(
        "ai_cache_profiles",
        LIST,
        tuple(profile.name for profile in PROFILES),
        "Rule packs for clients that stamp every call; see ai-cache profiles.",
    ),
    Option(
        "ai_cache_skip_stop_reasons",
        LIST,
        (),
        "Answers that stopped for such a reason are not kept, for example length, max_tokens, content_filter.",
    ),
    Option(
        "ai_cache_no_done_hosts",
        LIST,
        (),
        "More hosts (globs) whose OpenAI-style streams end without data: [DONE].",
    ),
    Option(
        "ai_cache_redact",
        LIST,
        (),
        "NAME=PATTERN: more secrets (regular expressions) that recordings must not hold, for example "
        "employee=E-[0-9]{6}. Keys, tokens and passwords in known forms are found without it.",
    ),
    Option(
        "ai_cache_repeat",
        str,
        "last",
        "What a replay answers when a request comes more often than it was recorded. last: the last answer again. "
        "first: the first one. error: a miss.",
        REPEATS,
    ),
    Option(
        "ai_cache_keep_retries",
        bool,
        False,
        "record also keeps a 429 or 5xx that was followed by another answer. Without it replays need not wait for "
        "retries.",
    ),
    Option(
        "ai_cache_record_broken",
        bool,
        False,
        "record also keeps answers that broke off or are not complete.",
    ),
    Option(
        "ai_cache_headers",
        bool,
        True,
        "Add X-AI-Cache-* and Cache-Status to answers.",
    ),
    Option(
        "ai_cache_websocket",
        str,
        "auto",
        "WebSocket upgrades on AI hosts. auto: refuse those of calls that have an HTTP twin with 426, so that clients "
        "such as Codex go on over HTTP, and let the rest pass. pass: let all pass. refuse: refuse all.",
        ("auto", "pass", "refuse"),
    ),
    Option(
        "ai_cache_dashboard",
        str,
        "",
        "HOST:PORT where the status page is shown, for example 127.0.0.1:8485. Without it the page is only at "
        "http://ai-cache.internal/ through the proxy. Off the loopback it needs a password.",
    ),
    Option(
        "ai_cache_dashboard_password",
        str,
        "",
        "What the status page asks for, with any user name. Better set in AI_CACHE_DASHBOARD_PASSWORD than on a "
        "command line.",
    ),
    Option(
        "ai_cache_own_names",
        LIST,
        OWN_NAMES,
        "Names (no globs) under which the proxy answers for itself, base URLs included, beside loopback names, the "
        "address a call came in at, names without a dot, and ai-cache.internal. Under any other name it answers only "
        "/healthz and /ca.pem. What you write replaces the default.",
    ),
    Option(
        "ai_cache_browser_origins",
        LIST,
        (),
        "Pages that may use base URLs, as exact origins: http://localhost:5173, app://obsidian.md, or null. Desktop "
        "apps and web apps under development need it; the proxy answers no other page.",
    ),
    Option(
        "ai_cache_eager",
        bool,
        False,
        "Leave connection_strategy as it is. By default it is set to lazy, so that a hit never connects anywhere.",
    ),
    Option(
        "ai_cache_tune_mitmproxy",
        bool,
        True,
        "Let mitmproxy remember which of its addons listen to what, and send in one piece what is there at once: hits "
        "and misses take less time than without the addon. Off: mitmproxy as it is. Read at start.",
    ),
    Option(
        "ai_cache_log_format",
        str,
        "text",
        "How a call is logged. text: a line to be read. json: one JSON object a line, for programs. Neither has a word "
        "of a prompt or an answer.",
        LOG_FORMATS,
    ),
)

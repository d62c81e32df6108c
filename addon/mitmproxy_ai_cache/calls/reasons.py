"""What the reason of a call says, in a sentence."""

from __future__ import annotations

_SENTENCES = {
    "no-entry": "Nothing was stored under the key of this request.",
    "expired": "An answer is stored, and it is older than it may be (ai_cache_ttl).",
    "older-than-max-age": "An answer is stored, and it is older than the request's max-age allows.",
    "no-cache": "The request says Cache-Control: no-cache.",
    "no-store": "The request says Cache-Control: no-store.",
    "refresh": "The mode is refresh: every call goes to the provider.",
    "lookup-off": "The mode does not look anything up.",
    "store-timeout": "The store did not answer in time (ai_cache_lookup_timeout).",
    "store-error": "The store failed; the log says how.",
    "sequence-exhausted": "This request was recorded fewer times than it came (ai_cache_repeat is error).",
    "recorded-anew": "What is recorded is a refusal (429 or 5xx), which a new recording replaces.",
    "collapsed": "An identical call was under way, and its answer is this call's, too.",
    "client-left": "The client left before the answer came.",
    "host-mismatch": "Address, Host header and TLS name are not the same host.",
    "bypass-rule": "A header of the request matches ai_cache_bypass_on.",
    "unstable-credential": "Entries are kept apart by credential, and this one names nobody for long.",
    "no-credential": "Entries are kept apart (ai_cache_isolate), and this call does not say whose it is.",
    "conversation": "The provider keeps the state of this conversation: the same request may mean another thing.",
    "background": "The call runs in the background: its answer is fetched later.",
    "not-inference": "The request is not one that a model answers.",
    "get": "Only calls that ask a model are cached.",
    "request-streamed": "The body of the request was streamed past the cache.",
    "request-too-large": "The request is larger than ai_cache_max_body.",
    "uploads-too-large": "All requests that were being sent together hold more than ai_cache_max_pending.",
    "duplicate-members": "The JSON of the request has a member twice; who reads it may see the one or the other.",
    "undecodable": "The body of the request could not be read.",
    "internal-error": "ai-cache stumbled over this request; the log says how.",
    "unreachable": "The provider could not be reached, and a stale answer was at hand.",
    "side-traffic": "It is no AI call, and a replay lets nothing out.",
    "not-an-ai-host": "It is no AI host, and a replay lets nothing out (--allow-host).",
    "not-an-ai-call": "It is no AI call, and ai_cache_fail_mode is error.",
}

_BY_DIFFERENCE = ("no-entry", "sequence-exhausted")
"""Reasons that a comparison with what is stored says more of."""


def sentence(status: str, reason: str) -> str:
    if reason in _SENTENCES:
        return _SENTENCES[reason]
    if reason.startswith("status-"):
        return f"The provider said {reason.removeprefix('status-')}, and a stale answer was at hand."
    return {"HIT": "The answer came from the store.", "STALE": "A stale answer came from the store."}.get(
        status, reason
    )


def is_compared(reason: str) -> bool:
    return reason in _BY_DIFFERENCE

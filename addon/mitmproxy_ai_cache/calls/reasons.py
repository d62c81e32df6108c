"""The status of a call and the reason for it: the words of headers, log lines, metrics and the status page, each with
what it says to a person."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of a call, as `X-AI-Cache-Status` has it."""

    sentence: str

    def __new__(cls, word: str, sentence: str) -> Status:
        member = str.__new__(cls, word)
        member._value_, member.sentence = word, sentence
        return member

    NONE = "", "This is no AI call."
    HIT = "HIT", "The answer came from the store."
    STALE = "STALE", "A stale answer came from the store."
    MISS = "MISS", "Nothing in the store could answer; the provider was asked."
    BYPASS = "BYPASS", "The cache does not handle this call; it passed through."
    REFRESH = "REFRESH", "The provider was asked although an answer may be stored."

    @property
    def from_store(self) -> bool:
        """Whether the provider's answer is not what the client got."""
        return self is Status.HIT or self is Status.STALE

    @property
    def asked_provider(self) -> bool:
        """Whether the provider answered a call that the cache looked at."""
        return self is Status.MISS or self is Status.REFRESH


class Reason(StrEnum):
    """Why a call has its status, as `X-AI-Cache-Reason` has it, or why its answer is not stored.

    Protocols have reasons of their own beside these: why an answer is none (`no-choices`), why a call must not be
    cached (`background`). `sentence` knows those that are given here.
    """

    sentence: str

    def __new__(cls, word: str, sentence: str) -> Reason:
        member = str.__new__(cls, word)
        member._value_, member.sentence = word, sentence
        return member

    # Looked up
    NO_ENTRY = "no-entry", "Nothing was stored under the key of this request."
    EXPIRED = "expired", "An answer is stored, and it is older than it may be (ai_cache_ttl)."
    OLDER_THAN_MAX_AGE = "older-than-max-age", "An answer is stored, and it is older than the request's max-age allows."
    STORE_TIMEOUT = "store-timeout", "The store did not answer in time (ai_cache_lookup_timeout)."
    STORE_ERROR = "store-error", "The store failed; the log says how."
    SEQUENCE_EXHAUSTED = (
        "sequence-exhausted",
        "This request was recorded fewer times than it came (ai_cache_repeat is error).",
    )
    RECORDED_ANEW = "recorded-anew", "What is recorded is a refusal (429 or 5xx), which a new recording replaces."
    COLLAPSED = "collapsed", "An identical call was under way, and its answer is this call's, too."
    CLIENT_LEFT = "client-left", "The client left before the answer came."
    UNREACHABLE = "unreachable", "The provider could not be reached, and a stale answer was at hand."

    # Not looked up
    NO_CACHE = "no-cache", "The request says Cache-Control: no-cache."
    REFRESH = "refresh", "The mode is refresh: every call goes to the provider."
    LOOKUP_OFF = "lookup-off", "The mode does not look anything up."

    # Not cached at all
    HOST_MISMATCH = "host-mismatch", "Address, Host header and TLS name are not the same host."
    BYPASS_RULE = "bypass-rule", "A header of the request matches ai_cache_bypass_on."
    UNSTABLE_CREDENTIAL = (
        "unstable-credential",
        "Entries are kept apart by credential, and this one names nobody for long.",
    )
    NO_CREDENTIAL = (
        "no-credential",
        "Entries are kept apart (ai_cache_isolate), and this call does not say whose it is.",
    )
    CONVERSATION = (
        "conversation",
        "The provider keeps the state of this conversation: the same request may mean another thing.",
    )
    BACKGROUND = "background", "The call runs in the background: its answer is fetched later."
    NOT_INFERENCE = "not-inference", "The request is not one that a model answers."
    GET = "get", "Only calls that ask a model are cached."
    REQUEST_STREAMED = "request-streamed", "The body of the request was streamed past the cache."
    REQUEST_TOO_LARGE = "request-too-large", "The request is larger than ai_cache_max_body."
    UPLOADS_TOO_LARGE = (
        "uploads-too-large",
        "All requests that were being sent together hold more than ai_cache_max_pending.",
    )
    DUPLICATE_MEMBERS = (
        "duplicate-members",
        "The JSON of the request has a member twice; who reads it may see the one or the other.",
    )
    UNDECODABLE = "undecodable", "The body of the request could not be read."
    PATTERN_TOO_SLOW = (
        "pattern-too-slow",
        "A pattern of ai_cache_redact or ai_cache_normalize took too long on this call.",
    )
    WORKER_FAILED = "worker-failed", "The process that reads long bodies failed; the log says how."
    INTERNAL_ERROR = "internal-error", "Internal error; see the log."

    # Refused, or answered here
    SIDE_TRAFFIC = "side-traffic", "It is no AI call, and a replay lets nothing out."
    NOT_AN_AI_HOST = "not-an-ai-host", "It is no AI host, and a replay lets nothing out (--allow-host)."
    NOT_AN_AI_CALL = "not-an-ai-call", "It is no AI call, and ai_cache_fail_mode is error."
    TOKEN_ENDPOINT = "token-endpoint", "A replay answers requests for tokens itself."

    # Not stored
    NO_STORE = "no-store", "The request says Cache-Control: no-store."
    STORE_DROPPED = "store-dropped", "The store did not take the answer, or could not write it."
    TRUNCATED = "truncated", "The answer broke off."
    TOO_LARGE = "too-large", "The answer is larger than ai_cache_max_body."
    REWRITTEN = "rewritten", "Another script changed the request or the answer."
    MORE_THAN_ONE_ANSWER = "more-than-one-answer", "The provider sent more than one answer to one request."
    NO_ANSWER = "no-answer", "The provider sent no answer."
    UNJUDGEABLE = "unjudgeable", "Internal error while checking the answer; see the log."
    UNKNOWN_CODING = "unknown-coding", "The answer has a content coding that ai-cache cannot undo."
    STOP_REASON = "stop-reason", "The model stopped for a reason that ai_cache_skip_stop_reasons names."
    MALFORMED = "malformed", "The answer does not have the form that it says it has."
    ERROR_IN_BODY = "error-in-body", "The answer is an error, whatever its status."
    ERROR_IN_STREAM = "error-in-stream", "The stream has an error in it."
    UNEXPECTED_CONTENT_TYPE = "unexpected-content-type", "The answer is of a type that this API does not answer with."


UNREAD = (Reason.REQUEST_TOO_LARGE, Reason.UPLOADS_TOO_LARGE)
"""Why a request is not read whole, and so cannot be recorded."""

_STALE_FOR = "status-"
_BY_DIFFERENCE = (Reason.NO_ENTRY, Reason.SEQUENCE_EXHAUSTED)
"""Reasons that a comparison with what is stored says more of."""

_REASONS: dict[str, Reason] = {reason.value: reason for reason in Reason}
_STATUSES: dict[str, Status] = {status.value: status for status in Status}


def stale_for(status: int) -> str:
    """The reason of a stale answer in place of the provider's `status` (0: it could not be reached)."""
    return f"{_STALE_FOR}{status}" if status else Reason.UNREACHABLE


def sentence(status: str, reason: str) -> str:
    """What the two say to a person; a word that nobody here knows stands for itself."""
    if reason in _REASONS:
        return _REASONS[reason].sentence
    if reason.startswith(_STALE_FOR):
        return f"The provider said {reason.removeprefix(_STALE_FOR)}, and a stale answer was at hand."
    found = _STATUSES.get(status)
    return found.sentence if found is not None and found.from_store else reason


def is_compared(reason: str) -> bool:
    """Whether a comparison with what is stored says more of a miss than its reason."""
    return reason in _BY_DIFFERENCE

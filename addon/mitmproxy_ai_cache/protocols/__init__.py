"""The wire protocols: how each is recognised, judged, counted and refused.

Each has a folder, and all folders have the same files; one that is missing says that `base.Protocol` does it right.

    calls.py     which requests are its calls, and what of them does not count for the key
    answers.py   when an answer is complete, and is an answer
    usage.py     where an answer says how many tokens it took
    errors.py    what an error looks like to its clients

Adding a protocol is a folder and a line in `_OTHERS`. Other distributions add theirs by an entry point, see
docs/extending.md. `anything.py` is what no protocol claims.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..system.plugins import Plugin
from ..wire.body import Body
from ..wire.framing import Event, Stream
from ..wire.messages import Headers, Request, Response
from . import (
    aleph_alpha,
    anthropic_messages,
    bedrock,
    cohere,
    gemini,
    huggingface,
    ollama,
    openai_chat,
    openai_media,
    openai_responses,
    watsonx,
)
from .base import ANYWHERE, Answer, Call, Ending, Finding, Protocol, json_response, text
from .foreign import load_protocols
from .providers import hosts_without_done
from .registry import ANYTHING, Registry

__all__ = [
    "ANYTHING",
    "ANYWHERE",
    "Answer",
    "Body",
    "Call",
    "Ending",
    "Event",
    "Finding",
    "Headers",
    "Protocol",
    "Registry",
    "Request",
    "Response",
    "Stream",
    "json_response",
    "plugins",
    "standard",
    "text",
]
"""Also what a protocol of another distribution is written with."""

_OTHERS: tuple[type[Protocol], ...] = (
    *openai_responses.PROTOCOLS,
    *openai_media.PROTOCOLS,
    *anthropic_messages.PROTOCOLS,
    *bedrock.PROTOCOLS,
    *gemini.PROTOCOLS,
    *cohere.PROTOCOLS,
    *ollama.PROTOCOLS,
    *huggingface.PROTOCOLS,
    *watsonx.PROTOCOLS,
    *aleph_alpha.PROTOCOLS,
)
"""All but OpenAI's chat, which is asked first, in the order in which they are asked."""


def standard(no_done_hosts: Iterable[str] = ()) -> Registry:
    """All protocols. `no_done_hosts`: more hosts (globs) that never send `data: [DONE]`."""
    hosts = (*hosts_without_done(), *no_done_hosts)
    ours = [*(kind(hosts) for kind in openai_chat.PROTOCOLS), *(kind() for kind in _OTHERS)]
    return Registry(ours, plugins())


def plugins() -> tuple[Plugin[Protocol], ...]:
    """The protocols of other distributions."""
    ours: tuple[type[Protocol], ...] = (*openai_chat.PROTOCOLS, *_OTHERS, type(ANYTHING))
    return load_protocols({protocol.name for protocol in ours})

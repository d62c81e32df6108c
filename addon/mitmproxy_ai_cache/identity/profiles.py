"""Client profiles: rule packs for clients that stamp every call with values that never repeat.

Each rule names one JSON path, measured between two identical runs of the real client, and the reason why it does not
shape the answer. They act on the key only; what is forwarded stays as the client sent it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..wire.json_body import Json
from ..wire.safe_text import quoted
from .canonical import DROP, Rewrite, Rules, drop, parse_path


@dataclass(frozen=True, slots=True)
class Rule:
    path: str
    rewrite: Rewrite
    reason: str


@dataclass(frozen=True, slots=True)
class Profile:
    name: str
    """`client@version`. A changed rule is a new version, so that old keys stay explainable."""
    protocol: str
    rules: tuple[Rule, ...]
    applies: Callable[[Json], bool] = lambda body: True


_BILLING = re.compile(r"(x-anthropic-billing-header: cc_version=[\w.]+; cc_entrypoint=[\w-]+; cch=)[0-9a-f]{5};")


def _without_cch(value: Json) -> Json:
    match = _BILLING.fullmatch(value) if isinstance(value, str) else None
    return match[1] + ";" if match else value


def _without_client_id(value: Json) -> Json:
    """Codex names its items itself (`msg_...`, `at_...`). Ids a provider issued, and references, stay in the key."""
    is_client_id = isinstance(value, str) and value.startswith(("msg_", "at_"))
    return DROP if is_client_id else value


def _unstored(body: Json) -> bool:
    """Ids in input items refer to nothing the provider keeps: it was told not to store, and no stored item is named."""
    if not isinstance(body, dict) or body.get("store") is not False or body.get("previous_response_id"):
        return False
    items = body.get("input")
    return isinstance(items, list) and not any(
        isinstance(item, dict) and item.get("type") == "item_reference" for item in items
    )


PROFILES: tuple[Profile, ...] = (
    Profile(
        "claude-code@1",
        "anthropic-messages",
        (
            Rule(
                "system[*].text",
                _without_cch,
                "the cch value of the billing block, a hash that differs in every run; nothing else of the block",
            ),
        ),
    ),
    Profile(
        "codex@1",
        "openai-responses",
        (
            Rule("client_metadata", drop, "session, turn and window ids of the client"),
            Rule("input[*].id", _without_client_id, "msg_ and at_ ids that the client makes up, where store is false"),
            Rule(
                "input[*].internal_chat_message_metadata_passthrough",
                drop,
                "create_time and turn_id of the client",
            ),
        ),
        _unstored,
    ),
)
"""Measured on Claude Code 2.1 and Codex CLI 0.169. `metadata` and `prompt_cache_key` are left out by the protocols."""


def named(names: tuple[str, ...]) -> tuple[Profile, ...]:
    """The profiles of `names`. Raises ValueError for one there is not."""
    known = {profile.name: profile for profile in PROFILES}
    for name in names:
        if name not in known:
            raise ValueError(f"there is no profile {quoted(name)}; write one of {', '.join(known)}")
    return tuple(known[name] for name in names)


def add_rules(rules: Rules, profile: Profile) -> None:
    for rule in profile.rules:
        rules.add(parse_path(rule.path), rule.rewrite)

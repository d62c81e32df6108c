"""The question, the answer, and the way from one to the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..entries.entry import Entry
from ..entries.key_numbers import base
from ..identity.identifier import Identifier
from ..identity.rules import IdentityRules
from ..protocols.base import Call
from ..wire.messages import Request
from .compare import Change
from .hints import hints
from .key_view import KeyView
from .nearest import Index, Kept, Nearest
from .shown import ABSENT, is_secret_header, name_of, one_value, pair


@dataclass(frozen=True, slots=True)
class Miss:
    """A request that found no answer."""

    request: Request
    call: Call | None = None
    """What it is, where that is known already."""
    namespace: str = ""
    key: str = ""
    """The key that was looked up, with the number of the sample. Without it one recorded under it is not told apart
    from one recorded in another scope."""
    reason: str = ""
    """Why it is a miss, as `X-AI-Cache-Reason` has it: `no-entry`, `expired`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the two requests differ."""

    path: str
    """`messages[4].content[0].text`, `tools[2]`, `messages[3..5]`, `headers.NAME`, `query.NAME`, `form.NAME`, `body`,
    `model`, `host`, `scheme`, `port`, `path`, `method`, `namespace`, `protocol`, `stream`."""
    recorded: str
    """The value, shortened around the change and printable; of a reordered list the number of its items."""
    sent: str
    kind: str
    """`changed`, `added`, `removed` or `reordered`: what became of the recorded request."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why there is no answer. `lines` says it in words."""

    verdict: str
    """`differs`; `nothing-recorded`, `nothing-comparable`; or the same request is recorded, but `used-up`, `expired`,
    `not-cacheable`, or under another key (`other-scope`)."""
    asked: str
    """What was asked: protocol, model and host."""
    key: str = ""
    """The key of the nearest entry."""
    name: str = ""
    """What a person calls it: `openai-chat gpt-4o #3`."""
    answers: int = 0
    """How many answers are recorded for the same request."""
    differences: tuple[Difference, ...] = ()
    """What counts most comes first."""
    equal: tuple[str, ...] = ()
    """Runs of items that are the same in lists where others are not: `messages[0..3]`."""
    hints: tuple[str, ...] = ()
    """Settings that, all together, make the two requests one call; the keys were computed with them and are equal."""
    present: tuple[str, ...] = ()
    """What is recorded, where nothing of it is comparable."""


class Recorded:
    """The recorded requests. Made once, asked often; making it parses nothing."""

    def __init__(
        self,
        entries: Iterable[Entry],
        identifier: Identifier | None = None,
        hide: Callable[[Entry], Entry] | None = None,
    ) -> None:
        """`identifier` is the one whose keys missed, that of the default settings by default. `hide` gives an entry
        whose request has placeholders for what today's rules find, where the requests that are asked about have."""
        self._identifier = identifier or Identifier(IdentityRules())
        self._index = Index(entries, self._identifier, hide)

    def prepare(self) -> None:
        """Do at once what questions would do bit by bit: 7 ms a MB of recorded requests. For a thread of its own."""
        self._index.prepare()

    def explain(self, miss: Miss) -> Explanation:
        """What is recorded that comes nearest to `miss`. With 10,000 entries of 90 kB: 55 ms, the first ones 130 ms."""
        identified = self._identifier.asked(miss.request, miss.namespace, miss.key, miss.call)
        sent = KeyView(identified, self._identifier.rules.key)
        asked = " ".join(filter(None, (sent.call.protocol.name, sent.call.model, f"at {miss.request.host}")))
        if not self._index.by_key:
            return Explanation("nothing-recorded", asked)
        if miss.key and (same := self._index.by_key.get(base(miss.key))):
            return _under_this_key(asked, same, miss.reason)
        nearest = self._index.nearest(sent)
        if nearest is None or not _is_comparable(nearest, sent):
            return Explanation("nothing-comparable", asked, present=self._present())
        return self._nearest(asked, nearest, sent, miss)

    def _nearest(self, asked: str, nearest: Nearest, sent: KeyView, miss: Miss) -> Explanation:
        kept, changes = nearest.kept, nearest.comparison.changes
        if not changes:
            same = self._index.by_key[base(kept.entry.key)]
            if not miss.key:
                return _under_this_key(asked, same, miss.reason)
            return Explanation("other-scope", asked, kept.entry.key, kept.name, len(same))
        return Explanation(
            "differs",
            asked,
            kept.entry.key,
            kept.name,
            differences=tuple(_difference(change, nearest.side, sent) for change in changes),
            equal=tuple(name_of(sent.position(path)) for path in nearest.comparison.equal),
            hints=hints(nearest.side, sent, changes),
        )

    def _present(self) -> tuple[str, ...]:
        """What there is, the most frequent first: `openai-chat at api.openai.com (12)`."""
        counted = Counter(
            f"{protocol} at {kept.host}" for protocol, group in self._index.by_protocol.items() for kept in group
        )
        return tuple(f"{place} ({count})" for place, count in counted.most_common())


def _under_this_key(asked: str, same: list[Kept], reason: str) -> Explanation:
    """The very request is recorded, and was not answered all the same."""
    cacheable = any(kept.entry.cacheable for kept in same)
    verdict = "expired" if reason == "expired" else "used-up" if cacheable else "not-cacheable"
    return Explanation(verdict, asked, same[0].entry.key, same[0].name, len(same))


def _is_comparable(nearest: Nearest, sent: KeyView) -> bool:
    """Of the same place, or so much the same that the place is what differs."""
    side = nearest.side
    same_protocol = side.call.protocol.name == sent.call.protocol.name
    if side.target == sent.target:
        return same_protocol or side.path == sent.path
    something = nearest.comparison.body_size > 0 or side.path == sent.path
    return same_protocol and something and nearest.comparison.shares_body


def _difference(change: Change, recorded: KeyView, sent: KeyView) -> Difference:
    path = change.path
    if change.of_body:
        last = recorded.position(change.was)[-1:] if change.kind == "removed" else sent.position(path)[-1:]
        path = (*sent.position(path[:-1]), *last)
    name = name_of(path, change.of_body)
    if change.kind == "reordered":
        return Difference(name, f"{change.recorded} items", f"{change.sent} items", change.kind)
    if path[0] == "headers" and not change.of_body and is_secret_header(path[1]):
        return Difference(name, "(not shown)", "(not shown)", change.kind)
    member = path[-1] if path and isinstance(path[-1], str) else ""
    if change.kind == "changed":
        return Difference(name, *pair(change.recorded, change.sent, member), change.kind)
    values = ("" if value is ABSENT else one_value(value, member) for value in (change.recorded, change.sent))
    was, is_now = values
    return Difference(name, was, is_now, change.kind)

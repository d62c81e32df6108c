"""`ai-cache stats`: how much is in the store, of what, and what it cost when it was bought."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from ..counts import savings
from ..counts.savings import EntrySum, Labels
from ..entries.entry import Entry
from ..entries.selection import host_of
from ..explain.shown import printable
from ..stores import Store
from ..wire import units
from . import stored
from .stored import FAILURE as FAILURE

SUMMARY = "say how much is in the store: entries, bytes, tokens and seconds, by model, host and protocol"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", nargs="?", metavar="KEY", help=argparse.SUPPRESS)
    stored.add_conditions(parser)
    stored.add_contains(parser)
    stored.add_json(parser, "one JSON object")
    stored.add_store(parser)


def main(arguments: argparse.Namespace) -> int:
    return stored.answered(partial(_count, arguments))


@dataclass(slots=True)
class Sums:
    """Of all entries."""

    entries: int = 0
    bodies: int = 0
    """Bytes of requests and answers, before they are compressed."""
    oldest: float = float("inf")
    newest: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    by_label: Counter[Labels] = field(default_factory=Counter)
    """Bytes."""
    cost: EntrySum = field(default_factory=EntrySum)

    def add(self, entry: Entry) -> None:
        size = len(entry.request) + len(entry.body)
        self.entries += 1
        self.bodies += size
        self.oldest, self.newest = min(self.oldest, entry.created), max(self.newest, entry.created)
        self.statuses[entry.status] += 1
        self.by_label[Labels(entry.protocol, entry.model, host_of(entry))] += size
        self.cost.add(entry)


async def _count(arguments: argparse.Namespace) -> int:
    now = stored.now()
    selection = stored.selected(arguments, now)
    sums = Sums()
    async with stored.opened(arguments) as store:
        async for entry in stored.walk(store, selection, "counting"):
            sums.add(entry)
        if arguments.json:
            sys.stdout.write(orjson.dumps(_document(sums, store), option=orjson.OPT_INDENT_2).decode() + "\n")
        else:
            _print(sums, store, now)
    return 0


def _groups(sums: Sums) -> list[dict[str, Any]]:
    """By protocol, model and host, the largest first."""
    named = {row.labels for row in sums.cost.rows()}
    size: Counter[Labels] = Counter()
    for labels, number in sums.by_label.items():
        size[labels if labels in named else Labels(labels.protocol, savings.OTHER, savings.OTHER)] += number
    groups = [row.labels._asdict() | {"size": size[row.labels], **row.saved.as_json()} for row in sums.cost.rows()]
    for group in groups:
        group["entries"] = group.pop("calls")
    return sorted(groups, key=lambda group: (-group["size"], group["model"]))


def _document(sums: Sums, store: Store) -> dict[str, Any]:
    total = sums.cost.total().as_json()
    total.pop("calls")
    return {
        "store": store.url,
        "entries": sums.entries,
        "size": sums.bodies,
        "stored_size": store.size,
        "oldest": sums.oldest if sums.entries else None,
        "newest": sums.newest if sums.entries else None,
        "statuses": {str(status): count for status, count in sorted(sums.statuses.items())},
        **total,
        "groups": _groups(sums),
    }


def _print(sums: Sums, store: Store, now: float) -> None:
    total = sums.cost.total()
    entries = "entry" if sums.entries == 1 else "entries"
    line = f"{sums.entries:,} {entries} in {printable(store.url)}"
    if sums.entries:
        stored_size = f", {units.human_size(store.size)} as stored" if store.size else ""
        line += f": {units.human_size(sums.bodies)}{stored_size}"
    print(line)
    if not sums.entries:
        return
    age = units.human_duration(max(0.0, now - sums.newest))
    print(f"from {stored.date(sums.oldest)} to {stored.date(sums.newest)}, {age} ago")
    print(f"to ask for it all again: {savings.in_words(total, units.human_duration) or 'nothing that is known'}")
    for name, count in total.unknown.most_common(5):
        print(f"  no price: {printable(name)} ({count})")
    print()
    from .tables import Column, Table

    columns = (
        Column("ENTRIES", right=True, keep=9),
        Column("SIZE", right=True, keep=8),
        Column("TOKENS IN", right=True, keep=6),
        Column("OUT", right=True, keep=6),
        Column("DOLLARS", right=True, keep=4),
        Column("WAITED", right=True, keep=3),
        Column("PROTOCOL", 20, keep=2),
        Column("HOST", 36, keep=5),
        Column("MODEL", style="cyan"),
    )
    with Table(columns) as table:
        for group in _groups(sums):
            table.add(_row(group))


def _row(group: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{group['entries']:,}",
        units.human_size(group["size"]),
        f"{group['input_tokens']:,}",
        f"{group['output_tokens']:,}",
        "-" if group["unknown_price"] and not group["dollars"] else f"{group['dollars']:,.4f}",
        units.human_duration(group["seconds"]),
        group["protocol"] or "-",
        group["host"] or "-",
        group["model"] or "-",
    )

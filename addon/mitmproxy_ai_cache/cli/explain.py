"""`ai-cache explain FILE`: offline, what a replay would do with its requests, and why one is a miss."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..calls.cache import Cache
from ..calls.exchange import Exchange
from ..calls.outcomes import Outcomes
from ..calls.reasons import Reason, Status
from ..configuration.settings import Settings, SettingsError
from ..configuration.store_of import directory_of, store_of
from ..entries.entry import short_key
from ..explain.shown import printable as readable
from ..identity.isolation import Isolation
from ..stores import Store, StoreError
from ..wire.safe_text import one_line
from . import project, questions
from .cassettes import DIRECTORY, default_store
from .proxy import failed
from .questions import Asked, NoQuestion, Question, Told, Unread
from .sources import gather

SUMMARY = "say whether requests are recorded, and where one is not, what differs; exit code 1 for a miss"

_NOT_OURS = ("", "side-traffic", "not-an-ai-host", "not-an-ai-call")
"""Reasons of requests that are no AI calls."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-cache explain FILE [--store URL] [--namespace NS] [--url URL [--method M] [--header NAME:VALUE]]"
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a cassette, a HAR, mitmproxy or vcrpy file, the report of a run, or with --url the body of a request; "
        "- is stdin",
    )
    parser.add_argument("--url", metavar="URL", help="FILE is the body of a request to this URL")
    parser.add_argument("--method", metavar="METHOD", help="of that request (default: POST)")
    parser.add_argument("--header", action="append", metavar="NAME:VALUE", help="of that request; may be repeated")
    parser.add_argument(
        "--store",
        metavar="URL",
        help=f"where the recordings are (default: as configured, else ./{DIRECTORY} where that is there)",
    )
    parser.add_argument("--namespace", metavar="NS", help="look there (default: where FILE or your settings say)")
    parser.add_argument("--hosts", action="append", metavar="GLOB", help="one more AI host; may be repeated")
    parser.add_argument(
        "--set", action="append", metavar="NAME=VALUE", default=[], help="any other ai_cache_* option; may be repeated"
    )
    project.add_options(parser)


def main(arguments: argparse.Namespace) -> int:
    try:
        question = _question(arguments)
        if isinstance(question, Told):
            return _retell(question)
        settings = _settings(arguments, question.namespace)
        return asyncio.run(_explain(settings, question, arguments))
    except (NoQuestion, SettingsError, StoreError) as error:
        return failed(ValueError(readable(str(error))))


def _question(arguments: argparse.Namespace) -> Question | Told:
    if arguments.url is not None:
        body = questions.content(arguments.file)
        return questions.of_body(body, arguments.url, arguments.method or "POST", arguments.header or ())
    if arguments.method or arguments.header:
        raise NoQuestion("--method and --header say what a body was sent with; add --url URL")
    if str(arguments.file) == "-":
        raise NoQuestion("on stdin only the body of a request is read; add --url URL")
    return questions.of_file(arguments.file)


def _settings(arguments: argparse.Namespace, namespace: str | None) -> Settings:
    """The user's, for a replay. Raises `SettingsError`."""
    found = gather(arguments, os.environ, Path.cwd())
    values = {name: value.value for name, value in found.items()}
    if found["ai_cache_store"].origin == "default" and Path(DIRECTORY).is_dir():
        values["ai_cache_store"] = default_store()
    wanted = arguments.namespace if arguments.namespace is not None else namespace
    if wanted is not None:
        values["ai_cache_namespace"] = wanted
    return Settings.parse({**values, "ai_cache_mode": "replay"})


def _retell(told: Told) -> int:
    """The misses of a report, as its run explained them."""
    for call, explanation in told.misses:
        print(f"missing   {readable(call).removeprefix('ai-cache: ')}")
        for line in explanation:
            print(f"  {readable(line)}")
    count = len(told.misses)
    print(f"{count} {'miss' if count == 1 else 'misses'} in this run")
    return 1 if count else 0


class _Heard(Outcomes):
    """Keeps what is said of a miss instead of logging it."""

    explanation: tuple[str, ...] = ()

    def refusal(self, exchange: Exchange, explanation: Sequence[str] = ()) -> None:
        self.explanation = tuple(explanation)


@dataclass(slots=True)
class _Count:
    calls: int = 0
    recorded: int = 0
    others: Counter[str] = field(default_factory=Counter)
    """Requests that were no AI calls or could not be read, by reason."""


async def _explain(settings: Settings, question: Question, arguments: argparse.Namespace) -> int:
    store = store_of(settings, writable=False)
    heard = _Heard()
    await store.open()
    files = _files(store, settings)
    cache = Cache(settings, store, settings.isolate or Isolation("none"), heard)
    count = _Count()
    try:
        for asked in question.asked:
            if isinstance(asked, Unread):
                count.others[asked.reason] += 1
                continue
            request = asked.request
            if arguments.namespace is not None:
                request = questions.without_namespace(request)
            heard.explanation = ()
            exchange = await cache.begin(Exchange(request))
            _say(asked, exchange, heard.explanation, files.get(exchange.key, store.url), count)
    finally:
        await cache.close()
    return _verdict(arguments.file, count, store.url)


def _say(asked: Asked, exchange: Exchange, explanation: Sequence[str], place: str, count: _Count) -> None:
    if exchange.call is None and exchange.reason in _NOT_OURS:
        count.others[f"no AI call: {one_line(asked.request.host)}"] += 1
        return
    if exchange.reason == Reason.TOKEN_ENDPOINT:
        count.others["a token endpoint, which a replay answers itself"] += 1
        return
    count.calls += 1
    call = exchange.call
    words = [asked.name, call.protocol.name if call else asked.request.method]
    words.append((call.model if call else "") or f"{asked.request.host}{asked.request.path}")
    name = one_line(" ".join(filter(None, words)), 200)
    if exchange.entry is not None:
        count.recorded += 1
        print(f"recorded  {short_key(exchange.key)}  {name}  {place}")
        return
    print(f"missing   {short_key(exchange.key) or '-' * 12}  {name}")
    for line in explanation or [_why(exchange)]:
        print(f"  {line}")


def _files(store: Store, settings: Settings) -> dict[str, str]:
    """The file that answers each key, where recordings are files."""
    if store.as_files is None:
        return {}
    oldest_first = sorted(store.as_files.files(), key=lambda file: (-file.created, file.path), reverse=True)
    return {file.key: readable(str(directory_of(settings) / file.path)) for file in oldest_first}


def _why(exchange: Exchange) -> str:
    if exchange.status is Status.BYPASS:
        return f"it cannot be answered from a store: {exchange.reason}"
    return f"no recorded answer ({exchange.reason})"


def _verdict(file: Path, count: _Count, url: str) -> int:
    for reason, number in count.others.most_common():
        print(f"left out  {readable(reason)}" + (f" ({number})" if number > 1 else ""))
    if not count.calls:
        hint = "; if its host is one for AI, add --hosts HOST" if count.others else ""
        return failed(ValueError(f"{readable(str(file))} has no AI call in it{hint}"))
    noun = "AI call is" if count.calls == 1 else "AI calls are"
    print(f"{count.recorded} of {count.calls} {noun} recorded in {url}")
    return 0 if count.recorded == count.calls else 1

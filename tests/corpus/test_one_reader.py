"""`ai-cache show`, the status page and the cassette say the same of every recorded answer: the same parts in order."""

from __future__ import annotations

import functools
import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from corpus.recorded import exchanges, needs_corpus
from corpus.test_cassettes import entry_of
from mitmproxy_ai_cache import conversation
from mitmproxy_ai_cache.cassettes import file
from mitmproxy_ai_cache.cli.show import head
from mitmproxy_ai_cache.conversation import (
    AnswerParts,
    Media,
    Other,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from mitmproxy_ai_cache.conversation.text import conversation_lines
from mitmproxy_ai_cache.dashboard import rendering, shown
from mitmproxy_ai_cache.entries.entry import Entry

pytestmark = [needs_corpus, pytest.mark.slow]

type Said = list[tuple[str, Any]]
"""Kind and text; of a call its name and its arguments."""


@functools.cache
def read() -> tuple[tuple[Entry, AnswerParts, dict[str, Any] | None], ...]:
    """Each exchange as an entry, what is read in its answer, and the member `answer` of its cassette."""
    found = []
    for exchange in exchanges():
        entry = entry_of(exchange)
        found.append((entry, conversation.answer(entry), json.loads(file.encode(entry)[0]).get("answer")))
    return tuple(found)


def of_parts(parts: Iterable[Part]) -> Iterator[tuple[str, Any]]:
    for part in parts:
        match part:
            case ToolCall(_, name, arguments):
                yield "call", (name, value_of(arguments))
            case ToolResult(_, content, failed):
                yield "result", (failed, list(of_parts(content)))
            case Other(kind, held):
                yield "other", (kind, value_of(held))
            case Refusal(text):
                yield "refusal", text
            case Thinking("") | Text(""):
                continue  # nothing is said there
            case Thinking(text):
                yield "thinking", text
            case Text(text):
                yield "text", text
            case _:
                yield "media" if isinstance(part, Media) else "vectors", conversation.in_words(part)


def value_of(text: str) -> Any:
    try:
        return json.loads(text) if text[:1] in ("{", "[") else text
    except ValueError:
        return text


def of_conversation(told: AnswerParts) -> Said:
    said: Said = []
    for message in told.messages:
        if message.role == "error":
            said.append(("error", next(value for _, value in of_parts(message.parts))))
        else:
            said += of_parts(message.parts)
    return said


def of_cassette(answer: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, held in answer.items():
        if name in ("choices", "steps"):
            for each in held:
                yield from of_cassette(each)
        elif name == "tool_calls":
            yield from (("call", (call["name"], call["arguments"])) for call in held)
        elif name == "tool_results":
            for each in held:
                failed = isinstance(each, dict) and each.keys() == {"error"}
                inner = each["error"] if failed else each
                yield "result", (failed, list(of_cassette({"text": inner} if isinstance(inner, str) else inner)))
        elif name == "other":
            yield from (("other", pair) for each in held for pair in each.items())
        elif name not in ("stop", "usage"):
            yield from ((name, each) for each in (held if isinstance(held, list) else [held]))


def test_the_cassette_says_what_conversation_reads(capsys: pytest.CaptureFixture[str]) -> None:
    differ, counts = [], Counter[str]()
    for entry, told, answer in read():
        counts["answers"] += 1
        counts["kept"] += entry.cacheable
        if answer is None:
            counts["without a readable answer"] += 1
            counts["kept, without a readable answer"] += entry.cacheable
            assert told.as_is or not (told.messages or told.finish), entry.url
            continue
        if (of_conversation(told), told.finish) != (list(of_cassette(answer)), answer.get("stop", "")):
            differ.append((entry.url, answer))
        counts.update(kind for kind, _ in of_cassette(answer))
    with capsys.disabled():
        print(f"\n{dict(counts)}, {len(differ)} differ")
    assert not differ
    assert counts["kept, without a readable answer"] == 0
    assert counts["kept"] > 2300
    assert min(counts[kind] for kind in ("text", "thinking", "call", "result", "refusal", "vectors", "error")) > 10


_HEADING = re.compile(r"answer(?: \d+ of \d+)?$| *\[(?:thinking|refusal|(?:call|result|error)(?: [^\]]*)?)\]")
"""What `show` adds to the texts of an answer."""


def test_show_says_what_the_cassette_says() -> None:
    for entry, _, answer in read():
        told = conversation.of(entry)
        known = dict(head(entry, told, 0.0))
        finish = re.findall(r"finished: (.*)", known["answer"])
        assert finish == ([told.finish] if told.finish else [])
        if answer is None:
            continue
        assert finish == ([answer["stop"]] if "stop" in answer else []), entry.url
        asked = len(list(conversation_lines(replace(told, answer=()))))
        lines = [line for line, _ in conversation_lines(told)][asked:]
        said = squeezed("".join(_HEADING.sub("", line, 1) for line in lines))
        between = apart(said, texts(answer)).replace("[]", "")  # around media and vectors
        assert between == "" or "error" in answer, entry.url  # an error is followed by all of its JSON
        if usage := answer.get("usage"):
            assert known["tokens"] == f"{usage['input']:,} in, {usage['output']:,} out", entry.url


def test_the_status_page_says_what_the_cassette_says() -> None:
    for entry, _, answer in read():
        if answer is None:
            continue
        facts, said = page(entry)
        beginnings = [text[:_CUT] for text in texts(answer, media=False)]
        apart(squeezed(said), beginnings)
        assert re.findall(r"finished: (.*?)(?: · .*)?$", said, re.MULTILINE) == (
            [answer["stop"]] if "stop" in answer else []
        ), entry.url
        if usage := answer.get("usage"):
            assert f"{usage['input']:,} in, {usage['output']:,} out" in facts, entry.url


_CUT = 8_000
"""Characters of a text that the page shows at least."""


def page(entry: Entry) -> tuple[str, str]:
    """The text of the page of an entry, and what of it follows the heading of the answer."""
    values = {
        "product": "", "token": "", "mode": "cache", "access": "ALL", "entry": entry, "host": "", "curl": "",
        "facts": shown.facts(entry, 0.0), "view": "conversation", "said": conversation.of(entry), "raws": [],
        "calls": [], "removes": False,
    }  # fmt: skip
    before, _, after = rendering.page("entry.html", values).body.decode().partition('<h2 class="divide">Answer</h2>')
    return _text_of(before), _text_of(after)


def _text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def texts(answer: dict[str, Any], media: bool = True) -> list[str]:
    """The texts of a cassette in their order, without white space."""
    found: list[str] = []
    for kind, value in of_cassette(answer):
        if kind == "result":
            for inner in value[1]:
                found += texts({"other": [{"": inner[1]}]} if inner[0] == "other" else {inner[0]: inner[1]}, media)
        elif kind in ("call", "other"):
            found += [squeezed(value[0]), squeezed(value[1])]
        elif media or kind not in ("media", "vectors"):
            found.append(squeezed(value))
    return found


def squeezed(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return re.sub(r"\s+", "", _ESCAPED.sub(lambda found: chr(int(found[1][1:], 16)), text))


_ESCAPED = re.compile(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|x[0-9a-f]{2})")
"""As `show` and the page write what would not be seen."""


def apart(text: str, wanted: Iterable[str]) -> str:
    """What stands between the `wanted` texts, which must follow each other in `text`."""
    place, between = 0, ""
    for each in wanted:
        at = text.find(each, place)
        assert at >= 0, f"{each[:300]} is not in {text[place:][:500]}"
        between += text[place:at]
        place = at + len(each)
    return between + text[place:]

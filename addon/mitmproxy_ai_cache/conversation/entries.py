"""Entry -> conversation: which bytes are what, and what of it fits into a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..entries.entry import Entry
from ..wire import body as bodies
from ..wire.framing import FRAMINGS, Event, Framing, tag_of
from ..wire.messages import Headers, Request
from . import answers, requests
from .answers import AnswerParts
from .joined import join
from .media import of_bytes, typed
from .reading import MAX_BYTES, Json, Unread, amount, as_json, clean, cut, load, one_line
from .requests import RequestParts
from .values import (
    Audio,
    Conversation,
    File,
    Image,
    Media,
    Message,
    Other,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Vectors,
)

_MAX_LINES = 400_000
"""Lines of a stream that are read: three for each of 128,000 tokens."""
_MAX_BRACKETS = 1_000_000
"""Arrays and objects of all events of a stream that is read: six for each of these tokens, and more."""
_MAX_TEXT = 200_000
"""Characters of a body that is no JSON."""

_BEGIN = 4_000
"""Characters that are shown of what cannot be read."""

_TEXT_TYPES = re.compile(r"text/|application/(?:json|x-subrip|xml|x-www-form-urlencoded)")


def of(entry: Entry) -> Conversation:
    """What was asked and answered. Never raises: what is not understood becomes `Other`."""
    try:
        sent = _asked(entry)
    except Exception as error:  # a stranger's body must not hide the rest of the entry
        sent = RequestParts((("model", clean(entry.model)),), (), (Message("user", _unread(error, entry.request)),))
    got = answer(entry)
    question = _question(sent.messages) or clean(f"{entry.method} {entry.url}")
    return Conversation(
        settings=sent.settings,
        tools=sent.tools,
        messages=sent.messages,
        answer=got.messages,
        finish=got.finish,
        usage=got.usage,
        question=one_line(question),
        text=one_line(_first_text(got.messages)),
    )


def answer(entry: Entry) -> AnswerParts:
    """What was answered, as `of` says it; the request is not looked at. Never raises."""
    try:
        return _answered(entry)
    except Exception as error:
        return AnswerParts((Message("assistant", _unread(error, entry.body)),), as_is=True)


def question(entry: Entry) -> str:
    """What the user asked last, in one line, as `of` says it; the answer is not looked at. Never raises."""
    return of(replace(entry, body=b"")).question


def _unread(error: Exception, data: bytes) -> tuple[Part, ...]:
    """Why it is not taken apart, and how it begins."""
    why = str(error) if isinstance(error, Unread) else f"not understood ({type(error).__name__})"
    return Other("unread", why), Text(cut(data[: _BEGIN * 4].decode("utf-8", "replace"), _BEGIN))


def _asked(entry: Entry) -> RequestParts:
    content_type = Headers(entry.request_headers).get("content-type")
    data = entry.request
    if not data:
        return RequestParts((("model", clean(entry.model)),) if entry.model else ())
    if content_type.lower().startswith("multipart/"):
        headers = Headers([("content-type", content_type)])
        form = bodies.read(Request("POST", "https", "", 443, "/", headers=headers, body=data), MAX_BYTES)
        if form.parts:
            return requests.read_form(form.parts, entry.model)
    try:
        return requests.read(load(data), entry.model)
    except Unread:
        if data.lstrip()[:1] in (b"{", b"["):
            raise
    part = _raw(data, content_type)
    return RequestParts((("model", clean(entry.model)),) if entry.model else (), messages=(Message("user", (part,)),))


def _answered(entry: Entry) -> AnswerParts:
    content_type = Headers(entry.headers).get("content-type")
    data = entry.body
    if not data:
        return AnswerParts()
    tag = entry.format if entry.format in FRAMINGS or entry.format == "raw" else tag_of(content_type, data)
    value: Json = None
    left_out: tuple[Part, ...] = ()
    framing = FRAMINGS.get(tag)
    if framing and not framing.is_json:
        events, left_out = _events(framing, data)
        value = join(events)
    if not value:  # no stream, whatever its type says: so come errors of Gemini
        try:
            value = load(data)
        except Unread:
            if tag != "raw" and data.lstrip()[:1] in (b"{", b"["):
                raise
            part = _raw(data, content_type)
            role = "error" if entry.status >= 400 else "assistant"
            return AnswerParts((Message(role, (part,)),), as_is=isinstance(part, Text))
        if isinstance(value, list) and any(isinstance(item, dict) and "candidates" in item for item in value[:3]):
            value = join([Event("", b"", item) for item in value[:_MAX_LINES]])
    if entry.status >= 400:
        return AnswerParts(tuple(answers.error(value)))
    got = answers.read(value)
    said = got.messages or (Message("assistant", (_left(value),)),)
    said = (*said, Message("system", left_out)) if left_out else said
    return AnswerParts(said, got.finish, got.usage, as_is=not got.messages)


def _left(value: Json) -> Part:
    """What no shape fits: as JSON."""
    return Text(clean(value)) if isinstance(value, str) else Other("answer", as_json(value))


def _events(framing: Framing, data: bytes) -> tuple[Sequence[Event], tuple[Part, ...]]:
    """The events of a stream; where there are too many the first ones, and a word about the others."""
    if len(data) > MAX_BYTES or data.count(b"{") + data.count(b"[") > _MAX_BRACKETS:
        raise Unread(f"a stream of {len(data):,} bytes, too much to be put together")
    if not framing.in_lines or data.count(b"\n") + data.count(b"\r") <= _MAX_LINES:
        return framing.parse(data).events, ()
    first = b"\n".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n", _MAX_LINES)[:_MAX_LINES])
    note = Other("left-out", f"the rest of {len(data):,} bytes: too many events")
    return framing.parse(first + b"\n").events, (note,)


def _raw(data: bytes, content_type: str) -> Part:
    """A body that is no JSON: sound, a picture, text."""
    media_type = typed(content_type)
    text = b"\0" not in data[:1000] and (not media_type or _TEXT_TYPES.match(media_type) is not None)
    if text:
        return Text(cut(data[: _MAX_TEXT * 4].decode("utf-8", "replace"), _MAX_TEXT))
    return of_bytes(File, data[:MAX_BYTES], media_type)


def _question(messages: Sequence[Message]) -> str:
    """What the user said last; where that is only results of tools, what they said before."""
    by_role = [message for message in reversed(messages) if message.role == "user"]
    for message in (*by_role, *reversed(messages)):
        texts = [part.text for part in message.parts if isinstance(part, Text) and part.text.strip()]
        if texts:
            more = f" (and {len(texts) - 1} more)" if len(texts) > 1 and _is_list(message) else ""
            return one_line(texts[0 if more else -1], 120) + more
    return _first_text([message for message in (*by_role, *reversed(messages)) if message.parts][:1])


def _is_list(message: Message) -> bool:
    """Whether these are texts side by side, to embed for instance, and not one with things around it."""
    return len(message.parts) > 3 and all(isinstance(part, Text) for part in message.parts)


def _first_text(messages: Iterable[Message]) -> str:
    """The first thing that is text; else what else there is, in words."""
    found = [part for message in messages for part in message.parts]
    texts = (part.text for part in found if isinstance(part, Text) and part.text.strip())
    others = (words for part in found if not isinstance(part, Thinking) and (words := in_words(part)))
    return next(texts, "") or next(others, "") or next((in_words(part) for part in found), "")


def in_words(part: Part) -> str:
    """A part in a few words."""
    match part:
        case Text(text):
            return text
        case Thinking(text):
            return text or "(thinking that is not shown)"
        case ToolCall(_, name, arguments):
            return f"{name}({arguments[:400]})"
        case ToolResult(_, content):
            return next((in_words(each) for each in content), "")
        case Vectors(count, size):
            vectors = f"{count:,} vector" + ("" if count == 1 else "s")
            return f"{vectors} of {size:,}" if size else vectors
        case Image() | Audio() | File():
            return about(part)
        case Other(kind, json):
            return f"{kind} {json[:400]}" if json else kind


def about(part: Media) -> str:
    """What a picture, sound or file is: `image (image/png, 12 kB)`."""
    kind = type(part).__name__.lower()
    told = [part.name, part.media_type, amount(part.size) if part.size else "", part.url]
    words = ", ".join(filter(None, told))
    return f"{kind} ({words})" if words else kind

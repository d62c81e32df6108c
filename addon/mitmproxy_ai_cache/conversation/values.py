"""A conversation as a person reads it. All of it is text that strangers chose: escape it for where it is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Refusal(Text):
    """Why the model does not answer, where the protocol tells that from an answer."""


@dataclass(frozen=True, slots=True)
class Thinking:
    text: str
    """Empty where the provider keeps it to itself (encrypted or redacted thinking)."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: str
    """JSON as the model wrote it, or text of a tool that takes text; it may be cut short with the answer."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    id: str
    """Of the call it answers; a name where the protocol has no ids."""
    content: tuple[Part, ...]
    error: bool = False


@dataclass(frozen=True, slots=True)
class Media:
    """What is no text: it came inside the body as `data`, or stands elsewhere at `url`, or both are empty."""

    media_type: str
    """`type/subtype` and nothing else, or empty where nobody says and the first bytes do not tell."""
    size: int = 0
    """Bytes; 0 where they are not there to be counted."""
    data: str = ""
    """base64 and nothing else, ready for a `data:` URL of `media_type`."""
    url: str = ""
    """An address or a file id, as it was sent. Never followed."""
    name: str = ""
    """File name or title."""


@dataclass(frozen=True, slots=True)
class Image(Media):
    pass


@dataclass(frozen=True, slots=True)
class Audio(Media):
    transcript: str = ""


@dataclass(frozen=True, slots=True)
class File(Media):
    pass


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings: how many, of how many numbers each."""

    count: int
    size: int
    """0 where they are packed in a way that does not tell."""


@dataclass(frozen=True, slots=True)
class Other:
    """What is not understood, or left out for its size."""

    kind: str
    """A word for it: the `type` it carries, `left-out`, `unread`."""
    json: str
    """As JSON text, or in words; long ones are cut."""


type Part = Text | Thinking | ToolCall | ToolResult | Image | Audio | File | Vectors | Other


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    """`system`, `developer`, `user`, `assistant`, `tool`, `document`, `error`, or any other word that was sent."""
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str = ""
    schema: str = ""
    """JSON text of its parameters, or of all that is known of a provider's own tool."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was asked, and what was answered."""

    settings: tuple[tuple[str, str], ...] = ()
    """Parameters of the request in their order, the model first: texts as they are, all else as JSON."""
    tools: tuple[Tool, ...] = ()
    messages: tuple[Message, ...] = ()
    """What was sent, instructions first."""
    answer: tuple[Message, ...] = ()
    """One for each choice, candidate or completion."""
    finish: str = ""
    """Why it ended, as the provider says it; several choices with commas."""
    usage: tuple[tuple[str, int], ...] = ()
    """The provider's own counts under its own names, `prompt_tokens_details.cached_tokens` for instance."""
    question: str = ""
    """The beginning of what the user asked last, in one line."""
    text: str = ""
    """The beginning of the answer, in one line."""

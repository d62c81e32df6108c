"""The answer as JSON -> what was said, why it ended, what it cost. Each shape is told by its members."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .media import audio, generated, media
from .parts import of_message, parts
from .reading import Json, as_json, clean, items, mapping, member, name_in, objects, string
from .requests import role_of
from .values import Image, Message, Other, Part, Text, Vectors

_RANKED = 100
"""Documents of a ranking that are shown."""
_COUNTS = 60
"""Counts of a usage that are shown."""


@dataclass(frozen=True, slots=True)
class AnswerParts:
    messages: tuple[Message, ...] = ()
    finish: str = ""
    usage: tuple[tuple[str, int], ...] = ()
    as_is: bool = False
    """`messages` are the body as it came: a text, JSON of no known shape, or what cannot be read."""


def read(value: Json) -> AnswerParts:
    """What a JSON answer says."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]  # Hugging Face
    said: list[Message] = []
    for is_its, reader in _SHAPES:
        if is_its(value) and (said := [message for message in reader(value) if message.parts]):
            break
    if problem := mapping(value).get("error"):
        said += _error({"error": problem} if said else value)  # a stream may break off with one
    return AnswerParts(tuple(said), clean(_finish(value)), tuple(_usage(value)))


def _assistant(found: Iterable[Part]) -> list[Message]:
    return [Message("assistant", tuple(found))]


def _choices(value: Json) -> list[Message]:
    """Chat and text completions; Mistral's list of messages."""
    said: list[Message] = []
    for choice in objects(value["choices"]):
        message = member(choice, "message", "delta")
        if message is None:
            message = {"content": member(choice, "text")}
        for each in objects(message):
            found = [*of_message(each), *(parts_of_error(choice))]
            role = name_in(each, "role")
            said.append(Message(role_of(each) if role else "assistant", tuple(found) or (Text(""),)))
    return said


def parts_of_error(choice: Json) -> list[Part]:
    return [Other("error", as_json(choice["error"]))] if mapping(choice).get("error") else []


def _candidates(value: Json) -> list[Message]:
    """Gemini. One that was blocked has no content."""
    said: list[Message] = []
    for candidate in objects(value["candidates"]):
        found = parts(mapping(candidate.get("content")).get("parts"))
        reason = name_in(candidate, "finishMessage", "finishReason")
        said.append(Message("assistant", tuple(found) or (Other("empty", clean(reason)),)))
    return said


def _blocked(value: Json) -> list[Message]:
    return _assistant([Other("blocked", clean(as_json(value["promptFeedback"])))])


def _output_items(value: Json) -> list[Message]:
    """Responses: all items are one answer. Interactions: `outputs` or `steps`."""
    return _assistant(parts(member(value, "output", "outputs", "steps")) or [Text("")])


def _output_message(value: Json) -> list[Message]:
    """Converse and Nova."""
    return _assistant(parts(mapping(mapping(value["output"]).get("message")).get("content")) or [Text("")])


def _content(value: Json) -> list[Message]:
    """Anthropic. The model may have had nothing to add."""
    return _assistant(parts(value["content"]) or [Text("")])


def _message(value: Json) -> list[Message]:
    """Ollama, Cohere v2."""
    return _assistant(of_message(value["message"]) or [Text("")])


def _plain(name: str) -> Callable[[Json], list[Message]]:
    """A text, with thoughts and calls beside it."""

    def read_plain(value: Json) -> list[Message]:
        beside = {key: held for key, held in value.items() if key in ("thinking", "tool_calls")}
        return _assistant(of_message({**beside, "content": value[name]}) or [Text("")])

    return read_plain


def _listed(name: str, *texts: str) -> Callable[[Json], list[Message]]:
    """A list of texts, each an answer of its own."""

    def read_listed(value: Json) -> list[Message]:
        found = [member(each, *texts) for each in objects(value[name])]
        return [Message("assistant", tuple(parts(text)) or (Text(""),)) for text in found if isinstance(text, str)]

    return read_listed


def _vectors(value: Json) -> list[Message]:
    found: Json = member(value, "embeddings", "embedding", "predictions", "data")
    if isinstance(found, dict):  # Cohere v2: by type; Gemini: of one content
        found = found.get("values") or next((held for held in found.values() if isinstance(held, list)), [])
    vectors = found if isinstance(found, list) else []
    if vectors and isinstance(vectors[0], int | float):
        return _assistant([Vectors(1, len(vectors))])
    return _assistant([Vectors(len(vectors), _size_of(vectors[0] if vectors else None))])


def _size_of(vector: Json) -> int:
    """How many numbers a vector has. Packed ones are 32-bit floats in base64."""
    held = member(vector, "embedding", "values", "embeddings", "textEmbedding") if isinstance(vector, dict) else vector
    if isinstance(held, dict):
        held = held.get("values")
    if isinstance(held, str):
        size = len(held.rstrip("=")) * 3 // 4
        return size // 4 if size % 4 == 0 else 0
    if isinstance(held, list) and held and isinstance(held[0], list):
        held = held[0]
    return len(held) if isinstance(held, list) else 0


def _pictures(value: Json) -> list[Message]:
    media_type = name_in(value, "output_format")
    listed = [media(Image, each) for each in items(value.get("images")) if isinstance(each, str)]  # Titan, Stability
    predicted = member(value, "data", "predictions", "artifacts")
    revised = [name_in(each, "revised_prompt") for each in objects(predicted)]
    texts = [Text(clean(text)) for text in revised if text]
    return _assistant([*listed, *generated(predicted, media_type), *texts])


def _ranking(value: Json) -> list[Message]:
    lines = []
    for each in objects(member(value, "results", "data"))[:_RANKED]:
        document = each.get("document")
        text = document if isinstance(document, str) else name_in(document, "text")
        score = member(each, "relevance_score", "score")
        number = f"{score:.4g}" if isinstance(score, int | float) else "?"
        lines.append(f"{number}  documents[{name_in(each, 'index') or '?'}]" + (f"  {text}" if text else ""))
    return _assistant([Text(clean("\n".join(lines)))])


def _moderation(value: Json) -> list[Message]:
    said: list[Part] = []
    for each in objects(value["results"]):
        flags = [name for name, flag in mapping(each.get("categories")).items() if flag is True]
        text = "flagged: " + ", ".join(flags) if each.get("flagged") is True or flags else "not flagged"
        said.append(Text(clean(text)))
    return _assistant(said)


def _guardrail(value: Json) -> list[Message]:
    said = [Text(clean(": ".join(filter(None, (name_in(value, "action"), name_in(value, "actionReason"))))))]
    return _assistant([*said, *parts(value.get("outputs"))])


def _count(value: Json) -> list[Message]:
    count = member(value, "input_tokens", "totalTokens")
    if count is None:
        return _assistant([Other("tokens", as_json(value.get("tokensInfo")))])
    return _assistant([Text(clean(f"{as_json(count, 40)} tokens"))])


def _audio(value: Json) -> list[Message]:
    return _assistant([audio(value)])


def _error(value: Json) -> Iterable[Message]:
    """An error in any provider's shape; a person wants its message, then all of it."""
    held = member(value, "error") or value
    text = name_in(held, "message", "Message", "detail") or (held if isinstance(held, str) else "")
    found: list[Part] = [Text(clean(text))] if text else []
    yield Message("error", (*found, Other("error", clean(as_json(value)))))


error = _error
"""What an answer with another status than 200 says."""


def _has_list(name: str, *of: str) -> Callable[[Json], bool]:
    """A list, its first item an object with one of these members."""

    def has(value: Json) -> bool:
        listed = mapping(value).get(name)
        if not isinstance(listed, list) or not listed:
            return False
        return not of or (isinstance(listed[0], dict) and any(key in listed[0] for key in of))

    return has


def _has_text(name: str) -> Callable[[Json], bool]:
    return lambda value: isinstance(mapping(value).get(name), str)


def _has_object(*names: str) -> Callable[[Json], bool]:
    def has(value: Json) -> bool:
        for name in names:
            value = mapping(value).get(name)
        return isinstance(value, dict)

    return has


def _is_vectors(value: Json) -> bool:
    held = mapping(value)
    return (
        isinstance(held.get("embeddings"), list | dict)
        or isinstance(held.get("embedding"), list | dict)
        or _has_list("data", "embedding")(value)
        or (_has_list("predictions")(value) and not _has_list("predictions", "bytesBase64Encoded")(value))
    )


_SHAPES: tuple[tuple[Callable[[Json], bool], Callable[[Json], Iterable[Message]]], ...] = (
    (_has_list("choices"), _choices),
    (_has_list("candidates"), _candidates),
    (_has_object("promptFeedback"), _blocked),
    (_has_object("output", "message"), _output_message),
    (_has_list("output"), _output_items),
    (_has_text("action"), _guardrail),
    (_has_list("steps"), _output_items),
    (_has_list("outputs", "type"), _output_items),
    (_has_list("outputs", "text"), _listed("outputs", "text")),
    (lambda value: isinstance(mapping(value).get("content"), list), _content),
    (_has_object("message"), _message),
    (_has_text("response"), _plain("response")),
    (_has_text("completion"), _plain("completion")),
    (_has_text("generation"), _plain("generation")),
    (_has_text("generated_text"), _plain("generated_text")),
    (_has_text("outputText"), _plain("outputText")),
    (_has_list("generations"), _listed("generations", "text")),
    (_has_list("completions", "completion"), _listed("completions", "completion", "raw_completion")),
    (_has_list("completions", "data"), lambda value: _output_items({"output": [value["completions"][0]["data"]]})),
    (_has_list("results", "outputText", "generated_text"), _listed("results", "outputText", "generated_text")),
    (_has_list("results", "flagged", "categories"), _moderation),
    (_has_list("results", "relevance_score", "score"), _ranking),
    (_has_list("data", "relevance_score"), _ranking),
    (_has_list("data", "url", "b64_json"), _pictures),
    (_has_list("predictions", "bytesBase64Encoded"), _pictures),
    (_has_list("images"), _pictures),
    (_is_vectors, _vectors),
    (_has_text("text"), _plain("text")),
    (_has_object("audio"), _audio),
    (lambda value: bool({"input_tokens", "totalTokens", "tokensInfo"} & mapping(value).keys()), _count),
)

_FINISH = (
    "finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason", "completionReason",
    "native_finish_reason",
)  # fmt: skip
_FINISHED = ("choices", "candidates", "outputs", "results", "generations", "completions")


def _finish(value: Json) -> str:
    """Of the whole, or of each choice."""
    held = mapping(value)
    reasons = [name_in(held, *_FINISH), name_in(held.get("incomplete_details"), "reason")]
    reasons.append(name_in(held.get("details"), "finish_reason"))
    reasons.append(name_in(held.get("promptFeedback"), "blockReason"))
    for name in _FINISHED:
        reasons += [name_in(each, *_FINISH) for each in objects(held.get(name))]
    said = list(dict.fromkeys(filter(None, reasons)))[:10]
    return ", ".join(said) or string(held.get("status"))


_USAGE = ("usage", "usageMetadata", "meta", "amazon-bedrock-invocationMetrics")
_LOOSE = (
    "prompt_eval_count", "eval_count", "inputTextTokenCount", "prompt_token_count", "generation_token_count",
    "num_tokens_prompt_total", "num_tokens_generated", "input_token_count", "generated_token_count",
    "tokenCount", "totalOutputTextTokenCount",
)  # fmt: skip
"""Counts that stand beside the answer itself."""


def _usage(value: Json) -> Iterable[tuple[str, int]]:
    held = mapping(value)
    found: list[tuple[str, int]] = []
    for name in _USAGE:
        found += _counts(held.get(name), "", 0)
    found += _counts(mapping(held.get("x_groq")).get("usage"), "", 0)
    for place in (held, *objects(held.get("results"))[:1]):
        found += [(name, count) for name in _LOOSE if (count := _whole(place.get(name))) is not None]
    return list(dict(found).items())[:_COUNTS]


def _counts(value: Json, begin: str, depth: int) -> Iterable[tuple[str, int]]:
    if depth > 2:
        return
    for name, count in list(mapping(value).items())[:_COUNTS]:
        path = clean(f"{begin}{name}")
        if isinstance(count, dict):
            yield from _counts(count, f"{path}.", depth + 1)
        elif not name.endswith("Latency") and (whole := _whole(count)) is not None:
            yield path, whole


def _whole(count: Json) -> int | None:
    """A count; Titan and Cohere write 3.0."""
    if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < 1 << 50:
        return None
    return int(count) if count == int(count) else None

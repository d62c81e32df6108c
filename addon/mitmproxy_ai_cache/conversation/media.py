"""Pictures, sound and files, as each protocol carries them: data URLs, base64 with a type, addresses, ids."""

from __future__ import annotations

import base64
import re
from contextlib import suppress

from .reading import Json, clean, items, mapping, member, name_in, objects, string
from .values import Audio, File, Image

type Held = Image | Audio | File
type Kind = type[Image] | type[Audio] | type[File]

_DATA_URL = re.compile(r"data:([^,;]{0,100})((?:;[^,;]{0,100}){0,5}),")
_MEDIA_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9][a-z0-9.+-]{0,80}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]*+={0,2}+\s*+")
_SEVERAL = re.compile(r"[A-Za-z0-9+/=]++")
_ONE = re.compile(r"[^=]++={0,2}+")

_MAGIC = (
    ("iVBORw0KGgo", "image/png"), ("/9j/", "image/jpeg"), ("R0lGOD", "image/gif"), ("JVBERi", "application/pdf"),
    ("SUQz", "audio/mpeg"), ("//u", "audio/mpeg"), ("//N", "audio/mpeg"), ("T2dnUw", "audio/ogg"),
    ("ZkxhQ", "audio/flac"),
)  # fmt: skip
"""How files begin, in base64."""

_FORMATS = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "opus": "audio/ogg",
    "m4a": "audio/mp4", "aac": "audio/aac", "pcm16": "audio/pcm", "pcm": "audio/pcm", "webm": "audio/webm",
    "mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "pdf": "application/pdf",
    "csv": "text/csv", "txt": "text/plain", "html": "text/html", "md": "text/markdown", "doc": "application/msword",
}  # fmt: skip
"""What protocols call formats that they name by a word."""


def media(
    kind: Kind, data: str = "", media_type: str = "", *, url: str = "", name: str = "", transcript: str = ""
) -> Held:
    """A picture, sound or file. `data` is base64 or a data URL, as is `url` in some protocols."""
    if not data and url[:5].lower() == "data:":
        data, url = url, ""
    if data[:5].lower() == "data:" and (found := _DATA_URL.match(data)):
        media_type = media_type or found[1]
        rest = data[found.end() :]
        data = rest if ";base64" in found[2].lower() else base64.b64encode(rest.encode()).decode()
    if data and not _BASE64.fullmatch(data):
        data = _encoded(data)
    known = typed(media_type) or _by_begin(data)
    if kind is File:
        kinds: dict[str, Kind] = {"image": Image, "audio": Audio}
        kind = kinds.get(known.partition("/")[0], File)
    size = len(data.rstrip("=\n")) * 3 // 4
    if kind is Audio:
        return Audio(known, size, data, clean(url), clean(name), transcript)
    return kind(known, size, data, clean(url), clean(name))


def _encoded(data: str) -> str:
    """As base64 what is several base64 texts one after another, as streams have them, or text where base64 is due."""
    if _SEVERAL.fullmatch(data):
        with suppress(ValueError):
            decoded = b"".join(base64.b64decode(each) for each in _ONE.findall(data))
            return base64.b64encode(decoded).decode()
    return base64.b64encode(data.encode("utf-8", "replace")).decode()


def of_bytes(kind: Kind, data: bytes, media_type: str, name: str = "") -> Held:
    return media(kind, base64.b64encode(data).decode(), media_type, name=name)


def typed(media_type: str) -> str:
    """`media_type` without its parameters, a word such as `png` spelled out; empty where it is neither."""
    word = media_type.partition(";")[0].strip().lower()
    if word in _FORMATS:
        return _FORMATS[word]
    return word if _MEDIA_TYPE.fullmatch(word) else ""


def _by_begin(data: str) -> str:
    if data.startswith("UklGR"):
        return {"RUJQ": "image/webp", "QVZF": "audio/wav"}.get(data[12:16], "")
    return next((name for begin, name in _MAGIC if data.startswith(begin)), "")


def image(part: Json) -> Held:
    """OpenAI's `image_url` and `input_image`, Anthropic's and Converse's `image`, Interactions' and Ollama's."""
    held = member(part, "image_url", "imageUrl")
    if held is not None:
        return media(Image, url=string(held) or name_in(held, "url"))
    return sourced(Image, part)


def sourced(kind: Kind, part: Json) -> Held:
    """Anthropic's and Bedrock's `source`, or the same members at the top."""
    held = mapping(member(part, "source")) or mapping(part)
    name = name_in(part, "title", "name", "filename")
    media_type = name_in(held, "media_type", "mime_type", "mimeType") or name_in(part, "format", "mime_type")
    location = mapping(member(held, "s3Location"))
    url = name_in(held, "url", "uri", "file_id", "fileUri") or name_in(location, "uri")
    return media(kind, name_in(held, "data", "bytes", "b64_json"), media_type, url=url, name=name)


def audio(part: Json) -> Held:
    """OpenAI's `input_audio` and the `audio` of its answers."""
    held = mapping(member(part, "input_audio", "audio")) or mapping(part)
    if "source" in held:
        return sourced(Audio, held)
    return media(
        Audio,
        name_in(held, "data", "bytes"),
        name_in(held, "format", "mime_type", "media_type"),
        url=name_in(held, "url", "uri", "id"),
        transcript=clean(name_in(held, "transcript")),
    )


def file(part: Json) -> Held:
    """OpenAI's `file` and `input_file`."""
    held = mapping(member(part, "file")) or mapping(part)
    url = name_in(held, "file_url", "file_id", "url", "uri")
    return media(File, name_in(held, "file_data", "data"), name_in(held, "mime_type"), url=url, name=_name(held))


def _name(held: Json) -> str:
    return name_in(held, "filename", "file_name", "title", "name")


def generated(data: Json, media_type: str = "") -> list[Held]:
    """The pictures of an Images answer: `data` with `url` or `b64_json`, Vertex' predictions."""
    found: list[Held] = []
    for each in objects(data):
        encoded = name_in(each, "b64_json", "bytesBase64Encoded")
        found.append(media(Image, encoded, name_in(each, "mimeType") or media_type, url=name_in(each, "url")))
    return found


def plain_images(value: Json) -> list[Held]:
    """A list of base64 texts (Ollama), data URLs (Cohere) or `image_url` parts (OpenRouter)."""
    return [_plain(each) if isinstance(each, str) else image(each) for each in items(value)]


def _plain(value: str) -> Held:
    return media(Image, url=value) if value.startswith("http") else media(Image, value)

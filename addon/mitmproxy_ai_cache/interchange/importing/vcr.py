"""Cassettes of vcrpy (YAML and JSON), and of Ruby's VCR, which has almost the same form.

vcrpy writes `interactions`, each with `request` (method, uri, body, headers) and `response` (status, headers, body),
and no times. A body is a string, `!!binary`, or `{string: ...}`; Ruby's VCR also has `{base64_string: ...}` and says
when. Read of vcrpy 9.4.2: `vcr/serialize.py`, `vcr/serializers/compat.py`, `vcr/stubs/`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node

from .exchanges import (
    BrokenRecording,
    Recorded,
    Skipped,
    Unusable,
    answer_headers,
    encoded,
    request,
    scalar,
    split_fields,
    status,
)

_MOST_VALUES = 10_000_000
"""In one cassette, each counted as often as it is named."""


class _Strings(SafeConstructor):
    """Scalars without quotes are text.

    vcrpy writes YAML 1.1, where `12e45` is a string; YAML 1.2 makes a number of it: a request id, a body, a header.
    """

    def flatten_mapping(self, node: Any) -> Any:
        """Merge keys (`<<`) are names like any other: no recorder writes them, and each may double all before it."""


def _text(loader: _Strings, node: Node) -> Any:
    return loader.construct_scalar(node)


def _bytes(loader: _Strings, node: Node) -> bytes:
    return base64.b64decode(loader.construct_scalar(node))


for _tag in ("int", "float", "bool", "timestamp", "merge", "value", "python/str", "python/unicode"):
    _Strings.add_constructor(f"tag:yaml.org,2002:{_tag}", _text)
_Strings.add_constructor("!binary", _bytes)  # as Ruby writes it


def from_yaml(data: bytes) -> Any:
    """The value of a YAML document, scalars as strings. Raises `BrokenRecording`."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Strings
    yaml.allow_duplicate_keys = True
    try:
        value = yaml.load(data)
    except (YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise BrokenRecording(f"the YAML cannot be read ({said}{where}); record it again") from None
    if _written_out(value) > _MOST_VALUES:
        raise BrokenRecording("its aliases stand for too many values, or for themselves; record it again")
    return value


def _written_out(value: Any) -> float:
    """How many values there would be without aliases; infinity where one contains itself."""
    sizes: dict[int, float] = {}
    open_: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(value, False)]
    while waiting:
        item, below_is_done = waiting.pop()
        inner = [*item, *item.values()] if isinstance(item, dict) else item
        if not isinstance(inner, list | tuple | set) or id(item) in sizes:
            continue
        if below_is_done:
            open_.discard(id(item))
            sizes[id(item)] = 1 + sum(sizes.get(id(each), 1) for each in inner)
        elif id(item) in open_:
            return float("inf")
        else:
            open_.add(id(item))
            waiting.append((item, True))
            waiting += [(each, False) for each in inner]
    return sizes.get(id(value), 1)


def interactions(cassette: Any) -> list[Any] | None:
    """The exchanges of a cassette, or None where it is none."""
    if not isinstance(cassette, dict):
        return None
    found = cassette.get("interactions", cassette.get("http_interactions"))
    return found if isinstance(found, list) else None


def read(found: list[Any]) -> Iterator[Recorded | Skipped]:
    """The exchanges in their order."""
    for interaction in found:
        try:
            yield _recorded(interaction)
        except Unusable as error:
            yield Skipped(str(error))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            yield Skipped("no exchange of a kind that is known")


def _recorded(interaction: dict[str, Any]) -> Recorded:
    sent, got = interaction["request"], interaction["response"]
    code = got["status"] if "status" in got else got["status_code"]  # vcrpy 4 below httpx
    body = _body(got)
    return Recorded(
        request=request(sent["method"], sent.get("uri") or sent["url"], _fields(sent.get("headers")), _body(sent)),
        status=status(code["code"] if isinstance(code, dict) else code),
        headers=answer_headers(_fields(got.get("headers")), body),
        body=body,
        when=_when(interaction.get("recorded_at")),
        left_out=split_fields(_fields(got.get("headers"))),
    )


def _body(message: dict[str, Any]) -> bytes:
    if "body" not in message and "parsed_body" in message:
        raise Unusable("parsed_body, the form of pydantic-ai's own serializer")
    body = message["body"] if "body" in message else message.get("content")
    if isinstance(body, dict):
        if "base64_string" in body:
            return base64.b64decode(body["base64_string"])
        body = body.get("string")
    if body is None:
        return b""
    return body if isinstance(body, bytes) else encoded(body)


def _fields(headers: Any) -> Iterator[tuple[str, str]]:
    """Values are lists; one string in cassettes of other recorders."""
    for name, values in (headers or {}).items():
        for value in values if isinstance(values, list) else [values]:
            yield scalar(name), value.decode("latin-1") if isinstance(value, bytes) else scalar(value)


def _when(recorded_at: Any) -> float | None:
    """Unix time of what Ruby's VCR writes: `Tue, 01 Nov 2011 04:58:44 GMT`, or ISO 8601."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return parse(recorded_at).timestamp()
        except (ValueError, TypeError):
            continue
    return None

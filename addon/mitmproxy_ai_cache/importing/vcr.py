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

from .recorded import BrokenRecording, Recorded, Skipped, Unusable, answer_headers, encoded, request, status


class _Strings(SafeConstructor):
    """Scalars without quotes are text.

    vcrpy writes YAML 1.1, where `12e45` is a string; YAML 1.2 makes a number of it: a request id, a body, a header.
    """


def _text(loader: _Strings, node: Node) -> Any:
    return loader.construct_scalar(node)


def _bytes(loader: _Strings, node: Node) -> bytes:
    return base64.b64decode(loader.construct_scalar(node))


for _tag in ("int", "float", "bool", "timestamp", "python/str", "python/unicode"):
    _Strings.add_constructor(f"tag:yaml.org,2002:{_tag}", _text)
_Strings.add_constructor("!binary", _bytes)  # as Ruby writes it


def from_yaml(data: bytes) -> Any:
    """The value of a YAML document, scalars as strings. Raises `BrokenRecording`."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Strings
    yaml.allow_duplicate_keys = True
    try:
        return yaml.load(data)
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BrokenRecording(f"the YAML cannot be read ({str(error).strip().splitlines()[0]})") from None


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
        except (KeyError, TypeError, ValueError, AttributeError):
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
            yield str(name), value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _when(recorded_at: Any) -> float | None:
    """Unix time of what Ruby's VCR writes: `Tue, 01 Nov 2011 04:58:44 GMT`, or ISO 8601."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return parse(recorded_at).timestamp()
        except (ValueError, TypeError):
            continue
    return None

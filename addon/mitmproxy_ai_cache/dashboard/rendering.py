"""Values -> HTML. Whatever is printed is escaped, and what would be invisible or would act is spelled out."""

from __future__ import annotations

import glob
import json
import re
import time
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ..wire import units
from ..wire.messages import Headers, Response

LONGEST = 12_000
"""Characters of a text that a page shows; the whole is a link away."""

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What acts on a terminal, turns the direction of text or hides in it. Not U+200C and U+200D: languages and emoji need
them."""


def visible(text: str) -> str:
    r"""`text` with what is not seen spelled out: NUL as \x00, an override of the direction as \u202e."""
    return text if text.isascii() and text.isprintable() else _INVISIBLE.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def pretty(text: str) -> str:
    """JSON by lines; what is none, or long, as it is."""
    if len(text) > 20 * LONGEST or text[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def page(
    template: str, values: dict[str, Any], status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    text = _environment().get_template(template).render(values)
    fields = [("content-type", "text/html; charset=utf-8"), *headers]
    return Response(status, Headers(fields), text.encode("utf-8", "replace"))


@cache
def asset(name: str) -> bytes:
    """A file of ours, for `style.css` or `live.js`."""
    return (resources.files(__package__) / "static" / name).read_bytes()


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        auto_reload=False,
    )
    environment.filters |= {
        "clock": lambda at: time.strftime("%H:%M:%S", time.localtime(at)),
        "date": date,
        "exact": escape,  # what a form sends back
        "duration": units.human_duration,
        "grouped": lambda number: f"{number:,}",
        "literal": glob.escape,
        "milliseconds": milliseconds,
        "pretty": pretty,
        "short": lambda key: key[:12] + key[64:],
        "size": units.human_size,
    }
    return environment


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text("utf-8")


def _finalized(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def date(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "(no date)"  # entries may come from a server that lies


def milliseconds(seconds: float) -> str:
    """`0.4`, `12`, `1,204`."""
    number = seconds * 1000
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"

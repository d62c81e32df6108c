"""A JSON value in the one form that the key is computed of.

Member order and the writing of numbers do not count; everything else does. Two exceptions, both measured to shape what
a provider answers: the order of members under `properties` of a schema, and the sign of zero.

The form is sorted JSON. What plain sorted JSON cannot say is put into objects whose only member begins with `#`
(members of the request that begin with `#` get a second one, so nothing a client sends can imitate them):
`{"#n": "15e-1"}` a number that is no small integer, `{"#p": [[name, value], ...]}` members whose order counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from operator import is_

import orjson

from ..wire.json_body import Json, NotCanonical
from ..wire.safe_text import quoted

SCHEMA_ROOTS = frozenset(
    """
    tools functions response_format format text toolConfig responseSchema responseJsonSchema response_schema
    response_json_schema input_schema output_format output_config outputConfig generationConfig
    generation_config json_schema guided_json structured_outputs
    """.split()
)
"""Members below which `properties` is a schema's: response formats, tools, Gemini schemas."""

Rewrite = Callable[[Json], Json]
"""What a rule does to the value it names; it answers `DROP` to leave the member out."""

DROP: Json = object()
"""Answered by a `Rewrite` for a value that is not part of the key."""


class Rules:
    """JSON paths and what to do with the values they name, as a tree that is walked along with the body."""

    __slots__ = ("children", "rewrite")

    def __init__(self) -> None:
        self.children: dict[str, Rules] = {}
        self.rewrite: Rewrite | None = None

    def add(self, path: Iterable[str], rewrite: Rewrite) -> None:
        """`path`: member names; `*` stands for every member or item."""
        node = self
        for name in path:
            node = node.children.setdefault(name, Rules())
        previous = node.rewrite
        node.rewrite = rewrite if previous is None else _both(previous, rewrite)

    def child(self, name: str) -> Rules | None:
        exact, every = self.children.get(name), self.children.get("*")
        if exact is None or every is None or name == "*":
            return exact or every
        merged = Rules()
        merged._take(exact)
        merged._take(every)
        return merged

    def _take(self, other: Rules) -> None:
        if other.rewrite is not None:
            self.add((), other.rewrite)
        for name, below in other.children.items():
            self.children.setdefault(name, Rules())._take(below)


def _both(first: Rewrite, second: Rewrite) -> Rewrite:
    def rewrite(value: Json) -> Json:
        value = first(value)
        return value if value is DROP else second(value)

    return rewrite


def drop(_value: Json) -> Json:
    return DROP


def parse_path(text: str) -> tuple[str, ...]:
    """`$.messages[*].name`, `metadata.user_id`, `input[0].id` -> member names. Raises ValueError."""
    names: list[str] = []
    rest = text.strip().removeprefix("$").lstrip(".")
    for part in rest.split("."):
        name, *items = part.split("[")
        if name:
            names.append(name)
        for item in items:
            if not item.endswith("]") or not (item[:-1] == "*" or item[:-1].isdigit()):
                raise ValueError(
                    f"{quoted(text)} is not a JSON path; write for example metadata.user_id or messages[*].name"
                )
            names.append(item[:-1])
        if not name and not items:
            raise ValueError(
                f"{quoted(text)} is not a JSON path; write for example metadata.user_id or messages[*].name"
            )
    return tuple(names)


def encode(value: Json, rules: Rules | None = None, normalize: Callable[[str], str] | None = None) -> bytes:
    """Canonical bytes of `value`.

    Raises `NotCanonical` for lone surrogates, for nesting beyond some 250 levels and for more than `MAX_VALUES` values
    that are looked at one by one.
    """
    try:
        if normalize is None and isinstance(value, dict):
            value = _with_known_schemas(value, rules)
        walked = _Walk(normalize).value(value, rules, schema=False)
        return orjson.dumps(None if walked is DROP else walked, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError, UnicodeEncodeError) as error:
        raise NotCanonical(str(error)) from None


MAX_VALUES = 150_000
"""Most objects, lists and large or broken numbers that are looked at one by one, at up to two microseconds each. Texts
do not count, nor what a list of texts or of tokens holds."""

_KNOWN_SIZE = 256 << 10
"""Longest tools, in bytes, whose canonical form is remembered."""


def _with_known_schemas(body: dict[str, Json], rules: Rules | None) -> dict[str, Json]:
    """`body` with its tools and response formats in canonical form already.

    A client sends the same ones with each call, and they are most of the objects in it: they are told by their plain
    bytes, which costs a tenth of rewriting them.
    """
    known: dict[str, Json] = {}
    for name in SCHEMA_ROOTS & body.keys():
        if isinstance(body[name], dict | list) and (rules is None or rules.child(name) is None):
            try:
                plain = orjson.dumps(body[name])
            except TypeError:  # numbers that orjson cannot write: one by one, as everything else
                continue
            if len(plain) <= _KNOWN_SIZE:
                last = _last_forms.get(name)
                if last is None or last[0] != plain:
                    last = _last_forms[name] = plain, _schema_form(plain)
                known[name] = last[1]
    return body | known if known else body


_last_forms: dict[str, tuple[bytes, orjson.Fragment]] = {}
"""The last canonical form of each member of `SCHEMA_ROOTS`: to compare takes less than to hash."""


@lru_cache(maxsize=32)
def _schema_form(plain: bytes) -> orjson.Fragment:
    """The canonical form of a member of `SCHEMA_ROOTS` by its plain JSON."""
    walked = _Walk(None).value(orjson.loads(plain), None, schema=True)
    return orjson.Fragment(orjson.dumps(walked, option=orjson.OPT_SORT_KEYS))


_ITSELF = frozenset({str, bool, type(None), orjson.Fragment})
"""Types whose values are their own canonical form, as long as nothing is normalized."""

_LONG = 8
"""Items from which on a list of objects is worth a look as a whole."""


def _hold_texts(items: list[Json]) -> bool:
    """Whether a list is of objects with texts alone and names that are their own canonical form, as in a plain chat."""
    for item in items:
        if type(item) is not dict:
            return False
        for member in item.values():
            if type(member) is not str:
                return False
    return min(set().union(*items), default="$") >= "$"


class _Walk:
    """From a body to its canonical form. What is canonical already is passed on as it is."""

    __slots__ = ("left", "normalize")

    def __init__(self, normalize: Callable[[str], str] | None) -> None:
        self.normalize = normalize
        self.left = MAX_VALUES

    def value(self, value: Json, rules: Rules | None, schema: bool) -> Json:
        if rules is not None and rules.rewrite is not None:
            value = rules.rewrite(value)
        if isinstance(value, dict):
            if rules is None and self.normalize is None:
                return self.plain_members(value, schema)
            return self.members(value, rules, schema)
        if isinstance(value, list):
            return self.items(value, rules, schema)
        if isinstance(value, str):
            return self.normalize(value) if self.normalize else value
        return value if type(value) in _ITSELF or value is DROP else self.number(value)

    def members(self, value: dict[str, Json], rules: Rules | None, schema: bool) -> dict[str, Json]:
        self.take(len(value))
        result = {}
        for name, member in value.items():
            below = rules.child(name) if rules is not None else None
            walked = member
            if below is not None or self.normalize or type(member) is not str:
                walked = self.value(member, below, schema or name in SCHEMA_ROOTS)
            if walked is DROP:
                continue
            if schema and name == "properties" and isinstance(member, dict) and isinstance(walked, dict):
                walked = _ordered(walked)
            result[_escaped(name)] = walked
        return result

    def plain_members(self, value: dict[str, Json], schema: bool) -> dict[str, Json]:
        """`members` where no rule reaches: all of most bodies, so what is the same is not even copied."""
        changed: dict[str, Json] | None = None
        walked: Json
        for name, member in value.items():
            kind = type(member)
            if kind is str:
                walked = member
            elif kind is dict:
                self.take(1)
                walked = self.plain_members(member, schema or name in SCHEMA_ROOTS)
                if schema and name == "properties":
                    walked = _ordered(walked)
            elif kind is list:
                self.take(1)
                walked = self.plain_items(member, schema or name in SCHEMA_ROOTS)
            else:
                walked = member if kind in _ITSELF else self.number(member)
            # The comparison alone says no to nearly every name.
            if walked is not member or (name < "$" and name.startswith("#")):
                changed = changed or {}
                changed[name] = walked
        if changed is None:
            return value
        return {_escaped(name): changed.get(name, member) for name, member in value.items()}

    def items(self, value: list[Json], rules: Rules | None, schema: bool) -> list[Json]:
        if rules is not None:
            self.take(len(value))
            walked = (self.value(item, rules.child(str(i)), schema) for i, item in enumerate(value))
            return [item for item in walked if item is not DROP]
        if self.normalize is not None:
            self.take(len(value))
            return [self.value(item, None, schema) for item in value]
        return self.plain_items(value, schema)

    def plain_items(self, value: list[Json], schema: bool) -> list[Json]:
        if not value:
            return value
        if type(value[0]) is not dict:
            kinds = set(map(type, value))
            if kinds <= _ITSELF or (kinds == {int} and min(value) > -_SMALL and max(value) < _SMALL):
                return value  # texts, or tokens to embed, which come by the hundred thousand
        elif len(value) >= _LONG and _hold_texts(value):
            return value
        self.take(len(value))
        result = [
            self.plain_members(item, schema) if type(item) is dict else self.value(item, None, schema) for item in value
        ]
        return value if all(map(is_, result, value)) else result

    def number(self, value: int | float | Decimal) -> Json:
        if isinstance(value, int) and -_SMALL < value < _SMALL:
            return value
        self.take(1)
        return number(value)

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise NotCanonical("too many values")


def _escaped(name: str) -> str:
    return "#" + name if name.startswith("#") else name


def _ordered(members: dict[str, Json]) -> Json:
    return {"#p": list(members.items())}


_SMALL = 10**18


def number(value: int | float | Decimal) -> Json:
    """Integers below 10^18 as themselves, all other numbers by sign, digits and exponent, never expanded."""
    if isinstance(value, int) and -_SMALL < value < _SMALL:
        return value
    mantissa, _, power = (str(value) if isinstance(value, Decimal) else repr(value)).lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    if not whole.isdecimal():
        raise NotCanonical("not a number")
    text = (whole + fraction).lstrip("0")
    stripped = text.rstrip("0")
    exponent = int(power or 0) - len(fraction) + len(text) - len(stripped)
    minus = "-" if mantissa[0] == "-" else ""
    if not stripped:
        return {"#n": "-0"} if minus else 0
    if exponent >= 0 and len(stripped) + exponent <= 18:
        return int(minus + stripped + "0" * exponent)
    return {"#n": f"{minus}{stripped}e{exponent}"}

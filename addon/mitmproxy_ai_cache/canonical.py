"""A JSON value in the one form that the key is computed of.

Member order and the writing of numbers do not count; everything else does. Two exceptions, both measured to shape what
a provider answers: the order of members under `properties` of a schema, and the sign of zero.

The form is sorted JSON. What plain sorted JSON cannot say is put into objects whose only member begins with `#`
(members of the request that begin with `#` get a second one, so nothing a client sends can imitate them):
`{"#n": "15e-1"}` a number that is no small integer, `{"#p": [[name, value], ...]}` members whose order counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import orjson

from .json_body import Json, NotCanonical

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
                raise ValueError(f"{text!r} is not a JSON path; write for example metadata.user_id or messages[*].name")
            names.append(item[:-1])
        if not name and not items:
            raise ValueError(f"{text!r} is not a JSON path; write for example metadata.user_id or messages[*].name")
    return tuple(names)


def encode(value: Json, rules: Rules | None = None, normalise: Callable[[str], str] | None = None) -> bytes:
    """Canonical bytes of `value`.

    Raises `NotCanonical` for lone surrogates, for nesting beyond some 250 levels and for more than `MAX_VALUES` values.
    """
    try:
        walked = _Walk(normalise).value(value, rules, schema=False)
        return orjson.dumps(None if walked is DROP else walked, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONEncodeError, RecursionError, UnicodeEncodeError) as error:
        raise NotCanonical(str(error)) from None


MAX_VALUES = 150_000
"""Most values that are walked one by one, at some two microseconds each; lists of texts or of tokens count as one."""

_ITSELF = frozenset({str, bool, type(None)})
"""Types whose values are their own canonical form, as long as nothing is normalised."""


class _Walk:
    __slots__ = ("left", "normalise")

    def __init__(self, normalise: Callable[[str], str] | None) -> None:
        self.normalise = normalise
        self.left = MAX_VALUES

    def value(self, value: Json, rules: Rules | None, schema: bool) -> Json:
        self.left -= 1
        if self.left < 0:
            raise NotCanonical("too many values")
        if rules is not None and rules.rewrite is not None:
            value = rules.rewrite(value)
        if isinstance(value, str):
            return self.normalise(value) if self.normalise else value
        if isinstance(value, dict):
            return self.members(value, rules, schema)
        if isinstance(value, list):
            return self.items(value, rules, schema)
        if value is None or isinstance(value, bool) or value is DROP:
            return value
        return number(value)

    def members(self, value: Mapping[str, Json], rules: Rules | None, schema: bool) -> dict[str, Json]:
        result = {}
        for name, member in value.items():
            below = rules.child(name) if rules is not None else None
            if schema and name == "properties" and isinstance(member, dict):
                pairs = self.members(member, below, schema)
                result[name] = {"#p": [[key, entry] for key, entry in pairs.items()]}
                continue
            if below is not None or not isinstance(member, str) or self.normalise:
                member = self.value(member, below, schema or name in SCHEMA_ROOTS)
                if member is DROP:
                    continue
            result["#" + name if name.startswith("#") else name] = member
        return result

    def items(self, value: list[Json], rules: Rules | None, schema: bool) -> list[Json]:
        if rules is None:
            if self.normalise is None and _is_canonical(value):
                return value
            return [self.value(item, None, schema) for item in value]
        walked = (self.value(item, rules.child(str(i)), schema) for i, item in enumerate(value))
        return [item for item in walked if item is not DROP]


def _is_canonical(items: list[Json]) -> bool:
    """Whether a list counts as it is: texts, or small integers (tokens to embed come by the hundred thousand)."""
    types = set(map(type, items))
    return types <= _ITSELF or (types == {int} and min(items) > -_SMALL and max(items) < _SMALL)


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

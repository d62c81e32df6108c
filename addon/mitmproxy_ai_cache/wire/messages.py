"""The small values the pure core speaks: `Headers`, `Request`, `Response`.

They know nothing of mitmproxy. Header names compare without case (RFC 9110 section 5.1); text is the latin-1
reading of the bytes on the wire, so every byte survives a round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


class Headers:
    """An immutable list of header fields that is looked up by name without case."""

    __slots__ = ("_index", "fields")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self.fields: tuple[tuple[str, str], ...] = tuple(fields)
        index: dict[str, list[str]] = {}
        for name, value in self.fields:
            index.setdefault(name.lower(), []).append(value)
        self._index = index

    def get(self, name: str, default: str = "") -> str:
        """All values of `name` (lower case) joined as one list (RFC 9110 section 5.3), or `default`."""
        values = self._index.get(name)
        return ", ".join(values) if values else default

    def names(self) -> Iterable[str]:
        """The names present, in lower case, each once."""
        return self._index.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        return f"Headers({list(self.fields)!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it will reach the provider.

    `host` and `port` are where the connection goes; `headers["host"]` (or `authority`) and `sni` are what the client
    claims, and `policy` compares the three. `body` is None where it was streamed past us.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes | None = b""
    authority: str = ""
    sni: str = ""
    reverse: bool = False
    scope: str = ""
    """The namespace of the listener it came in on."""

    @property
    def url(self) -> str:
        """The URL without its query, which may hold a credential."""
        default = {"https": 443, "http": 80}.get(self.scheme)
        port = "" if self.port == default else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class Response:
    """A response that is complete in memory."""

    status: int
    headers: Headers
    body: bytes

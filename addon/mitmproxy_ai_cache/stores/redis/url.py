"""The URL of a shared store: which servers, how to reach them, and how it may be said.

redis://[USER:PASSWORD@]HOST[:6379][/DB]        rediss://...            with TLS
unix://[USER:PASSWORD@]/SOCKET[?db=DB]
redis+sentinel://[...@]HOST[:26379],.../SERVICE[/DB]    rediss+sentinel://...
redis+cluster://[...@]HOST[:6379],...                   rediss+cluster://...
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from ...wire.safe_text import quoted
from ...wire.spelling import meant

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

FORMS = (
    "redis://HOST:PORT, rediss://HOST:PORT (TLS), redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, "
    "redis+cluster://HOST:PORT,HOST:PORT or unix:///SOCKET"
)
"""What to write, in one line."""

_TLS_QUERY = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_AS = "redis://:PASSWORD@HOST:PORT"
_PORTS = {"sentinel": 26379}
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True, slots=True)
class Server:
    """What a URL says. Nothing in `shown` or `repr` is secret."""

    scheme: str
    addresses: tuple[tuple[str, int], ...] = ()
    socket: str = ""
    service: str = ""
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""
    check_hostname: bool = True

    @property
    def kind(self) -> str:
        """`sentinel`, `cluster`, `unix` or `redis`."""
        return self.scheme.partition("+")[2] or ("unix" if self.scheme == "unix" else "redis")

    @property
    def tls(self) -> bool:
        return self.scheme.startswith("rediss")

    @property
    def shown(self) -> str:
        """As it may be said: without user, password and parameters."""
        if self.kind == "unix":
            return f"unix://{self.socket}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses)
        path = (f"/{self.service}" if self.service else "") + (f"/{self.database}" if self.database else "")
        return f"{self.scheme}://{hosts}{path}"


def shown(url: str) -> str:
    """`url` as it may be said; of one that is wrong only what is no secret for sure. Never raises."""
    try:
        return parse(url, check_files=False).shown
    except ValueError:
        scheme = url.partition("://")[0]
        return f"{scheme}://..." if scheme in SCHEMES else "(not a URL)"


def parse(url: str, check_files: bool = True) -> Server:
    """The server of `url`. Raises ValueError with one line that says what to write.

    No message quotes what may be (a part of) a password, which is most of a URL that is written wrongly: `/`, `?` and
    `#` in a password move the borders. `check_files`: whether the files that are named must exist.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"this is no URL of a Redis or Valkey server; write {FORMS}")
    match = re.fullmatch(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", rest, re.DOTALL)
    assert match is not None
    authority, path, query = match[1], match[2], match[3] or ""
    if match[4] is not None or "@" in query or (scheme != "unix" and "@" in path):
        raise ValueError("a password with / ? or # in it is written with %2F, %3F and %23: redis://:p%23ss@HOST:PORT")
    spelt = unquote(path)
    if re.search(":.*@", spelt, re.DOTALL) if scheme == "unix" else "@" in spelt:
        raise ValueError(
            f"the password stands before the path: {'unix://:PASSWORD@/SOCKET' if scheme == 'unix' else _AS}"
        )
    credentials, _, hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    given: dict[str, object] = {"scheme": scheme, "user": unquote(user), "password": unquote(password)}
    kind = scheme.partition("+")[2]
    if scheme == "unix":
        if hosts or path in ("", "/"):
            raise ValueError("a socket's path begins with a third /: unix:///run/redis.sock")
        given["socket"] = unquote(path)
    else:
        given["addresses"] = _addresses(hosts, kind, scheme)
        given.update(_path(path, kind, scheme))
    given.update(_query(query, scheme, check_files))
    return Server(**given)  # type: ignore[arg-type]


def _addresses(hosts: str, kind: str, scheme: str) -> tuple[tuple[str, int], ...]:
    found = []
    for one in hosts.split(",") if hosts else [""]:
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:\s%@]*)(?::(.*))?", one)
        if match is None or (not match[1] and hosts):
            raise ValueError(f"the host is not right; write {scheme}://HOST:PORT, an IPv6 address as [::1]")
        port = match[2] if match[2] is not None else str(_PORTS.get(kind, 6379))
        if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            raise ValueError(f"the port is not right; write {scheme}://HOST:PORT with a port from 1 to 65535")
        found.append((match[1].strip("[]") or "localhost", int(port)))
    if len(found) > 1 and not kind:
        raise ValueError(
            f"one host, please; for several write {scheme}+sentinel://HOST,HOST/SERVICE or {scheme}+cluster://HOST,HOST"
        )
    return tuple(found)


def _path(path: str, kind: str, scheme: str) -> dict[str, object]:
    service, database = "", path.strip("/")
    if kind == "sentinel":
        service, _, database = database.partition("/")
        if not service:
            raise ValueError(f"the name of the service is missing; write {scheme}://HOST:PORT,HOST:PORT/SERVICE")
    if kind == "cluster" and database not in ("", "0"):
        raise ValueError(f"a cluster has no databases; write {scheme}://HOST:PORT,HOST:PORT")
    if database and not re.fullmatch(r"[0-9]{1,5}", database):
        raise ValueError("the database behind the last / is a number, for example 0")
    return {"service": unquote(service), "database": int(database or 0)}


def _query(query: str, scheme: str, check_files: bool) -> dict[str, object]:
    known: tuple[str, ...] = _TLS_QUERY if scheme.startswith("rediss") else ()
    known += ("db",) if scheme == "unix" else ()
    known += ("sentinel_password",) if scheme.endswith("+sentinel") else ()
    found: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ValueError(_unknown(name, known, scheme))
        if name == "db":
            if not re.fullmatch(r"[0-9]{1,5}", value):
                raise ValueError("db is a number, for example ?db=0")
            found["database"] = int(value)
        elif name == "sentinel_password":
            found[name] = value
        elif name == "ssl_check_hostname":
            if value.lower() not in _TRUE + _FALSE:
                raise ValueError("ssl_check_hostname is true or false")
            found["check_hostname"] = value.lower() in _TRUE
        else:
            if check_files and not Path(value).is_file():
                raise ValueError(f"{name}={quoted(value)}: there is no such file; write the path of a PEM file")
            found[name.removeprefix("ssl_")] = value
    if "keyfile" in found and "certfile" not in found:
        raise ValueError("ssl_keyfile needs ssl_certfile=FILE too")
    return found


def _unknown(name: str, known: tuple[str, ...], scheme: str) -> str:
    if name in _TLS_QUERY:
        return (
            f"{name} needs TLS; write {scheme.replace('redis', 'rediss', 1)}://..."
            if scheme != "unix"
            else (f"{name} needs TLS, which a socket has not; leave it out")
        )
    # A name that looks like none is not quoted: it may be the end of a password with a & in it.
    quoted = f" {name!r}" if re.fullmatch(r"[a-z_]{2,30}", name) else ""
    close = meant(name, known)
    mend = f"did you mean {close}?" if close else (f"there are {', '.join(known)}" if known else "there are none")
    return f"there is no parameter{quoted} for {scheme}://; {mend}"

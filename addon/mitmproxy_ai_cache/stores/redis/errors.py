"""What went wrong with a server: a word to count it by, and a sentence that names the mend.

redis-py wraps what it meets: TLS errors arrive as `ConnectionError` with OpenSSL's words, those of a cluster's nodes as
`__cause__`. Where there is no class the words are all there is; each was seen on a real server
(tests/e2e/test_redis_kinds.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError

from ...wire.safe_text import one_line, replaced
from .url import Server

_SORTED = "+zadd +zrem +zrange +zmscore +zrandmember +exists +ttl +expire +unlink"
RIGHTS = f"+get +set +del +scan +dbsize +eval +mget +getrange {_SORTED} ~ai-cache:*"
"""What an ACL user needs. Without those from +zadd on entries are kept, and listed slowly."""


def answered(error: BaseException) -> bool:
    """Whether the server is there and said no: a reason not to write, but none to think it gone."""
    return isinstance(error, exceptions.ResponseError)


def explain(error: BaseException, server: Server, known: bool = False) -> tuple[str, str]:
    """The kind of `error`, and one line for a user that begins with the URL. `known`: it has answered before."""
    texts = [_without_password(_text(one), server) for one in _chain(error)]
    if isinstance(error, MasterNotFoundError):
        return _no_master(str(error), server)
    for kind, words, sentence in _table(server):
        for text in texts:
            if any(word in text.lower() for word in words):
                quoted = one_line(text, 160)
                return kind, f"{server.shown} {sentence.replace('{}', quoted)}"
    kind = "timeout" if any(isinstance(one, TimeoutError | exceptions.TimeoutError) for one in _chain(error)) else ""
    if kind and server.tls:
        return kind, f"{server.shown} does not answer in time; if it has no TLS, write {_without_tls(server)}://"
    if kind:
        return kind, f"{server.shown} does not answer in time"
    if isinstance(error, exceptions.ResponseError):
        return "protocol", f"{server.shown} refuses ({one_line(texts[0], 160)})"
    if not known and any(word in text.lower() for text in texts for word in _CUT):
        # With TLS 1.3 a server refuses a client's certificate when that thinks itself connected.
        mend = "wants a certificate from you, add ?ssl_certfile=FILE&ssl_keyfile=FILE"
        mend = mend if server.tls else f"speaks TLS, write {_with_tls(server)}://"
        return "connection", f"{server.shown} ends every connection at once; if it {mend}"
    return "connection", f"{server.shown} does not answer ({one_line(texts[0], 160)})"


_CUT = ("connection closed by server", "broken pipe", "connection reset", "connection lost")


def _no_master(text: str, server: Server) -> tuple[str, str]:
    """redis-py puts what each sentinel met into one text, with the `repr` of its clients."""
    met = re.findall(r"\)> - (.+?)(?=, <redis|$)", text, re.DOTALL)
    lower = " ".join(met).lower()
    if any(word in lower for word in ("authentication", "noauth", "wrongpass", "invalid username-password")):
        return "password", f"{server.shown}: its sentinels refuse the password; give theirs by ?sentinel_password="
    if "certificate" in lower:
        return (
            "certificate",
            f"{server.shown}: its sentinels have a certificate that is not trusted; name the authority "
            "with ?ssl_ca_certs=FILE",
        )
    if len(met) >= len(server.addresses):
        return "connection", f"{server.shown} does not answer: none of its sentinels does"
    return "connection", (
        f"{server.shown}: its sentinels know no healthy service of the name {server.service!r}; "
        "SENTINEL MASTERS lists what they know"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what caused it, the cause that says most last."""
    for _ in range(6):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _text(error: BaseException) -> str:
    """The first line, or the name of the class."""
    if isinstance(error, exceptions.AskError):  # also MovedError: redis-py cuts the word off
        return f"MOVED {error}"
    said = str(error).strip().splitlines()
    return said[0] if said else type(error).__name__


def _without_password(text: str, server: Server) -> str:
    """A server that knows no AUTH or HELLO quotes what stood behind it: the user and the password."""
    text = re.sub(r"(args beginning with:).*", r"\1 ...", text, flags=re.DOTALL)
    for secret in (server.password, server.sentinel_password):
        text = replaced(text, secret, "...") if len(secret) > 3 else text
    return text


def _with_tls(server: Server) -> str:
    return server.scheme.replace("redis", "rediss", 1)


def _without_tls(server: Server) -> str:
    return server.scheme.replace("rediss", "redis", 1)


def _table(server: Server) -> list[tuple[str, tuple[str, ...], str]]:
    """Kind, words in the error (lower case), sentence. The first that fits counts."""
    rights = RIGHTS + (" +cluster +command" if server.kind == "cluster" else "")
    example = f"{server.scheme}://USER:PASSWORD@/SOCKET" if server.kind == "unix" else "redis://:PASSWORD@HOST:PORT"
    return [
        ("password", ("without any password configured",), "has no password; leave the one in the URL out"),
        (
            "password",
            ("noauth", "wrongpass", "invalid password", "invalid username-password", "authentication required"),
            f"refuses the password ({{}}); write it into the URL: {example}, or USER:PASSWORD for a user of an ACL",
        ),
        (
            "rights",
            ("noperm", "has no permissions", "no permissions to"),
            f"does not let this user work ({{}}); an administrator gives the rights: ACL SETUSER USER {rights}",
        ),
        (
            "certificate",
            ("certificate required", "handshake failure", "bad certificate", "unknown ca"),
            "wants a certificate from you, one that it trusts; name it with ?ssl_certfile=FILE&ssl_keyfile=FILE",
        ),
        (
            "certificate",
            ("hostname mismatch", "ip address mismatch"),
            "has a certificate for another name ({}); write the name that it is for, or add ?ssl_check_hostname=false",
        ),
        ("certificate", ("certificate has expired",), "has a certificate that has expired; renew it there"),
        (
            "certificate",
            ("certificate_verify_failed", "certificate verify failed"),
            "has a certificate of an authority that is not known here; name that with ?ssl_ca_certs=FILE",
        ),
        (
            "certificate",
            ("wrong_version_number", "wrong version number", "record layer failure", "unexpected_eof", "ssl handshake"),
            f"speaks no TLS; write {_without_tls(server)}://",
        ),
        ("protocol", ("cluster mode is not enabled", "cluster support disabled"), "is no cluster; write redis://"),
        ("protocol", ("moved ",), "is a node of a cluster; write redis+cluster://"),
        ("protocol", ("unknown command 'get'", "unknown command `get`"), "is a sentinel; write redis+sentinel://"),
        ("protocol", ("unknown command 'sentinel'", "unknown command `sentinel`"), "is no sentinel; write redis://"),
        ("connection", ("no targets were found", "is not covered"), "has slots that no node serves"),
        ("protocol", ("\\x15", "\x15\x03"), f"speaks TLS; write {_with_tls(server)}://"),
        (
            "out-of-memory",
            ("oom command not allowed", "command not allowed when used memory"),
            "is full; set maxmemory-policy allkeys-lru there, or give it more memory",
        ),
        ("read-only", ("readonly", "read only replica"), "is a replica and takes no writes; name the primary"),
        ("disk", ("misconf",), "takes no writes: it cannot save to its disk; see its log"),
        ("loading", ("loading",), "is still loading its data"),
        (
            "connection",
            ("connection refused", "connect call failed"),
            "does not answer (connection refused: nothing listens there)",
        ),
        (
            "connection",
            ("name or service not known", "nodename nor servname", "temporary failure in name resolution"),
            "does not answer: there is no host of that name",
        ),
        ("protocol", ("protocol error", "invalid response"), "does not speak the Redis protocol ({})"),
    ]

"""Calls to the proxy itself: what tests tell it and ask it while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from ..calls.scopes import Scope, Scopes
from ..counts.counted import CountedCache
from ..wire.messages import Headers, Response
from ..wire.our_headers import CONTROL

PREFIX = "/ai-cache/"
"""Paths of the proxy's own address that are calls to it."""

_LONGEST = 4096
"""Characters of a namespace."""
_LARGEST = 64 * 1024
"""Bytes of a call."""
_WAIT_AT_END = 2.0
_WAIT_FOR_COUNTS = 0.25
"""Seconds to wait for calls that are not over."""


class WrongCall(ValueError):
    """A call to the proxy that is not answered. One line that says what to write instead."""

    def __init__(self, line: str, status: int = 400) -> None:
        super().__init__(line)
        self.status = status


@dataclass(frozen=True, slots=True)
class ControlCall:
    """A request to the proxy itself. `port`: the listener it came in on."""

    method: str
    path: str
    headers: Headers
    body: bytes | None
    port: int
    host: str = "127.0.0.1"
    """The address of ours that it came in at."""


class Listeners(Protocol):
    """More ways in, while the proxy runs. Both raise `WrongCall`."""

    async def open(self, port: int, host: str) -> str:
        """The URL of a new listener at `host`, of the kind of that on `port`."""

    async def close(self, url: str) -> None: ...


@dataclass(slots=True)
class Control:
    """Answers calls to the proxy. `over(scope, seconds)` waits until no call of `scope` is under way."""

    scopes: Scopes
    listeners: Listeners
    over: Callable[[Scope, float], Awaitable[None]]

    async def answer(self, call: ControlCall, cache: CountedCache | None) -> Response:
        try:
            return _json(200, await self._answer(call, cache))
        except WrongCall as error:
            return _json(error.status, {"error": str(error)})

    async def _answer(self, call: ControlCall, cache: CountedCache | None) -> dict[str, object]:
        if call.headers.get(CONTROL) != "1":
            raise WrongCall("a call to the proxy needs the header X-AI-Cache: 1")
        if cache is None:
            raise WrongCall("the proxy is starting or ending", 503)
        path = call.path.partition("?")[0]
        match call.method, path:
            case "GET", "/ai-cache/status":
                state = {"mode": cache.settings.mode, "store": cache.store.url, "namespace": cache.settings.namespace}
                return {**state, **await asyncio.to_thread(cache.stats.as_json)}  # which may have to read the prices
            case "GET", "/ai-cache/scope":
                return {"mode": cache.settings.mode, "scope": await self._counts(call.port, _WAIT_FOR_COUNTS)}
            case "POST", "/ai-cache/scope":
                return await self._change_scope(call, cache)
            case "POST", "/ai-cache/listeners":
                given = _members(call.body, {"close": str})
                if "close" in given:
                    await self.listeners.close(given["close"])
                    return {"closed": given["close"]}
                return {"url": await self.listeners.open(call.port, call.host)}
        raise WrongCall(
            "there is GET /ai-cache/status, GET and POST /ai-cache/scope, and POST /ai-cache/listeners", 404
        )

    async def _counts(self, port: int, seconds: float) -> dict[str, object] | None:
        scope = self.scopes.at(port)
        if scope is None:
            return None
        await self.over(scope, seconds)
        return scope.as_json()

    async def _change_scope(self, call: ControlCall, cache: CountedCache) -> dict[str, object]:
        """The scope before ends. If it passed its recordings get their names, and what it did not ask for goes; else
        they wait for the end of the proxy: what it did not come to must not be lost."""
        given = _members(call.body, {"namespace": str, "passed": bool})
        namespace = _namespace(given)
        ended = self.scopes.at(call.port)
        self.scopes.begin(call.port, namespace)
        if namespace:
            cache.sequences.begin(namespace)
        if ended is not None:
            await self.over(ended, _WAIT_AT_END)
            if given.get("passed"):
                await cache.storing.settle(ended.namespace)
        return {
            "mode": cache.settings.mode,
            "namespace": namespace,
            "ended": ended.as_json() if ended is not None else None,
        }


def _namespace(given: dict[str, Any]) -> str:
    namespace: str | None = given.get("namespace")
    if namespace is None:
        raise WrongCall('namespace is missing; write {"namespace": "tests/test_a.py::test_x"}, or "" for none')
    if len(namespace) > _LONGEST:
        raise WrongCall(f"namespace has {len(namespace)} characters; write at most {_LONGEST}")
    if not namespace.isprintable() or namespace != namespace.strip():
        raise WrongCall("namespace has white space at an end, or characters that cannot be printed; leave them out")
    return namespace


def _members(body: bytes | None, known: dict[str, type]) -> dict[str, Any]:
    """The members of a call. Raises `WrongCall` for what is no object, and for members it does not know."""
    if body is None or len(body) > _LARGEST:
        raise WrongCall(f"the call is too long; write at most {_LARGEST} bytes")
    try:
        given = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise WrongCall("the call is no JSON object; write one, for example {}")
    for name, value in given.items():
        if name not in known:
            raise WrongCall(f"there is no member {ascii(name)[:60]}; there is {', '.join(known)}")
        if type(value) is not known[name]:
            raise WrongCall(f"{name} must be {'true or false' if known[name] is bool else 'a string'}")
    return given


def _json(status: int, content: dict[str, object]) -> Response:
    fields = [("content-type", "application/json"), ("cache-control", "no-store")]
    return Response(status, Headers(fields), orjson.dumps(content))

"""The key of a request, in this process: no proxy, no load."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from statistics import median

import orjson

from mitmproxy_ai_cache import protocols
from mitmproxy_ai_cache.identity.key import KeyRules, fingerprint
from mitmproxy_ai_cache.identity.profiles import PROFILES
from mitmproxy_ai_cache.wire import body
from mitmproxy_ai_cache.wire.messages import Headers, Request

from .figures import Figure, Goal, ratios
from .material import HOST, KB, MB, PATH, chat
from .scenario import Bench, scenario


@scenario("keys", quick=True)
def keys(bench: Bench) -> Iterator[Figure]:
    """The key of a chat of 100 kB and 1 MB against sha256(orjson.dumps(orjson.loads(b), OPT_SORT_KEYS))."""
    for name, size in {"100 kB": 100 * KB, "1 MB": MB}.items():
        for form, spaced, goal in (("compact", False, 1.5), ("spaced", True, 3.0)):
            data = chat(size, spaced=spaced)
            repeat = max(5, 20_000_000 // len(data))
            rounds = [_times(data, repeat) for _ in range(bench.rounds)]
            found = {"key": [ours for ours, _ in rounds], "floor": [theirs for _, theirs in rounds]}
            note = f"{median(found['key']) * 1e3:.3g} ms to {median(found['floor']) * 1e3:.3g} ms"
            yield Figure(
                f"key of {name}, {form} JSON, to sorted orjson and SHA-256",
                ratios(found["key"], found["floor"], float),
                Goal(goal, at_most=True),
                note=note,
                rounds=found,
            )


_REGISTRY = protocols.standard()
_RULES = KeyRules(profiles=PROFILES)


def _key(data: bytes) -> str:
    request = Request("POST", "https", HOST, 443, PATH, headers=Headers([("host", HOST)]), body=data)
    call = _REGISTRY.recognise(request, body.read(request, 10 * MB))
    assert call is not None
    return fingerprint(call, request, (b"none", b""), _RULES)


def _floor(data: bytes) -> str:
    return hashlib.sha256(orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _times(data: bytes, repeat: int) -> tuple[float, float]:
    """Median seconds of one call of `_key` and of `_floor`, call by call in turns: the clock of a machine may change
    several times in a second."""
    taken: dict[Callable[[bytes], str], list[float]] = {_key: [], _floor: []}
    for _ in range(repeat):
        for what, times in taken.items():
            began = time.perf_counter()
            what(data)
            times.append(time.perf_counter() - began)
    return median(taken[_key]), median(taken[_floor])

"""Prompts of 3 MB pass, and another client hardly notices. Prints how long each held the event loop.

Run it by itself to read the table: scripts/test -q -n 0 -s tests/e2e/test_loop.py
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import pytest

from harness import ROOT, Client, FakeProviders, Process, mitmdump
from mitmproxy_ai_cache.cli.demo.provider import Reply
from mitmproxy_ai_cache.wire.messages import Request

pytestmark = pytest.mark.slow

MB = 1 << 20
PROBE = ROOT / "tests" / "support" / "loop_probe.py"
CHAT = "https://api.openai.com/v1/chat/completions"
ABOVE = 0.050
"""Seconds that another client's p99 may lie above what it is without long prompts."""
ROUNDS, TRIES = 3, 3
FIELDS = {"Content-Type": "application/json", "Authorization": "Bearer sk-proj-" + "aB3dE5fG7hJ9" * 4}


def chat(content: object, **more: object) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": content}], **more}).encode()


@cache
def log_lines(size: int) -> str:
    chance = random.Random(size)
    lines, length = [], 0
    while length < size:
        said, trace = f'user {chance.getrandbits(64):x} said "hi"', f"{chance.getrandbits(128):032x}"
        line = json.dumps({"ts": chance.random(), "level": "info", "msg": said, "trace": trace, "path": "/v1/\u00e9/x"})
        lines.append(line)
        length += len(line)
    return "\n".join(lines)


def words(size: int) -> str:
    chance = random.Random(size)
    return " ".join(f"word{chance.getrandbits(16)}" for _ in range(size // 9))


def nested(size: int) -> bytes:
    deep = '{"a":[' * 80 + '"x"' + "]}" * 80
    return chat("deep", metadata=json.loads("[" + ",".join([deep] * (size // len(deep))) + "]"))


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
    name: {"type": "string", "description": "what it is"} for name in "abcdefgh"}}}}  # fmt: skip
SHAPES: dict[str, Callable[[int], bytes]] = {
    "one string": lambda n: chat(f"{n} " + words(3 * MB)),
    "many messages": lambda n: json.dumps({"model": "gpt-4o", "messages": [
        {"role": "user", "content": f"{n} " + words(200)} for _ in range(3 * MB // 240)]}).encode(),
    "JSON log lines": lambda n: chat(f"{n} " + log_lines(int(2.5 * MB))),
    "tools": lambda n: chat(f"{n}", tools=[TOOL] * (3 * MB // len(json.dumps(TOOL)))),
    "base64 image": lambda n: chat([{"type": "image_url", "image_url": {
        "url": "data:image/png;base64," + base64.b64encode(random.Random(n).randbytes(2 * MB)).decode()}}]),
    "nested": lambda n: nested(3 * MB).replace(b"deep", b"deep%d" % n),
    "no JSON": lambda n: b"{" + bytes([65 + n % 26]) * (3 * MB),
}  # fmt: skip


def answer(request: Request) -> Reply:
    body = request.body or b""
    said = "ok"
    if b"long answer" in body[:200]:
        said = log_lines(2 * MB)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
    return Reply([json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode()])


class Stalls:
    def __init__(self, path: Path) -> None:
        self._path = path

    def longest(self, since: float) -> float:
        times = [line.split() for line in self._path.read_text().splitlines()] if self._path.exists() else []
        return max((float(held) for when, held in times if float(when) > since), default=0.0)


class Other:
    """Another client, which asks for the same small answer again and again."""

    BODY = chat("small")

    def __init__(self, proxy: Process) -> None:
        self._client = Client(proxy.port, proxy.ca)
        self.times: list[float] = []
        self._client.request(CHAT, self.BODY, FIELDS)
        self._wait_for_hit()

    def _wait_for_hit(self) -> None:
        ends = time.monotonic() + 1
        while self._client.request(CHAT, self.BODY, FIELDS).cache != "HIT" and time.monotonic() < ends:
            time.sleep(0.01)

    @contextmanager
    def asking(self) -> Iterator[list[float]]:
        """The seconds of each of its calls while the block runs."""
        times: list[float] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                began = time.monotonic()
                self._client.request(CHAT, self.BODY, FIELDS)
                times.append(time.monotonic() - began)
                over.wait(0.002)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield times
        finally:
            over.set()
            thread.join()


def p99(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]


def started(providers: FakeProviders, home: Path, *options: str) -> tuple[Process, Stalls]:
    proxy = mitmdump(providers, home, *options, after=(PROBE,))
    stalls = home / "stalls"
    proxy.environ["AI_CACHE_TEST_STALLS"] = str(stalls)
    return proxy.start(), Stalls(stalls)


def send(proxy: Process, body: bytes) -> tuple[float, str]:
    client = Client(proxy.port, proxy.ca)
    began = time.monotonic()
    got = client.request(CHAT, body, FIELDS)
    client.close()
    return time.monotonic() - began, got.cache


def measured(proxy: Process, stalls: Stalls, ready: Callable[[int], Callable[[], tuple[float, str]]]) -> str:
    """A row of the table, and the check: the other client with and without long prompts, in turns.

    Others use this machine, too, so three tries; a loop that is held is held each time.
    """
    other, number, row = Other(proxy), 0, ""
    for _ in range(TRIES):
        quiet: list[float] = []
        busy: list[float] = []
        took, held, statuses = [], [], set()
        for _ in range(ROUNDS):
            with other.asking() as times:
                time.sleep(0.7)
            quiet += times
            send_it = ready(number)  # made before: it takes this process a while, in which it cannot ask
            since = time.monotonic()
            with other.asking() as times:
                seconds, status = send_it()
                while len(times) < 60:
                    time.sleep(0.01)
            busy += times
            took.append(seconds)
            statuses.add(status)
            held.append(stalls.longest(since))
            number += 1
        row = (
            f"loop held {max(held) * 1000:6.0f} ms; other's p99 {p99(quiet) * 1000:5.1f} -> {p99(busy) * 1000:6.1f} ms "
            f"of {len(busy)}; the prompt {max(took):5.2f} s, {' '.join(sorted(statuses))}"
        )
        if p99(busy) <= p99(quiet) + ABOVE:
            return row
    raise AssertionError(row)


OPTIONS: dict[str, tuple[str, ...]] = {
    "cache": (),
    "hit": (),
    "record": ("ai_cache_store=cassettes:{home}/cassettes", "ai_cache_mode=record"),
    "replay": ("ai_cache_store=cassettes:{home}/cassettes", "ai_cache_mode=replay", "ai_cache_isolate=none"),
    "isolated": ("ai_cache_isolate=credential",),
    "off": ("ai_cache_mode=off",),
}
"""What becomes of the long prompt. `replay` misses and is explained; `off` is what mitmproxy itself does."""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", OPTIONS)
def test_a_long_prompt_does_not_keep_another_client_waiting(
    mode: str, shape: str, providers: FakeProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    providers.answer = answer
    options = [option.format(home=tmp_path) for option in OPTIONS[mode]]
    if mode == "replay":
        _record(providers, tmp_path, SHAPES[shape](1000))
    proxy, stalls = started(providers, tmp_path, *options)
    try:
        if mode == "hit":
            send(proxy, SHAPES[shape](0))
        row = measured(
            proxy, stalls, lambda number: partial(send, proxy, SHAPES[shape](0 if mode == "hit" else number))
        )
    finally:
        proxy.stop()
    with capsys.disabled():
        print(f"\n{mode:9} {shape:15} {row}", end="")


def _record(providers: FakeProviders, home: Path, long: bytes) -> None:
    """The small call and a long one that those of a replay differ from."""
    proxy, _ = started(providers, home, *(option.format(home=home) for option in OPTIONS["record"]))
    try:
        for body in (Other.BODY, long):
            send(proxy, body)
    finally:
        proxy.stop()


def test_long_answers_and_long_prompts_of_two_clients_at_once_do_not_either(
    providers: FakeProviders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    providers.answer = answer
    proxy, stalls = started(providers, tmp_path)

    def both(number: int) -> Callable[[], tuple[float, str]]:
        return partial(at_once, number, SHAPES["JSON log lines"](number))

    def at_once(number: int, body: bytes) -> tuple[float, str]:
        beside = threading.Thread(target=send, args=(proxy, chat(f"{number} long answer")))
        beside.start()
        sent = send(proxy, body)
        beside.join()
        return sent

    try:
        row = measured(proxy, stalls, both)
    finally:
        proxy.stop()
    with capsys.disabled():
        print(f"\n{'both':9} {'log lines':15} {row}", end="")

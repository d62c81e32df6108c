"""`ai-cache show`, as a user and as a program meets it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hypothesis_profile import examples
from mitmproxy_ai_cache import cli, conversation
from mitmproxy_ai_cache.conversation import Conversation, Message, Other, Text, Thinking, ToolCall, ToolResult
from mitmproxy_ai_cache.conversation.text import answer_lines, conversation_lines
from mitmproxy_ai_cache.entries.entry import Entry
from mitmproxy_ai_cache.stores import for_url

ASKED = {
    "model": "gpt\x1b]0;pwned\x07",
    "temperature": 0,
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "First line\n\x1b[2J\x1b[31mred\nkey        ffff\n\u202etxt"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "Finds\nthings", "parameters": {}}}],
}
ANSWERED = {
    "choices": [
        {"message": {"role": "assistant", "content": "Hello\n\x1b[5mthere"}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3},
}
NOW = time.time()


def entry(key: str, **more: Any) -> Entry:
    fields: dict[str, Any] = {
        "created": NOW - 3 * 86400,
        "ttl": 7 * 86400.0,
        "status": 200,
        "headers": (("content-type", "application/json"),),
        "format": "json",
        "body": json.dumps(ANSWERED).encode(),
        "request": json.dumps(ASKED).encode(),
        "request_headers": (("content-type", "application/json"), ("openai-organization", "org-1")),
        "protocol": "openai-chat",
        "model": "gpt\x1b]0;pwned\x07",
        "url": "https://api.openai.com/v1/chat/completions",
        "namespace": "team-a",
        "run": "0123456789ab",
        "input_tokens": 12,
        "output_tokens": 3,
        "first_byte": 0.3,
        "total": 2.5,
        **more,
    }
    return Entry(key=key, **fields)


ONE = entry("abcd" * 16)
BINARY = entry("1234" * 16, body=b"\xff\x00", format="raw", headers=(("content-type", "audio/mpeg"),))
TWINS = [entry("ee00" * 16), entry("ee00" * 16 + "-2")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = for_url(f"sqlite:///{tmp_path_factory.mktemp('show')}/s.sqlite3", 1 << 30)

    async def fill() -> None:
        await store.open()
        for each in (ONE, BINARY, *TWINS):
            store.put(each)
        await store.flushed()
        await store.close()

    asyncio.run(fill())
    return store.url


class Shown:
    def __init__(self, url: str, capfd: pytest.CaptureFixture[str]) -> None:
        self.url, self.capfd = url, capfd

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.main(["show", "--store", self.url, *arguments])
        out, err = self.capfd.readouterr()
        return code, out, err


@pytest.fixture
def show(url: str, capfd: pytest.CaptureFixture[str]) -> Shown:
    return Shown(url, capfd)


def test_a_person_reads_where_it_is_from_and_what_was_said(show: Shown) -> None:
    code, out, err = show("abcdabcdabcd")
    assert (code, err) == (0, "")
    head, *said = out.split("\n\n")
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ONE.created))
    assert head.splitlines() == [
        f"key        {'abcd' * 16}",
        f"kept       {date}, 3 d ago, fresh for 4 d",
        "run        0123456789ab",
        "namespace  team-a",
        "asked      POST https://api.openai.com/v1/chat/completions",
        "header     content-type: application/json",
        "header     openai-organization: org-1",
        "protocol   openai-chat gpt\\x1b]0;pwned\\x07",
        f"answer     200, json, {len(ONE.body)} bytes, finished: stop",
        "tokens     12 in, 3 out",
        "took       300 ms to the first byte, 2 s in all",
    ]
    assert said == [
        "settings\n  model: gpt ]0;pwned\n  temperature: 0",
        "tools (1)\n  f: Finds things",
        "system\n  Be kind.",
        "user\n  First line\n  \\x1b[2J\\x1b[31mred\n  key        ffff\n  \\u202etxt",
        "answer\n  Hello\n  \\x1b[5mthere\n",
    ]


@pytest.mark.parametrize("how", [(), ("--answer",), ("--json",), ("--curl",)])
def test_nothing_that_is_shown_acts_on_a_terminal(show: Shown, how: tuple[str, ...]) -> None:
    _, out, _ = show("abcd", *how)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)


def test_a_program_gets_everything(show: Shown) -> None:
    code, out, _ = show("abcd", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["key"] == "abcd" * 16
    assert told["request"] == {
        "headers": [["content-type", "application/json"], ["openai-organization", "org-1"]],
        "size": len(ONE.request),
        "text": ONE.request.decode(),
    }
    assert told["answer"]["text"] == ONE.body.decode()
    assert told["age"] == pytest.approx(3 * 86400, abs=600)
    assert told["ttl_left"] == pytest.approx(4 * 86400, abs=600)
    assert told["conversation"]["answer"] == [
        {"role": "assistant", "parts": [{"type": "text", "text": "Hello\n\x1b[5mthere"}]}
    ]
    assert told["conversation"]["usage"] == {"prompt_tokens": 12, "completion_tokens": 3}
    binary = json.loads(show("1234", "--json")[1])
    assert base64.b64decode(binary["answer"]["base64"]) == b"\xff\x00"
    assert binary["conversation"]["answer"][0]["parts"][0]["type"] == "audio"


@pytest.mark.thorough
def test_bytes_are_bytes(url: str) -> None:
    assert _process(url, "1234", "--raw").communicate(timeout=60) == (b"\xff\x00", b"")


def test_the_request_is_its_bytes(show: Shown) -> None:
    assert show("1234", "--request") == (0, BINARY.request.decode(), "")


def test_the_answer_alone_is_for_pipes(show: Shown) -> None:
    assert show("abcd", "--answer") == (0, "Hello\n\\x1b[5mthere\n", "")


def test_a_key_nobody_has_is_one_line_and_exit_code_1(show: Shown, url: str) -> None:
    assert show("9999") == (1, "", f"ai-cache: no entry of {url} has a key that begins with 9999\n")


def test_a_beginning_of_several_keys_lists_them(show: Shown) -> None:
    code, out, err = show("ee00")
    assert (code, out) == (1, "")
    first, *candidates = err.splitlines()
    assert first == "ai-cache: several keys begin with ee00; write more of the one you mean:"
    assert sorted(line.split()[0] for line in candidates) == [each.key for each in TWINS]
    assert "\x1b" not in err
    assert show("ee00" * 16)[0] == 0  # the whole key is that one, though others go on from it
    assert show("ee00" * 16 + "-2")[0] == 0


@pytest.mark.parametrize("key", ["xyz", "abc", "../x", "ABC"])
def test_what_is_no_key_is_said(show: Shown, key: str) -> None:
    code, _, err = show(key)
    assert (code, err) == (2, "ai-cache: a KEY is 4 to 64 hex digits, as X-AI-Cache-Key shows them\n")


def _process(url: str, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
    code = "import sys; from mitmproxy_ai_cache.cli import main; sys.exit(main())"
    addon = str(Path(conversation.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", code, "show", "--store", url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": addon, **environ},
    )


@pytest.mark.thorough
def test_a_reader_that_leaves_ends_it_silently(url: str) -> None:
    process = _process(url, "abcd")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) == 0


@pytest.mark.thorough
def test_a_terminal_of_few_letters_gets_escapes(url: str, tmp_path: Path) -> None:
    out, err = _process(url, "abcd", PYTHONIOENCODING="ascii").communicate(timeout=60)
    assert (err, b"\\u202etxt" in out) == (b"", True)


@pytest.mark.parametrize(("no_color", "bold"), [("", True), ("1", False)])
@pytest.mark.thorough
def test_headings_stand_out_on_a_terminal_unless_that_is_not_wanted(url: str, no_color: str, bold: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mitmproxy_ai_cache.cli", "show", "--store", url, "abcd"],
        stdout=theirs,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(conversation.__file__).parents[2]),
            "NO_COLOR": no_color,
            "TERM": "xterm",
        },
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    assert process.wait(60) == 0
    assert (b"\x1b[1muser\x1b[0m" in seen) is bold
    assert b"\x1b" not in seen.replace(b"\x1b[1m", b"").replace(b"\x1b[0m", b"")


NASTY = st.sampled_from(["\n", "\r\n", "\x1b[2J", "\u2028", "\u202e", "\x9b", "\t", " ", "user", "é", "\x00"])
TEXTS = st.lists(NASTY, max_size=6).map("".join)
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Thinking, TEXTS),
    st.builds(ToolCall, TEXTS, TEXTS, TEXTS),
    st.builds(Other, TEXTS, TEXTS),
    st.builds(ToolResult, TEXTS, st.tuples(st.builds(Text, TEXTS))),
)
MESSAGES = st.tuples(st.builds(Message, TEXTS, st.lists(PARTS, max_size=3).map(tuple)))


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MESSAGES, MESSAGES)
def test_any_conversation_is_printable_and_only_headings_are_not_indented(
    asked: tuple[Message, ...], answer: tuple[Message, ...]
) -> None:
    told = Conversation(messages=asked, answer=answer)
    for line, is_heading in conversation_lines(told):
        assert line.isprintable()
        assert is_heading or not line or line.startswith("  ")
    assert all(line.isprintable() for line in answer_lines(told))

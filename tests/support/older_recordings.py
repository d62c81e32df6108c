"""What was recorded in `older/` by version 0.1.0, whose rules found fewer secrets.

`python tests/support/older_recordings.py DIR` recorded it, in a checkout of that version.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from mitmproxy_ai_cache.wire.messages import Headers, Request
from recording import JSON, SSE, answer_of, call, chat, chat_of, opened, settings_for
from secret_forms import FORMS
from secret_places import BODIES

RECORDED = (
    "env token", "env secret", "env key", "env password", "env pass", "env export", "env cohere", "dockerfile",
    "env before a command", "curl user", "json password", "json api key", "json token", "json docker auth", "toml",
    "yaml password", "yaml kubeconfig token", "terraform variable", "xml", "python", "php", "postgres url", "ado",
    "netrc", "pgpass", "npmrc", "bearer", "cookie", "said password", "openai ephemeral", "openai session", "pem rsa",
    "aws key id",
)  # fmt: skip
"""Forms that the older rules found, and forms that they did not."""

Call = tuple[str, Request, bytes, Headers]
"""A name, what was asked, what was answered, and with which headers."""


def calls() -> Iterator[Call]:
    forms = {form.name: form for form in FORMS}
    for number, name in enumerate(RECORDED):
        text = forms[name].planted
        place = ("request", "arguments", "base64")[number % 3]
        body = json.loads(BODIES[place](text))
        messages = body.get("messages") or body["input"]
        request = {"model": "gpt-4o", "messages": messages, "stream": number % 2 == 0}
        streamed = request["stream"]
        answer = BODIES["stream"](text) if streamed else answer_of(f"Here:\n{text}\nDone")
        yield name, chat_of(json.dumps(request).encode()), answer, SSE if streamed else JSON
    every = "\n\n".join(forms[name].planted for name in RECORDED if not name.startswith("pem"))
    yield "a long system prompt", chat("Go on", system="Be brief. " * 400 + every), answer_of("Yes"), JSON
    for turn in ("first", "second"):
        yield f"the same twice, {turn}", chat(forms["env password"].planted), answer_of(turn), JSON
    query = "note=" + forms["openai ephemeral"].secret
    yield "a query", chat("Hello", query=query), answer_of("Hello"), JSON


async def _record(folder: Path) -> None:
    cache = await opened(settings_for(folder, "record"))
    for _, request, answer, headers in calls():
        await call(cache, request, answer, headers)
    await cache.close()


if __name__ == "__main__":
    asyncio.run(_record(Path(sys.argv[1])))

"""Writes the tables that are made from the code into the pages of docs/: `scripts/docs --write`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

from mitmproxy_ai_cache.calls.reasons import Reason, Status
from mitmproxy_ai_cache.cli.options import markdown as options
from mitmproxy_ai_cache.wire import our_headers

DOCS = Path(__file__).resolve().parent

_DOCUMENTED = re.compile(r'^([A-Z_]+) = "([a-z-]+)"\n"""(.*?)"""$', re.MULTILINE | re.DOTALL)
_PLACE = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def statuses() -> str:
    rows = [f"| `{status.value}` | {status.sentence} |" for status in Status if status.value]
    return "\n".join(["| status | meaning |", "|---|---|", *rows])


def reasons() -> str:
    rows = [f"| `{reason.value}` | {reason.sentence} |" for reason in Reason]
    return "\n".join(["| reason | meaning |", "|---|---|", *rows])


def headers() -> str:
    """Each name of `wire/our_headers.py` with the sentence that stands below it there."""
    on = {"TTL": "request", "NAMESPACE": "request", "CONTROL": "call to the proxy", "HOP": "between proxies"}
    rows = [
        f"| `{value}` | {on.get(name, 'answer')} | {_plain(text)} |"
        for name, value, text in _DOCUMENTED.findall(inspect.getsource(our_headers))
    ]
    return "\n".join(["| header | on | meaning |", "|---|---|---|", *rows])


def _plain(text: str) -> str:
    text = text.replace("`calls.reasons.Status`", "see the statuses").replace(
        "`calls.reasons.Reason`", "see the reasons"
    )
    return " ".join(text.split())


TABLES: dict[str, Callable[[], str]] = {
    "options": options,
    "statuses": statuses,
    "reasons": reasons,
    "headers": headers,
}


def with_tables(text: str) -> str:
    return _PLACE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def main() -> None:
    for page in sorted(DOCS.glob("*.md")):
        old = page.read_text("utf-8")
        if (new := with_tables(old)) != old:
            page.write_text(new, "utf-8")
            print(f"docs/{page.name}")


if __name__ == "__main__":
    main()

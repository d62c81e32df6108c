"""Reports of a run: JSON, JUnit XML, and the step summary of GitHub Actions."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from ..counts.stats import Stats
from ..wire.safe_text import one_line

_NOT_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, text: str, *, append: bool = False) -> None:
    """A report that cannot be written is said, and fails nothing."""
    try:
        with open(path, "a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        print(f"ai-cache: the report {path} could not be written: {error.strerror}", file=sys.stderr)


def as_json(stats: Stats, problems: Sequence[str], code: int) -> str:
    return json.dumps({**stats.as_json(), "problems": list(problems), "exit_code": code}, indent=2) + "\n"


def as_junit(stats: Stats, problems: Sequence[str]) -> str:
    """One test case for the verdict, and one for each call without an answer."""
    suite = ElementTree.Element("testsuite", name="ai-cache")
    verdict = ElementTree.SubElement(suite, "testcase", classname="ai-cache", name="replay")
    for problem in problems:
        ElementTree.SubElement(verdict, "failure", message=_clean(problem))
    for miss in stats.misses:
        case = ElementTree.SubElement(suite, "testcase", classname="ai-cache.calls", name=_clean(miss.line))
        failure = ElementTree.SubElement(case, "failure", message=_clean((*miss.explanation, "no recorded answer")[0]))
        failure.text = _clean("\n".join(miss.explanation))
    cases = 1 + len(stats.misses)
    suite.set("tests", str(cases))
    suite.set("failures", str(bool(problems) + len(stats.misses)))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_markdown(stats: Stats, problems: Sequence[str], mode: str) -> str:
    """For a step summary: the verdict, a table of counts, the misses."""
    sign = "failed" if problems else "passed"
    counts = [(name, count) for name, count in stats.statuses.most_common() if count]
    lines = [f"### ai-cache: {mode}" + (f" {sign}" if mode == "replay" else ""), ""]
    lines += [f"- {_escaped(problem)}" for problem in problems]
    if counts:
        names, numbers = zip(*counts, strict=True)
        lines += ["", f"| {' | '.join(names)} | stored |", "|" + "---:|" * (len(names) + 1)]
        lines += [f"| {' | '.join(map(str, numbers))} | {stats.kept()[0]} |", ""]
    for miss in stats.misses[:20]:
        lines += ["```", *(one_line(line, 400).replace("`", "'") for line in (miss.line, *miss.explanation)), "```"]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return one_line(text, 400).replace("|", "\\|").replace("<", "&lt;")


def _clean(text: str) -> str:
    """What XML 1.0 has no character for becomes a question mark."""
    return _NOT_XML.sub("?", text)

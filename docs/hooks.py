"""Hooks of mkdocs: pages that stand at the top of the repository, and links out of docs/."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
AT_THE_TOP = ("CHANGELOG.md", "SECURITY.md", "certs.md")
PICTURE = "why.png"

_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(#[^)]*)?\)")
_INFO = re.compile(r"^```console .*$", re.MULTILINE)  # `no-run` and the reason are for tests/e2e/test_docs_blocks.py
_log = get_plugin_logger("docs")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in AT_THE_TOP:
        text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    files.append(File.generated(config, PICTURE, abs_src_path=str(ROOT / ".github" / PICTURE)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link to a page at the top leads to its copy; one to a file of the code is its name."""

    def inside(found: re.Match[str]) -> str:
        text, name, anchor = found.groups()
        if name == f".github/{PICTURE}":
            return f"[{text}]({PICTURE})"
        if name in AT_THE_TOP:
            return f"[{text}]({name}{anchor or ''})"
        if not (ROOT / name).exists():
            _log.warning("%s links to %s, which is not there", page.file.src_uri, name)
        return str(text)

    return _INFO.sub("```console", _OUT.sub(inside, markdown))

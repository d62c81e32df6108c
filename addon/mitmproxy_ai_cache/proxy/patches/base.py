"""What a patch is, when it may be installed, and how it takes the place of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mitmproxy import version

from . import fingerprints

LAST_KNOWN = "12.3.1"
"""The newest mitmproxy in which all patches were tried."""

_MARK = "ai_cache_patch"
"""The attribute of a function that takes another's place: the name of its patch."""


class Doubt(Enum):
    """What happens on a mitmproxy that a patch does not know."""

    OFF = "off: mitmproxy does it its own way"
    REFUSES = "closed: the requests that need it are refused"
    STOPS = "closed: the command ends"


@dataclass(frozen=True, slots=True)
class Part:
    """A function of mitmproxy, `package.module:Class.function`, that a patch replaces or builds on."""

    where: str
    known: tuple[str, ...]
    """Fingerprints of its source. Where a change inside cannot matter: its shape, such as `(self, event) generator`."""

    @property
    def name(self) -> str:
        return self.where.partition(":")[2]

    def trouble(self) -> str:
        """Why the patch may not rely on it; empty where it may."""
        found = fingerprints.original(self.where)
        if found is None:
            return f"has no {self.name}"
        if getattr(found, "__module__", "") != self.where.partition(":")[0]:
            return f"has its {self.name} replaced by another script ({getattr(found, '__module__', '')})"
        if fingerprints.shape(found) in self.known:
            return ""
        source = fingerprints.source(found)
        if not source:
            return f"has no source code of {self.name} to compare"
        return "" if source in self.known else f"has another {self.name}"


@dataclass(frozen=True, slots=True)
class Patch:
    """One row of the table."""

    name: str
    replaces: tuple[str, ...]
    """What of mitmproxy, as in `Part.where`. `asyncio:open_connection` is what mitmproxy calls."""
    relies_on: tuple[Part, ...]
    why: str
    since: str
    """The mitmproxy that was the first to need it, as far as we looked."""
    without: str
    """What its user loses where it is off: a clause that follows "so"."""
    notice: str
    """How we see that mitmproxy changed, and what to look at then."""
    doubt: Doubt = Doubt.OFF
    tunes: bool = False
    """It is only there where `ai_cache_tune_mitmproxy` is set."""

    def trouble(self) -> str:
        """What of this mitmproxy the patch does not know; empty where it knows all it relies on."""
        return next((trouble for part in self.relies_on if (trouble := part.trouble())), "")

    def is_known(self) -> bool:
        return not self.trouble()

    def is_on(self, where: str = "") -> bool:
        """Whether it is installed at `where`; at the first place unless given."""
        found = fingerprints.find(where or self.replaces[0])
        while found is not None:
            if getattr(found, _MARK, "") == self.name:
                return True
            found = getattr(found, "__wrapped__", None)
        return False

    def may_install(self) -> bool:
        """Whether it is to be installed now: it is not there yet, and knows this mitmproxy."""
        return not self.is_on() and self.is_known()

    def complaint(self) -> str:
        """The line for the log; empty where the patch may be on."""
        trouble = self.trouble()
        if not trouble:
            return ""
        return (
            f"ai-cache: mitmproxy {version.VERSION} {trouble}: the patch {self.name!r} is off, so {self.without}; "
            f"{self.mend()}"
        )

    def mend(self) -> str:
        """What its user can do where it is off."""
        trouble = self.trouble()
        if "another script" in trouble:
            return "run mitmproxy without that script"
        if "no source code" in trouble:
            return "install mitmproxy with its source, by pip or uv"
        return f"upgrade ai-cache, or pin mitmproxy<={LAST_KNOWN}"


def replace(patch: Patch, where: str, new: Callable[..., Any]) -> None:
    """Put `new` in the place of the function at `where`. `original` still finds that one below it."""
    module, _, path = where.partition(":")
    owner, _, name = path.rpartition(".")
    holder = fingerprints.find(f"{module}:{owner}")
    new.__dict__.update({"__wrapped__": getattr(holder, name), _MARK: patch.name})
    setattr(holder, name, new)

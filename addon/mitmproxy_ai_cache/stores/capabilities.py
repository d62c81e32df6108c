"""What only some stores can do. A store that cannot has the neutral defaults of `base.Store`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file, for a verdict and for `prune`."""

    path: str
    """Relative to the directory, with `/`."""
    key: str
    namespace: str
    created: float
    """Unix time of its answer, in seconds."""
    used: bool
    """This run was answered from it, or wrote it."""


@dataclass(slots=True)
class Settled:
    """What `settle` did: paths by what a pull request will show."""

    modified: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


class ListsFiles(Protocol):
    """A store whose entries are files that people look at."""

    def files(self) -> list[StoredFile]:
        """All files, in order."""

    def unused(self) -> list[str]:
        """The files this run did not ask for."""

    @property
    def problems(self) -> dict[str, str]:
        """Why files are left out, by path."""

    async def delete(self, paths: Iterable[str]) -> None:
        """Remove these files, and what only they named."""

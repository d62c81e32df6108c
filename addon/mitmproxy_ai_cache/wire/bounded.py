"""A map with a bound: what was put or used longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterator
from typing import overload


class BoundedMap[K, V]:
    """Holds at most `most_entries` entries, whose sizes are at most `max_size` together; None is no bound.

    `size_of` gives the size of a value, which must not change while it is here. Entries stand in the order they were
    put or touched, the oldest first; to look at one does not move it. Not for several threads at once.
    """

    def __init__(
        self,
        most_entries: int | None = None,
        max_size: int | None = None,
        size_of: Callable[[V], int] = lambda value: 0,
        dropped: Callable[[K, V], None] | None = None,
    ) -> None:
        """`dropped` is told of each entry that went to keep the bounds, when it is gone."""
        self.size = 0
        """The sizes of all values together."""
        self._most_entries = most_entries
        self._max_size = max_size
        self._size_of = size_of
        self._dropped = dropped
        self._kept: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[K]:
        return iter(self._kept)

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def items(self) -> ItemsView[K, V]:
        return self._kept.items()

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get[D](self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: object = None) -> object:
        return self._kept.get(key, default)

    def touch(self, key: K) -> None:
        """Make it the newest. Raises `KeyError`."""
        self._kept.move_to_end(key)

    def put(self, key: K, value: V) -> bool:
        """Make it the newest, in place of what `key` had. False where it is too large to be kept at all: then `key` has
        nothing."""
        self.pop(key)
        size = self._size_of(value)
        if self._max_size is not None and size > self._max_size:
            return False
        self._kept[key] = value
        self.size += size
        while self._is_over():
            self._drop_oldest()
        return True

    def pop(self, key: K) -> V | None:
        """Remove it; what it was."""
        value = self._kept.pop(key, None)
        if value is not None:
            self.size -= self._size_of(value)
        return value

    def clear(self) -> None:
        self._kept.clear()
        self.size = 0

    def _is_over(self) -> bool:
        return (self._most_entries is not None and len(self._kept) > self._most_entries) or (
            self._max_size is not None and self.size > self._max_size
        )

    def _drop_oldest(self) -> None:
        key, value = self._kept.popitem(last=False)
        self.size -= self._size_of(value)
        if self._dropped is not None:
            self._dropped(key, value)

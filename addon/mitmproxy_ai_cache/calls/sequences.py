"""Sequences: the n-th identical request of a run gets the n-th recorded answer.

Their keys are those of `entries.key_numbers`. Requests with other keys may come
in any order between them. A run is the life of a proxy, or one test where tests name their scope.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..wire.bounded import BoundedMap

_REMEMBERED = 100_000
"""Keys whose place in their sequence is known; who asks more begins those used longest ago anew."""


@dataclass(slots=True)
class _Place:
    namespace: str
    asked: int = 0
    answered: int = 0
    """The last answer that was found."""


class Sequences:
    """How far each sequence of this run is."""

    def __init__(self) -> None:
        self._places: BoundedMap[str, _Place] = BoundedMap(_REMEMBERED)

    def next(self, key: str, namespace: str = "") -> int:
        """The number of this request among the identical ones, from 1."""
        place = self._places.get(key) or _Place(namespace)
        self._places.put(key, place)
        place.asked += 1
        return place.asked

    def asked(self, key: str) -> int:
        """How often this run asked."""
        place = self._places.get(key)
        return place.asked if place else 0

    def found(self, key: str, number: int) -> None:
        """The n-th answer is there."""
        if place := self._places.get(key):
            place.answered = max(place.answered, number)

    def last(self, key: str) -> int:
        """The last answer that was found in this run; 0 if there was none."""
        place = self._places.get(key)
        return place.answered if place else 0

    def again(self, key: str, number: int) -> None:
        """The n-th answer was a refusal (429, 5xx): the retry that follows gets its place."""
        place = self._places.get(key)
        if place and place.asked == number:
            place.asked -= 1

    def begin(self, namespace: str) -> None:
        """A run of this namespace begins: its sequences start anew."""
        for key in [key for key, place in self._places.items() if place.namespace == namespace]:
            self._places.pop(key)

"""The answer of an identical call that this proxy has sent to the provider already."""

from __future__ import annotations

from ..exchange import Exchange
from ..flight import Turn
from ..reasons import Reason, Status
from ..storing import Storing
from .exact import Exact
from .found import ClientLeft, Found, Missed


class InFlight:
    def __init__(self, exact: Exact, storing: Storing) -> None:
        self._exact = exact
        self._storing = storing
        self._flights = storing.flights

    def is_under_way(self, exchange: Exchange) -> bool:
        return self._flights.get(exchange.key) is not None

    async def find(self, exchange: Exchange) -> Found | None:
        """Wait for the turn of this call. Without an answer then, it leads (`exchange.flight`), or goes alone."""
        flight, call = self._flights.get(exchange.key), exchange.call
        if flight is None or call is None:
            return None
        accepts = exchange.request.headers.get("accept-encoding") if call.stream else None
        waiting = self._flights.join(flight, accepts)
        exchange.waiting = flight, waiting
        turn = await waiting.turn
        exchange.waiting = None
        if turn is Turn.LEAD:
            exchange.flight = flight
        elif turn is Turn.FOLLOW:
            return Found(Status.HIT, Reason.COLLAPSED, follower=waiting.follower)
        elif turn is Turn.ANSWERED and flight.entry is not None:
            return Found.stored(flight.entry, Reason.COLLAPSED)
        elif turn is Turn.LEFT:
            raise ClientLeft
        return None

    def just_landed(self, exchange: Exchange, missed: Missed) -> Found | Missed:
        """In a burst the store may be slower than the flight whose answer it is storing."""
        landed = self._flights.landed_just_now(exchange.key) if missed.reason == Reason.STORE_TIMEOUT else None
        if landed is None or self._exact.too_old(exchange, landed):
            return missed
        return Found.stored(landed, Reason.COLLAPSED)

    def begin(self, exchange: Exchange) -> bool:
        """This call leads, unless an identical one began to meanwhile."""
        if self.is_under_way(exchange):
            return False
        exchange.flight = self._flights.begin(exchange.key)
        return True

    def land(self, exchange: Exchange, found: Found) -> None:
        """A call that led got its answer from somewhere else: it is that of all who wait for it."""
        if found.entry is not None:
            self._storing.land(exchange, found.entry)

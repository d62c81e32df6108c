"""Where the answer of a call may come from: the steps of a look-up, in their order.

    exact           the store has an entry under the key
    in flight       an identical call of this proxy is on its way to the provider
    other process   another proxy on the same store is fetching the answer

Each step finds an answer with a status and a reason of its own, or says why it has none. A step that finds answers in
another way is a class with `find` and a line in `Chain.find`.
"""

from __future__ import annotations

from ..exchange import Exchange
from ..reasons import Reason, Status
from .exact import Exact
from .found import ClientLeft, Found, Missed
from .in_flight import InFlight
from .other_process import OtherProcess

__all__ = ["Chain", "ClientLeft", "Exact", "Found", "InFlight", "Missed", "OtherProcess"]


class Chain:
    def __init__(self, exact: Exact, in_flight: InFlight, other_process: OtherProcess) -> None:
        self.exact = exact
        self.in_flight = in_flight
        self.other_process = other_process

    async def find(self, exchange: Exchange, together: bool) -> Found | Missed:
        """The answer of an identified call; `together`: that of an identical call may be its answer, too.

        Where nothing is found the call leads a flight (`exchange.flight`), or goes alone. Raises `ClientLeft`.
        """
        decision = exchange.decided.decision
        if not decision.look_up:
            refresh = bool(decision.reason)
            return Missed(decision.reason or Reason.LOOKUP_OFF, Status.REFRESH if refresh else Status.MISS)
        if not together:
            return await self.exact.find(exchange)
        had_its_turn = False
        while True:
            if not had_its_turn and self.in_flight.is_under_way(exchange):
                joined = await self.in_flight.find(exchange)
                if joined is not None:
                    return joined
                had_its_turn = True
            found = await self.exact.find(exchange)
            if isinstance(found, Missed):
                found = self.in_flight.just_landed(exchange, found)
            if isinstance(found, Found):
                self.in_flight.land(exchange, found)
                return found
            if had_its_turn or self.in_flight.begin(exchange):
                break
        return await self.other_process.find(exchange, found)

"""Connections that mitmproxy makes are judged by the address that they are made to, in the same step."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ...calls.own_rules import OUR_LISTENER
from ...wire.addresses import is_of_this_machine, why_refused
from .base import replace
from .table import JUDGED_CONNECTIONS, OPEN_CONNECTION


@dataclass(slots=True)
class Ticket:
    """One target of one client. `refused`: address and reason, once a connection was not made for it."""

    judged: bool = False
    refused: tuple[str, str] | None = None


@dataclass(slots=True)
class Attempt:
    """A connection that is about to be made."""

    ticket: Ticket
    ports: frozenset[int]
    host: str = ""


attempt_of_task: ContextVar[Attempt | None] = ContextVar("ai_cache_attempt", default=None)

redirected: ContextVar[bool] = ContextVar("ai_cache_redirected", default=False)
"""Set by who sends a connection elsewhere on purpose (`ai-cache demo`): where it ends says nothing about its name."""


class Refused(OSError):
    """The connection is not made."""


def install(out_of_descriptors: Callable[[OSError], None] = lambda error: None) -> None:
    """Judge what mitmproxy connects to from now on."""
    if not JUDGED_CONNECTIONS.may_install():
        return
    original: Any = asyncio.open_connection

    async def open_connection(host: str | None = None, port: int | str | None = None, **options: Any) -> Any:
        attempt = attempt_of_task.get()
        try:
            if attempt is None or host is None or port is None:
                return await original(host, port, **options)
            attempt_of_task.set(None)
            if attempt.ticket.judged:
                return await _open_judged(original, attempt, host, int(port), options)
            return _looked_at(attempt, await original(host, port, **options))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                out_of_descriptors(error)
            raise

    replace(JUDGED_CONNECTIONS, OPEN_CONNECTION, open_connection)


async def _open_judged(original: Any, attempt: Attempt, host: str, port: int, options: dict[str, Any]) -> Any:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return _looked_at(attempt, await original(host, port, **options))
    trouble: OSError | None = None
    for *_, address in found:
        try:
            _check(attempt, str(address[0]), port)
            zone = f"%{address[3]}" if len(address) > 3 and address[3] and "%" not in str(address[0]) else ""
            return _looked_at(attempt, await original(f"{address[0]}{zone}", port, **options))
        except Refused as error:
            trouble = trouble or error
        except OSError as error:
            trouble = error
    attempt.ticket.refused = attempt.ticket.refused if isinstance(trouble, Refused) else None
    raise trouble or OSError(f"no address of {host} was found")


def _looked_at(attempt: Attempt, opened: Any) -> Any:
    """`opened`, whose other end is known now. Nothing has been sent."""
    writer = opened[1]
    peer = writer.get_extra_info("peername")
    try:
        if isinstance(peer, tuple) and len(peer) > 1 and int(peer[1]):
            _check(attempt, str(peer[0]), int(peer[1]), after=True)
    except Refused:
        writer.close()
        raise
    return opened


def _check(attempt: Attempt, address: str, port: int, after: bool = False) -> None:
    """Raises `Refused`."""
    why = OUR_LISTENER if port in attempt.ports and is_of_this_machine(address) else ""
    if not why and attempt.ticket.judged and not (after and redirected.get()):
        why = why_refused(address)
    if why:
        attempt.ticket.refused = address, why
        mend = "" if why == OUR_LISTENER else f"; to allow it start with --hosts {attempt.host or address}"
        raise Refused(f"ai-cache: {address}:{port} is {why}, and no connection is made to it{mend}")

"""Values of a shared server, many at a time, for those who list them: their beginnings, or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from redis.exceptions import NoPermissionError, ResponseError

from ...entries.entry import BrokenEntry, peek_head
from ...entries.vault import Vault
from ..filtering import Row
from .client import Client
from .names import key_of, parts

_HEAD = 2048
"""Bytes of a value that are read for the head in it; where it is longer, all of them."""

Value = bytes | None
"""None where there is nothing; empty where there is what cannot be ours."""


class RedisValues:
    """`together`: whether one command may name several keys."""

    def __init__(self, client: Client, together: bool) -> None:
        self._client = client
        self._together = together
        self._may_read_parts = True

    async def whole(self, names: Sequence[str]) -> list[Value]:
        """Raises what redis-py raises."""
        if not self._together or not names:
            return await self._one_by_one(names, 0)
        try:
            values = cast(list[Value], await self._client.mget(names))
        except ResponseError:  # one that may not use MGET
            self._together = False
            return await self._one_by_one(names, 0)
        # MGET says the same of what is of another type and of what is not there.
        missing = [at for at, value in enumerate(values) if value is None]
        for at, value in zip(missing, await self._one_by_one([names[at] for at in missing], 0), strict=True):
            values[at] = value
        return values

    async def rows(self, names: Sequence[str], vault: Vault | None) -> list[Row | BrokenEntry | None]:
        """What the heads say. With a vault only a whole answer can be opened."""
        values = await (self.whole(names) if vault else self._one_by_one(names, _HEAD))
        found: list[Row | BrokenEntry | None] = []
        for name, value in zip(names, values, strict=True):
            row = row_of(name, value, vault)
            if isinstance(row, BrokenEntry) and value is not None and len(value) == _HEAD:
                (all_of_it,) = await self._one_by_one([name], 0)
                row = row_of(name, all_of_it, vault)
            found.append(row)
        return found

    async def _one_by_one(self, names: Sequence[str], size: int) -> list[Value]:
        """The first `size` bytes of each, or all of them for 0."""
        async with self._client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.getrange(name, 0, size - 1) if size and self._may_read_parts else pipe.get(name)
            values = await pipe.execute(raise_on_error=False) if names else []
        for value in values:
            if isinstance(value, NoPermissionError) and size and self._may_read_parts:
                self._may_read_parts = False
                return await self._one_by_one(names, 0)
            if isinstance(value, Exception) and not str(value).startswith("WRONGTYPE"):
                raise value
        # GETRANGE says the same of an empty value and of none; ours are not empty.
        empty = None if size and self._may_read_parts else b""
        return [b"" if isinstance(value, Exception) else empty if value == b"" else value for value in values]


def row_of(name: str, value: Value, vault: Vault | None) -> Row | BrokenEntry | None:
    """What is known of an entry by its head: the error where it has none, None where there is nothing."""
    if value is None:
        return None
    try:
        answer, _ = parts(value)
        if vault is not None:
            answer = vault.open(answer, key_of(name), "answer")
        head = peek_head(answer)
        row = Row(key_of(name), *(head.get(each) for each in Row._fields[1:]))  # type: ignore[arg-type]
        if not isinstance(row.created, float | int) or not all(isinstance(text, str) for text in row[2:]):
            raise BrokenEntry("no head of an entry")
    except BrokenEntry as error:
        return error
    return row

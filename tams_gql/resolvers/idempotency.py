"""Idempotency keys: a repeated write answers what the first one did.

The receipt is committed together with the change, so that a key is used exactly when its change
happened. A write that fails or changes nothing leaves its key unused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import orjson

from tams_gql.context import Context
from tams_gql.model.errors import BadInput, Conflict, TamsError
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.store.changes import ChangeSet, Receipt, Stale
from tams_gql.store.records import values
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import RECEIPTS

T = TypeVar("T")

MAX_KEY_CHARS = 128


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a write with the same key answered before, and the cursor after its change."""

    response: Any
    cursor: str


class Idempotency:
    """One write under a client's key, or without one."""

    def __init__(self, operation: str, key: str | None, request: object) -> None:
        """``request`` is what the client asked for; another request under the key is refused."""
        if key is not None and not 1 <= len(key) <= MAX_KEY_CHARS:
            raise BadInput(
                f"idempotencyKey: {len(key)} characters; 1 to {MAX_KEY_CHARS} are allowed",
                field="idempotencyKey",
            )
        self._key = None if key is None else f"{operation}:{key}"
        self._fingerprint = "" if key is None else _fingerprint(request)

    async def earlier(self, ctx: Context) -> Earlier | None:
        """The answer of an earlier write; ``Conflict`` if that was another request."""
        if self._key is None:
            return None
        scan = Scan(
            RECEIPTS, ("fingerprint", "response", "position"), where=(eq("key", self._key),)
        )
        (batch,) = await ctx.loaders.reads.scan([scan])
        if batch.num_rows == 0:
            return None
        fingerprint, response, position = (values(column)[0] for column in batch.columns)
        if fingerprint != self._fingerprint:
            raise Conflict(
                "idempotencyKey: the key was used for another request", field="idempotencyKey"
            )
        return Earlier(orjson.loads(response), ctx.services.feed.cursor(position))

    async def check_unused(self, ctx: Context) -> None:
        """Raise ``Stale`` if a write has used the key by now.

        Where the reads of an operation do not share a snapshot, what keeps a repeated write from
        being done may be what the first one has done since the look for its answer.
        """
        if self._key is None:
            return
        await ctx.renew()
        if await self.earlier(ctx) is not None:
            raise Stale("the idempotency key has been used meanwhile")

    def remember(self, changes: ChangeSet, response: object) -> None:
        """Let the change set keep its answer under the key."""
        if self._key is not None:
            changes.receipt = Receipt(self._key, self._fingerprint, orjson.dumps(response).decode())


def _fingerprint(request: object) -> str:
    try:
        text = orjson.dumps(request, option=orjson.OPT_SORT_KEYS, default=str)
    except orjson.JSONEncodeError:
        # Numbers beyond 64 bits, for example: the write itself will refuse them by name.
        text = repr(request).encode(errors="backslashreplace")
    return sha256(text).hexdigest()


NO_KEY = Idempotency("", None, None)


async def once(
    ctx: Context,
    idempotency: Idempotency,
    replay: Callable[[Earlier], Awaitable[T]],
    attempt: Callable[[], Awaitable[T]],
    *,
    wrote: Callable[[T], bool] = lambda _: True,
) -> T:
    """Run ``attempt`` until what it read still holds, unless an earlier write is to be replayed.

    ``wrote`` tells of an answer whether anything was committed with it.
    """

    async def try_once() -> T:
        earlier = await idempotency.earlier(ctx)
        if earlier is not None:
            return await replay(earlier)
        try:
            answer = await attempt()
        except TamsError:
            await idempotency.check_unused(ctx)
            raise
        if not wrote(answer):
            await idempotency.check_unused(ctx)
        return answer

    return await until_fresh(try_once)

"""Running operations for all transports: within their time, and only so many at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from tams_gql.http.graphql.engine import Engine, Kind, Outcome
from tams_gql.http.graphql.limits import OperationLimits
from tams_gql.http.graphql.params import Params
from tams_gql.http.graphql.persisted import PersistedQueries
from tams_gql.http.graphql.refusal import Malformed, NotRun, Refusal, error_response
from tams_gql.http.graphql.turns import TooManyWaiting, Turns

ContextT = TypeVar("ContextT")

_UNAVAILABLE = 503
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that may be run."""

    query: str
    kind: Kind
    params: Params


class Operations(Generic[ContextT]):
    """Admits operations and runs them."""

    def __init__(self, engine: Engine[ContextT], limits: OperationLimits) -> None:
        self._engine = engine
        self._limits = limits
        self._persisted = PersistedQueries(limits.persisted_bytes)
        self._turns = Turns(at_once=limits.at_once, waiting=limits.waiting)
        self._subscriptions = 0

    def admit(self, params: Params) -> Operation:
        """The operation that is asked for. Raises NotRun, and Malformed for a bad parameter."""
        params = self._persisted.resolved(params)
        if params.query is None:
            raise Malformed("query", "the request has no GraphQL document")
        prepared = self._engine.prepare(params.query, params.operation_name)
        if prepared.kind is None:
            assert prepared.refusal is not None
            raise NotRun(Refusal(prepared.refusal.response))
        self._persisted.remember(params)
        return Operation(params.query, prepared.kind, params)

    async def execute(self, operation: Operation, context: ContextT) -> Outcome:
        """Run a query or mutation; ``context`` is that of the request or connection."""
        params = operation.params
        try:
            async with asyncio.timeout(self._limits.timeout), self._turns:
                return await self._engine.execute(
                    operation.query,
                    variables=params.variables,
                    operation_name=params.operation_name,
                    extensions=params.extensions,
                    context=context,
                )
        except TooManyWaiting:
            return self._too_many_operations()
        except TimeoutError:
            return self._too_long()

    async def outcomes(
        self, operation: Operation, context: ContextT
    ) -> AsyncGenerator[Outcome, None]:
        """Run an operation of any kind; close the generator to end it."""
        if operation.kind != "subscription":
            yield await self.execute(operation, context)
            return
        if self._subscriptions >= self._limits.subscriptions:
            yield self._too_many_subscriptions()
            return
        params = operation.params
        self._subscriptions += 1
        try:
            results = self._engine.stream(
                operation.query,
                variables=params.variables,
                operation_name=params.operation_name,
                extensions=params.extensions,
                context=context,
            )
            async with aclosing(results):
                async for outcome in results:
                    yield outcome
        finally:
            self._subscriptions -= 1

    def _too_many_operations(self) -> Refusal:
        limit, waiting = self._limits.at_once, self._limits.waiting
        return _busy(
            f"max_concurrent_operations: {limit} operations are running and {waiting} are waiting; "
            "try again later",
            limit,
        )

    def _too_many_subscriptions(self) -> Refusal:
        limit = self._limits.subscriptions
        return _busy(f"max_subscriptions: {limit} subscriptions are open; try again later", limit)

    def _too_long(self) -> Refusal:
        limit = self._limits.timeout
        message = f"request_timeout: the operation took longer than {limit} seconds"
        return Refusal(error_response(message, "LIMIT_EXCEEDED", limit=limit), _UNAVAILABLE)


def _busy(message: str, limit: int) -> Refusal:
    _log.warning("%s", message)
    return Refusal(error_response(message, "LIMIT_EXCEEDED", limit=limit), busy=True)

"""Each operation gets a context of its own, also when many share one WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.types.execution import StreamExecutionResult

from tams_gql.context import Context


class OperationScope(SchemaExtension):
    """Fork the connection's context for the operation, and release its snapshot afterwards."""

    async def on_operation(self) -> AsyncIterator[None]:
        context = self.execution_context.context.fork()
        self.execution_context.context = context
        try:
            yield
            if (result := self.execution_context.result) is not None:
                _tell(context, result)
        finally:
            await context.close()

    async def on_stream_result(self, result: StreamExecutionResult) -> AsyncIterator[None]:
        """Release the snapshot of an event before the client, however slow, takes the answer."""
        context = self.execution_context.context
        _tell(context, result)
        await context.end_event()
        yield


def _tell(context: Context, result: Any) -> None:
    """Add what is missing from the answer to its errors; the rest of the data stays."""
    missing = [
        GraphQLError(found.error.message, path=found.path, original_error=found.error)
        for found in context.take_shortfalls()
    ]
    if missing and result.data is not None:
        result.errors = [*(result.errors or ()), *missing]

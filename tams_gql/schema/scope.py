"""Each operation gets a context of its own, also when many share one WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator

from strawberry.extensions import SchemaExtension
from strawberry.types.execution import StreamExecutionResult


class OperationScope(SchemaExtension):
    """Fork the connection's context for the operation, and release its snapshot afterwards."""

    async def on_operation(self) -> AsyncIterator[None]:
        context = self.execution_context.context.fork()
        self.execution_context.context = context
        try:
            yield
        finally:
            await context.close()

    async def on_stream_result(self, result: StreamExecutionResult) -> AsyncIterator[None]:
        """Release the snapshot of an event before the client, however slow, takes the answer."""
        await self.execution_context.context.end_event()
        yield

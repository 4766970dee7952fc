"""Each operation gets a context of its own, also when many share one WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator

from strawberry.extensions import SchemaExtension


class OperationScope(SchemaExtension):
    """Fork the connection's context for the operation, and release its snapshot afterwards."""

    async def on_operation(self) -> AsyncIterator[None]:
        context = self.execution_context.context.fork()
        self.execution_context.context = context
        try:
            yield
        finally:
            await context.close()

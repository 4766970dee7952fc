"""Running the hooks of extensions, without finding out anew for each operation what they are.

The library looks at every hook of every extension four times in each operation and wraps it into a
context manager, which costs more than running a small query. Here that is done once per class.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from functools import cache
from types import TracebackType
from typing import Any, NamedTuple

from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.types.execution import ExecutionContext, StreamExecutionResult
from strawberry.utils.await_maybe import await_maybe

_Generator = Generator[None, None, None] | AsyncGenerator[None, None]


class _Hook(NamedTuple):
    """The hook of the extension at a place in the list."""

    place: int
    function: Any
    is_async: bool


@cache
def _hooks(kinds: tuple[type[SchemaExtension], ...], name: str) -> tuple[_Hook, ...]:
    found = []
    for place, kind in enumerate(kinds):
        function = getattr(kind, name)
        if function is getattr(SchemaExtension, name):
            continue
        is_async = inspect.isasyncgenfunction(function)
        if not is_async and not inspect.isgeneratorfunction(function):
            raise TypeError(f"{kind.__name__}.{name} is not a generator")
        found.append(_Hook(place, function, is_async))
    return tuple(found)


class _Phase:
    """Runs hooks around a part of an operation: the first one begins first and ends last."""

    __slots__ = ("_arguments", "_begun", "_extensions", "_hooks")

    def __init__(
        self, extensions: list[SchemaExtension], hooks: tuple[_Hook, ...], *arguments: Any
    ) -> None:
        self._extensions = extensions
        self._hooks = hooks
        self._arguments = arguments
        self._begun: list[tuple[_Generator, bool]] = []

    async def __aenter__(self) -> None:
        try:
            for place, function, is_async in self._hooks:
                generator = function(self._extensions[place], *self._arguments)
                if is_async:
                    await anext(generator)
                else:
                    next(generator)
                self._begun.append((generator, is_async))
        except BaseException as error:
            await self._end(error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end(error)

    async def _end(self, error: BaseException | None) -> None:
        """Let the hooks end. A failure of one is what the next one sees; none is swallowed."""
        given = error
        for generator, is_async in reversed(self._begun):
            try:
                if is_async:
                    await _end_async(generator, error)
                else:
                    _end_sync(generator, error)
            except BaseException as failure:
                error = failure
        if error is not given and error is not None:
            raise error


def _end_sync(generator: Any, error: BaseException | None) -> None:
    try:
        if error is None:
            next(generator)
        else:
            generator.throw(error)
    except StopIteration:
        pass


async def _end_async(generator: Any, error: BaseException | None) -> None:
    try:
        if error is None:
            await anext(generator)
        else:
            await generator.athrow(error)
    except StopAsyncIteration:
        pass


class HookRunner(SchemaExtensionsRunner):
    """Runs the hooks of extensions, which are generators."""

    def _phase(self, name: str, *arguments: Any) -> Any:
        hooks = _hooks(tuple(map(type, self.extensions)), name)
        return _Phase(self.extensions, hooks, *arguments)

    def operation(self) -> Any:
        return self._phase("on_operation")

    def parsing(self) -> Any:
        return self._phase("on_parse")

    def validation(self) -> Any:
        return self._phase("on_validate")

    def executing(self) -> Any:
        return self._phase("on_execute")

    def on_stream_result(self, result: StreamExecutionResult) -> Any:
        return self._phase("on_stream_result", result)

    async def get_extensions_results(self, ctx: ExecutionContext) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for extension in self.extensions:
            if type(extension).get_results is not SchemaExtension.get_results:
                results.update(await await_maybe(extension.get_results()))
        return results | ctx.extensions_results

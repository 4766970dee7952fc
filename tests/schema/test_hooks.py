"""The hooks of extensions run as the library runs them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strawberry.extensions import SchemaExtension
from strawberry.extensions.runner import SchemaExtensionsRunner
from strawberry.types.execution import ExecutionContext

from tams_gql.schema import build_schema
from tams_gql.schema.hooks import HookRunner

Log = list[str]
PHASES = ["operation", "parsing", "validation", "executing"]

# Where a hook fails: nowhere, after the operation, or after it even if the operation has failed.
FAILURES = ["", "after", "always"]


def sync_extension(name: str, failure: str, log: Log) -> SchemaExtension:
    class Sync(SchemaExtension):
        def _around(self) -> Iterator[None]:
            log.append(f"{name} begins")
            if failure == "before":
                raise KeyError(name)
            try:
                yield
                log.append(f"{name} goes on")
            except Exception as error:
                log.append(f"{name} sees {error!r}")
                raise
            finally:
                log.append(f"{name} ends")
                if failure == "always":
                    raise ValueError(name)
            if failure == "after":
                raise LookupError(name)

        on_operation = on_parse = on_validate = on_execute = _around

    return Sync()


def async_extension(name: str, failure: str, log: Log) -> SchemaExtension:
    class Async(SchemaExtension):
        async def _around(self) -> AsyncIterator[None]:
            log.append(f"{name} begins")
            if failure == "before":
                raise KeyError(name)
            try:
                yield
                log.append(f"{name} goes on")
            except Exception as error:
                log.append(f"{name} sees {error!r}")
                raise
            finally:
                log.append(f"{name} ends")
                if failure == "always":
                    raise ValueError(name)
            if failure == "after":
                raise LookupError(name)

        on_operation = on_parse = on_validate = on_execute = _around

    return Async()


def context() -> ExecutionContext:
    return ExecutionContext("{ __typename }", build_schema(), ())


async def run(
    runner: type[SchemaExtensionsRunner], kinds: list[tuple[bool, str]], phase: str, fails: bool
) -> Log:
    log: Log = []
    extensions = [
        (async_extension if is_async else sync_extension)(f"{place}", failure, log)
        for place, (is_async, failure) in enumerate(kinds)
    ]
    around = getattr(runner(None, extensions), phase)()  # type: ignore[arg-type]
    try:
        async with around:
            log.append("operation")
            if fails:
                raise RuntimeError("operation")
    except Exception as error:
        log.append(f"outside: {error!r}")
    return log


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(FAILURES)), max_size=4),
    st.sampled_from(PHASES),
    st.booleans(),
)
async def test_hooks_run_and_fail_in_the_same_order_as_the_librarys(
    kinds: list[tuple[bool, str]], phase: str, fails: bool
) -> None:
    expected = await run(SchemaExtensionsRunner, kinds, phase, fails)
    assert await run(HookRunner, kinds, phase, fails) == expected


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(FAILURES)), max_size=3),
    st.booleans(),
    st.sampled_from(PHASES),
)
async def test_hooks_that_have_begun_end_when_a_later_one_cannot_begin(
    kinds: list[tuple[bool, str]], is_async: bool, phase: str
) -> None:
    last = len(kinds)
    log = await run(HookRunner, [*kinds, (is_async, "before"), (False, "")], phase, fails=False)
    assert "operation" not in log
    assert [entry for entry in log if entry.endswith("begins")] == [
        f"{place} begins" for place in range(last + 1)
    ]
    assert [entry for entry in log if entry.endswith("ends")] == [
        f"{place} ends" for place in reversed(range(last))
    ]
    assert log[-1].startswith("outside: ")


class Quiet(SchemaExtension):
    """Has no hook at all."""


class Telling(SchemaExtension):
    """Has something to tell, and hears of results."""

    heard: Any = None

    def on_stream_result(self, result: Any) -> Iterator[None]:
        self.heard = result
        yield

    def get_results(self) -> dict[str, Any]:
        return {"told": 1, "both": "extension"}


class TellingLater(Telling):
    async def get_results(self) -> dict[str, Any]:  # type: ignore[override]
        return {"later": 2}


async def test_what_extensions_tell_is_put_together_as_by_the_library() -> None:
    given = context()
    given.extensions_results["both"] = "context"
    extensions = [Quiet(), Telling(), TellingLater()]
    library = SchemaExtensionsRunner(given, extensions)
    ours = HookRunner(given, extensions)
    expected = {"told": 1, "later": 2, "both": "context"}
    assert await library.get_extensions_results(given) == expected
    assert await ours.get_extensions_results(given) == expected


async def test_hooks_of_results_are_given_the_result() -> None:
    telling, result = Telling(), object()
    async with HookRunner(context(), [Quiet(), telling]).on_stream_result(result):  # type: ignore[arg-type]
        assert telling.heard is result


async def test_a_hook_that_is_no_generator_is_a_mistake_of_ours() -> None:
    class Plain(SchemaExtension):
        def on_operation(self) -> None:  # type: ignore[override]
            """Would be run before the operation by the library."""

    with pytest.raises(TypeError, match=r"Plain\.on_operation is not a generator"):
        HookRunner(context(), [Plain()]).operation()

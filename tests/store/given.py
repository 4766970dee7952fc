"""Values to generate: small worlds in which things meet, and the corners of the large one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tams_gql.store.scan import Op, OrderBy, Range, Where

MIN_NS, MAX_NS = -(2**63), 2**63 - 1

# Neighbours in every order a database may be tempted to use, quoting, wildcards, and the last code
# points before the surrogates and of all.
_LETTERS = "aAb\x00\x01\"'%_\\é\ud7ff\ue000\uffff\U0010ffff"

texts = st.text(_LETTERS, max_size=3)
integers = st.integers(-2, 2) | st.sampled_from([MIN_NS, MAX_NS])

_COMPARISONS = (Op.EQ, Op.NE, Op.LT, Op.LE, Op.GT, Op.GE)


def examples(number: int) -> Callable[[Any], Any]:
    """Settings of a property test; its examples share one store and clear it themselves."""
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


def conditions(
    columns: Mapping[str, st.SearchStrategy[Any]], *, min_size: int = 0, max_size: int = 3
) -> st.SearchStrategy[tuple[Where, ...]]:
    """ANDs of ORs of ranges over columns, given the values that each may hold."""
    one = [_condition(column, values) for column, values in columns.items()]
    return st.lists(st.one_of(one), min_size=min_size, max_size=max_size).map(tuple)


def _condition(column: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Where]:
    choices: list[st.SearchStrategy[Range]] = [
        st.builds(Range, st.sampled_from(_COMPARISONS), values),
        st.builds(Range, st.just(Op.IN), st.lists(values, max_size=3).map(tuple)),
        st.builds(Range, st.sampled_from([Op.IS_NULL, Op.NOT_NULL])),
    ]
    if values is texts:
        choices.append(st.builds(Range, st.sampled_from([Op.PREFIX, Op.CONTAINS]), values))
    ranges = st.lists(st.one_of(choices), max_size=3).map(tuple)
    return ranges.map(lambda any_of: Where(column, any_of))


def orders(columns: tuple[str, ...], last: str) -> st.SearchStrategy[tuple[OrderBy, ...]]:
    """Total orders: some columns in any order and direction, then one that is unique."""
    chosen = st.permutations(columns).flatmap(
        lambda names: st.integers(0, len(names)).map(lambda n: [*names[:n], last])
    )
    return chosen.flatmap(
        lambda names: st.tuples(*(st.builds(OrderBy, st.just(n), st.booleans()) for n in names))
    )


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Ranges that touch or leave gaps and never overlap, also at the ends of time."""
    base = draw(st.sampled_from([0, MIN_NS + 40, MAX_NS - 40]))
    marks = sorted(draw(st.sets(st.integers(base - 40, base + 40), max_size=16)))
    pairs = list(pairwise(marks))
    kept = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    return [pair for pair, keep in zip(pairs, kept, strict=True) if keep]

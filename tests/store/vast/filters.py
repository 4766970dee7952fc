"""A table with a column of each type, and random rows and conditions on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tams_gql.store.scan import Op, Range, Where
from tams_gql.store.vast.layout import Physical
from tams_gql.store.vast.wire.domains import Asked, Within
from tests.store import naive

TABLE = Physical(
    "samples",
    pa.schema(
        [
            pa.field("id", pa.int64()),
            pa.field("text", pa.string()),
            pa.field("other", pa.string()),
            pa.field("number", pa.int64()),
            pa.field("flag", pa.bool_()),
        ]
    ),
)

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

# Wildcards, ends of texts, first and last of what is coded in one, two, three and four bytes.
_CHARACTERS = "ab\0\x01%_\\'\"\x7f\x80ÿ\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
stored_texts = st.text(_CHARACTERS, max_size=3)
asked_texts = stored_texts | st.text(_CHARACTERS + "\ud800\udfff", max_size=3)
numbers = st.sampled_from([INT_MIN, INT_MIN + 1, -1, 0, 1, 2, 3, INT_MAX - 1, INT_MAX])
asked_numbers = numbers | st.sampled_from([INT_MIN - 1, INT_MAX + 1, INT_MAX + 2, 10**30])
flags = st.booleans()

rows = st.lists(
    st.tuples(
        *(st.none() | values for values in (stored_texts, stored_texts, numbers, flags)),
    ),
    max_size=12,
)

_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "text": asked_texts,
    "other": asked_texts,
    "number": asked_numbers,
    "flag": flags,
}
_TESTS = (Op.IN, Op.IS_NULL, Op.NOT_NULL)
_SEARCHES = (Op.PREFIX, Op.CONTAINS)


def _ranges(column: str) -> st.SearchStrategy[Range]:
    values = _VALUES[column]
    searched = column in ("text", "other")
    single = [op for op in Op if op not in _TESTS and (searched or op not in _SEARCHES)]
    return st.one_of(
        st.builds(Range, st.sampled_from(single), values),
        st.builds(Range, st.just(Op.IN), st.lists(st.none() | values, max_size=4).map(tuple)),
        st.sampled_from([Range(Op.IS_NULL), Range(Op.NOT_NULL)]),
    )


def _where(column: str) -> st.SearchStrategy[Asked]:
    ranges = st.lists(_ranges(column), max_size=3).map(tuple)
    ends = st.none() | _VALUES[column]
    spans = st.lists(st.tuples(ends, ends), max_size=3).map(tuple)
    return st.builds(Where, st.just(column), ranges) | st.builds(Within, st.just(column), spans)


conditions = st.lists(st.sampled_from(sorted(_VALUES)).flatmap(_where), max_size=4)


def meets(row: Mapping[str, Any], where: Iterable[Asked]) -> bool:
    """What the conditions mean, said plainly."""
    return all(
        _within(row[asked.column], asked)
        if isinstance(asked, Within)
        else naive.satisfies(row, [asked])
        for asked in where
    )


def _within(value: Any, asked: Within) -> bool:
    return value is not None and any(
        (low is None or value >= low) and (high is None or value < high)
        for low, high in asked.spans
    )


def batch_of(given: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Rows of ``TABLE``, numbered."""
    columns = zip(*((i, *row) for i, row in enumerate(given)), strict=True) if given else [[]] * 5
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, TABLE.schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=TABLE.schema)

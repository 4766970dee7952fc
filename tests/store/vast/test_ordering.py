"""Order, positions and limits on Arrow tables against their meaning said in plain Python."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.scan import OrderBy
from tams_gql.store.vast.reading.ordering import bound_of, paged
from tests.store import naive
from tests.store.given import examples, integers, orders, texts

_SCHEMA = pa.schema(
    [
        ("label", pa.string()),
        ("width", pa.int64()),
        ("flag", pa.bool_()),
        ("id", pa.string()),
    ]
)
_values = {
    "label": st.none() | st.sampled_from("ab") | texts,
    "width": st.none() | integers,
    "flag": st.none() | st.booleans(),
}
_orders = orders(("label", "width", "flag"), "id")


@examples(400)
@given(
    rows=st.lists(st.fixed_dictionaries(_values), max_size=8),
    order=_orders,
    position=st.none() | st.fixed_dictionaries({**_values, "id": texts | st.just("r3")}),
    limit=st.none() | st.integers(0, 5),
)
def test_any_page(
    rows: list[dict[str, Any]],
    order: tuple[OrderBy, ...],
    position: dict[str, Any] | None,
    limit: int | None,
) -> None:
    named: list[naive.Named] = [{**row, "id": f"r{i}"} for i, row in enumerate(rows)]
    chunks = [
        pa.RecordBatch.from_pylist(list(named[at : at + 3]), _SCHEMA)
        for at in range(0, len(named), 3)
    ]
    table = pa.Table.from_batches(chunks, _SCHEMA)
    after = None if position is None else tuple(position[term.column] for term in order)
    expected = [
        row
        for row in naive.ordered(named, order)
        if after is None or naive.beyond(row, order, after)
    ]

    assert paged(table, order, after, limit).to_pylist() == expected[:limit]
    # What is pushed down of a position lets every row after it through.
    assert all(naive.satisfies(row, bound_of(order, after)) for row in expected)


def test_a_position_bounds_what_is_read() -> None:
    down = (OrderBy("width", descending=True), OrderBy("id"))
    rows = [{"width": width} for width in (None, 1, 2, 3)]

    def read(order: tuple[OrderBy, ...], *after: Any) -> list[Any]:
        return [r["width"] for r in rows if naive.satisfies(r, bound_of(order, after))]

    assert read(down, 2, "a") == [1, 2]
    assert read(down, None, "a") == [None, 1, 2, 3]
    assert read((OrderBy("width"), OrderBy("id")), 2, "a") == [None, 2, 3]
    assert read((OrderBy("width"),), 2) == [None, 3]
    assert read((OrderBy("width"), OrderBy("id")), None, "a") == [None]


def test_without_an_order_any_rows_do() -> None:
    table = pa.table({"id": ["a", "b"]})

    assert paged(table, (), None, 1).num_rows == 1
    assert paged(table, ()).num_rows == 2

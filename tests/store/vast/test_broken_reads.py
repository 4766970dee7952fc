"""Reads whose answers break off: no row is lost, none is read twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pytest

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.scan import Op, compare, eq, is_in
from tams_gql.store.tables import SEGMENTS
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import physical_of, rows_to_batch
from tams_gql.store.vast.wire import query, response
from tams_gql.store.vast.wire.client import Tx, VastClient
from tams_gql.store.vast.wire.response import Cut, Unreadable, parse_page
from tests.vast_emulator import Emulator

_SEGMENTS = physical_of(SEGMENTS)
_COUNT = 1000


@pytest.fixture(params=[False, True], ids=["direct", "plain"])
def tx(request: pytest.FixtureRequest, config: VastConfig) -> Iterator[Tx]:
    """A transaction with a thousand segments, some of whose tags are NULL."""
    chosen = replace(config, plain_queries=request.param, timeout_seconds=5)
    with closing(VastClient(chosen)) as client:
        tx = client.begin()
        columns = ("flow_id", "start_ns", "end_ns", "id", "tags")
        rows = [("f", i, i + 1, f"s{i}", None if i % 3 else "{}") for i in range(_COUNT)]
        tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, columns, rows))
        yield tx


def _starts(tx: Tx) -> list[int]:
    found = tx.select(_SEGMENTS, ("id", "tags", "start_ns"), [eq("flow_id", "f")])
    assert found.column("tags").null_count == _COUNT - len(range(0, _COUNT, 3))
    return sorted(found.column("start_ns").to_pylist())


_CUTS = pytest.mark.parametrize("after", [0, 3, 11, 100, 5_000, 15_000])


@_CUTS
def test_an_answer_that_is_cut_off_is_asked_for_again(
    emulator: Emulator, tx: Tx, after: int
) -> None:
    fault = emulator.faults.cut_query(after=after, times=2)
    assert _starts(tx) == list(range(_COUNT))
    assert fault.hits == 2
    fault = emulator.faults.cut_query(after=after)
    assert tx.count(_SEGMENTS, [compare("start_ns", Op.GE, 10)]) == _COUNT - 10
    assert fault.hits == 1


# The SDK leaves the socket of such an answer to the garbage collector.
@_CUTS
@pytest.mark.parametrize("tx", [False], indirect=True)
def test_so_is_one_of_announced_length(emulator: Emulator, tx: Tx, after: int) -> None:
    emulator.switches.content_length_queries = True
    test_an_answer_that_is_cut_off_is_asked_for_again(emulator, tx, after)


def test_a_connection_that_breaks_is_replaced(emulator: Emulator, tx: Tx) -> None:
    for reset in (True, False):
        fault = emulator.faults.drop("query", applied=False, reset=reset)
        assert _starts(tx) == list(range(_COUNT))
        assert fault.hits == 1


def test_the_cluster_is_not_asked_for_ever(emulator: Emulator, tx: Tx) -> None:
    fault = emulator.faults.cut_query(after=50, times=None)
    with pytest.raises(Unavailable, match="the connection to the VAST cluster broke"):
        _starts(tx)
    assert 3 <= fault.hits <= 9
    emulator.faults.clear()
    assert _starts(tx) == list(range(_COUNT))


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_pages_are_read_on_from_where_they_broke(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, client: VastClient, nth: int
) -> None:
    monkeypatch.setattr(query, "_PAGE_ROWS", 250)
    tx = client.begin()
    rows = [("f", i, f"s{i}") for i in range(_COUNT)]
    batch = rows_to_batch(_SEGMENTS, ("flow_id", "start_ns", "tags"), rows)
    tx.insert(_SEGMENTS, batch)
    emulator.faults.cut_query(after=700, nth=nth)
    with emulator.counting() as rpcs:
        found = tx.select(_SEGMENTS, ("start_ns", "tags")).to_pylist()
    assert [(row["start_ns"], row["tags"]) for row in found] == [(i, f"s{i}") for i in range(1000)]
    assert {rpc.limit for rpc in rpcs.of("query")} == {250}
    assert rpcs["query"] in (5, 6)  # four full pages, one that may be empty, one again
    assert tx.count(_SEGMENTS) == _COUNT


def test_a_select_of_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch, tx: Tx) -> None:
    monkeypatch.setattr(query, "MAX_ROWS", 999)
    with pytest.raises(LimitExceeded, match="more than 999 rows of segments match"):
        tx.select(_SEGMENTS, ("id",))
    assert tx.count(_SEGMENTS) == _COUNT
    assert tx.select(_SEGMENTS, ("id",), [compare("start_ns", Op.GT, 0)]).num_rows == 999
    with pytest.raises(LimitExceeded, match="more than 999 rows of segments match"):
        tx.select(_SEGMENTS, ("id",), [is_in("start_ns", range(0, 2 * _COUNT, 1))])


def test_a_query_that_is_too_large_is_refused(client: VastClient) -> None:
    tx = client.begin()
    with pytest.raises(LimitExceeded, match="a query of 6000"):
        tx.count(_SEGMENTS, [eq("id", "x" * 6_000_000)])
    assert tx.count(_SEGMENTS) == 0


def test_an_answer_that_is_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch, client: VastClient
) -> None:
    tx = client.begin()
    rows = [("f", i, "x" * 1000) for i in range(5000)]
    tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, ("flow_id", "start_ns", "tags"), rows))
    monkeypatch.setattr("tams_gql.store.vast.wire.transport.MAX_ANSWER_BYTES", 2_000_000)
    with pytest.raises(LimitExceeded, match="an answer of the VAST cluster exceeds"):
        tx.select(_SEGMENTS, ("tags",))
    assert tx.count(_SEGMENTS) == 5000


# Answers by hand: what an emulator would never send.

_FIELDS = [pa.field("a", pa.int64()), pa.field("b", pa.string())]
_EOS = b"\xff\xff\xff\xff\0\0\0\0"


def _frame(message: bytes, cursor: int = 7, stream: int = 0) -> bytes:
    return stream.to_bytes(4, "little") + cursor.to_bytes(8, "little") + message


def _column(name: str, *batches: list[object], cursor: int = 7, stream: int = 0) -> bytes:
    kind = pa.int64() if name == "a" else pa.string()
    schema = pa.schema([pa.field(name, kind)])
    parts = [schema.serialize().to_pybytes()]
    for values in batches:
        batch = pa.record_batch([pa.array(values, kind)], schema=schema)
        parts.append(batch.serialize().to_pybytes())
    return b"".join(_frame(part, cursor, stream) for part in (*parts, _EOS))


_ANSWER = _column("a", [1, 2], [3]) + _column("b", ["x"], ["y", None])
_KEEP_ALIVE, _DONE = b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff"


@pytest.mark.parametrize(
    "body",
    [
        _ANSWER,
        _KEEP_ALIVE + _ANSWER + _DONE + b"whatever",
        _column("a", [1, 2, 3]) + _KEEP_ALIVE + _column("b", ["x", "y"], [None]),
        _column("a", [1, 2], cursor=5)
        + _column("b", ["x", "y"], cursor=5)
        + _column("a", [3])
        + _column("b", [None]),
    ],
)
def test_answers_in_any_portions_are_understood(body: bytes) -> None:
    page = parse_page(body, _FIELDS)
    assert (page.rows, page.cursor) == (3, 7)
    values = [[v for batch in batches for v in batch.to_pylist()] for batches in page.columns]
    assert values == [[1, 2, 3], ["x", "y", None]]


def test_all_columns_may_come_in_one_stream() -> None:
    schema = pa.schema(_FIELDS)
    batch = pa.record_batch([pa.array([1]), pa.array(["x"])], schema=schema)
    parts = schema.serialize().to_pybytes(), batch.serialize().to_pybytes(), _EOS
    page = parse_page(b"".join(map(_frame, parts)), _FIELDS)
    assert page.rows == 1
    assert [batches[0].to_pylist() for batches in page.columns] == [[1], ["x"]]


def test_an_answer_is_whole_or_it_is_cut() -> None:
    for length in range(len(_ANSWER)):
        with pytest.raises(Cut):
            parse_page(_ANSWER[:length], _FIELDS)
    with pytest.raises(Cut):
        parse_page(_column("a", [1]) + _DONE, _FIELDS)


def test_other_answers_are_not_read() -> None:
    with pytest.raises(Unreadable, match="the query failed with code 42"):
        parse_page(b"\xfd\xff\xff\xff" + (42).to_bytes(8, "little") + bytes(4), _FIELDS)
    with pytest.raises(Unreadable, match="asked was for a int64"):
        parse_page(_column("b", ["x"]), _FIELDS)
    with pytest.raises(Unreadable, match="differ in length"):
        parse_page(_column("a", [1]) + _column("b", ["x", "y"]), _FIELDS)
    with pytest.raises(Unreadable, match="a stream 3"):
        parse_page(_column("a", [1], stream=3), _FIELDS)


def test_a_query_that_does_not_get_on_is_given_up(
    monkeypatch: pytest.MonkeyPatch, client: VastClient
) -> None:
    tx = client.begin()
    tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, ("flow_id", "start_ns"), [("f", 1)]))

    def stuck(body: bytes, fields: list[pa.Field]) -> response.Page:
        page = parse_page(body, fields)
        page.cursor = 0
        return page

    monkeypatch.setattr(query, "parse_page", stuck)
    with pytest.raises(Unavailable, match="does not get on with a query"):
        tx.count(_SEGMENTS)

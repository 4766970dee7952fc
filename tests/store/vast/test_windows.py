"""Windows over tables in memory: the right segments, from few selects of few rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.changes import Row
from tams_gql.store.port import Groups
from tams_gql.store.scan import Op, Scan, SegmentWindow, compare, eq, is_in
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, SEGMENTS
from tams_gql.store.vast.reading import windows as module
from tams_gql.store.vast.reading.reader import View
from tams_gql.store.vast.reading.scanning import scanned
from tams_gql.store.vast.reading.windows import window_counts, window_rows
from tams_gql.store.vast.wire.domains import Within
from tests.store import build, naive
from tests.store.given import MAX_NS, MIN_NS, conditions, examples, spans, texts
from tests.store.vast.memory import MemoryTx
from tests.store.vast.views import even, flow_rows, segment_rows, view_of

_SECOND = 1_000_000_000


def _know(view: View, tx: MemoryTx, *flow_ids: str) -> None:
    """Read the flows, as whoever asks for their segments has, and forget what that cost."""
    scanned(view, Scan(FLOWS, FLOWS.columns, (is_in("id", flow_ids),)))
    tx.calls.clear()


def _starts(groups: Groups) -> list[list[int]]:
    return [
        groups.group(at).column("start_ns").to_pylist() for at in range(len(groups.offsets) - 1)
    ]


_moments = st.integers(-100, 100) | st.sampled_from([MIN_NS, MIN_NS + 1, MAX_NS - 1, MAX_NS])
_windows = st.builds(
    SegmentWindow,
    flow_id=st.sampled_from("fgh"),
    start_ns=_moments,
    end_ns=_moments,
    reverse=st.booleans(),
    limit=st.none() | st.integers(0, 4),
    after_ns=st.none() | _moments,
    where=st.just(()) | conditions({"object_id": texts}, max_size=1),
)


@examples(150)
@given(f=spans(), g=spans(), asked=st.lists(_windows, max_size=8), counted=st.sampled_from([0, 99]))
def test_any_windows(
    monkeypatch: pytest.MonkeyPatch,
    f: list[tuple[int, int]],
    g: list[tuple[int, int]],
    asked: list[SegmentWindow],
    counted: int,
) -> None:
    monkeypatch.setattr(module, "_COUNTED_ROWS", counted)
    rows = {"f": segment_rows("f", f, object_id="a"), "g": segment_rows("g", g), "h": []}
    view = view_of(MemoryTx(flow_rows(rows)))
    named: dict[str, list[dict[str, Any]]] = {
        flow: [dict(zip(SEGMENTS.columns, row, strict=True)) for row in of]
        for flow, of in rows.items()
    }

    found = window_rows(view, ("start_ns",), asked)

    assert found.batch.schema.names == ["start_ns"]
    assert _starts(found) == [
        [s["start_ns"] for s in naive.overlapping(named[w.flow_id], w)][: w.limit] for w in asked
    ]
    whole = [SegmentWindow(w.flow_id, w.start_ns, w.end_ns, where=w.where) for w in asked]
    assert window_counts(view, asked) == [
        len(naive.overlapping(named[w.flow_id], w)) for w in whole
    ]


def test_windows_at_one_time_are_one_select_of_what_is_needed() -> None:
    flows = [f"f{i}" for i in range(200)]
    tx = MemoryTx(flow_rows({flow: even(flow, 10, 100) for flow in flows}))
    view = view_of(tx)
    _know(view, tx, *flows)

    found = window_rows(view, ("object_id",), [SegmentWindow(f, 205, 295) for f in flows])

    assert found.offsets == list(range(0, 2_001, 10))
    (call,) = tx.calls
    assert call.rows == 2_000
    assert set(call.columns) == {"object_id", "flow_id", "start_ns", "end_ns"}
    assert call.where == (
        is_in("flow_id", flows),
        Within("start_ns", ((196, 295),)),
        compare("end_ns", Op.GT, 205),
    )


def test_a_page_of_a_long_flow_reads_little_more_than_itself() -> None:
    tx = MemoryTx(flow_rows({"f": even("f", 10, 6_000)}))
    view = view_of(tx)
    _know(view, tx, "f")
    pages = [
        SegmentWindow("f", MIN_NS, MAX_NS, limit=51),
        SegmentWindow("f", MIN_NS, MAX_NS, limit=51, after_ns=30_000),
        SegmentWindow("f", MIN_NS, MAX_NS, limit=51, reverse=True),
        SegmentWindow("f", 5_555, 50_000, limit=51),
    ]

    for page in pages:
        tx.calls.clear()
        assert window_rows(view, ("start_ns",), [page]).batch.num_rows == 51
        assert [call.rows < 75 for call in tx.calls] == [True]
    tx.calls.clear()
    assert window_rows(view, ("start_ns",), pages).batch.num_rows == 204
    assert sum(call.rows for call in tx.calls) < 300


def test_pages_of_flows_of_every_length_and_rate() -> None:
    lengths = [10, 250, 10_000, 600_000]
    counts = [400, 200, 100, 60]
    flows = {f"f{i}": even(f"f{i}", lengths[i % 4], counts[i % 4], i * 7) for i in range(40)}
    tx = MemoryTx(flow_rows(flows))
    view = view_of(tx)
    _know(view, tx, *flows)

    found = window_rows(
        view, ("start_ns",), [SegmentWindow(f, MIN_NS, MAX_NS, limit=50) for f in flows]
    )

    assert found.offsets == list(range(0, 2_001, 50))
    assert len(tx.calls) <= 6
    assert sum(call.rows for call in tx.calls) < 3 * 2_000


def test_a_page_goes_on_over_gaps() -> None:
    late = even("f", 10, 100, start_ns=1_000_000)
    tx = MemoryTx(flow_rows({"f": [*even("f", 10, 5), *late]}))
    view = view_of(tx)
    _know(view, tx, "f")

    found = window_rows(view, ("start_ns",), [SegmentWindow("f", 0, MAX_NS, limit=7)])

    assert _starts(found) == [[0, 10, 20, 30, 40, 1_000_000, 1_000_010]]
    assert [call.rows for call in tx.calls] == [5, 100]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_gap_before_a_dense_part_does_not_bring_all_of_it(reverse: bool) -> None:
    gap = 1_000_000_000
    rows = [*even("f", 10, 3), *even("f", 10, 3_000, gap), *even("f", 10, 3, 2 * gap)]
    tx = MemoryTx(flow_rows({"f": rows}))
    view = view_of(tx)
    _know(view, tx, "f")

    found = window_rows(
        view, ("start_ns",), [SegmentWindow("f", MIN_NS, MAX_NS, reverse=reverse, limit=5)]
    )

    first = [0, 10, 20, gap, gap + 10]
    last = [2 * gap + 20, 2 * gap + 10, 2 * gap, gap + 29_990, gap + 29_980]
    assert _starts(found) == [last if reverse else first]
    assert sum(call.rows for call in tx.calls if call.kind == "select") < 1_100
    assert len(tx.calls) < 40


def test_flows_without_segments_and_windows_beside_them_are_not_read() -> None:
    tx = MemoryTx(flow_rows({"f": even("f", 10, 10, 1_000), "g": []}))
    view = view_of(tx)
    _know(view, tx, "f", "g")
    beside = [
        SegmentWindow("g", MIN_NS, MAX_NS),
        SegmentWindow("f", 0, 1_000),
        SegmentWindow("f", 1_100, 2_000),
        SegmentWindow("f", 1_050, 1_050),
        SegmentWindow("f", 1_000, 1_100, limit=0),
        SegmentWindow("f", 1_000, 1_100, after_ns=1_099),
    ]

    assert window_rows(view, ("start_ns",), beside).offsets == [0] * 7
    assert window_counts(view, beside[:4]) == [0] * 4
    assert tx.calls == []


def test_counting_whole_flows_costs_nothing() -> None:
    tx = MemoryTx(flow_rows({"f": even("f", 10, 10), "g": even("g", 10, 20)}))
    view = view_of(tx)
    _know(view, tx, "f", "g")

    assert window_counts(view, [SegmentWindow(f, 0, MAX_NS, limit=1) for f in "fg"]) == [10, 20]
    assert tx.calls == []
    assert window_counts(view, [SegmentWindow(f, 5, MAX_NS) for f in "fg"]) == [10, 20]
    assert window_counts(view, [SegmentWindow(f, 10, 95) for f in "fg"]) == [9, 9]
    assert [call.kind for call in tx.calls] == ["select", "select"]
    assert set(tx.calls[0].columns) == {"flow_id", "start_ns", "end_ns"}


def test_many_segments_are_counted_by_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COUNTED_ROWS", 50)
    tx = MemoryTx(flow_rows({"f": even("f", 10, 100), "g": even("g", 10, 20)}))
    view = view_of(tx)
    _know(view, tx, "f", "g")

    asked = [SegmentWindow("f", 5, MAX_NS, where=(eq("object_id", "object"),))]
    assert window_counts(view, [*asked, SegmentWindow("g", 15, MAX_NS)]) == [100, 19]
    assert sorted(call.kind for call in tx.calls) == ["count", "select"]


def test_flows_that_are_not_known_are_looked_up_once() -> None:
    tx = MemoryTx(flow_rows({"f": even("f", 10, 10), "g": even("g", 10, 20)}))
    view = view_of(tx)
    asked = [SegmentWindow(f, 0, 50) for f in ("f", "g", "nobody")]

    for _ in range(2):
        assert window_rows(view, ("start_ns",), asked).offsets == [0, 5, 10, 10]
    counters = scanned(view, Scan(FLOW_COUNTERS, FLOW_COUNTERS.columns, (is_in("flow_id", "fg"),)))

    assert counters.column("segment_count").to_pylist() == [10, 20]
    assert [call.table for call in tx.calls] == ["flows", "segments", "segments"]


def _overlapping() -> list[Row]:
    """The second begins inside the first and was created later; the last two tie, ids decide."""
    return [
        build.segment("f", 0, 100, id="a", created=2),
        build.segment("f", 50, 120, id="b", created=3),
        build.segment("f", 110, 150, id="c", created=4),
        build.segment("f", 200, 220, id="e", created=5),
        build.segment("f", 210, 230, id="d", created=5),
    ]


def test_of_segments_that_overlap_the_first_counts() -> None:
    view = view_of(MemoryTx(flow_rows({"f": _overlapping(), "g": even("g", 10, 3)})))
    whole = [SegmentWindow(f, -1_000, 1_000) for f in "fg"]

    found = window_rows(view, ("id",), whole)

    assert found.group(0).column("id").to_pylist() == ["a", "c", "d"]
    assert found.group(1).num_rows == 3
    assert view.tally.duplicates_seen == 2
    assert window_counts(view, [SegmentWindow("f", 60, 1_000)]) == [3]


@pytest.mark.parametrize("reverse", [False, True])
def test_conditions_make_matches_rare(reverse: bool) -> None:
    rows = even("f", 10, 3_000)
    rows[2_000] = build.segment("f", 20_000, 20_010, object_id="rare")
    tx = MemoryTx(flow_rows({"f": rows}))
    view = view_of(tx)
    _know(view, tx, "f")
    window = SegmentWindow(
        "f", 0, MAX_NS, reverse=reverse, limit=2, where=(eq("object_id", "rare"),)
    )

    assert _starts(window_rows(view, ("start_ns",), [window])) == [[20_000]]
    assert len(tx.calls) <= 8
    assert sum(call.rows for call in tx.calls if call.kind == "select") == 1

"""Coverage over tables in memory, read at once or in portions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.store.scan import CoverageWindow
from tams_gql.store.tables import SEGMENTS
from tams_gql.store.vast.reading import coverage as module
from tams_gql.store.vast.reading.coverage import coverage
from tests.store import naive
from tests.store.given import MAX_NS, MIN_NS, examples, spans
from tests.store.vast.memory import MemoryTx
from tests.store.vast.views import even, flow_rows, segment_rows, view_of

_moments = st.integers(-100, 100) | st.sampled_from([MIN_NS, MIN_NS + 60, MAX_NS - 60, MAX_NS])
_windows = st.builds(
    CoverageWindow,
    flow_id=st.sampled_from("fgh"),
    start_ns=_moments,
    end_ns=_moments,
    max_gap_ns=st.integers(0, 20) | st.just(MAX_NS),
    max_stretches=st.integers(0, 4),
)


@examples(150)
@given(
    f=spans(),
    g=spans(),
    asked=st.lists(_windows, max_size=5),
    portion=st.sampled_from([1, 3, 250_000]),
)
def test_any_windows(
    monkeypatch: pytest.MonkeyPatch,
    f: list[tuple[int, int]],
    g: list[tuple[int, int]],
    asked: list[CoverageWindow],
    portion: int,
) -> None:
    monkeypatch.setattr(module, "_PORTION_ROWS", portion)
    rows = {"f": segment_rows("f", f, size=3), "g": segment_rows("g", g), "h": []}
    view = view_of(MemoryTx(flow_rows(rows)))
    named: dict[str, list[dict[str, Any]]] = {
        flow: [dict(zip(SEGMENTS.columns, row, strict=True)) for row in of]
        for flow, of in rows.items()
    }

    expected = [naive.coverage(named[w.flow_id], w) for w in asked]

    assert coverage(view, asked) == [
        replace(e, stretches=e.stretches[: w.max_stretches + 1])
        for e, w in zip(expected, asked, strict=True)
    ]


def test_the_ends_of_time_are_further_apart_than_an_int64() -> None:
    view = view_of(
        MemoryTx(flow_rows({"f": segment_rows("f", [(MIN_NS, MIN_NS + 1), (MAX_NS - 1, MAX_NS)])}))
    )

    (found,) = coverage(view, [CoverageWindow("f", MIN_NS, MAX_NS, max_gap_ns=MAX_NS)])

    assert found.stretches == ((MIN_NS, MIN_NS + 1), (MAX_NS - 1, MAX_NS))


def test_a_long_timeline_is_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PORTION_ROWS", 100)
    tx = MemoryTx(flow_rows({"f": even("f", 10, 1_000), "g": even("g", 10, 50)}))

    found = coverage(view_of(tx), [CoverageWindow(f, 5, MAX_NS) for f in "fg"])

    assert [(c.stretches, c.segment_count) for c in found] == [
        (((5, 10_000),), 1_000),
        (((5, 500),), 50),
    ]
    reads = [call for call in tx.calls if call.table == "segments"]
    assert max(call.rows for call in reads) <= 101
    assert sum(call.rows for call in reads) == 1_050
    assert all(set(c.columns) == {"flow_id", "start_ns", "end_ns", "size"} for c in reads)


def test_windows_at_one_time_are_one_select() -> None:
    flows = {f"f{i}": even(f"f{i}", 10, 20) for i in range(50)}
    tx = MemoryTx(flow_rows(flows))

    found = coverage(view_of(tx), [CoverageWindow(f, 0, 200) for f in flows])

    assert {c.stretches for c in found} == {((0, 200),)}
    assert [call.table for call in tx.calls] == ["flows", "segments"]

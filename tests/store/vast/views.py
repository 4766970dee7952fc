"""Views on tables in memory, and flows with segments to put there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from tams_gql.store.changes import Row
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, SEGMENTS, Table
from tams_gql.store.vast.layout import physical_of
from tams_gql.store.vast.reading.reader import Sizes, Tally, View
from tams_gql.store.vast.reading.row_cache import RowCache
from tams_gql.store.vast.wire.client import VastClient
from tests.store import build
from tests.store.vast.memory import MemoryTx, physical_rows


def view_of(tx: MemoryTx) -> View:
    """A view that has read nothing yet."""
    return View(tx, RowCache(), Sizes(), Tally())


def flow_rows(segments: Mapping[str, Sequence[Row]]) -> dict[Table, list[Row]]:
    """Flows with these segments, and the counters that a store keeps of them."""
    return {
        FLOWS: [build.flow(flow_id) for flow_id in segments],
        FLOW_COUNTERS: [_counters(flow_id, rows) for flow_id, rows in segments.items()],
        SEGMENTS: [row for rows in segments.values() for row in rows],
    }


def _counters(flow_id: str, rows: Sequence[Row]) -> Row:
    spans = [(int(str(row[1])), int(str(row[2]))) for row in rows]
    values: dict[str, object] = {"flow_id": flow_id, "segment_count": len(spans)}
    if spans:
        values["min_start_ns"] = min(start for start, _ in spans)
        values["max_end_ns"] = max(end for _, end in spans)
    longest = max((end - start for start, end in spans), default=0)
    values |= {"duration_ns": 0, "bytes": 0, "longest_ns": longest, "segments_updated": None}
    return tuple(values.get(column) for column in FLOW_COUNTERS.columns)  # type: ignore[misc]


def segment_rows(flow_id: str, spans: Iterable[tuple[int, int]], **values: object) -> list[Row]:
    """One segment a span."""
    return [build.segment(flow_id, start, end, **values) for start, end in spans]


def even(flow_id: str, length_ns: int, count: int, start_ns: int = 0) -> list[Row]:
    """Segments of one length that touch."""
    starts = range(start_ns, start_ns + length_ns * count, length_ns)
    return segment_rows(flow_id, ((start, start + length_ns) for start in starts))


def fill(client: VastClient, rows: Mapping[Table, Iterable[Row]]) -> None:
    """Put rows into the tables of a cluster."""
    tx = client.begin()
    for table, of in physical_rows(rows).items():
        tx.insert(table, pa.RecordBatch.from_pylist(of, table.schema))
    tx.commit()


def fill_long(client: VastClient, flow_id: str, length_ns: int, count: int) -> None:
    """Put a flow of very many segments that touch into the tables of a cluster."""
    table = physical_of(SEGMENTS)
    starts, names = np.arange(count) * length_ns, pa.array(np.arange(count)).cast(pa.string())
    columns = {
        "flow_id": pa.repeat(pa.scalar(flow_id), count),
        "start_ns": pa.array(starts),
        "end_ns": pa.array(starts + length_ns),
        **dict.fromkeys(("id", "object_id", "timerange"), names),
        **{name: pa.array(starts) for name in ("size", "created", "ts_offset_ns")},
    }
    arrays = [columns.get(f.name, pa.nulls(count, f.type)) for f in table.schema]
    tx = client.begin()
    tx.insert(table, pa.record_batch(arrays, schema=table.schema))
    tx.commit()
    flow = {
        **dict(zip(FLOWS.columns, build.flow(flow_id), strict=True)),
        **{"segment_count": count, "min_start_ns": 0, "max_end_ns": count * length_ns},
        **{"longest_ns": length_ns, "duration_ns": count * length_ns, "bytes": int(starts.sum())},
    }
    tx = client.begin()
    flows = physical_of(FLOWS)
    tx.insert(flows, pa.RecordBatch.from_pylist([flow], flows.schema))
    tx.commit()

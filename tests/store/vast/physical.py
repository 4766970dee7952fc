"""The tables of a catalog as they are in the cluster: what readers leave out is here too."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import pairwise
from typing import Any

import orjson

from tams_gql.store.tables import COLLECTIONS, EVENTS, FLOWS, OBJECTS, SEGMENTS, SOURCES, Table
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import CLAIMS, PHYSICAL, USES, physical_of
from tams_gql.store.vast.wire.client import VastClient

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def stored(config: VastConfig) -> Rows:
    """All rows of all tables but the guards."""
    with closing(VastClient(config)) as client:
        tx = client.begin()
        found = {
            table.name: tx.select(table, table.schema.names).to_pylist()
            for table in PHYSICAL
            if table.name != "guards"
        }
        tx.rollback()
    return found


def audit(config: VastConfig, *, claims: bool = False) -> Rows:
    """Check what must hold at any time; the rows. ``claims`` of dead writers may be left."""
    found = stored(config)
    for table in (SOURCES, FLOWS, OBJECTS, SEGMENTS, COLLECTIONS):
        keys = [tuple(row[column] for column in table.key) for row in found[table.name]]
        assert len(set(keys)) == len(keys), f"{table.name} has a key twice"
    event_keys = [row["key"] for row in found[EVENTS.name]]
    assert len(set(event_keys)) == len(event_keys)
    for flow in found[FLOWS.name]:
        _check_flow(flow, [row for row in found[SEGMENTS.name] if row["flow_id"] == flow["id"]])
    users = Counter(row["object_id"] for row in found[SEGMENTS.name])
    for row in found[OBJECTS.name]:
        assert row["ref_count"] == users[row["id"]], f"object {row['id']}"
        check_uses(row, found)
    assert claims or found[CLAIMS.name] == []
    return found


def check_uses(row: Row, found: Rows) -> None:
    """What an object's row says of its users leaves none out."""
    if row[USES] in (None, "*"):
        return
    places = orjson.loads(row[USES].removeprefix("+"))
    for segment in found[SEGMENTS.name]:
        if segment["object_id"] == row["id"]:
            told = places[segment["flow_id"]]
            first, last = (told, told) if isinstance(told, int) else told
            assert first <= segment["start_ns"] <= last, f"object {row['id']}: {segment}"
    needed = any(other["init_object_id"] == row["id"] for other in found[OBJECTS.name])
    assert row[USES].startswith("+") or not needed, f"object {row['id']} is needed"


def _check_flow(flow: Row, segments: list[Row]) -> None:
    spans = sorted((row["start_ns"], row["end_ns"]) for row in segments)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans)), f"{flow['id']} overlaps"
    durations = [end - start for start, end in spans]
    assert flow["segment_count"] == len(spans)
    assert flow["duration_ns"] == sum(durations)
    assert flow["bytes"] == sum(row["size"] or 0 for row in segments)
    assert flow["min_start_ns"] == (spans[0][0] if spans else None)
    assert flow["max_end_ns"] == (spans[-1][1] if spans else None)
    assert flow["longest_ns"] >= max(durations, default=0)


def column(rows: Rows, table: Table, name: str) -> list[Any]:
    """One column of a table, sorted."""
    return sorted(row[name] for row in rows[physical_of(table).name])

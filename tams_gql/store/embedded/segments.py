"""Adding and removing segments: no overlaps, counters and reference counts kept in step."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from tams_gql.model.errors import BadInput
from tams_gql.store.changes import AddSegments, NewEvent, RemoveSegments, Stale
from tams_gql.store.tables import SEGMENTS

_START, _END = SEGMENTS.columns.index("start_ns"), SEGMENTS.columns.index("end_ns")
_OBJECT, _SIZE = SEGMENTS.columns.index("object_id"), SEGMENTS.columns.index("size")
_MAX_INT64 = 2**63 - 1

_MARKS = ", ".join("?" * len(SEGMENTS.columns))
_INSERT = f"INSERT INTO segments ({', '.join(SEGMENTS.columns)}) VALUES ({_MARKS})"
_COUNTERS = "SELECT max_end_ns, duration_ns, bytes FROM flow_counters WHERE flow_id = ?"
_BEFORE = """SELECT end_ns FROM segments WHERE flow_id = ? AND start_ns < ?
             ORDER BY start_ns DESC LIMIT 1"""
_COUNT_UP = """
    UPDATE flow_counters SET
        segment_count = segment_count + ?1, duration_ns = duration_ns + ?2, bytes = bytes + ?3,
        min_start_ns = min(coalesce(min_start_ns, ?4), ?4),
        max_end_ns = max(coalesce(max_end_ns, ?5), ?5),
        longest_ns = max(longest_ns, ?6), segments_updated = ?7
    WHERE flow_id = ?8"""
_BEGIN = """INSERT INTO flow_counters (flow_id, segment_count, duration_ns, bytes, longest_ns)
            VALUES (?, 0, 0, 0, 0)"""
_REFER = """UPDATE objects SET ref_count = ref_count + ?1,
                   orphaned = CASE WHEN ref_count + ?1 = 0 THEN ?2 END
            WHERE id = ?3"""

# Containment, as the specification asks of DELETE. `start_ns` bounds both ends of the range scan,
# because a segment inside the window also begins inside it.
_INSIDE = """flow_id = ?1 AND start_ns >= ?2 AND start_ns < ?3 AND end_ns <= ?3
             AND (?4 IS NULL OR object_id = ?4)"""
_SUMMARY = f"""
    SELECT count(*), coalesce(sum(end_ns - start_ns), 0), min(start_ns), max(end_ns),
           coalesce(sum(size), 0)
    FROM segments WHERE {_INSIDE}"""
_REFERENCES = f"SELECT object_id, count(*) FROM segments WHERE {_INSIDE} GROUP BY object_id"
_COUNT_DOWN = """
    UPDATE flow_counters SET
        segment_count = segment_count - ?1, duration_ns = duration_ns - ?2, bytes = bytes - ?3,
        min_start_ns = (SELECT min(start_ns) FROM segments WHERE flow_id = ?5),
        max_end_ns = (SELECT end_ns FROM segments WHERE flow_id = ?5
                      ORDER BY start_ns DESC LIMIT 1),
        longest_ns = CASE WHEN segment_count = ?1 THEN 0 ELSE longest_ns END,
        segments_updated = ?4
    WHERE flow_id = ?5"""


@dataclass(frozen=True, slots=True)
class Removal:
    """What one ``RemoveSegments`` did, and the event that tells of it, if anything went."""

    count: int
    event: NewEvent | None


def begin_counters(connection: sqlite3.Connection, flow_ids: Iterable[Any]) -> None:
    """Make the counters of new flows."""
    connection.executemany(_BEGIN, [(flow_id,) for flow_id in flow_ids])


def forget_counters(
    connection: sqlite3.Connection, condition: str, parameters: Sequence[Any]
) -> None:
    """Remove the counters of the flows that match, before the flows go."""
    connection.execute(
        f"DELETE FROM flow_counters WHERE flow_id IN (SELECT id FROM flows WHERE {condition})",
        parameters,
    )


def add(connection: sqlite3.Connection, added: AddSegments, now_us: int) -> None:
    """Insert the segments of one flow; ``Stale`` when one would overlap or the flow is gone."""
    if not added.rows:
        return
    rows = sorted(added.rows, key=lambda row: row[_START])  # type: ignore[arg-type, return-value]
    spans = [(int(row[_START] or 0), int(row[_END] or 0)) for row in rows]
    durations = [end - start for start, end in spans]
    size = sum(int(row[_SIZE] or 0) for row in rows)
    counters = connection.execute(_COUNTERS, (added.flow_id,)).fetchone()
    if counters is None:
        raise Stale(f"flow {added.flow_id} is gone")
    max_end, duration, stored = counters
    _refuse_overlaps(connection, added.flow_id, spans, max_end)
    _refuse_overflow(added.flow_id, duration + sum(durations), stored + size)
    connection.executemany(_INSERT, rows)
    connection.execute(
        _COUNT_UP,
        (
            *(len(rows), sum(durations), size, spans[0][0], spans[-1][1]),
            *(max(durations), now_us, added.flow_id),
        ),
    )
    references = Counter(str(row[_OBJECT]) for row in rows)
    refer(connection, references.items(), now_us)


def refer(connection: sqlite3.Connection, users: Iterable[tuple[str, int]], now_us: int) -> None:
    """Change how many users objects have."""
    connection.executemany(_REFER, [(by, now_us, object_id) for object_id, by in users])


def _refuse_overlaps(
    connection: sqlite3.Connection, flow_id: str, spans: list[tuple[int, int]], max_end: int | None
) -> None:
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise Stale(f"two of the new segments overlap at {start}")
    if max_end is None or spans[0][0] >= max_end:
        return  # an append, as nearly every registration is: nothing stored can be in the way
    for start, end in spans:
        before = connection.execute(_BEFORE, (flow_id, end)).fetchone()
        if before is not None and before[0] > start:
            raise Stale(f"a stored segment of flow {flow_id} overlaps {start}")


def _refuse_overflow(flow_id: str, duration_ns: int, size: int) -> None:
    if duration_ns > _MAX_INT64:
        raise BadInput(f"the segments of flow {flow_id} would last more than 292 years together")
    if size > _MAX_INT64:
        raise BadInput(f"the segments of flow {flow_id} would hold more than 2^63 bytes together")


def remove(connection: sqlite3.Connection, removal: RemoveSegments, now_us: int) -> Removal:
    """Delete the segments wholly inside the window."""
    inside = (removal.flow_id, removal.start_ns, removal.end_ns, removal.object_id)
    count, duration, start, end, size = connection.execute(_SUMMARY, inside).fetchone()
    if count == 0:
        return Removal(0, None)
    references = connection.execute(_REFERENCES, inside).fetchall()
    connection.execute(f"DELETE FROM segments WHERE {_INSIDE}", inside)
    refer(connection, [(object_id, -n) for object_id, n in references], now_us)
    connection.execute(_COUNT_DOWN, (count, duration, size, now_us, removal.flow_id))
    if removal.event is None:
        return Removal(count, None)
    return Removal(count, _completed(removal.event, count, start, end))


def _completed(event: NewEvent, count: int, start_ns: int, end_ns: int) -> NewEvent:
    body = orjson.loads(event.body)
    body |= {"segment_count": count, "start_ns": start_ns, "end_ns": end_ns}
    return NewEvent(event.type, event.source_id, event.flow_id, orjson.dumps(body).decode())

"""Adding and removing segments: no overlaps, counters and reference counts kept in step."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass

import orjson

from tams_gql.store.changes import AddSegments, NewEvent, RemoveSegments, Row, Stale
from tams_gql.store.tables import SEGMENTS

_START, _END = SEGMENTS.columns.index("start_ns"), SEGMENTS.columns.index("end_ns")
_OBJECT = SEGMENTS.columns.index("object_id")

_INSERT = f"INSERT INTO segments ({', '.join(SEGMENTS.columns)}) VALUES ({', '.join('?' * 13)})"
_COUNTERS = "SELECT max_end_ns FROM flow_counters WHERE flow_id = ?"
_BEFORE = """SELECT end_ns FROM segments WHERE flow_id = ? AND start_ns < ?
             ORDER BY start_ns DESC LIMIT 1"""
_COUNT_UP = """
    UPDATE flow_counters SET
        segment_count = segment_count + ?1, duration_ns = duration_ns + ?2, bytes = bytes + ?3,
        min_start_ns = min(coalesce(min_start_ns, ?4), ?4),
        max_end_ns = max(coalesce(max_end_ns, ?5), ?5),
        longest_ns = max(longest_ns, ?6), segments_updated = ?7
    WHERE flow_id = ?8"""
_REFER = "UPDATE objects SET ref_count = ref_count + ? WHERE id = ?"

# Containment, as the specification asks of DELETE. `start_ns` bounds both ends of the range scan,
# because a segment inside the window also begins inside it.
_INSIDE = """flow_id = ?1 AND start_ns >= ?2 AND start_ns < ?3 AND end_ns <= ?3
             AND (?4 IS NULL OR object_id = ?4)"""
_SUMMARY = f"""SELECT count(*), coalesce(sum(s.end_ns - s.start_ns), 0), min(s.start_ns),
                      max(s.end_ns), coalesce(sum(o.size), 0)
               FROM segments s LEFT JOIN objects o ON o.id = s.object_id WHERE {_INSIDE}"""
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


def add(connection: sqlite3.Connection, added: AddSegments, now_us: int) -> None:
    """Insert the segments of one flow; ``Stale`` when one would overlap or the flow is gone."""
    if not added.rows:
        return
    rows = sorted(added.rows, key=lambda row: row[_START])  # type: ignore[arg-type, return-value]
    _refuse_overlaps(connection, added.flow_id, rows)
    connection.executemany(_INSERT, rows)
    spans = [(int(row[_START] or 0), int(row[_END] or 0)) for row in rows]
    durations = [end - start for start, end in spans]
    connection.execute(
        _COUNT_UP,
        (
            *(len(rows), sum(durations), added.bytes, spans[0][0], spans[-1][1]),
            *(max(durations), now_us, added.flow_id),
        ),
    )
    references = Counter(row[_OBJECT] for row in rows)
    connection.executemany(_REFER, [(n, object_id) for object_id, n in references.items()])


def _refuse_overlaps(connection: sqlite3.Connection, flow_id: str, rows: list[Row]) -> None:
    found = connection.execute(_COUNTERS, (flow_id,)).fetchone()
    if found is None:
        raise Stale(f"flow {flow_id} is gone")
    end_of_previous: int | None = None
    for row in rows:
        start, end = int(row[_START] or 0), int(row[_END] or 0)
        if end_of_previous is not None and start < end_of_previous:
            raise Stale(f"two of the new segments overlap at {start}")
        end_of_previous = end
    (max_end,) = found
    if max_end is None or int(rows[0][_START] or 0) >= max_end:
        return  # an append, as nearly every registration is: nothing stored can be in the way
    for row in rows:
        before = connection.execute(_BEFORE, (flow_id, row[_END])).fetchone()
        if before is not None and before[0] > row[_START]:
            raise Stale(f"a stored segment of flow {flow_id} overlaps {row[_START]}")


def remove(connection: sqlite3.Connection, removal: RemoveSegments, now_us: int) -> Removal:
    """Delete the segments wholly inside the window."""
    inside = (removal.flow_id, removal.start_ns, removal.end_ns, removal.object_id)
    count, duration, start, end, size = connection.execute(_SUMMARY, inside).fetchone()
    if count == 0:
        return Removal(0, None)
    references = connection.execute(_REFERENCES, inside).fetchall()
    connection.execute(f"DELETE FROM segments WHERE {_INSIDE}", inside)
    connection.executemany(_REFER, [(-n, object_id) for object_id, n in references])
    connection.execute(_COUNT_DOWN, (count, duration, size, now_us, removal.flow_id))
    if removal.event is None:
        return Removal(count, None)
    return Removal(count, _completed(removal.event, count, start, end))


def _completed(event: NewEvent, count: int, start_ns: int, end_ns: int) -> NewEvent:
    body = orjson.loads(event.body)
    body |= {"segment_count": count, "start_ns": start_ns, "end_ns": end_ns}
    return NewEvent(event.type, event.source_id, event.flow_id, orjson.dumps(body).decode())

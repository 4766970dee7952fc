"""Which stretches of a timeline are covered, by one pass over the clustered segments."""

from __future__ import annotations

import sqlite3

from tams_gql.model.time import OPEN_START_NS
from tams_gql.store.embedded.windows import OVERLAPPING
from tams_gql.store.scan import CoverageWindow, Covered

# A stretch begins where the segment before it, if any, ends too early.
_STRETCHES = f"""
    SELECT max(start_ns, ?2), before FROM (
        SELECT start_ns, lag(end_ns) OVER (ORDER BY start_ns) AS before
        FROM segments WHERE {OVERLAPPING})
    WHERE before IS NULL OR start_ns - before > ?5
    ORDER BY start_ns LIMIT ?6"""
_TOTALS = f"""
    SELECT count(*), coalesce(sum(min(end_ns, ?3) - max(start_ns, ?2)), 0), coalesce(sum(size), 0),
           min(max(end_ns), ?3)
    FROM segments WHERE {OVERLAPPING}"""


def coverage(connection: sqlite3.Connection, window: CoverageWindow) -> Covered:
    """The covered stretches of one window, clipped to it."""
    if window.start_ns >= window.end_ns:
        return Covered((), 0, 0, 0)
    bounds = (window.flow_id, window.start_ns, window.end_ns, OPEN_START_NS)
    count, covered_ns, size, last_end = connection.execute(_TOTALS, bounds).fetchone()
    if count == 0:
        return Covered((), 0, 0, 0)
    # A stretch ends before the next one begins, which is why that is read too.
    asked = (*bounds, window.max_gap_ns, window.max_stretches + 2)
    found = connection.execute(_STRETCHES, asked).fetchall()
    ends = [before for _, before in found[1:]] + [last_end]
    stretches = tuple((start, end) for (start, _), end in zip(found, ends, strict=True))
    return Covered(stretches[: window.max_stretches + 1], covered_ns, count, size)

"""Windows on a flow's timeline.

Segments of a flow never overlap, so the only segment that can begin before a window and reach into
it is the last one that begins at or before its start. One seek finds it; from there the clustered
rows are read in order. The cost does not depend on how long the flow is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tams_gql.store.embedded.select import where_clause
from tams_gql.store.scan import SegmentWindow

_OVERLAPPING = """
    flow_id = ?1
    AND start_ns >= coalesce((SELECT start_ns FROM segments
                              WHERE flow_id = ?1 AND start_ns <= ?2
                              ORDER BY start_ns DESC LIMIT 1), ?2)
    AND end_ns > ?2 AND start_ns < ?3
"""


def select_window(window: SegmentWindow, columns: tuple[str, ...]) -> tuple[str, list[Any]]:
    """The statement of one window and its parameters."""
    extra, values = where_clause(window.where)
    parameters = [window.flow_id, window.start_ns, window.end_ns]
    text = _window_text(columns, window.reverse, window.after_ns is not None, extra)
    if window.after_ns is not None:
        parameters.append(window.after_ns)
    parameters += values
    parameters.append(-1 if window.limit is None else window.limit)
    return text, parameters


def count_window(window: SegmentWindow) -> tuple[str, list[Any]]:
    """The statement that counts the segments of one window."""
    extra, values = where_clause(window.where)
    parameters = [window.flow_id, window.start_ns, window.end_ns, *values]
    return f"SELECT count(*) FROM segments WHERE {_OVERLAPPING} AND {_bound(extra, 4)}", parameters


@lru_cache(maxsize=256)
def _window_text(columns: tuple[str, ...], reverse: bool, after: bool, extra: str) -> str:
    position, used = "", 3
    if after:
        position, used = f"AND start_ns {'<' if reverse else '>'} ?4", 4
    bound = _bound(extra, used + 1)
    limit = used + extra.count("?") + 1
    return (
        f"SELECT {', '.join(columns)} FROM segments WHERE {_OVERLAPPING} {position} AND {bound}"
        f" ORDER BY start_ns {'DESC' if reverse else 'ASC'} LIMIT ?{limit}"
    )


def _bound(text: str, first: int) -> str:
    """Number the anonymous parameters of ``text`` from ``first`` on."""
    parts = text.split("?")
    numbered = [f"?{first + i}{part}" for i, part in enumerate(parts[1:])]
    return parts[0] + "".join(numbered)

"""Windows on a flow's timeline.

Segments of a flow never overlap, so the only segment that can begin before a window and reach into
it is the last one that begins at or before its start. One seek finds it; from there the clustered
rows are read in order. The cost does not depend on how long the flow is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tams_gql.store.embedded.conditions import where_clause
from tams_gql.store.scan import SegmentWindow

_EARLIEST, _LATEST = -(2**63), 2**63 - 1

# ?2 and ?3 are the window. ?4 takes part in the seek, so that a page deep in a window costs what
# the first one does.
OVERLAPPING = """
    flow_id = ?1
    AND start_ns >= max(coalesce((SELECT start_ns FROM segments
                                  WHERE flow_id = ?1 AND start_ns <= ?2
                                  ORDER BY start_ns DESC LIMIT 1), ?2), ?4)
    AND end_ns > ?2 AND start_ns < ?3
"""
_USED = 4


def select_window(window: SegmentWindow, columns: tuple[str, ...]) -> tuple[str, list[Any]]:
    """The statement of one window and its parameters."""
    extra, values = where_clause(window.where)
    limit = -1 if window.limit is None else window.limit
    first, end = _unseen(window)
    parameters = [window.flow_id, window.start_ns, end, first, *values, limit]
    return _window_text(columns, window.reverse, extra), parameters


def count_window(window: SegmentWindow) -> tuple[str, list[Any]]:
    """The statement that counts the segments of one window."""
    extra, values = where_clause(window.where)
    parameters = [window.flow_id, window.start_ns, window.end_ns, _EARLIEST, *values]
    return _count_text(extra), parameters


def is_empty(window: SegmentWindow) -> bool:
    """Whether the window holds no moment at all, so that nothing overlaps it."""
    return window.start_ns >= window.end_ns


def _unseen(window: SegmentWindow) -> tuple[int, int]:
    """Where the segments that are still to be seen begin: ``[first, end)``."""
    first, end = _EARLIEST, window.end_ns
    if window.after_ns is None:
        return first, end
    if window.reverse:
        return first, min(end, window.after_ns)
    return min(window.after_ns, _LATEST - 1) + 1, end


@lru_cache(maxsize=256)
def _window_text(columns: tuple[str, ...], reverse: bool, extra: str) -> str:
    limit = _USED + extra.count("?") + 1
    return (
        f"SELECT {', '.join(columns)} FROM segments"
        f" WHERE {OVERLAPPING} AND {_bound(extra, _USED + 1)}"
        f" ORDER BY start_ns {'DESC' if reverse else 'ASC'} LIMIT ?{limit}"
    )


@lru_cache(maxsize=256)
def _count_text(extra: str) -> str:
    return f"SELECT count(*) FROM segments WHERE {OVERLAPPING} AND {_bound(extra, _USED + 1)}"


def _bound(text: str, first: int) -> str:
    """Number the anonymous parameters of ``text`` from ``first`` on."""
    parts = text.split("?")
    numbered = [f"?{first + i}{part}" for i, part in enumerate(parts[1:])]
    return parts[0] + "".join(numbered)

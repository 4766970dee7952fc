"""Positions of the change log."""

from __future__ import annotations

import sqlite3


def position_text(seq: int) -> str:
    """A log position: sorts as text in the order of the log."""
    return f"{seq:016x}"


def last_seq(connection: sqlite3.Connection) -> int:
    """The number of the newest event ever appended, 0 for none."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return 0 if found is None else int(found[0])

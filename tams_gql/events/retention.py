"""Keeps the change log as long as configured, and no longer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tams_gql.model.errors import TamsError
from tams_gql.store.port import ChangeLog

_MAX_PAUSE_SECONDS = 300.0
_MIN_PAUSE_SECONDS = 1.0

_log = logging.getLogger(__name__)


async def keep_log_short(log: ChangeLog, retention_seconds: int, now_us: Callable[[], int]) -> None:
    """Remove events older than the retention, again and again. Runs until it is cancelled."""
    pause = min(max(retention_seconds / 10, _MIN_PAUSE_SECONDS), _MAX_PAUSE_SECONDS)
    while True:
        try:
            removed = await log.trim(now_us() - retention_seconds * 1_000_000)
            if removed:
                _log.info("removed %d events that are past the retention", removed)
        except TamsError as error:
            _log.warning("the change log could not be trimmed, trying again later: %s", error)
        except Exception:
            # Nobody waits for this task, so a failure would end the work without a word.
            _log.exception("trimming the change log failed, trying again later")
        await asyncio.sleep(pause)

"""Storing live segments behind the back of the thread that makes them.

A server that is away for a while must not stop a live source: segments wait in a bounded queue,
and when that is full the oldest is given up, which leaves a gap in the flow. A refusal is another
matter and ends the source.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.initialisation import Initialisations
from tams_gql.ingest.live_segments import LiveSegment
from tams_gql.ingest.progress import Observer
from tams_gql.ingest.transport import Cancelled
from tams_gql.ingest.upload import send_one, with_init_object
from tams_gql.model.errors import Unavailable
from tams_gql.model.time import TimeRange, format_timestamp

_LONGEST_QUEUE: Final = 30
"""Segments that wait at most: half a minute of video and audio."""


@dataclass(frozen=True, slots=True)
class LiveFlows:
    """Ids of the flows that a live source writes to."""

    video: str
    audio: str

    def of(self, segment: LiveSegment) -> str:
        """The flow of a segment."""
        return self.video if segment.is_video else self.audio


class LiveSender:
    """One thread that uploads and registers segments in the order they were given.

    ``window_ns`` keeps only the newest stretch of each flow; None keeps everything.
    """

    def __init__(
        self, catalog: Catalog, flows: LiveFlows, window_ns: int | None, observer: Observer
    ) -> None:
        self._catalog = catalog
        self._flows = flows
        self._window_ns = window_ns
        self._observer = observer
        self._waiting: deque[LiveSegment] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="live-sender", daemon=True)
        self._thread.start()

    def send(self, segment: LiveSegment) -> None:
        """Queue a segment; raises the error that stopped the sender."""
        with self._changed:
            if self._error is not None:
                raise self._error
            while len(self._waiting) >= _LONGEST_QUEUE:
                lost = self._waiting.popleft()
                lost.file.path.unlink(missing_ok=True)
                self._observer.note(f"gave up {lost.draft.timerange.text}: the server is too slow")
            self._waiting.append(segment)
            self._changed.notify()

    def close(self, timeout: float) -> None:
        """Take no more; wait at most ``timeout`` seconds for what is queued."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        initialisations = Initialisations(self._catalog)
        try:
            while (segment := self._next()) is not None:
                try:
                    self._store(initialisations, segment)
                except Unavailable as error:
                    span = segment.draft.timerange.text
                    self._observer.note(f"gave up {span}: {error.message}")
                finally:
                    segment.file.path.unlink(missing_ok=True)
        except Cancelled:
            return
        except BaseException as error:
            with self._changed:
                self._error = error

    def _next(self) -> LiveSegment | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return self._waiting.popleft() if self._waiting else None

    def _store(self, initialisations: Initialisations, segment: LiveSegment) -> None:
        flow_id, draft = self._flows.of(segment), segment.draft
        if segment.file.initialisation:
            init = initialisations.object_id(
                flow_id, segment.file.initialisation, audio=not segment.is_video
            )
            draft = with_init_object(draft, init)
        object_id = send_one(self._catalog, flow_id, segment.file)
        self._catalog.register(flow_id, [(object_id, draft)])
        self._observer.stored(1, segment.file.size)
        if self._window_ns is not None:
            oldest = format_timestamp(draft.timerange.end_ns - self._window_ns)
            self._catalog.delete_segments(flow_id, TimeRange.parse(f"_{oldest})"))

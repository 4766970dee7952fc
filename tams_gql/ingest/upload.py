"""Uploading objects side by side and registering them in order.

The thread that makes segments calls ``add``; a bounded number of uploads run behind it, so that at
most ``2 * concurrency`` segment files wait on disk. Segments are registered from the calling
thread, each flow's in the order they were added, in batches.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Self

from tams_gql.ingest.api import REGISTER_LIMIT, Allocation, Catalog, SegmentDraft
from tams_gql.ingest.mux import WrittenSegment
from tams_gql.ingest.transport import Cancelled, UrlExpired
from tams_gql.model.errors import Forbidden

_BATCH: Final = 100
_PATIENCE_SECONDS: Final = 1.0
_ALLOCATED_AHEAD: Final = 20

Stored = Callable[[SegmentDraft, int], None]


class _Places:
    """Allocated objects of one flow that are not used yet.

    Allocated in batches, but never more than are still to come.
    """

    def __init__(self, catalog: Catalog, flow_id: str) -> None:
        self._catalog = catalog
        self._flow_id = flow_id
        self._lock = threading.Lock()
        self._free: deque[Allocation] = deque()
        self._to_come = 0

    def expect(self, count: int) -> None:
        with self._lock:
            self._to_come += count

    def take(self) -> Allocation:
        with self._lock:
            if not self._free:
                count = max(1, min(self._to_come, _ALLOCATED_AHEAD))
                self._free.extend(self._catalog.allocate(self._flow_id, count))
                self._to_come -= count
            return self._free.popleft()

    def renew(self) -> Allocation:
        """A place with a fresh URL; the older ones will have expired as well."""
        with self._lock:
            self._to_come += len(self._free)
            self._free.clear()
        return self.take()


def send_object(
    catalog: Catalog,
    segment: WrittenSegment,
    allocate: Callable[[], Allocation],
    renew: Callable[[], Allocation],
) -> str:
    """Upload a segment's bytes and return the object's id.

    ``renew`` gives another place when the URL of the first has expired. Raises ``Forbidden`` when
    the store refuses that as well.
    """
    for place_for in (allocate, renew):
        place = place_for()
        try:
            catalog.transport.put(
                place.url, place.headers, segment.path, segment.offset, segment.size
            )
        except UrlExpired:
            continue
        return place.object_id
    raise Forbidden("the store refuses the signed upload URL")


def send_one(
    catalog: Catalog, flow_id: str, segment: WrittenSegment, content_type: str | None = None
) -> str:
    """Upload a single object of a flow; ``content_type`` when it is not that of the flow."""

    def allocate() -> Allocation:
        return catalog.allocate(flow_id, 1, content_type)[0]

    return send_object(catalog, segment, allocate, allocate)


@dataclass(slots=True)
class _Queue:
    places: _Places
    waiting: deque[tuple[SegmentDraft, int, Future[str]]] = field(default_factory=deque)
    registered_at: float = field(default_factory=time.monotonic)


class Uploader:
    """Stores segments; a context manager that on an error gives up, with the whole transport."""

    def __init__(self, catalog: Catalog, concurrency: int, stored: Stored | None = None) -> None:
        self._catalog = catalog
        self._stored = stored
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="upload")
        self._slots = threading.BoundedSemaphore(2 * concurrency)
        self._failed = threading.Event()
        self._queues: dict[str, _Queue] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._failed.set()
            self._catalog.transport.abort()  # else what hangs, and retries, would hold up the end
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _queue(self, flow_id: str) -> _Queue:
        if flow_id not in self._queues:
            self._queues[flow_id] = _Queue(_Places(self._catalog, flow_id))
        return self._queues[flow_id]

    def expect(self, flow_id: str, count: int) -> None:
        """``count`` more segments of the flow will come; lets storage be allocated in batches."""
        self._queue(flow_id).places.expect(count)

    def add(self, flow_id: str, segment: WrittenSegment, draft: SegmentDraft) -> None:
        """Upload a segment in the background and register it in its turn; its file is deleted.

        Waits while too many are under way. Raises the error of an earlier upload.
        """
        while not self._slots.acquire(timeout=0.2):
            self._register_ready()
        queue = self._queue(flow_id)
        future = self._pool.submit(self._upload, queue.places, segment)
        queue.waiting.append((draft, segment.size, future))
        self._register_ready()

    def _upload(self, places: _Places, segment: WrittenSegment) -> str:
        try:
            if self._failed.is_set():
                raise Cancelled
            return send_object(self._catalog, segment, places.take, places.renew)
        finally:
            segment.path.unlink(missing_ok=True)
            self._slots.release()

    def _register_ready(self) -> None:
        for flow_id, queue in self._queues.items():
            ready = 0
            for _, _, future in queue.waiting:
                if not future.done():
                    break
                future.result()
                ready += 1
            late = time.monotonic() - queue.registered_at > _PATIENCE_SECONDS
            if ready >= _BATCH or (ready and late):
                self._register(flow_id, queue, ready)

    def _register(self, flow_id: str, queue: _Queue, count: int) -> None:
        batch = [queue.waiting[i] for i in range(min(count, REGISTER_LIMIT))]
        self._catalog.register(flow_id, [(future.result(), draft) for draft, _, future in batch])
        queue.registered_at = time.monotonic()
        for draft, size, _ in batch:
            queue.waiting.popleft()
            if self._stored is not None:
                self._stored(draft, size)

    def finish(self) -> None:
        """Wait for all uploads and register what is left."""
        for flow_id, queue in self._queues.items():
            while queue.waiting:
                count = min(len(queue.waiting), _BATCH)
                self._register(flow_id, queue, count)


def with_init_object(draft: SegmentDraft, object_id: str) -> SegmentDraft:
    """``draft`` referring to its initialisation segment."""
    return replace(draft, init_object_id=object_id)

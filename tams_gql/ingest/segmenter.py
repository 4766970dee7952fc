"""The second pass over a media file: writing the planned segments, without re-encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from av.packet import Packet
from av.stream import Stream

from tams_gql.ingest.codecs import Container
from tams_gql.ingest.media_input import MediaStream, media_errors, media_streams, open_media
from tams_gql.ingest.mux import SegmentWriter, WrittenSegment
from tams_gql.ingest.plan import SegmentPlan, StreamPlan

Wanted = Callable[[StreamPlan, SegmentPlan], bool]


def write_segments(
    path: Path, plans: list[StreamPlan], container: Container, folder: Path, wanted: Wanted
) -> Iterator[tuple[StreamPlan, SegmentPlan, WrittenSegment]]:
    """Write the ``wanted`` segments of ``path`` into files below ``folder``, as they complete.

    The caller deletes each file when done with it. Raises ``UnusableMedia`` when the file cannot
    be read any more.
    """
    source = str(path)
    with open_media(source, path) as media:
        streams = {s.index: s for s in media_streams(source, media)}
        cursors = {
            plan.scan.index: _Cursor(plan, streams[plan.scan.index], container, folder, wanted)
            for plan in plans
        }
        chosen = [streams[index] for index in cursors]
        try:
            with media_errors(source):
                for packet in media.demux(*chosen):
                    if packet.size:
                        yield from cursors[packet.stream_index].take(packet)
                for cursor in cursors.values():
                    yield from cursor.finish()
        finally:
            for cursor in cursors.values():
                cursor.discard()


@dataclass(slots=True)
class _Open:
    plan: SegmentPlan
    writer: SegmentWriter


class _Cursor:
    """Walks along one stream's packets and its planned segments at once."""

    def __init__(
        self,
        plan: StreamPlan,
        stream: MediaStream,
        container: Container,
        folder: Path,
        wanted: Wanted,
    ) -> None:
        self._plan = plan
        self._stream = stream
        self._container = container
        self._folder = folder
        self._wanted = wanted
        self._packet = -1
        self._number = -1
        self._open: _Open | None = None

    def take(
        self, packet: Packet[Stream]
    ) -> Iterator[tuple[StreamPlan, SegmentPlan, WrittenSegment]]:
        self._packet += 1
        segments = self._plan.segments
        if self._number + 1 < len(segments) and self._packet == segments[self._number + 1].first:
            yield from self.finish()
            self._number += 1
            self._begin(segments[self._number])
        if self._open is not None:
            self._write(self._open, packet)

    def _begin(self, segment: SegmentPlan) -> None:
        if not self._wanted(self._plan, segment):
            return
        name = f"{self._plan.scan.index}-{self._number}.segment"
        writer = SegmentWriter(
            self._folder / name,
            self._container,
            self._stream,
            self._plan.time_base,
            number=self._number + 1,
            adts=self._plan.scan.adts,
        )
        self._open = _Open(segment, writer)

    def _write(self, opened: _Open, packet: Packet[Stream]) -> None:
        times, ticks, turn = self._plan.scan.packets, self._plan.ticks, opened.plan.turn
        opened.writer.write(
            packet,
            ticks(times.pts[self._packet]) - turn,
            ticks(times.dts[self._packet]) - turn,
            ticks.duration(times.duration[self._packet]),
        )

    def finish(self) -> Iterator[tuple[StreamPlan, SegmentPlan, WrittenSegment]]:
        """Close the open segment, if there is one, and hand it out."""
        if self._open is not None:
            opened, self._open = self._open, None
            yield self._plan, opened.plan, opened.writer.close()

    def discard(self) -> None:
        """Remove a segment that was not finished."""
        if self._open is not None:
            with suppress(OSError):
                self._open.writer.discard()
            self._open = None

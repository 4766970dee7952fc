"""Ingesting HLS: segments stored as they are, and a live playlist followed to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from tams_gql.ingest.api import Catalog, RegisteredSegment, SegmentDraft
from tams_gql.ingest.bit_rate import bit_rates
from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.files import Outcome
from tams_gql.ingest.flows import COMPLETE, put_missing
from tams_gql.ingest.hls_flows import HlsNaming, PlaylistSample
from tams_gql.ingest.hls_playlist import ListedSegment, MasterPlaylist, MediaPlaylist
from tams_gql.ingest.hls_segment import ScannedSegment, scan_segment
from tams_gql.ingest.hls_source import HlsSource, playlist_url
from tams_gql.ingest.hls_timeline import SEGMENT_TAG, Finished, Offsets, Timeline
from tams_gql.ingest.initialisation import Initialisations
from tams_gql.ingest.mux import WrittenSegment
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.progress import Observer
from tams_gql.ingest.transport import Cancelled, shown_url
from tams_gql.ingest.upload import Uploader, with_init_object
from tams_gql.model.time import TimeRange

_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 60.0

_Carried = tuple[str, tuple[str, ...]]


@dataclass(slots=True)
class _Track:
    """One playlist on its way into one flow."""

    part: str
    url: str
    flow_id: str
    timeline: Timeline
    playlist: MediaPlaylist
    known: dict[str, RegisteredSegment] = field(default_factory=dict)
    lengths: list[tuple[int, int]] = field(default_factory=list)
    last: int = -1
    carries: _Carried | None = None

    def fresh(self) -> list[ListedSegment]:
        """The listed segments that were not dealt with yet."""
        return [s for s in self.playlist.segments if s.sequence > self.last]

    def missing(self) -> int:
        """How many listed segments are still to be stored."""
        return sum(s.key not in self.known and not s.gap for s in self.fresh())


def ingest_hls(catalog: Catalog, text: str, options: IngestOptions, observer: Observer) -> Outcome:
    """Store the best variant of an HLS input, with its audio; follows a live playlist.

    Segments are stored byte for byte. A run that follows an earlier one goes on where that
    stopped. Raises ``UnusableMedia`` for faults of the input and the server's errors as they are.
    """
    ingest = _Ingest(catalog, text, options, observer)
    with ExitStack() as stack:
        ingest.folder = Path(stack.enter_context(TemporaryDirectory(prefix="tams-hls-")))
        return ingest.run(stack)


class _Ingest:
    def __init__(
        self, catalog: Catalog, text: str, options: IngestOptions, observer: Observer
    ) -> None:
        url = playlist_url(text)
        self._catalog = catalog
        self._name = text if url.startswith("file:") else shown_url(url)
        self._options = options
        self._observer = observer
        self._source = HlsSource(catalog.transport, self._name, url)
        self._naming = HlsNaming(url, options)
        self._offsets = Offsets(options.start_ns)
        self._stored = 0
        self._skipped = 0
        self.folder = Path()
        self._tracks = self._open(url)

    def _open(self, url: str) -> list[_Track]:
        playlist = self._source.playlist(url)
        if isinstance(playlist, MediaPlaylist):
            return [self._track("main", url, playlist)]
        return [self._track(part, found, None) for part, found in _chosen(playlist).items()]

    def _track(self, part: str, url: str, playlist: MediaPlaylist | None) -> _Track:
        return _Track(
            part=part,
            url=url,
            flow_id=self._naming.flow_id(part),
            timeline=Timeline(self._offsets),
            playlist=playlist or self._source.media_playlist(url),
        )

    def run(self, stack: ExitStack) -> Outcome:
        flow_ids = self._prepare()
        for track in self._tracks:
            self._recall(track)
        ended = all(track.playlist.ended for track in self._tracks)
        total = sum(track.missing() for track in self._tracks) if ended else None
        self._observer.begin(self._name, total)
        uploader = stack.enter_context(
            Uploader(self._catalog, self._options.concurrency, self._count)
        )
        self._initialisations = Initialisations(self._catalog)
        while not self._pass(uploader):
            uploader.finish()
            self._wait()
        for track in self._tracks:
            self._store(uploader, track, track.timeline.finish())
        uploader.finish()
        self._close(flow_ids)
        return Outcome(self._stored, self._skipped, flow_ids)

    def _count(self, _: SegmentDraft, size: int) -> None:
        self._stored += 1
        self._observer.stored(1, size)

    # Flows

    def _prepare(self) -> list[str]:
        """Make the flows that are missing; returns the ids of those to close at the end."""
        specs = self._naming.specs([self._sample(track) for track in self._tracks])
        put_missing(self._catalog, specs)
        return [spec.id for spec in specs]

    def _sample(self, track: _Track) -> PlaylistSample:
        for listed in track.playlist.segments:
            if not listed.gap:
                [fetched] = self._source.fetch([listed], self._folder(track), 1)
                segment = scan_segment(fetched)
                fetched.path.unlink()
                track.carries = _carries(segment)
                return PlaylistSample(track.part, segment, track.playlist.target_duration)
        raise UnusableMedia(self._name, "lists no segments")

    def _recall(self, track: _Track) -> None:
        """Find out what earlier runs registered."""
        latest: tuple[int, int, RegisteredSegment] | None = None
        for segment in self._catalog.segments(track.flow_id):
            for key in segment.tags.get(SEGMENT_TAG, ()):
                discontinuity, sequence = map(int, key.split("/"))
                track.known[key] = segment
                track.timeline.learn(discontinuity, segment)
                latest = (discontinuity, sequence, segment)
        if latest is not None and latest[1] < track.playlist.segments[0].sequence:
            # The list has moved on since; what it shows now comes after what is known.
            track.timeline.skip(latest[0], latest[2])

    def _close(self, flow_ids: list[str]) -> None:
        carriers = {track.flow_id: track for track in self._tracks}
        for flow_id in flow_ids:
            state = self._catalog.flow(flow_id)
            if state is None or state.status == COMPLETE:
                continue
            changes: dict[str, object] = {"status": COMPLETE}
            track = carriers.get(flow_id)
            if track is not None:
                rates = bit_rates(track.lengths, track.playlist.target_duration)
                if rates is not None:
                    changes |= {"avgBitRate": rates.average, "maxBitRate": rates.maximum}
            self._catalog.patch_flow(flow_id, **changes)

    # Segments

    def _folder(self, track: _Track) -> Path:
        folder = self.folder / track.part
        folder.mkdir(exist_ok=True)
        return folder

    def _pass(self, uploader: Uploader) -> bool:
        """Deal with everything listed now; True when all playlists have ended."""
        for track in self._tracks:
            for finished in self._place(track, self._ready(track)):
                self._store(uploader, track, finished)
        return all(track.playlist.ended and not track.fresh() for track in self._tracks)

    def _ready(self, track: _Track) -> list[ListedSegment]:
        """What can be placed: a rendition waits until the main playlist knows the stretch."""
        fresh = track.fresh()
        if track is self._tracks[0] or self._tracks[0].playlist.ended:
            return fresh
        ready = []
        for listed in fresh:
            if not track.timeline.knows(listed.discontinuity):
                break
            ready.append(listed)
        return ready

    def _place(self, track: _Track, listed: list[ListedSegment]) -> Iterator[Finished | None]:
        missing = [s for s in listed if s.key not in track.known and not s.gap]
        fetching = self._source.fetch(missing, self._folder(track), self._options.concurrency)
        for segment in listed:
            track.last = segment.sequence
            known = track.known.get(segment.key)
            if known is not None:
                self._skipped += 1
                track.lengths.append((known.size or 0, _length(known.timerange)))
                yield track.timeline.skip(segment.discontinuity, known)
            elif segment.gap:
                self._observer.note(f"{self._name}: segment {segment.key} is marked as missing")
            else:
                scanned = scan_segment(next(fetching))
                self._refuse_change(track, scanned)
                yield track.timeline.place(scanned)

    def _refuse_change(self, track: _Track, segment: ScannedSegment) -> None:
        carries = _carries(segment)
        if track.carries is not None and carries != track.carries:
            raise UnusableMedia(
                shown_url(segment.fetched.listed.content.uri),
                f"holds {_shown(carries)}, the playlist began with {_shown(track.carries)}",
            )

    def _store(self, uploader: Uploader, track: _Track, finished: Finished | None) -> None:
        if finished is None:
            return
        segment, draft = finished
        fetched = segment.fetched
        if fetched.initialisation:
            init = self._initialisations.object_id(
                track.flow_id, fetched.initialisation, audio=not segment.streams[0].is_video
            )
            draft = with_init_object(draft, init)
        written = WrittenSegment(fetched.path, len(fetched.initialisation), fetched.size)
        track.lengths.append((written.size, _length(draft.timerange)))
        uploader.expect(track.flow_id, 1)
        uploader.add(track.flow_id, written, draft)

    def _wait(self) -> None:
        """Wait for the live playlists to grow: their target duration, or half when they did not."""
        stop = self._catalog.transport.stop
        pause = _pause(min(track.playlist.target_duration for track in self._tracks))
        if stop.wait(pause):
            raise Cancelled
        while True:
            for track in self._tracks:
                self._reload(track)
            if any(t.fresh() or t.playlist.ended for t in self._tracks):
                return
            if stop.wait(pause / 2):
                raise Cancelled

    def _reload(self, track: _Track) -> None:
        track.playlist = self._source.media_playlist(track.url)
        newest = max((s.sequence for s in track.playlist.segments), default=track.last)
        if newest < track.last:
            raise UnusableMedia(
                shown_url(track.url),
                f"its media sequence went back from {track.last} to {newest}: the stream restarted",
            )


def _chosen(master: MasterPlaylist) -> dict[str, str]:
    variant = master.best()
    chosen = {"main": variant.uri}
    audio = master.audio_of(variant)
    if audio is not None:
        chosen["audio"] = audio.uri
    return chosen


def _pause(target: Fraction) -> float:
    """Seconds between two looks at a live playlist; some say 0 of segments below half a second."""
    return min(max(float(target), _SHORTEST_PAUSE), _LONGEST_PAUSE) if target else 1.0


def _length(timerange: TimeRange) -> int:
    return timerange.end_ns - timerange.start_ns


def _carries(segment: ScannedSegment) -> _Carried:
    return segment.container, tuple(scan.codec for scan in segment.streams)


def _shown(carried: _Carried) -> str:
    container, codecs = carried
    return f"{' and '.join(codecs)} in {container}"

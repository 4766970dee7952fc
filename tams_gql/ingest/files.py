"""Ingesting a media file: scan, plan, and store what the catalog does not have yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from tams_gql.ingest.api import Catalog, RegisteredSegment, SegmentDraft
from tams_gql.ingest.bit_rate import bit_rates
from tams_gql.ingest.flows import FlowSpec, close_flow, put_missing
from tams_gql.ingest.initialisation import Initialisations
from tams_gql.ingest.naming import FileNaming, Naming
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.plan import SegmentPlan, StreamPlan, plan_media
from tams_gql.ingest.progress import Observer
from tams_gql.ingest.scan import scan_file
from tams_gql.ingest.segmenter import write_segments
from tams_gql.ingest.upload import Uploader, with_init_object
from tams_gql.model.time import TimeRange


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: segments stored now, segments that were there before, flow ids."""

    stored: int
    known: int
    flow_ids: list[str]


@dataclass(slots=True)
class _Track:
    """One stream on its way into one flow. ``sizes`` are the bytes of its segments by range."""

    plan: StreamPlan
    spec: FlowSpec
    known: dict[TimeRange, RegisteredSegment] = field(default_factory=dict)
    sizes: dict[TimeRange, int] = field(default_factory=dict)

    def missing(self) -> int:
        return sum(segment.timerange not in self.known for segment in self.plan.segments)

    def lengths(self) -> list[tuple[int, int]]:
        """(bytes, nanoseconds) of every segment, in order."""
        found = []
        for segment in self.plan.segments:
            span = segment.timerange
            registered = self.known.get(span)
            size = registered.size if registered else self.sizes.get(span)
            found.append((size or 0, span.end_ns - span.start_ns))
        return found


def ingest_file(
    catalog: Catalog,
    path: Path,
    options: IngestOptions,
    observer: Observer,
    naming: Naming | None = None,
    title: str | None = None,
) -> Outcome:
    """Store ``path``: one flow for each stream, and a multi flow that collects them.

    What is registered already is skipped, so an interrupted run can simply be repeated. ``title``
    is what the observer is told, by default the path. Raises ``UnusableMedia`` for the file's
    faults and the server's errors as they are.
    """
    naming = naming or FileNaming(path, options)
    media = scan_file(path, options.container)
    for remark in media.remarks:
        observer.note(f"{path}: {remark}")
    plans = plan_media(media, options.container, options.duration, options.start_ns)
    specs = naming.name(plans)
    monos, multis = specs[: len(plans)], specs[len(plans) :]
    monos = [_estimated(s, p, options.duration) for s, p in zip(monos, plans, strict=True)]
    specs = [*monos, *multis]
    status = put_missing(catalog, specs)
    tracks = [_Track(plan, spec) for spec, plan in zip(monos, plans, strict=True)]
    for track in tracks:
        track.known = {s.timerange: s for s in catalog.segments(track.spec.id)}
    missing = sum(track.missing() for track in tracks)
    observer.begin(title or str(path), missing)
    if missing:
        _store(catalog, path, tracks, options, observer)
    for track in tracks:
        rates = bit_rates(track.lengths(), options.duration)
        close_flow(catalog, track.spec, status[track.spec.id], rates)
    for spec in multis:
        close_flow(catalog, spec, status[spec.id])
    total = sum(len(plan.segments) for plan in plans)
    return Outcome(missing, total - missing, [spec.id for spec in specs])


def _estimated(spec: FlowSpec, plan: StreamPlan, target: Fraction) -> FlowSpec:
    """The flow with bit rates estimated from the packets, until the segments' own are known."""
    sizes = plan.scan.packets.size
    lengths = [
        (sum(sizes[s.first : s.stop]), s.timerange.end_ns - s.timerange.start_ns)
        for s in plan.segments
    ]
    return replace(spec, rates=bit_rates(lengths, target))


def _store(
    catalog: Catalog,
    path: Path,
    tracks: Sequence[_Track],
    options: IngestOptions,
    observer: Observer,
) -> None:
    by_stream = {track.plan.scan.index: track for track in tracks}

    def wanted(plan: StreamPlan, segment: SegmentPlan) -> bool:
        return segment.timerange not in by_stream[plan.scan.index].known

    def stored(_: SegmentDraft, size: int) -> None:
        observer.stored(1, size)

    plans = [track.plan for track in tracks if track.missing()]
    with (
        TemporaryDirectory(prefix="tams-ingest-") as folder,
        Uploader(catalog, options.concurrency, stored) as uploader,
    ):
        initialisations = Initialisations(catalog)
        for track in tracks:
            uploader.expect(track.spec.id, track.missing())
        written = write_segments(path, plans, options.container, Path(folder), wanted)
        for plan, segment, file in written:
            track = by_stream[plan.scan.index]
            draft = _draft(segment)
            if file.initialisation:
                init = initialisations.object_id(
                    track.spec.id, file.initialisation, audio=not plan.scan.is_video
                )
                draft = with_init_object(draft, init)
            track.sizes[segment.timerange] = file.size
            uploader.add(track.spec.id, file, draft)
        uploader.finish()


def _draft(segment: SegmentPlan) -> SegmentDraft:
    return SegmentDraft(
        timerange=segment.timerange,
        object_timerange=segment.object_timerange,
        ts_offset_ns=segment.ts_offset_ns,
        last_duration_ns=segment.last_duration_ns,
        sample_count=segment.sample_count,
        key_frame_count=segment.key_frame_count,
    )

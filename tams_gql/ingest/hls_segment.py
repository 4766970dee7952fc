"""What an HLS segment contains, read from its own timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tams_gql.ingest.cuts import Part, part_of
from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.essence import JsonObject, VideoEssence
from tams_gql.ingest.hls_source import FetchedSegment
from tams_gql.ingest.plan import sample_count, shown_start
from tams_gql.ingest.scan import StreamScan, scan_file
from tams_gql.ingest.ticks import TS_TIME_BASE, TS_WRAP, nanoseconds, round_half_up
from tams_gql.ingest.transport import shown_url

MPEG_TS = "video/mp2t"
FRAGMENT = "video/iso.segment"
WHOLE_MP4 = "video/mp4"

WRAP_NS = nanoseconds(TS_WRAP, TS_TIME_BASE)
"""How long MPEG-TS counts before it starts again from zero, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class SegmentTimes:
    """The media time of one stream in one segment, in nanoseconds as stored in it.

    ``start_ns`` and ``end_ns`` cover presented samples, ``object_start_ns`` to ``object_end_ns``
    all samples. ``last_ns`` is the last picture. ``tolerance_ns`` is the length of a frame: a
    smaller distance to the next segment is rounding; None where any distance may be normal.
    """

    start_ns: int
    end_ns: int
    last_ns: int
    object_start_ns: int
    object_end_ns: int
    tolerance_ns: int | None


@dataclass(frozen=True, slots=True)
class ScannedSegment:
    """A fetched segment with its streams, video first, and the times of the first stream.

    ``container`` is its media type, ``wraps`` says that its times count modulo 2**33.
    """

    fetched: FetchedSegment
    container: str
    streams: list[StreamScan]
    times: SegmentTimes
    sample_count: int | None
    key_frame_count: int | None

    @property
    def wraps(self) -> bool:
        """Whether times start again from zero after 26.5 hours."""
        return self.container == MPEG_TS


def scan_segment(fetched: FetchedSegment) -> ScannedSegment:
    """Read a segment's streams and times.

    Raises ``UnusableMedia`` when it cannot be read on its own, or is no MPEG-TS and no MP4.
    """
    source = shown_url(fetched.listed.content.uri)
    media = scan_file(fetched.path, None, source)
    container = _container(source, media.format_name, bool(fetched.initialisation))
    parts = [part_of(scan.packets, 0, len(scan.packets)) for scan in media.streams]
    lead, part = media.streams[0], parts[0]
    # Around the wrap FFmpeg moves times; what is stored never exceeds 33 bits.
    moved = part.start // TS_WRAP * TS_WRAP if container == MPEG_TS else 0
    times = _times(lead, part, list(zip(media.streams, parts, strict=True)), moved)
    single = len(media.streams) == 1
    return ScannedSegment(
        fetched=fetched,
        container=container,
        streams=media.streams,
        times=times,
        sample_count=sample_count(lead, part) if single else None,
        key_frame_count=part.keys if lead.is_video else None,
    )


def _container(source: str, format_name: str, has_map: bool) -> str:
    if format_name == "mpegts":
        return MPEG_TS
    if "mp4" in format_name:
        return FRAGMENT if has_map else WHOLE_MP4
    raise UnusableMedia(
        source, f"is {format_name}: only MPEG-TS and MP4 segments can be stored as they are"
    )


def _times(
    lead: StreamScan, part: Part, all_parts: list[tuple[StreamScan, Part]], moved: int
) -> SegmentTimes:
    def ns(scan: StreamScan, ticks: int) -> int:
        return nanoseconds(ticks - moved, scan.time_base)

    first = round_half_up(shown_start(lead, [part]) / lead.time_base)
    essence, end_ns = lead.essence, ns(lead, part.end)
    if isinstance(essence, VideoEssence):
        last_ns, fixed = ns(lead, part.last), essence.frame_rate is not None
    else:
        last_ns, fixed = end_ns - nanoseconds(1, Fraction(1, essence.sample_rate)), True
    return SegmentTimes(
        start_ns=ns(lead, first),
        end_ns=end_ns,
        last_ns=last_ns,
        object_start_ns=min(ns(scan, other.earliest) for scan, other in all_parts),
        object_end_ns=max(ns(scan, other.end) for scan, other in all_parts),
        tolerance_ns=nanoseconds(lead.frame_ticks, lead.time_base) if fixed else None,
    )


def container_mapping(container: str, scans: list[StreamScan], index: int) -> JsonObject:
    """Where stream ``index`` lies in segments that carry several (application note 0006)."""
    scan = scans[index]
    mapping: JsonObject = {
        "trackIndex": scan.index,
        "formatTrackIndex": sum(other.is_video == scan.is_video for other in scans[:index]),
    }
    if container == MPEG_TS:
        mapping["mp2tsContainer"] = {"pid": scan.track}
    else:
        mapping["isobmffContainer"] = {"trackId": scan.track}
    return mapping

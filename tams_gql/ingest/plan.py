"""Where a scanned file is cut, and what each segment says about itself in the catalog.

Rules, all applied to presentation times in whole ticks:

- Video is cut at key frames only, at the one nearest to the target duration. A key frame that
  begins an open GOP (pictures shown before it follow it in the stream and need the GOP before) is
  passed over as long as closed ones come often enough. Where a stream has no others, its segments
  begin at them; the time range then begins with those leading pictures, so that nothing is lost
  or doubled when segments are played in order, and a decoder that starts there shows the key frame
  first. Packets before a stream's first key frame are dropped: nothing can decode them.
- Audio is cut at the first packet that begins at or after each cut of the video; beside the video,
  and without one, every target duration.
- A segment ends where the next begins. Only a gap longer than one frame in a stream of fixed rate
  is left visible, as the end of the last frame (application note 0012).
- Coded samples that are not presented (encoder delay, pictures before an edit list's start) are
  part of the object's time range and not of the segment's.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from tams_gql.ingest.codecs import Container
from tams_gql.ingest.cuts import Part, audio_parts, video_parts
from tams_gql.ingest.essence import AudioEssence, VideoEssence
from tams_gql.ingest.scan import MediaScan, StreamScan
from tams_gql.ingest.ticks import TS_TIME_BASE, TickMap, nanoseconds, round_half_up
from tams_gql.model.time import NS, TimeRange

PCR_LEAD_TICKS: Final = 18_000
"""How far the clock reference of MPEG-TS runs ahead of decoding: 0.2 s."""

_TURN_SECONDS: Final = 90_000
_TURN_TICKS: Final = _TURN_SECONDS * TS_TIME_BASE.denominator
"""Media times in MPEG-TS start again from zero after 25 hours: a whole number of nanoseconds, and
early enough that no segment reaches the end of the 33-bit counter."""


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """One segment: its packets (``first`` up to ``stop``) and its registration.

    ``turn`` ticks are taken off every media time written. ``ts_offset_ns`` is flow time minus
    media time. ``object_timerange`` is on the media's own timeline.
    """

    first: int
    stop: int
    turn: int
    timerange: TimeRange
    object_timerange: TimeRange
    ts_offset_ns: int
    last_duration_ns: int
    sample_count: int | None
    key_frame_count: int | None


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """The segments of one stream; ``ticks`` maps source to media ticks of ``time_base``."""

    scan: StreamScan
    time_base: Fraction
    ticks: TickMap
    segments: list[SegmentPlan]


def plan_media(
    media: MediaScan, container: Container, target: Fraction, start_ns: int
) -> list[StreamPlan]:
    """Plan the segments of every stream on one common timeline.

    ``target`` is the wanted duration in seconds. ``start_ns`` is the place on the timeline of the
    first picture, or of the first sound when there is no video: video frames then lie on a regular
    grid from there, and audio that begins earlier keeps its lead.
    """
    parts = _parts(media, target)
    origin = shown_start(media.streams[0], parts[0])
    lead = _lead(media, origin, container)
    return [
        _plan_stream(scan, stream_parts, container, lead - origin, start_ns - lead * NS)
        for scan, stream_parts in zip(media.streams, parts, strict=True)
    ]


def _parts(media: MediaScan, target: Fraction) -> list[list[Part]]:
    parts = []
    cuts: list[Fraction] = []
    end: Fraction | None = None
    for scan in media.streams:
        if scan.is_video:
            found = video_parts(scan.packets, scan.time_base, target)
            if end is None:
                cuts = [part.start * scan.time_base for part in found]
                end = found[-1].end * scan.time_base
        else:
            found = audio_parts(scan.packets, scan.time_base, target, cuts, end)
        parts.append(found)
    return parts


def shown_start(scan: StreamScan, parts: list[Part]) -> Fraction:
    """Seconds, in source time, at which the first sample that is presented begins."""
    start = parts[0].start * scan.time_base
    if isinstance(scan.essence, AudioEssence) and scan.preroll:
        heard = scan.packets.pts[0] * scan.time_base + _samples(scan.preroll, scan.essence)
        # Less than a tick is the rounding of a coarse time base, not sound cut off.
        return heard if heard - start >= scan.time_base else start
    return start


def _samples(count: int, essence: AudioEssence) -> Fraction:
    return Fraction(count, essence.sample_rate)


def _lead(media: MediaScan, origin: Fraction, container: Container) -> int:
    """Whole seconds of media time before the origin, so that no stored time is negative."""
    room = PCR_LEAD_TICKS * TS_TIME_BASE if container == "ts" else Fraction(0)
    first = min(min(s.packets.dts[0], min(s.packets.pts)) * s.time_base for s in media.streams)
    return max(0, -((first - room - origin) // 1))


def media_time_base(scan: StreamScan, container: Container) -> Fraction:
    """The time base in which ``container`` stores the stream's times.

    FFmpeg's ISO-BMFF muxer counts audio in samples, and doubles a coarse video time scale until
    it has 10,000 units a second.
    """
    if container == "ts":
        return TS_TIME_BASE
    if isinstance(scan.essence, AudioEssence):
        return Fraction(1, scan.essence.sample_rate)
    scale = scan.time_base.denominator
    while scale < 10_000:
        scale *= 2
    return Fraction(1, scale)


def _plan_stream(
    scan: StreamScan, parts: list[Part], container: Container, shift: Fraction, offset_ns: int
) -> StreamPlan:
    time_base = media_time_base(scan, container)
    ticks = TickMap(scan.time_base, time_base, shift)
    starts = [ticks(part.start) for part in parts]
    starts[0] = round_half_up((shown_start(scan, parts) + shift) / time_base)
    segments = []
    for number, part in enumerate(parts):
        shown_end = ticks(part.end)
        if number == len(parts) - 1:
            following = None
            shown_end -= _padding(scan, time_base)
        else:
            following = starts[number + 1]
        stop = _visible_end(scan, shown_end, following, time_base)
        span = (starts[number], stop, ticks(part.last))
        segments.append(_segment(scan, part, span, ticks, offset_ns, container))
    return StreamPlan(scan, time_base, ticks, segments)


def _padding(scan: StreamScan, time_base: Fraction) -> int:
    if isinstance(scan.essence, AudioEssence):
        return round_half_up(_samples(scan.padding, scan.essence) / time_base)
    return 0


def _visible_end(
    scan: StreamScan, shown_end: int, following: int | None, time_base: Fraction
) -> int:
    if following is None:
        return shown_end
    variable = isinstance(scan.essence, VideoEssence) and scan.essence.frame_rate is None
    frame = round_half_up(scan.frame_ticks * scan.time_base / time_base)
    return following if variable or following - shown_end <= frame else shown_end


def _segment(
    scan: StreamScan,
    part: Part,
    span: tuple[int, int, int],
    ticks: TickMap,
    offset_ns: int,
    container: Container,
) -> SegmentPlan:
    """Registration of one part; ``span`` is its start, end and last sample in media ticks."""
    packets = scan.packets
    base = ticks.target
    start, end, last = span
    earliest = min(ticks(packets.dts[part.first]), ticks(part.earliest))
    turn = whole_turns(earliest) if container == "ts" else 0
    ts_offset_ns = offset_ns + nanoseconds(turn, base)
    start_ns, end_ns = nanoseconds(start, base), nanoseconds(end, base)
    object_end_ns = max(end_ns, nanoseconds(ticks(part.end), base))
    turn_ns = nanoseconds(turn, base)
    if isinstance(scan.essence, AudioEssence):
        last_duration_ns = nanoseconds(1, Fraction(1, scan.essence.sample_rate))
    else:
        last_duration_ns = end_ns - nanoseconds(last, base)
    return SegmentPlan(
        first=part.first,
        stop=part.stop,
        turn=turn,
        timerange=TimeRange.between(start_ns + offset_ns, end_ns + offset_ns),
        object_timerange=TimeRange.between(
            nanoseconds(ticks(part.earliest), base) - turn_ns, object_end_ns - turn_ns
        ),
        ts_offset_ns=ts_offset_ns,
        last_duration_ns=last_duration_ns,
        sample_count=sample_count(scan, part),
        key_frame_count=part.keys if scan.is_video else None,
    )


def whole_turns(tick: int) -> int:
    """Ticks to take off MPEG-TS media times of a segment whose earliest time is ``tick``."""
    return (tick - PCR_LEAD_TICKS) // _TURN_TICKS * _TURN_TICKS


def sample_count(scan: StreamScan, part: Part) -> int | None:
    """Pictures, or samples of sound, that are presented; None when the source does not tell."""
    if not isinstance(scan.essence, AudioEssence):
        return part.shown
    rate, size = scan.essence.sample_rate, scan.essence.coded_frame_size
    exact = (scan.time_base * rate).denominator == (scan.time_base * rate).numerator == 1
    if exact:
        count = part.shown_ticks
    elif size is not None:
        count = part.shown * size
    else:
        return None
    packets = scan.packets
    if part.first == 0 and scan.preroll:
        hidden = sum(
            packets.duration[p] if exact else size or 0
            for p in range(part.stop)
            if packets.is_hidden(p)
        )
        count -= max(0, scan.preroll - hidden)
    if part.stop == len(packets):
        count -= scan.padding
    return count

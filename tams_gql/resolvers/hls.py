"""A flow as an HLS media playlist: which segments are in it, and where their timestamps jump.

A segment of a flow becomes one of the playlist, with the URL of its object. What HLS cannot say is
left out and told beside the playlist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import orjson

from tams_gql.context import Context
from tams_gql.loaders.urls import AccessUrl, UrlChoice
from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.model.time import NS, TimeRange
from tams_gql.resolvers.hls_playlist import Entry, playlist_text, target_duration
from tams_gql.resolvers.segments import SegmentFilter, count_segments
from tams_gql.store.records import FlowRecord, ObjectRecord, SegmentRecord
from tams_gql.store.scan import SegmentWindow

DEFAULT_SEGMENTS = 1_000
MAX_SEGMENTS = 10_000
_PORTION = 1_000  # keeps the event loop busy for some hundredths of a second

_FORMATS = frozenset({ContentFormat.VIDEO, ContentFormat.AUDIO, ContentFormat.MULTI})
# RFC 8216, section 3: what each segment is enough for, and what needs an initialisation before.
_COMPLETE = frozenset({"video/mp2t", "audio/aac", "audio/mpeg", "audio/ac3", "audio/eac3"})
_FRAGMENTS = frozenset({"video/mp4", "audio/mp4", "video/iso.segment", "audio/iso.segment"})

_GROWING = frozenset(
    {FlowStatus.AWAITING_CONTENT, FlowStatus.INGESTING, FlowStatus.REPLICATION_IN_PROGRESS}
)
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # of years 1 and 9999
_ROUNDING_NS = NS // 1_000  # less is how containers round their times, not a jump
_RUN_IN_NS = NS // 10  # of an encoder: so much of an object may lie outside its segment


@dataclass(frozen=True, slots=True)
class Manifest:
    """A playlist and what it holds.

    ``target_duration`` is in seconds. ``timerange`` is from the first to the last of its segments,
    ``omitted`` those of the window that are not in it. ``expires`` is when its URLs may begin to
    fail, in microseconds UTC.
    """

    playlist: str
    target_duration: int
    segment_count: int
    timerange: TimeRange
    omitted: tuple[TimeRange, ...]
    ended: bool
    expires: int | None


@dataclass(frozen=True, slots=True)
class HlsRequest:
    """What is asked of a flow. ``clock_at_zero`` is when 0:0 of its timeline was (µs UTC)."""

    window: TimeRange | None
    max_segments: int
    choice: UrlChoice
    clock_at_zero: int | None = None


@dataclass(frozen=True, slots=True)
class _Playable:
    """A segment that can be in a playlist, with its URLs."""

    row: SegmentRecord
    init_id: str | None
    url: AccessUrl
    map_url: AccessUrl | None


def is_playable(flow: FlowRecord) -> bool:
    """Whether HLS has media segments of the flow's container (RFC 8216, section 3)."""
    container = (flow.container or "").lower()
    if flow.format not in _FORMATS:
        return False
    return container in _COMPLETE or (container in _FRAGMENTS and bool(flow.init_segments))


async def manifest(ctx: Context, flow: FlowRecord, asked: HlsRequest) -> Manifest | None:
    """The flow's segments in the window as a playlist; None if HLS cannot play the container.

    Raises ``BadInput`` and ``LimitExceeded`` for what is asked, the latter also if the window has
    more segments than that.
    """
    check_max_segments(asked.max_segments)
    if not is_playable(flow):
        return None
    rows = await _segments(ctx, flow, asked)
    ended = await _has_ended(ctx, flow, asked)
    expires = ctx.services.now_us() + asked.choice.expires_in * 1_000_000
    playable = await _playable(ctx, rows, asked.choice)
    entries = list(_entries(playable, asked.clock_at_zero))
    shown = {found.row.id for found in playable}
    target = target_duration((entry.duration_ns for entry in entries), _intended_ns(flow))
    return Manifest(
        playlist=playlist_text(entries, target=target, ended=ended),
        target_duration=target,
        segment_count=len(entries),
        timerange=_hull([found.row for found in playable]),
        omitted=tuple(
            TimeRange.between(row.start_ns, row.end_ns) for row in rows if row.id not in shown
        ),
        ended=ended,
        expires=expires if any(_expires(found) for found in playable) else None,
    )


def check_max_segments(count: int) -> None:
    """Refuse a bound that is none, or too high."""
    if count < 1:
        raise BadInput(
            f"maxSegments: {count} is not allowed; it must be 1 or more", field="maxSegments"
        )
    if count > MAX_SEGMENTS:
        raise LimitExceeded(
            f"maxSegments: {count:,} is above the limit of {MAX_SEGMENTS:,}",
            field="maxSegments",
            limit=MAX_SEGMENTS,
            requested=count,
        )


async def _segments(ctx: Context, flow: FlowRecord, asked: HlsRequest) -> list[SegmentRecord]:
    chosen = SegmentFilter(asked.window)
    if chosen.is_empty:
        return []
    start, end = chosen.bounds()
    # One more than may be, by which the loader sees that there are too many.
    window = SegmentWindow(flow.id, start, end, limit=asked.max_segments + 1)
    page = await ctx.loaders.segments_by_window.load(window)
    if page.more:
        count = await count_segments(ctx, flow.id, chosen)
        raise LimitExceeded(
            f"maxSegments: the window has {count:,} segments; the limit is"
            f" {asked.max_segments:,}: ask for a smaller window, or for more",
            field="maxSegments",
            limit=asked.max_segments,
            requested=count,
        )
    return page.rows


async def _has_ended(ctx: Context, flow: FlowRecord, asked: HlsRequest) -> bool:
    """Whether nothing more is to come: the flow says so, or it is past the window's end."""
    if flow.status not in _GROWING:
        return True
    window = asked.window
    if window is None or not window.has_end:
        return False
    if window.is_empty:
        return True
    counters = await ctx.loaders.counters_by_flow.load(flow.id)
    end_ns = None if counters is None else counters.max_end_ns
    return end_ns is not None and end_ns >= window.end_ns


async def _playable(
    ctx: Context, rows: Sequence[SegmentRecord], choice: UrlChoice
) -> list[_Playable]:
    """The segments that can be in a playlist.

    Their objects are read and their URLs minted in portions, between which others get their turn.
    """
    found: list[_Playable] = []
    for at in range(0, len(rows), _PORTION):
        found += await _portion(ctx, rows[at : at + _PORTION], choice)
    return found


async def _portion(
    ctx: Context, rows: Sequence[SegmentRecord], choice: UrlChoice
) -> Iterator[_Playable]:
    loaders = ctx.loaders
    ids = list(dict.fromkeys(row.object_id for row in rows))
    found = await loaders.object_by_id.load_many(ids)
    objects = {media.id: media for media in found if media is not None}
    inits = {media.init_object_id for media in objects.values()} - {None}
    keys = [(id, choice) for id in (*ids, *sorted(filter(None, inits)))]
    minted = await loaders.urls_by_object.load_many(keys)
    urls = {id: urls[0] for (id, _), urls in zip(keys, minted, strict=True) if urls}
    return _with_urls(rows, objects, urls)


def _with_urls(
    rows: Iterable[SegmentRecord],
    objects: dict[str, ObjectRecord],
    urls: dict[str, AccessUrl],
) -> Iterator[_Playable]:
    for row in rows:
        media, url = objects.get(row.object_id), urls.get(row.object_id)
        if media is None or url is None or not _uses_all(row, media):
            continue
        init_id = media.init_object_id
        map_url = None if init_id is None else urls.get(init_id)
        if init_id is None or map_url is not None:
            yield _Playable(row, init_id, url, map_url)


def _uses_all(row: SegmentRecord, media: ObjectRecord) -> bool:
    """Whether playing the whole object plays the segment, give or take an encoder's run-in.

    A playlist can cut a segment out of an object by bytes only, and where in its bytes a time is
    the catalog does not know. To play all of it would show what is not on the timeline.
    """
    if row.sample_offset or media.start_ns is None or media.end_ns is None:
        return not row.sample_offset
    before = row.start_ns - row.ts_offset_ns - media.start_ns
    after = media.end_ns - (row.end_ns - row.ts_offset_ns)
    return before <= _RUN_IN_NS and after <= _RUN_IN_NS


def _entries(playable: Iterable[_Playable], clock_at_zero: int | None) -> Iterator[Entry]:
    previous: _Playable | None = None
    for found in playable:
        row = found.row
        yield Entry(
            url=found.url.url,
            duration_ns=row.end_ns - row.start_ns,
            map_url=None if found.map_url is None else found.map_url.url,
            discontinuity=previous is not None and _jumps(previous, found),
            date_us=None if clock_at_zero is None else _date_us(clock_at_zero, row.start_ns),
        )
        previous = found


def _date_us(clock_at_zero: int, at_ns: int) -> int:
    date_us = clock_at_zero + at_ns // 1_000
    if not _FIRST_US <= date_us <= _LAST_US:
        raise BadInput(
            "clockAtZero: the segments would lie outside the years 1 to 9999", field="clockAtZero"
        )
    return date_us


def _jumps(one: _Playable, other: _Playable) -> bool:
    """Whether a segment does not simply go on where the one before ended.

    That is after a gap, where the object's own timestamps jump, and at a new initialisation, which
    mostly means other parameters of the encoding (application note 0024).
    """
    gap = other.row.start_ns - one.row.end_ns
    shift = other.row.ts_offset_ns - one.row.ts_offset_ns
    return gap > _ROUNDING_NS or abs(gap - shift) > _ROUNDING_NS or one.init_id != other.init_id


def _hull(rows: Sequence[SegmentRecord]) -> TimeRange:
    return TimeRange.between(rows[0].start_ns, rows[-1].end_ns) if rows else TimeRange.never()


def _intended_ns(flow: FlowRecord) -> int:
    """The length that segments are meant to have.

    The target duration of a playlist must not change while it grows, nor when it ends (RFC 8216,
    section 6.2.1), so those count that are still to come.
    """
    intended = orjson.loads(flow.body).get("segment_duration")
    if intended is None:
        return 0
    return int(Fraction(intended["numerator"], intended.get("denominator", 1)) * NS)


def _expires(found: _Playable) -> bool:
    return found.url.presigned or (found.map_url is not None and found.map_url.presigned)

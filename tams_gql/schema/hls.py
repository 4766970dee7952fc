"""HLS playlists as GraphQL objects."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.model.time import TimeRange as Range
from tams_gql.resolvers.hls import MAX_SEGMENTS, Manifest
from tams_gql.resolvers.hls_playlist import CONTENT_TYPE
from tams_gql.schema.fields import arg, column
from tams_gql.schema.scalars import DateTime, TimeRange

MaxSegments = Annotated[
    int,
    arg(
        f"Refuse a window that has more segments, with LIMIT_EXCEEDED; 1 to {MAX_SEGMENTS:,}."
        " The cost of the query counts so many."
    ),
]
ClockAtZero = Annotated[
    DateTime | None,
    arg(
        "When 0:0 of the flow's timeline was. With it the playlist has EXT-X-PROGRAM-DATE-TIME;"
        " without it not, because a timeline need not be a clock."
    ),
]

HLS = (
    "Its segments as a media playlist of HTTP Live Streaming (RFC 8216), with URLs that are minted"
    " together; null if HLS has no such container. It plays MPEG-TS, fragmented MP4 with"
    " initialisation objects, and AAC (ADTS), MPEG audio, AC-3 and Enhanced AC-3 as they are."
    " Segments that overlap the window are whole. EXT-X-DISCONTINUITY stands where the timeline"
    " has a gap, where the timestamps in the objects jump, and where another initialisation"
    " object begins."
)


@strawberry.type(description="A media playlist of HTTP Live Streaming (RFC 8216).")
class HlsManifest:
    """What a player needs of a flow."""

    playlist: str = column("The text of the playlist. Whoever has it can read the media.")
    target_duration: int = column("EXT-X-TARGETDURATION: seconds that no segment exceeds, rounded.")
    segment_count: int = column("How many segments are in it.")
    timerange: TimeRange = column("From its first to the end of its last segment; `()` if empty.")
    omitted: list[TimeRange] = column(
        "Segments in the window that are not in it. A segment that uses only a part of its object"
        " (but for a tenth of a second at either end, such as an encoder's run-in) cannot be"
        " expressed: HLS cuts by bytes, and the catalog knows times. Others have no URL."
    )
    ended: bool = column(
        "Whether it is complete (VOD, EXT-X-ENDLIST). That is unless the flow's status says that"
        " more comes; then too if its timeline has come to the end of the window. Otherwise it"
        " is an EVENT: ask for the same window again to see it grow."
    )
    expires: DateTime | None = column(
        "Until when its URLs work at least; null if none of them is presigned."
    )

    @strawberry.field(description="The MIME type of the playlist.")
    def content_type(self) -> str:
        return CONTENT_TYPE


def hls_manifest(found: Manifest | None) -> HlsManifest | None:
    """A playlist as a GraphQL object."""
    if found is None:
        return None
    return HlsManifest(
        playlist=found.playlist,
        target_duration=found.target_duration,
        segment_count=found.segment_count,
        timerange=_text(found.timerange),
        omitted=[_text(timerange) for timerange in found.omitted],
        ended=found.ended,
        expires=None if found.expires is None else DateTime(found.expires),
    )


def _text(timerange: Range) -> TimeRange:
    return TimeRange(timerange.text)

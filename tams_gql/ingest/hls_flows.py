"""The flows of an HLS programme.

A playlist whose segments carry one stream becomes a flow of that stream. Where they carry several,
a multi flow holds the segments, and collects flows without segments of their own that say where
each stream lies (application note 0006). With separate audio, one multi flow collects all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from urllib.parse import unquote, urlsplit

from tams_gql.ingest.flows import FlowSpec, Member, Tags
from tams_gql.ingest.hls_segment import ScannedSegment, container_mapping
from tams_gql.ingest.hls_source import identity_of
from tams_gql.ingest.ids import IdMaker
from tams_gql.ingest.naming import as_text
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.scan import StreamScan
from tams_gql.ingest.transport import shown_url


@dataclass(frozen=True, slots=True)
class PlaylistSample:
    """The first segment of a playlist, with the playlist's name and target duration (seconds)."""

    part: str
    segment: ScannedSegment
    target: Fraction


class HlsNaming:
    """Ids, labels and tags of the flows of one HLS input."""

    def __init__(self, url: str, options: IngestOptions) -> None:
        self._ids = IdMaker(options.namespace, identity_of(url), options.start_ns)
        self._label = as_text(options.label or _label(url))
        self._tags: Tags = {"ingested_by": ["tams-gql"], **_origin(url)}

    def flow_id(self, part: str) -> str:
        """Id of the flow that holds the segments of playlist ``part``, or of ``"all"``."""
        return self._ids.flow_id(part, None, None)

    def specs(self, samples: Sequence[PlaylistSample]) -> list[FlowSpec]:
        """All flows, members before the multi flows that collect them."""
        groups = [self._playlist(sample) for sample in samples]
        if len(groups) == 1:
            return groups[0]
        carriers = [group[-1] for group in groups]
        members = [Member(carrier.id, carrier.role) for carrier in carriers]
        main, *others = groups
        if main[-1].essence is None:
            collected = replace(main[-1], members=[*main[-1].members, *members[1:]])
            return [*main[:-1], *(spec for group in others for spec in group), collected]
        multi = FlowSpec(
            id=self.flow_id("all"),
            source_id=self._ids.source_id("all"),
            label=self._label,
            tags=self._tags,
            members=members,
        )
        return [*(spec for group in groups for spec in group), multi]

    def _playlist(self, sample: PlaylistSample) -> list[FlowSpec]:
        segment = sample.segment
        if len(segment.streams) == 1:
            scan = segment.streams[0]
            return [self._holding(self._mono(sample.part, scan, _kind(scan)), sample)]
        monos, members = [], []
        for index, scan in enumerate(segment.streams):
            kind = _kind(scan)
            number = sum(_kind(other) == kind for other in segment.streams[: index + 1])
            spec = self._mono(f"{sample.part} {kind} {number}", scan, kind)
            mapping = container_mapping(segment.container, segment.streams, index)
            monos.append(spec)
            members.append(Member(spec.id, kind, mapping))
        carrier = FlowSpec(
            id=self.flow_id(sample.part),
            source_id=self._ids.source_id(sample.part),
            label=self._label,
            tags=self._tags,
            members=members,
        )
        return [*monos, self._holding(carrier, sample)]

    def _holding(self, spec: FlowSpec, sample: PlaylistSample) -> FlowSpec:
        return replace(
            spec,
            container=sample.segment.container,
            segment_duration=sample.target,
            init_segments=bool(sample.segment.fetched.initialisation),
        )

    def _mono(self, part: str, scan: StreamScan, kind: str) -> FlowSpec:
        return FlowSpec(
            id=self.flow_id(part),
            source_id=self._ids.source_id(part),
            label=f"{self._label} ({kind})",
            essence=scan.essence,
            role=kind,
            tags=self._tags,
        )


def _kind(scan: StreamScan) -> str:
    return "video" if scan.is_video else "audio"


def _origin(url: str) -> Tags:
    """Where the input came from; paths of this machine are nobody else's business."""
    if urlsplit(url).scheme == "file":
        return {"file_name": [unquote(urlsplit(url).path).rpartition("/")[2]]}
    return {"hls_url": [shown_url(url)]}


def _label(url: str) -> str:
    """A name out of an address: the playlist's own, or its folder's when it says nothing."""
    parts = [part for part in unquote(urlsplit(url).path).split("/") if part]
    name = parts[-1].rpartition(".")[0] if parts else ""
    if name.lower() in ("", "index", "master", "playlist", "stream", "main") and len(parts) > 1:
        return parts[-2]
    return name or urlsplit(url).hostname or "HLS"

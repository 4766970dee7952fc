"""The catalog as ingest sees it: a handful of GraphQL operations with typed answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tams_gql.ingest import documents
from tams_gql.ingest.essence import JsonObject
from tams_gql.ingest.transport import Transport, error_of
from tams_gql.model.errors import Conflict, NotFound, TamsError, Unavailable
from tams_gql.model.time import TimeRange, format_timestamp, parse_timestamp

REGISTER_LIMIT: Final = 1_000
"""Most segments that one ``registerSegments`` takes."""

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class FlowState:
    """A flow that exists already."""

    id: str
    format: str
    codec: str | None
    container: str | None
    status: str | None
    timerange: TimeRange | None


@dataclass(frozen=True, slots=True)
class RegisteredSegment:
    """A segment that the catalog has; ``size`` is that of its object in bytes, if known."""

    object_id: str
    timerange: TimeRange
    ts_offset_ns: int
    size: int | None
    tags: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class InitObject:
    """An initialisation segment in the store, and a URL to read it."""

    id: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Allocation:
    """A place for one new object: send the bytes to ``url`` with exactly these headers."""

    object_id: str
    url: str = field(repr=False)  # signed: whoever has it may write
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SegmentDraft:
    """A segment to register, but for its object id; times in nanoseconds."""

    timerange: TimeRange
    object_timerange: TimeRange
    ts_offset_ns: int
    last_duration_ns: int | None = None
    sample_count: int | None = None
    key_frame_count: int | None = None
    init_object_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_input(self, object_id: str) -> JsonObject:
        """The ``SegmentInput`` of this segment."""
        last = self.last_duration_ns
        fields: JsonObject = {
            "objectId": object_id,
            "timerange": self.timerange.text,
            "objectTimerange": self.object_timerange.text,
            "tsOffset": format_timestamp(self.ts_offset_ns),
            "lastDuration": format_timestamp(last) if last is not None else None,
            "sampleCount": self.sample_count,
            "keyFrameCount": self.key_frame_count,
            "initObjectId": self.init_object_id,
            "tags": [{"name": n, "values": [v]} for n, v in self.tags.items()] or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Catalog:
    """The operations of the public API that ingest needs; each raises the error of its answer."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def _run(self, document: str, **variables: object) -> dict[str, Any]:
        return self.transport.graphql(document, variables)

    def flow(self, flow_id: str) -> FlowState | None:
        """The flow, or None when there is none."""
        found = self._run(documents.FLOW, id=flow_id)["flow"]
        if found is None:
            return None
        timerange = found["timerange"]
        return FlowState(
            id=found["id"],
            format=found["format"],
            codec=found["codec"],
            container=found["container"],
            status=found["status"],
            timerange=TimeRange.parse(timerange) if timerange else None,
        )

    def put_flow(self, flow_input: JsonObject) -> None:
        """Create or replace a flow (a ``PutFlowInput``)."""
        self._run(documents.PUT_FLOW, input=flow_input)

    def patch_flow(self, flow_id: str, **changes: object) -> None:
        """Change some properties of a flow (fields of ``PatchFlowInput``)."""
        self._run(documents.PATCH_FLOW, input={"id": flow_id, **changes})

    def segments(
        self, flow_id: str, window: TimeRange | None = None, *, reverse: bool = False
    ) -> Iterator[RegisteredSegment]:
        """The flow's segments that overlap ``window``, in order of time, page by page."""
        after: str | None = None
        while True:
            flow = self._run(
                documents.SEGMENTS,
                id=flow_id,
                window=window.text if window else None,
                reverse=reverse,
                first=_PAGE,
                after=after,
            )["flow"]
            if flow is None:
                raise NotFound(f"flow {flow_id} does not exist")
            page = flow["segments"]
            yield from map(_segment, page["nodes"])
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def latest_init_object(self, flow_id: str) -> InitObject | None:
        """The initialisation segment that the flow's last segment uses."""
        flow = self._run(documents.INIT_OBJECT, id=flow_id)["flow"]
        for node in flow["segments"]["nodes"] if flow else ():
            found = node["object"]["initObject"]
            if found is not None:
                urls = found["getUrls"]
                return InitObject(found["id"], urls[0]["url"] if urls else None)
        return None

    def allocate(
        self, flow_id: str, count: int, content_type: str | None = None
    ) -> list[Allocation]:
        """Places for ``count`` new objects of the flow; the server chooses their ids."""
        request: JsonObject = {"flowId": flow_id, "limit": count}
        if content_type is not None:
            request["contentType"] = content_type
        objects = self._run(documents.ALLOCATE, input=request)["allocateStorage"]["mediaObjects"]
        return [_allocation(found) for found in objects]

    def register(self, flow_id: str, segments: Sequence[tuple[str, SegmentDraft]]) -> None:
        """Register objects (by id) as segments, at most 1,000, in order.

        A segment that is already there with the same time range counts as registered: an answer
        may have been lost. Raises the first error of another kind.
        """
        waiting = list(segments)
        failures = 0
        while waiting:
            refused = self._register_once(flow_id, waiting)
            again = [waiting[index] for index, error in refused if isinstance(error, Unavailable)]
            problems = [error for _, error in refused if isinstance(error, Unavailable)]
            for index, error in refused:
                if isinstance(error, Unavailable):
                    continue
                known = isinstance(error, Conflict) and self._has(flow_id, waiting[index][1])
                if not known:
                    raise error
            failures += 1
            if again:
                self.transport.back_off(failures, problems[0])
            waiting = again

    def _register_once(
        self, flow_id: str, segments: Sequence[tuple[str, SegmentDraft]]
    ) -> list[tuple[int, TamsError]]:
        request = {
            "flowId": flow_id,
            "segments": [draft.to_input(object_id) for object_id, draft in segments],
        }
        try:
            answer = self._run(documents.REGISTER, input=request)["registerSegments"]
        except Conflict as error:
            # A server may refuse the call instead of its items; then each is looked at.
            return [(index, error) for index in range(len(segments))]
        return [
            (result["index"], error_of(result["error"]))
            for result in answer["results"]
            if result["error"] is not None
        ]

    def _has(self, flow_id: str, draft: SegmentDraft) -> bool:
        found = self.segments(flow_id, draft.timerange)
        return any(segment.timerange == draft.timerange for segment in found)

    def delete_segments(self, flow_id: str, covered_by: TimeRange) -> int:
        """Delete the segments that lie wholly inside ``covered_by``; returns how many."""
        request = {"flowId": flow_id, "coveredBy": covered_by.text}
        answer = self._run(documents.DELETE, input=request)["deleteSegments"]
        return int(answer["deletedCount"])


def _segment(node: Mapping[str, Any]) -> RegisteredSegment:
    size = node["object"]["size"]
    return RegisteredSegment(
        object_id=node["objectId"],
        timerange=TimeRange.parse(node["timerange"]),
        ts_offset_ns=parse_timestamp(node["tsOffset"] or "0:0"),
        size=int(size) if size is not None else None,
        tags={tag["name"]: tag["values"] for tag in node["tags"]},
    )


def _allocation(found: Mapping[str, Any]) -> Allocation:
    target = found["putUrl"]
    headers = {header["name"]: header["value"] for header in target["headers"]}
    return Allocation(found["objectId"], target["url"], headers)

"""Inputs of the mutations on segments and their storage."""

from __future__ import annotations

import strawberry

from tams_gql.model.errors import BadInput
from tams_gql.schema.flow_inputs import IDEMPOTENCY_KEY, optional, required
from tams_gql.schema.scalars import MimeType, TimeRange, Timestamp
from tams_gql.schema.tags import TagInput, tags_document


@strawberry.input(description="A copy of an object outside the storage of this service.")
class ExternalUrlInput:
    """An item of the specification's ``get_urls``."""

    url: str = required("An absolute http or https URL that answers GET with the bytes.")
    label: str = required("Tells the copies of an object apart; no storage backend's label.")


@strawberry.input(description="A segment to register.")
class SegmentInput:
    """The specification's ``flow-segment-post``."""

    object_id: strawberry.ID = required("An allocated and uploaded object, or one in use already.")
    timerange: TimeRange = required(
        "Where it lies on the flow's timeline: bounded, its start inclusive."
    )
    ts_offset: Timestamp | None = optional("Segment time minus object time; default 0:0.")
    object_timerange: TimeRange | None = optional(
        "The samples of the whole object on its own timeline, when the segment uses only a part;"
        " default `timerange` less `tsOffset`. Not for objects in use already."
    )
    last_duration: Timestamp | None = optional("From the last sample to the end of the range.")
    sample_offset: int | None = optional("Samples from the object's start (deprecated by TAMS).")
    sample_count: int | None = optional("How many samples (deprecated by TAMS).")
    key_frame_count: int | None = optional("Key frames in the object.")
    init_object_id: strawberry.ID | None = optional(
        "The object that is needed to decode this one; required for flows with `initSegments`."
    )
    get_urls: list[ExternalUrlInput] | None = optional(
        "Copies outside this service; they make an unknown object known. At most 32."
    )
    tags: list[TagInput] | None = optional("At most 64; they belong to the segment.")


@strawberry.input(description="Segments of one flow to register.")
class RegisterSegmentsInput:
    """A registration."""

    flow_id: strawberry.ID = required("The flow.")
    segments: list[SegmentInput] = required("1 to 1,000, in the order they are tried.")
    atomic: bool = optional("All or nothing: the first failing item fails the mutation.", False)
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(description="Storage to allocate for a flow.")
class AllocateStorageInput:
    """The specification's ``flow-storage-post``."""

    flow_id: strawberry.ID = required("A flow that has a container.")
    limit: int | None = optional("How many objects, 1 to 1,000; default 10. Not with `objectIds`.")
    object_ids: list[strawberry.ID] | None = optional("New ids of your own, instead of `limit`.")
    storage_id: strawberry.ID | None = optional("The storage backend; default the service's.")
    content_type: MimeType | None = optional(
        "Only for initialisation objects whose type is not the flow's container."
    )
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(description="Segments to delete.")
class DeleteSegmentsInput:
    """A deletion on a timeline."""

    flow_id: strawberry.ID = required("The flow.")
    covered_by: TimeRange | None = optional(
        "Only segments wholly inside this range, not those it only touches; default all."
    )
    object_id: strawberry.ID | None = optional("Only segments that use this object.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(description="A flow to delete.")
class DeleteFlowInput:
    """A deletion of a flow."""

    id: strawberry.ID = required("The flow.")
    expected_version: int | None = optional("Refuse with CONFLICT unless at this version.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


_PLAIN = (
    *("object_id", "timerange", "ts_offset", "object_timerange", "last_duration"),
    *("sample_offset", "sample_count", "key_frame_count", "init_object_id"),
)


def segment_document(segment: SegmentInput) -> dict[str, object]:
    """A segment in the specification's JSON. Written out, because batches are large."""
    document: dict[str, object] = {}
    for name in _PLAIN:
        value = getattr(segment, name)
        if value is not None:
            document[name] = value
    if segment.get_urls is not None:
        document["get_urls"] = [{"url": u.url, "label": u.label} for u in segment.get_urls]
    if segment.tags is not None:
        document["tags"] = _tags(segment.tags)
    return document


def _tags(tags: list[TagInput]) -> object:
    try:
        return tags_document(tags, "tags")
    except BadInput:
        # Left for the item's own answer: a document cannot say a name twice.
        return [tag.name for tag in tags]

"""The price list: what each field costs.

The unit is one item of the catalog read and answered. A field of scalar type is free and any other
costs 1 for each object it gives, unless it has a row here. A row named for an interface holds for
the types that implement it; ``Connection`` and ``Edge`` stand for those of every list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tams_gql.resolvers.hls import DEFAULT_SEGMENTS


@dataclass(frozen=True, slots=True)
class Items:
    """As many items as an input asks for.

    Each path leads from an argument's name to a list, whose length counts, or to a number. The
    first that is given decides.
    """

    paths: tuple[str, ...]
    default: int = 0


OF_PARENT: Final = "parent"
"""As many items as the field above has: the page of a connection, the batch of a mutation."""

Size = int | Items | Literal["parent"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a field costs: ``once``, and ``each`` for every item.

    ``size`` is how many items there are: an assumed number where the data decides, or what the
    arguments ask. A field with ``first`` or ``last`` has the size of its page. The size multiplies
    what is selected of the items.
    """

    once: int = 0
    each: int | None = None
    size: Size | None = None


PAGE: Final = Cost(once=1, each=1)
"""A page costs 1 for its look-up and 1 for each item, whether items are selected or not."""

_COMMIT: Final = 10  # a transaction that is on disk before it is answered

WRITE: Final = Cost(once=_COMMIT)
"""A mutation without a row."""

UNKNOWN_SIZE: Final = 10
"""Assumed of a list without a row; a test asks for the row."""

_COUNT: Final = 10  # a count of the whole list
_RANGE: Final = 2  # the ends of a timeline
_COVERAGE: Final = 20  # a look at all segments of a timeline
_FLOWS_OF_SOURCE: Final = 3
_ROW: Final = 1  # a scalar that is in another row, or that is parsed from a document
_URL: Final = 2  # signing

_URLS: Final = Cost(once=_ROW, each=_URL, size=2)
_TAGS: Final = Cost(size=4)
_SEGMENTS_OF_EVENT: Final = Cost(size=20)

FIELD_COSTS: Final[Mapping[str, Cost]] = {
    "Connection.nodes": Cost(each=0, size=OF_PARENT),
    "Connection.edges": Cost(each=0, size=OF_PARENT),
    "Connection.pageInfo": Cost(each=0),
    "Connection.totalCount": Cost(once=_COUNT),
    "Edge.node": Cost(each=0),
    #
    "Query.nodes": Cost(size=Items(("ids",))),
    #
    "Service.storageBackends": Cost(size=4),
    "StorageBackend.tags": _TAGS,
    #
    "Source.tags": _TAGS,
    "Source.collects": Cost(size=10),
    "Source.collectedBy": Cost(size=5),
    "Source.timerange": Cost(once=_FLOWS_OF_SOURCE * _RANGE),
    "Source.coverage": Cost(once=_FLOWS_OF_SOURCE * _COVERAGE),
    #
    "Flow.tags": _TAGS,
    "Flow.vendorParameters": Cost(once=_ROW),
    "Flow.segmentsUpdated": Cost(once=_ROW),
    "Flow.timerange": Cost(once=_RANGE),
    "Flow.coverage": Cost(once=_COVERAGE),
    "Flow.segmentAt": Cost(once=_ROW),
    "Flow.hls": Cost(
        once=_RANGE, each=1 + _URL, size=Items(("maxSegments",), default=DEFAULT_SEGMENTS)
    ),
    "Flow.collection": Cost(size=10),
    "Flow.collectedBy": Cost(size=5),
    #
    "Segment.tags": _TAGS,
    "Segment.objectTimerange": Cost(once=_ROW),
    "Segment.getUrls": _URLS,
    #
    "MediaObject.getUrls": _URLS,
    "MediaObject.instances": Cost(size=2),
    "MediaObject.copyRequests": Cost(once=_ROW, size=2),
    "ObjectInstance.checksums": Cost(each=0, size=2),
    "ObjectInstance.getUrl": Cost(once=_URL),
    "ObjectInstance.headUrl": Cost(once=_URL),
    #
    "Profile.tags": _TAGS,
    #
    "Mutation.deleteFlow": Cost(once=10 * _COMMIT),
    "Mutation.allocateStorage": Cost(
        once=_COMMIT, each=1, size=Items(("input.objectIds", "input.limit"), default=10)
    ),
    "Mutation.registerSegments": Cost(once=_COMMIT, each=2, size=Items(("input.segments",))),
    "Mutation.deleteSegments": Cost(once=10 * _COMMIT),
    "AllocateStoragePayload.mediaObjects": Cost(size=OF_PARENT),
    "StorageAllocation.putUrl": Cost(each=_URL),
    "HttpRequest.headers": Cost(each=0, size=4),
    "RegisterSegmentsPayload.results": Cost(size=OF_PARENT),
    #
    # A subscription pays for one event.
    "SegmentsAdded.segments": _SEGMENTS_OF_EVENT,
    "Event.segments": _SEGMENTS_OF_EVENT,
    #
    # Introspection reads no catalog, but the schema is large.
    "__Schema.types": Cost(size=120),
    "__Schema.directives": Cost(size=8),
    "__Directive.args": Cost(size=2),
    "__Type.fields": Cost(size=10),
    "__Type.inputFields": Cost(size=10),
    "__Type.enumValues": Cost(size=6),
    "__Type.interfaces": Cost(size=2),
    "__Type.possibleTypes": Cost(size=5),
    "__Type.ofType": Cost(each=0),
    "__Field.type": Cost(each=0),
    "__Field.args": Cost(size=3),
    "__InputValue.type": Cost(each=0),
}

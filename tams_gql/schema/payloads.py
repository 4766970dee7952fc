"""What mutations answer."""

from __future__ import annotations

from typing import Any

import strawberry

from tams_gql.model.errors import TamsError
from tams_gql.resolvers.receipts import Registered
from tams_gql.resolvers.registration import Registration
from tams_gql.resolvers.storage import Allocation
from tams_gql.schema.documents import rename_field
from tams_gql.schema.enums import ErrorCode
from tams_gql.schema.fields import column, resolved
from tams_gql.schema.nodes import FLOW
from tams_gql.schema.scalars import DateTime
from tams_gql.schema.segments import Segment
from tams_gql.store.records import FlowRecord

EVENT = "Where the change is in the event log: `after` of a subscription that begins behind it."


@strawberry.type(description="A written flow.")
class PutFlowPayload:
    """The answer of ``putFlow``."""

    row: strawberry.Private[FlowRecord]
    created: bool = column("Whether the flow is new.")
    event: str = column(EVENT)

    @resolved("The flow as it is now.", returns=FLOW)
    def flow(self) -> Any:
        return self.row


@strawberry.type(description="A changed flow.")
class PatchFlowPayload:
    """The answer of ``patchFlow``."""

    row: strawberry.Private[FlowRecord]
    event: str = column(EVENT)

    @resolved("The flow as it is now.", returns=FLOW)
    def flow(self) -> Any:
        return self.row


@strawberry.type(description="A deleted flow.")
class DeleteFlowPayload:
    """The answer of ``deleteFlow``."""

    deleted_flow_id: strawberry.ID = column("The flow that went.")
    deleted_segment_count: int = column("How many segments went with it.")
    source_deleted: bool = column("Whether its source went too, because this was its last flow.")
    event: str = column(EVENT)


@strawberry.type(description="A header to send, exactly as given.")
class HttpHeader:
    """A name and a value."""

    name: str = column("The header's name.")
    value: str = column("The header's value.")


@strawberry.type(description="A request that a client sends itself.")
class HttpRequest:
    """The specification's ``http-request``."""

    url: str = column("Where to.")
    headers: list[HttpHeader] = column("They must be sent as they are.")
    expires: DateTime = column("Until when it works.")


@strawberry.type(description="A place for the bytes of a new object.")
class StorageAllocation:
    """An item of the specification's ``media_objects``."""

    object_id: strawberry.ID = column("The new object.")
    storage_id: strawberry.ID = column("The storage backend.")
    put_url: HttpRequest = column("The PUT request that uploads the bytes.")
    presigned: bool = column("Whether the request carries its own authorisation.")


@strawberry.type(description="Allocated storage.")
class AllocateStoragePayload:
    """The answer of ``allocateStorage``."""

    media_objects: list[StorageAllocation] = column("One place per object, in the order asked.")


@strawberry.type(description="Why one item of a batch failed.")
class ItemError:
    """An expected failure inside a payload."""

    code: ErrorCode = column("The kind of failure.")
    message: str = column("What is wrong, for people.")
    field: str | None = column("The path of the input to blame.")


@strawberry.type(description="The answer to one item: a segment or an error.")
class SegmentResult:
    """One item of a registration."""

    row: strawberry.Private[Registered]
    index: int = column("The item's place in the request, from 0.")

    @resolved("The new segment; null if the item failed.", returns=Segment | None)
    def segment(self) -> Any:
        return self.row.segment

    @resolved("Why the item failed; null if it did not.")
    def error(self) -> ItemError | None:
        return None if self.row.error is None else item_error(self.row.error)


@strawberry.type(description="Registered segments.")
class RegisterSegmentsPayload:
    """The answer of ``registerSegments``."""

    done: strawberry.Private[Registration]
    registered_count: int = column("How many segments were registered.")
    event: str | None = column(f"{EVENT} Null if nothing was registered.")

    @resolved("The flow.", returns=FLOW)
    def flow(self) -> Any:
        return self.done.flow

    @resolved("One answer per item, in the order of the request.")
    def results(self) -> list[SegmentResult]:
        return [SegmentResult(row=row, index=row.index) for row in self.done.results]


@strawberry.type(description="Deleted segments.")
class DeleteSegmentsPayload:
    """The answer of ``deleteSegments``."""

    deleted_count: int = column("How many segments went.")
    event: str = column(EVENT)


def item_error(error: TamsError) -> ItemError:
    """An expected failure as a GraphQL object."""
    return ItemError(code=ErrorCode(error.code), message=error.message, field=error.field)


def registration(done: Registration) -> RegisterSegmentsPayload:
    """The answer to a registration."""
    for result in done.results:
        if result.error is not None:
            rename_field(result.error, "input")
    return RegisterSegmentsPayload(
        done=done,
        registered_count=sum(result.segment is not None for result in done.results),
        event=done.cursor,
    )


def allocation(done: Allocation) -> StorageAllocation:
    """One allocated object."""
    put = done.put
    return StorageAllocation(
        object_id=strawberry.ID(done.object_id),
        storage_id=strawberry.ID(done.storage_id),
        put_url=HttpRequest(
            url=put.url,
            headers=[HttpHeader(name=name, value=value) for name, value in put.headers],
            expires=DateTime(int(put.expires_at.timestamp() * 1_000_000)),
        ),
        presigned=done.presigned,
    )

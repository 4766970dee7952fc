"""What a change of a flow must agree with: its version, mark, profile, source and segments."""

from __future__ import annotations

from collections.abc import Mapping

from tams_gql.context import Context
from tams_gql.model.errors import BadInput, Conflict, ReadOnly
from tams_gql.model.flow import FlowBody
from tams_gql.model.ids import is_same_container
from tams_gql.model.technical import TECHNICAL_KEYS
from tams_gql.store.changes import Expect
from tams_gql.store.records import FlowRecord, SourceRecord
from tams_gql.store.tables import FLOW_COUNTERS


def check_version(stored: FlowRecord | None, expected: int | None) -> None:
    """``Conflict`` unless the flow has the version that the client expects; 0 means no flow."""
    version = 0 if stored is None else stored.version
    if expected is not None and expected != version:
        raise Conflict(
            f"expectedVersion: {expected} is stale; the flow has version {version}",
            field="expectedVersion",
            version=version,
        )


def check_profile(stored: FlowRecord, changes: Mapping[str, object]) -> None:
    """``BadInput`` if a change touches what the flow has from its profile."""
    # TAMS 8.2, PUT flow: what came from a profile stays until the flow lets go of the profile.
    for key in changes:
        if stored.profile_id is not None and key in TECHNICAL_KEYS:
            raise BadInput(
                f"{key}: flow {stored.id} has it from profile {stored.profile_id}; replace the"
                " flow without the profile to change it",
                field=key,
            )


def check_writable(stored: FlowRecord, flow: FlowBody) -> None:
    """``ReadOnly`` if the flow is, ``BadInput`` if it would change its source or format."""
    # TAMS 8.2, flow `read_only`: everything but the flag itself is refused.
    if stored.read_only:
        raise ReadOnly(f"flow {stored.id} is read-only", field="id")
    if stored.source_id != flow.source_id:
        raise BadInput(
            f"source_id: flow {flow.id} belongs to source {stored.source_id} and cannot move",
            field="source_id",
        )
    if stored.format != flow.format.value:
        raise BadInput(
            f"format: flow {flow.id} is {stored.format} and cannot become {flow.format.value}",
            field="format",
        )


def check_source(flow: FlowBody, source: SourceRecord | None) -> None:
    """``BadInput`` if the flow is of another format than its source."""
    # TAMS 8.2, PUT flow: a flow must be compatible with the other flows of its source.
    if source is not None and source.format != flow.format.value:
        raise BadInput(
            f"format: source {source.id} is {source.format}, so its flow cannot be"
            f" {flow.format.value}",
            field="format",
        )


async def check_segments(ctx: Context, stored: FlowRecord, row: FlowRecord) -> list[Expect]:
    """What must hold at commit so that the segments of the flow still agree with it.

    Objects have the flow's container (TAMS 8.2, ``object_id`` of a new segment), and all or none
    of them need an initialisation object (essence parameter ``init_segments``). So neither changes
    while there are segments: ``Conflict``.
    """
    if not is_same_container(stored.container, row.container):
        field, kept = "container", f"{stored.container}"
    elif bool(stored.init_segments) != bool(row.init_segments):
        field = "essence_parameters.init_segments"
        kept = "with" if stored.init_segments else "without"
        kept += " initialisation objects"
    else:
        return []
    counters = await ctx.loaders.counters_by_flow.load(stored.id)
    if counters is not None and counters.segment_count:
        raise Conflict(
            f"{field}: flow {stored.id} has {counters.segment_count} segments, registered as"
            f" {kept}; delete them first",
            field=field,
        )
    return [Expect(FLOW_COUNTERS, (stored.id,), {"segment_count": 0})]

"""The rules of flow collections: members exist, and no flow contains itself at any depth."""

from __future__ import annotations

from tams_gql.context import Context
from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.model.flow import FlowBody
from tams_gql.store.changes import Expect
from tams_gql.store.records import FlowRecord
from tams_gql.store.tables import FLOWS

_MAX_DESCENDANTS = 10_000


async def check_members(
    ctx: Context, flow: FlowBody, *, field: str
) -> tuple[dict[str, FlowRecord], list[Expect]]:
    """The member flows by id, and what must still hold at commit for the check to be true.

    A change to a collection gives its flow a new version. Expecting the version of every flow below
    this one therefore excludes that someone closes a cycle at the same moment.

    Raises ``BadInput`` for an unknown member or one that contains this flow.
    """
    wanted = [member.id for member in flow.flow_collection]
    found = await ctx.loaders.flow_by_id.load_many(wanted)
    members: dict[str, FlowRecord] = {}
    for index, (flow_id, row) in enumerate(zip(wanted, found, strict=True)):
        if row is None:
            path = f"{field}.{index}.id"
            raise BadInput(f"{path}: there is no flow {flow_id}", field=path)
        members[flow_id] = row
    below = await _descendants(ctx, members, flow.id, field)
    expects = [Expect(FLOWS, (row.id,), {"version": row.version}) for row in below.values()]
    return members, expects


async def _descendants(
    ctx: Context, members: dict[str, FlowRecord], forbidden: str, field: str
) -> dict[str, FlowRecord]:
    seen = dict(members)
    level = list(members)
    while level:
        lists = await ctx.loaders.members_by_flow.load_many(level)
        below = {row.child_id for rows in lists for row in rows}
        if forbidden in below:
            raise BadInput(
                f"{field}: flow {forbidden} would contain itself through its members", field=field
            )
        level = [flow_id for flow_id in below if flow_id not in seen]
        rows = await ctx.loaders.flow_by_id.load_many(level)
        seen |= {row.id: row for row in rows if row is not None}
        if len(seen) > _MAX_DESCENDANTS:
            raise LimitExceeded(
                f"{field}: the collection holds more than {_MAX_DESCENDANTS} flows at all depths",
                field=field,
                limit=_MAX_DESCENDANTS,
            )
    return seen

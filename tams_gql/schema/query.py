"""The root of queries, put together from its nouns."""

from __future__ import annotations

import strawberry

from tams_gql.schema.queries.events import EventQueries
from tams_gql.schema.queries.flows import FlowQueries
from tams_gql.schema.queries.nodes import NodeQueries
from tams_gql.schema.queries.objects import ObjectQueries
from tams_gql.schema.queries.profiles import ProfileQueries
from tams_gql.schema.queries.service import ServiceQueries
from tams_gql.schema.queries.sources import SourceQueries


@strawberry.type(description="Everything that can be read.")
class Query(
    ServiceQueries,
    NodeQueries,
    SourceQueries,
    FlowQueries,
    ObjectQueries,
    ProfileQueries,
    EventQueries,
):
    """The query root."""

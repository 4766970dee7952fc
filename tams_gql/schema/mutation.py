"""The root of mutations, put together from its nouns."""

from __future__ import annotations

import strawberry

from tams_gql.schema.mutations.catalog import CatalogMutations
from tams_gql.schema.mutations.flows import FlowMutations
from tams_gql.schema.mutations.segments import SegmentMutations
from tams_gql.schema.mutations.storage import StorageMutations


@strawberry.type(description="Everything that can be changed.")
class Mutation(FlowMutations, StorageMutations, SegmentMutations, CatalogMutations):
    """The mutation root."""

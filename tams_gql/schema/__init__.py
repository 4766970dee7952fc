"""The public GraphQL API: Strawberry types that translate, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import resources
from typing import Any

import strawberry
from graphql import GraphQLError, GraphQLInputObjectType, GraphQLSchema, Undefined
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

from tams_gql.schema.direct import take_short_ways
from tams_gql.schema.errors import coded
from tams_gql.schema.flows import FLOW_TYPES
from tams_gql.schema.hooks import HookRunner
from tams_gql.schema.limits import Analyses, LimitedOperation, QueryLimits
from tams_gql.schema.mutation import Mutation
from tams_gql.schema.operation_cache import CachedOperations, OperationCache
from tams_gql.schema.query import Query
from tams_gql.schema.scalars import SCALARS
from tams_gql.schema.scope import OperationScope
from tams_gql.schema.subscription import Subscription

__all__ = ["CatalogSchema", "QueryLimits", "build_schema", "committed_sdl", "print_sdl"]


class CatalogSchema(strawberry.Schema):
    """The schema. Errors are logged where they are coded, not a second time here."""

    operation_cache: OperationCache

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        for error in errors:
            logging.getLogger(__name__).debug("operation error: %s", error.message)

    def create_extensions_runner(
        self, execution_context: ExecutionContext, extensions: list[SchemaExtension]
    ) -> HookRunner:
        return HookRunner(execution_context=execution_context, extensions=extensions)

    async def execute(self, *args: Any, **kwargs: Any) -> ExecutionResult:
        """One answer to one query or mutation; subscriptions need ``stream``."""
        kinds = kwargs.get("allowed_operation_types") or OperationType
        kwargs["allowed_operation_types"] = set(kinds) - {OperationType.SUBSCRIPTION}
        result = await super().execute(*args, **kwargs)
        if result.errors:
            result.errors = [coded(error) for error in result.errors]
        return result


def build_schema(limits: QueryLimits | None = None) -> CatalogSchema:
    """The executable schema with its limits."""
    bounds = limits or QueryLimits()
    cache = OperationCache(
        max_bytes=bounds.cache_bytes, max_tokens=bounds.tokens, max_characters=bounds.characters
    )
    analyses: Analyses  # of the schema that they are an extension of
    # The scope comes first: whatever fails inside still releases the operation's snapshot.
    extensions: Sequence[Any] = [
        OperationScope,
        lambda: LimitedOperation(analyses),
        lambda: CachedOperations(cache),
    ]
    schema = CatalogSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=FLOW_TYPES,
        extensions=extensions,
        config=StrawberryConfig(scalar_map=SCALARS),
    )
    _drop_null_defaults(schema._schema)
    take_short_ways(schema._schema)
    schema.operation_cache = cache
    analyses = Analyses(schema._schema, bounds)
    return schema


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Leave ``= null`` out of the SDL: for an optional input it says nothing."""
    for kind in schema.type_map.values():
        fields = getattr(kind, "fields", {})
        inputs = [*fields.values()] if isinstance(kind, GraphQLInputObjectType) else []
        inputs += [arg for f in fields.values() for arg in getattr(f, "args", {}).values()]
        for item in inputs:
            if item.default_value is None:
                item.default_value = Undefined


def print_sdl() -> str:
    """The schema as text, as it is committed beside this file."""
    return build_schema().as_str() + "\n"


def committed_sdl() -> str:
    """The text in ``schema.graphql``."""
    return resources.files(__package__).joinpath("schema.graphql").read_text(encoding="utf-8")

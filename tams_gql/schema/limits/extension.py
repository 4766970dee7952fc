"""The limits in the course of an operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import DocumentNode, GraphQLError
from strawberry.extensions import SchemaExtension

from tams_gql.schema.limits.analysis import Analyses, Asked


class LimitedOperation(SchemaExtension):
    """Refuses what asks for too much, and takes the place of validation.

    What the document alone decides is looked at once and comes first. What variables decide is
    looked at each time, and nothing of it is kept.
    """

    def __init__(self, analyses: Analyses) -> None:
        self._analyses = analyses
        self._asked: Asked | None = None

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if context.graphql_document is not None:
            # The library validates only what has no list of errors yet.
            context.pre_execution_errors = self._errors(context.graphql_document)
        yield

    def _errors(self, document: DocumentNode) -> list[GraphQLError]:
        errors = self._analyses.errors(document)
        if errors:
            return errors
        context = self.execution_context
        variables: Mapping[str, Any] = context.variables or {}
        try:
            self._asked = self._analyses.asked(document, context.operation_name, variables)
            self._analyses.check(self._asked, variables)
        except GraphQLError as refusal:
            return [refusal]
        return []

    def get_results(self) -> dict[str, Any]:
        """What the operation asks, in ``extensions`` of the answer, where the client wants it."""
        asked = self._asked
        if asked is None or not self.execution_context.context.report_cost:
            return {}
        return {
            "cost": {
                "requested": asked.cost,
                "limit": self._analyses.limits.cost,
                "depth": asked.shape.depth,
                "aliases": asked.shape.aliases,
                "rootFields": asked.shape.fields,
            }
        }

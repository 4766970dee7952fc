"""What is known of a document once it was looked at, for as long as the document is kept."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    specified_rules,
    validate,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from tams_gql.schema.limits.bounds import QueryLimits, exceeded
from tams_gql.schema.limits.costing import Costing, Plan
from tams_gql.schema.limits.prices import Prices
from tams_gql.schema.limits.shapes import Measure, Shape, check_inputs, fragments_of

_RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
_SHOWN_ERRORS = 5
"""Each may print a part of the document, so many of them take long."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operation asks with its variables."""

    operation: OperationDefinitionNode
    shape: Shape
    plan: Plan
    cost: int


@dataclass(slots=True)
class _Analysis:
    """The operations of a document and their plans, or what is wrong with the document."""

    shapes: list[tuple[OperationDefinitionNode, Shape]] = field(default_factory=list)
    plans: dict[int, Plan] = field(default_factory=dict)
    errors: list[GraphQLError] = field(default_factory=list)


class Analyses:
    """Looks at the documents of one schema, at each once. Used in the event loop only."""

    def __init__(self, schema: GraphQLSchema, limits: QueryLimits) -> None:
        self.limits = limits
        self._schema = schema
        self._prices = Prices(schema)
        # By identity, because nodes are compared and hashed with everything below them.
        self._known: dict[int, _Analysis] = {}

    def __len__(self) -> int:
        return len(self._known)

    def errors(self, document: DocumentNode) -> list[GraphQLError]:
        """What is wrong with a document whatever its variables are.

        That is one limit that it passes, or else the errors of validation.
        """
        return [*self._of(document).errors]

    def asked(
        self, document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]
    ) -> Asked:
        """What an operation of a document without errors asks with its variables.

        ``variables`` are as they came. Raises the ``GraphQLError`` of the depth of an input.
        """
        check_inputs(variables, self.limits.input_depth)
        analysis = self._of(document)
        operation, shape = _named(analysis, operation_name)
        plan = analysis.plans.get(id(operation))
        if plan is None:
            plan = analysis.plans[id(operation)] = self._plan(document, operation)
        return Asked(operation, shape, plan, plan.cost(variables))

    def check(self, asked: Asked, variables: Mapping[str, Any]) -> None:
        """Raise the ``GraphQLError`` of a page or the whole that is too large."""
        asked.plan.check_pages(variables, self.limits.max_page_size)
        if asked.cost > self.limits.cost:
            raise exceeded("max_query_cost", self.limits.cost, asked.cost, node=asked.operation)

    def _of(self, document: DocumentNode) -> _Analysis:
        key = id(document)
        analysis = self._known.get(key)
        if analysis is None:
            analysis = self._known[key] = _Analysis()
            weakref.finalize(document, self._known.pop, key, None).atexit = False
            try:
                analysis.shapes = Measure(document, self.limits).operations()
            except GraphQLError as refusal:
                analysis.errors = [refusal]
            else:
                analysis.errors = validate(self._schema, document, _RULES, max_errors=_SHOWN_ERRORS)
        return analysis

    def _plan(self, document: DocumentNode, operation: OperationDefinitionNode) -> Plan:
        root = self._schema.get_root_type(operation.operation)
        costing = Costing(self._prices, self.limits, fragments_of(document), operation)
        return costing.plan("" if root is None else root.name)


def _named(analysis: _Analysis, name: str | None) -> tuple[OperationDefinitionNode, Shape]:
    for operation, shape in analysis.shapes:
        if name is None or (operation.name is not None and operation.name.value == name):
            return operation, shape
    raise LookupError(name)

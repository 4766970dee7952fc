"""The cost of any document is what a plain walk through it finds."""

from __future__ import annotations

from typing import Any

from graphql import parse
from hypothesis import event, given, settings

from tams_gql.schema import QueryLimits
from tams_gql.schema.limits.bounds import CEILING
from tams_gql.schema.limits.costing import Costing
from tams_gql.schema.limits.shapes import fragments_of
from tests.schema.documents import documents, variables
from tests.schema.pricing import NaiveCost, prices

LIMITS = QueryLimits()


@settings(max_examples=300)
@given(text=documents(), given_variables=variables())
def test_the_cost_is_what_walking_through_the_document_finds(
    text: str, given_variables: dict[str, Any]
) -> None:
    document = parse(text)
    operation: Any = document.definitions[0]
    costing = Costing(prices(), LIMITS, fragments_of(document), operation)
    plan = costing.plan("Query")
    expected = min(NaiveCost(document, given_variables, LIMITS).cost(), CEILING)
    event(f"a cost of {len(str(expected))} digits, {len(plan.formula)} steps")
    assert plan.cost(given_variables) == expected

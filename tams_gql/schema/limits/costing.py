"""What an operation costs, as a formula over its variables.

The cost of a selection depends on the object it is made on, so an interface is tried as each of its
types and the dearest counts. A selection is priced once for each type of object, however many
fragments lead to it; what fragments repeat counts each time, also where execution would merge it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)

from tams_gql.schema.limits.arguments import (
    Defaults,
    Given,
    Length,
    PageSize,
    amount_of,
    given,
    included,
)
from tams_gql.schema.limits.bounds import QueryLimits, exceeded
from tams_gql.schema.limits.costs import OF_PARENT, Items
from tams_gql.schema.limits.formulas import Amount, Formula, Variables
from tams_gql.schema.limits.prices import Price, Prices


class _Parts(NamedTuple):
    """The cost of a selection: one part as it is, one for each item of the field above."""

    plain: Amount = 0
    per_item: Amount = 0


_FREE = _Parts()


@dataclass(frozen=True, slots=True)
class Plan:
    """The price of one operation, open only in what its variables decide.

    ``pages`` are the paging arguments that may be too large. ``visited`` is the work it took: how
    many nodes of the document were looked at.
    """

    formula: Formula
    total: Amount
    pages: tuple[tuple[str, Given, FieldNode], ...]
    visited: int

    def cost(self, variables: Variables) -> int:
        """The cost with these variables, as they came from the client."""
        return self.formula.value(self.total, variables)

    def check_pages(self, variables: Variables, limit: int) -> None:
        """Raise the ``GraphQLError`` of the first page that is larger than ``limit`` items."""
        for argument, size, field in self.pages:
            asked = size.value(variables)
            if asked is not None and asked > limit:
                raise exceeded("max_page_size", limit, asked, field=argument, node=field)


class Costing:
    """Prices one operation."""

    def __init__(
        self,
        prices: Prices,
        limits: QueryLimits,
        fragments: Mapping[str, FragmentDefinitionNode],
        operation: OperationDefinitionNode,
    ) -> None:
        self._prices = prices
        self._limits = limits
        self._fragments = fragments
        self._operation = operation
        self._defaults = _defaults(operation)
        self._formula = Formula()
        self._pages: dict[tuple[str, Given], FieldNode] = {}
        self._priced: dict[tuple[int, str], _Parts] = {}
        self._visited = 0

    def plan(self, root_type: str) -> Plan:
        """The operation's plan. What is unknown to the schema is free: validation refuses it."""
        parts = self._of_type(self._operation.selection_set, root_type)
        total = self._formula.plus(parts)
        pages = tuple((*page, field) for page, field in self._pages.items())
        return Plan(self._formula, total, pages, self._visited)

    def _of_type(self, selections: SelectionSetNode, type_name: str) -> _Parts:
        concrete = self._prices.concrete(type_name)
        if len(concrete) == 1:
            return self._of_object(selections, concrete[0])
        parts = [self._of_object(selections, object_type) for object_type in concrete]
        most = self._formula.most
        return _Parts(most(p.plain for p in parts), most(p.per_item for p in parts))

    def _of_object(self, selections: SelectionSetNode, object_type: str) -> _Parts:
        key = (id(selections), object_type)
        parts = self._priced.get(key)
        if parts is None:
            # A fragment that spreads itself adds nothing; validation refuses it.
            self._priced[key] = _FREE
            plain: list[Amount] = []
            per_item: list[Amount] = []
            for node in selections.selections:
                self._visited += 1
                for_node = self._of_selection(node, object_type)
                plain.append(for_node.plain)
                per_item.append(for_node.per_item)
            parts = _Parts(self._formula.plus(plain), self._formula.plus(per_item))
            self._priced[key] = parts
        return parts

    def _of_selection(self, node: SelectionNode, object_type: str) -> _Parts:
        gate = included(node.directives or (), self._defaults, self._formula)
        if gate == 0:
            return _FREE
        if isinstance(node, FieldNode):
            parts = self._of_field(node, object_type)
        else:
            fragment = self._fragment(node)
            if fragment is None or not self._applies(fragment, object_type):
                return _FREE
            parts = self._of_object(fragment.selection_set, object_type)
        times = self._formula.times
        return _Parts(times(gate, parts.plain), times(gate, parts.per_item))

    def _of_field(self, field: FieldNode, object_type: str) -> _Parts:
        price = self._prices.of(object_type, field.name.value)
        if price is None:
            return _FREE
        if price.is_leaf:
            # A type has few fields, but a scalar can be asked for under any number of names.
            return _Parts(max(price.once, int(field.alias is not None)))
        size = self._size(field, price)
        inside = _FREE
        if field.selection_set is not None:
            inside = self._of_type(field.selection_set, price.result)
        plus, times = self._formula.plus, self._formula.times
        if size is None:
            return _Parts(price.once, plus((price.each, *inside)))
        if price.is_list:
            return _Parts(plus((price.once, times(size, plus((price.each, *inside))))))
        items = times(size, plus((price.each, inside.per_item)))
        return _Parts(plus((price.once, items, inside.plain)))

    def _size(self, field: FieldNode, price: Price) -> Amount | None:
        """How many items a field has; None if as many as the field above."""
        size, defaults = price.size, self._defaults
        if price.ends:
            ends = tuple(given(field, (end,), defaults) for end in price.ends)
            self._note_pages(field, zip(price.ends, ends, strict=True))
            return amount_of(PageSize(ends, self._limits.default_page_size), self._formula)
        if isinstance(size, Items):
            places = tuple(given(field, path.split("."), defaults) for path in size.paths)
            return amount_of(Length(places, size.default), self._formula)
        return None if size == OF_PARENT else int(size)

    def _note_pages(self, field: FieldNode, pages: Iterable[tuple[str, Given]]) -> None:
        """Remember the pages that are too large, or may be with some variables."""
        for argument, size in pages:
            if size.variable is not None or (size.count or 0) > self._limits.max_page_size:
                self._pages.setdefault((argument, size), field)

    def _fragment(self, node: SelectionNode) -> FragmentDefinitionNode | InlineFragmentNode | None:
        if isinstance(node, InlineFragmentNode):
            return node
        return self._fragments.get(node.name.value)  # type: ignore[attr-defined]

    def _applies(
        self, fragment: FragmentDefinitionNode | InlineFragmentNode, object_type: str
    ) -> bool:
        condition = fragment.type_condition
        return condition is None or object_type in self._prices.concrete(condition.name.value)


def _defaults(operation: OperationDefinitionNode) -> Defaults:
    """What the operation declares for variables that are left out."""
    return {
        definition.variable.name.value: definition.default_value
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }

"""The price list laid on a schema: what each field of each type costs and how it multiplies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import (
    GraphQLCompositeType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
)

from tams_gql.schema.limits.costs import FIELD_COSTS, PAGE, UNKNOWN_SIZE, WRITE, Cost, Size

_META_FIELDS = ("__schema", "__type", "__typename")
_ENDS = ("first", "last")


@dataclass(frozen=True, slots=True)
class Price:
    """What a field costs. ``ends`` are the arguments that size its page, if it has pages.

    ``row`` is the key of the price list that it comes from; ``sized`` tells whether the size was
    given by the list or the page, or is a guess.
    """

    once: int
    each: int
    size: Size
    ends: tuple[str, ...]
    is_list: bool
    is_leaf: bool
    result: str
    row: str | None
    sized: bool


class Prices:
    """The prices of a schema's fields, and which types are which."""

    def __init__(self, schema: GraphQLSchema, costs: Mapping[str, Cost] = FIELD_COSTS) -> None:
        self._schema = schema
        self._costs = costs
        self._prices: dict[tuple[str, str], Price] = {}
        self._concrete: dict[str, tuple[str, ...]] = {}
        for kind in schema.type_map.values():
            if isinstance(kind, GraphQLObjectType):
                self._concrete[kind.name] = (kind.name,)
                self._price_fields(kind)
            elif is_abstract_type(kind):
                self._concrete[kind.name] = tuple(t.name for t in schema.get_possible_types(kind))

    def of(self, type_name: str, field_name: str) -> Price | None:
        """The price of a field of an object type; None if there is no such field."""
        return self._prices.get((type_name, field_name))

    def concrete(self, type_name: str) -> tuple[str, ...]:
        """The object types that a type may turn out to be; none if it is no composite type."""
        return self._concrete.get(type_name, ())

    def all(self) -> Iterator[tuple[str, Price]]:
        """Every field as ``Type.field`` with its price."""
        for (type_name, field_name), price in self._prices.items():
            yield f"{type_name}.{field_name}", price

    def _price_fields(self, kind: GraphQLObjectType) -> None:
        names = [*kind.fields, *_META_FIELDS]
        for name in names:
            field = self._schema.get_field(kind, name)
            if field is not None:
                self._prices[kind.name, name] = self._price(kind, name, field)

    def _price(self, kind: GraphQLObjectType, name: str, field: GraphQLField) -> Price:
        result = get_named_type(field.type)
        is_leaf = not is_composite_type(result)
        is_list = is_list_type(get_nullable_type(field.type))
        row = self._row(kind, name)
        ends = () if is_leaf else tuple(end for end in _ENDS if end in field.args)
        cost = self._default(kind, ends) if row is None else self._costs[row]
        guess = UNKNOWN_SIZE if is_list and not is_leaf else 1
        return Price(
            once=cost.once,
            each=int(not is_leaf) if cost.each is None else cost.each,
            size=guess if cost.size is None else cost.size,
            ends=ends,
            is_list=is_list,
            is_leaf=is_leaf,
            result=result.name,
            row=row,
            sized=bool(ends) or cost.size is not None or guess == 1,
        )

    def _default(self, kind: GraphQLObjectType, ends: tuple[str, ...]) -> Cost:
        """The cost of a field without a row."""
        if ends:
            return PAGE
        return WRITE if kind is self._schema.mutation_type else Cost()

    def _row(self, kind: GraphQLObjectType, name: str) -> str | None:
        """The key in the price list: of the type itself, of an interface, of all lists."""
        owners = [kind.name, *(interface.name for interface in kind.interfaces), _role(kind)]
        for owner in owners:
            if f"{owner}.{name}" in self._costs:
                return f"{owner}.{name}"
        return None


def _role(kind: GraphQLCompositeType) -> str:
    """What a type is to Relay's lists."""
    fields = kind.fields if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) else {}
    if "pageInfo" in fields:
        return "Connection"
    return "Edge" if {"cursor", "node"} <= fields.keys() else ""

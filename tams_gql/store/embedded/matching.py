"""Combined conditions to SQL.

Two-valued, unlike SQL: a comparison with NULL is not met, and its ``Not`` is. Search terms of three
characters or more go to the trigram index.
"""

from __future__ import annotations

from typing import Any

from tams_gql.store.embedded.conditions import (
    TagShape,
    WhereShape,
    tag_shape,
    tag_text,
    where_clause,
    where_shape,
    where_text,
)
from tams_gql.store.embedded.few_values import hidden
from tams_gql.store.scan import AllOf, Among, AnyOf, Condition, Not, Op, Range, Tagged, Where
from tams_gql.store.tables import Table

# Nested tuples, so that a shape is a key of the cache of texts.
Shape = tuple[Any, ...]

_SHORTEST_TRIGRAM_TERM = 3


def matching_shape(condition: Condition, parameters: list[Any]) -> Shape:
    """The shape of a condition; what fills it is appended to ``parameters``."""
    match condition:
        case Where("search", (Range(Op.CONTAINS, str(term)),)) if _indexed(term):
            quoted = term.replace('"', '""')
            parameters += [f'"{quoted}"', term]
            return ("search",)
        case Where():
            return ("where", where_shape(condition, parameters))
        case Tagged():
            return ("tag", tag_shape(condition, parameters))
        case Among(column, table, select, where, further):
            text, filled = where_clause(where)
            parameters += filled
            inner = None if further is None else matching_shape(further, parameters)
            return ("among", column, table, select, text, inner)
        case Not(inner):
            return ("not", matching_shape(inner, parameters))
        case AllOf(of):
            return ("all", *(matching_shape(c, parameters) for c in of))
        case AnyOf(of):
            return ("any", *(matching_shape(c, parameters) for c in of))


def matching_text(table: Table, shape: Shape) -> str:
    """The SQL of a condition: an expression that is true or not, never NULL where it is negated."""
    kind, rest = shape[0], shape[1:]
    match kind:
        case "search":
            # The index takes some code points for the same: U+FFFE, U+FFFF and U+FFFD.
            # CROSS keeps the order: SQLite would rather ask the index once for every row there is.
            return (
                "(id IN (SELECT r.id FROM search_text t CROSS JOIN search_rows r ON r.row = t.rowid"
                f" WHERE t.text MATCH ? AND r.kind = '{table.name}') AND instr(search, ?) > 0)"
            )
        case "where":
            where: WhereShape = rest[0]
            return where_text(where, hidden(table))
        case "tag":
            tag: TagShape = rest[0]
            return tag_text(table, tag)
        case "among":
            column, other, select, text, inner = rest
            further = "" if inner is None else f" AND {matching_text(other, inner)}"
            return f"{column} IN (SELECT {select} FROM {other.name} WHERE {text}{further})"
        case "not":
            return f"(({matching_text(table, rest[0])}) IS NOT TRUE)"
        case "all":
            return "(" + (" AND ".join(matching_text(table, s) for s in rest) or "1") + ")"
        case _:
            return "(" + (" OR ".join(matching_text(table, s) for s in rest) or "0") + ")"


def _indexed(term: str) -> bool:
    # A query of the index ends at U+0000.
    return len(term) >= _SHORTEST_TRIGRAM_TERM and "\0" not in term

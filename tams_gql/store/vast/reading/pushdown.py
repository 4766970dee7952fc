"""What of a scan the database can filter by itself, and what is left to check on the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tams_gql.store.scan import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    Not,
    Op,
    OrderBy,
    Range,
    Scan,
    Tagged,
    TagOp,
    Where,
)
from tams_gql.store.tables import Table
from tams_gql.store.vast.layout import stored_name
from tams_gql.store.vast.reading.conditions import TAGS, name_text, value_texts


@dataclass(frozen=True, slots=True)
class Filter:
    """``pushed`` holds for every row that ``exact`` and it together let through."""

    pushed: tuple[Where, ...]
    exact: tuple[Condition, ...]  # all of them are still to be checked

    @property
    def condition(self) -> Condition:
        """What is still to be checked, as one condition."""
        return AllOf(self.exact)


def filter_of(scan: Scan) -> Filter:
    """The conditions of a scan. Raises ``ValueError`` if tags are asked for where none are."""
    pushed: list[Where] = list(scan.where)
    exact: list[Condition] = []
    given = [*scan.tags, *(() if scan.matching is None else _conjuncts(scan.matching))]
    for condition in given:
        require_tags(scan.table, condition)
        match condition:
            case Where():
                pushed.append(condition)
            case Tagged():
                pushed += _tag_bounds(condition)
                exact.append(condition)
            case Not(Where(column, (Range() as only,))) if only.op in _OPPOSITE:
                pushed.append(Where(column, _opposite(only)))
            case AnyOf(of) if (united := _united(of)) is not None:
                pushed.append(united)
            case _:
                exact.append(condition)
    return Filter(tuple(pushed), tuple(exact))


def _conjuncts(condition: Condition) -> Iterable[Condition]:
    if isinstance(condition, AllOf):
        for each in condition.of:
            yield from _conjuncts(each)
    else:
        yield condition


def require_tags(table: Table, condition: Condition) -> None:
    """Raise ``ValueError`` if a condition asks for tags of a table without searchable ones."""
    match condition:
        case Tagged() if table.tagged is None:
            raise ValueError(f"{table.name} has no searchable tags")
        case Among(_, inner, _, _, further) if further is not None:
            require_tags(inner, further)
        case Not(inner):
            require_tags(table, inner)
        case AllOf(of) | AnyOf(of):
            for each in of:
                require_tags(table, each)


def _tag_bounds(condition: Tagged) -> list[Where]:
    """What the canonical JSON of tags that meet the condition certainly contains."""
    if condition.op is TagOp.ABSENT or (condition.op is TagOp.ALL and not condition.values):
        return []
    bounds = [Where(TAGS, (Range(Op.CONTAINS, name_text(condition.name)),))]
    if condition.op in (TagOp.IN, TagOp.PREFIX):
        texts = value_texts(condition)
        bounds.append(Where(TAGS, tuple(Range(Op.CONTAINS, text) for text in texts)))
    return bounds


_OPPOSITE = {
    Op.EQ: Op.NE,
    Op.NE: Op.EQ,
    Op.LT: Op.GE,
    Op.LE: Op.GT,
    Op.GT: Op.LE,
    Op.GE: Op.LT,
    Op.IS_NULL: Op.NOT_NULL,
    Op.NOT_NULL: Op.IS_NULL,
}


def _opposite(only: Range) -> tuple[Range, ...]:
    negated = Range(_OPPOSITE[only.op], only.value)
    null_test = only.op in (Op.IS_NULL, Op.NOT_NULL)
    return (negated,) if null_test else (negated, Range(Op.IS_NULL))


def _united(of: tuple[Condition, ...]) -> Where | None:
    """Alternatives on one column as one condition."""
    wheres = [each for each in of if isinstance(each, Where)]
    if len(wheres) < len(of) or len({each.column for each in wheres}) != 1:
        return None
    return Where(wheres[0].column, tuple(bound for each in wheres for bound in each.any_of))


def stored(scan: Scan) -> Scan:
    """The scan with the physical names of its columns."""

    def name(column: str) -> str:
        return stored_name(scan.table, column)

    if all(name(column) == column for column in scan.table.columns):
        return scan
    return replace(
        scan,
        columns=tuple(name(column) for column in scan.columns),
        where=tuple(Where(name(w.column), w.any_of) for w in scan.where),
        order=tuple(OrderBy(name(o.column), o.descending) for o in scan.order),
        matching=None if scan.matching is None else _stored(scan.table, scan.matching),
    )


def _stored(table: Table, condition: Condition) -> Condition:
    match condition:
        case Where(column, any_of):
            return Where(stored_name(table, column), any_of)
        case Among():
            return replace(condition, column=stored_name(table, condition.column))
        case Not(inner):
            return Not(_stored(table, inner))
        case AllOf(of):
            return AllOf(tuple(_stored(table, each) for each in of))
        case AnyOf(of):
            return AnyOf(tuple(_stored(table, each) for each in of))
        case _:
            return condition

"""How many conditions one filter may have: each is a part of the statement that the store plans."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tams_gql.model.errors import LimitExceeded
from tams_gql.schema.tags import TagFilter

MAX_CONDITIONS = 128


def check_conditions(chosen: Any) -> None:
    """Refuse a filter of too many conditions, those of nested filters counted.

    Raises ``LimitExceeded``; counting stops there, so that a hostile filter costs little.
    """
    count, level = 0, [chosen]
    while level:
        below: list[Any] = []
        for one in level:
            own, nested = _parts(one)
            below += nested
            count += max(own, 1)
            if count > MAX_CONDITIONS:
                raise LimitExceeded(
                    f"filter: more than {MAX_CONDITIONS} conditions, those of nested filters and"
                    " each value of `all` counted",
                    field="filter",
                    limit=MAX_CONDITIONS,
                )
        level = below


def _parts(chosen: Any) -> tuple[int, list[Any]]:
    """How many conditions a filter has itself, and the filters nested in it."""
    own, nested = 0, []
    for field in fields(chosen):
        value = getattr(chosen, field.name)
        match field.name:
            case _ if value is None:
                pass
            case "and_" | "or_":
                nested += value
            case "not_":
                nested.append(value)
            case "tags":
                own += sum(map(_of_tag, value))
            case _:
                own += 1
    return own, nested


def _of_tag(tag: TagFilter) -> int:
    return max(len(tag.all or ()), 1)

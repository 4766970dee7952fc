"""What an operation selects of the field that is being resolved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphql import FieldNode, FragmentSpreadNode, GraphQLResolveInfo, SelectionSetNode

from tams_gql.schema.fields import Info

# What a connection answers without any of its rows.
_WITHOUT_ROWS = frozenset({"totalCount", "__typename"})


def selects_rows(info: Info) -> bool:
    """Whether anything of a connection is selected that needs its rows.

    Directives are not looked at: a field that `@skip` leaves out counts as selected.
    """
    raw: GraphQLResolveInfo[Any] = info._raw_info
    sets = [node.selection_set for node in raw.field_nodes if node.selection_set is not None]
    return any(name not in _WITHOUT_ROWS for name in _field_names(sets, raw.fragments))


def _field_names(sets: list[SelectionSetNode], fragments: Any) -> Iterable[str]:
    # The limits on documents bound the walk, and validation has refused fragments that form a ring.
    while sets:
        for node in sets.pop().selections:
            if isinstance(node, FieldNode):
                yield node.name.value
            elif isinstance(node, FragmentSpreadNode):
                sets.append(fragments[node.name.value].selection_set)
            else:
                sets.append(node.selection_set)  # type: ignore[attr-defined]

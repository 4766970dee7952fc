"""Reading whole lists of the API page by page, in either direction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from tests.gql import Data, GraphQL

Between = Callable[[], Awaitable[None]]
"""What happens after a page has been read and before the next one is."""

_PAGE = "edges { cursor node { id } } nodes { id }"
_INFO = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
_ARGUMENTS = "$first: Int, $after: String, $last: Int, $before: String"
_PAGING = "first: $first, after: $after, last: $last, before: $before"


@dataclass(frozen=True)
class Listing:
    """A list that can be read page by page. ``path`` leads from the data to the connection."""

    query: str
    path: tuple[str, ...]
    key: str = "id"

    async def page(self, gql: GraphQL, variables: Mapping[str, Any]) -> Data:
        """One page."""
        data = await gql.execute(self.query, variables)
        found: Data = reduce(lambda inner, name: inner[name], self.path, data)
        return found

    def keys(self, page: Data) -> list[str]:
        """What tells the items of a page apart."""
        found = [node[self.key] for node in page["nodes"]]
        assert [edge["node"][self.key] for edge in page["edges"]] == found
        ends = [edge["cursor"] for edge in page["edges"]]
        info = page["pageInfo"]
        if ends:
            assert (info["startCursor"], info["endCursor"]) == (ends[0], ends[-1])
        return found

    async def whole(self, gql: GraphQL, variables: Mapping[str, Any]) -> list[str]:
        """All items in one page."""
        page = await self.page(gql, {**variables, "first": 1000})
        found = self.keys(page)
        assert page["pageInfo"]["hasNextPage"] is False
        assert page.get("totalCount", len(found)) == len(found)
        return found

    async def forwards(
        self,
        gql: GraphQL,
        variables: Mapping[str, Any],
        size: int,
        between: Between | None = None,
    ) -> list[str]:
        """All pages laid together. ``between`` may change the list."""
        found: list[str] = []
        asked: dict[str, Any] = {**variables, "first": size, "after": None}
        while True:
            page = await self.page(gql, asked)
            keys, info = self.keys(page), page["pageInfo"]
            assert info["hasPreviousPage"] is (asked["after"] is not None)
            found += keys
            if not info["hasNextPage"]:
                assert between is not None or page.get("totalCount", len(found)) == len(found)
                return found
            assert len(keys) == size
            asked["after"] = info["endCursor"]
            if between is not None:
                await between()

    async def backwards(
        self,
        gql: GraphQL,
        variables: Mapping[str, Any],
        size: int,
        between: Between | None = None,
    ) -> list[str]:
        """The same, read from the end."""
        found: list[str] = []
        asked: dict[str, Any] = {**variables, "last": size, "before": None}
        while True:
            page = await self.page(gql, asked)
            keys, info = self.keys(page), page["pageInfo"]
            assert info["hasNextPage"] is (asked["before"] is not None)
            found = keys + found
            if not info["hasPreviousPage"]:
                assert between is not None or page.get("totalCount", len(found)) == len(found)
                return found
            assert len(keys) == size
            asked["before"] = info["startCursor"]
            if between is not None:
                await between()


def _of_root(name: str, filter_type: str, *, order: str = "", search: bool = True) -> Listing:
    declared = [f"$filter: {filter_type}", _ARGUMENTS]
    given = ["filter: $filter", _PAGING]
    if order:
        declared.append(f"$order: {order}")
        given.append("orderBy: $order")
    if search:
        declared.append("$search: String")
        given.append("search: $search")
    query = f"""
    query Page({", ".join(declared)}) {{
      {name}({", ".join(given)}) {{ totalCount {_PAGE} {_INFO} }}
    }}
    """
    return Listing(query, (name,))


FLOWS = _of_root("flows", "FlowFilter", order="FlowOrder")
SOURCES = _of_root("sources", "SourceFilter", order="SourceOrder")
OBJECTS = _of_root("objects", "ObjectFilter", search=False)
PROFILES = _of_root("profiles", "ProfileFilter", search=False)

FLOWS_OF_SOURCE = Listing(
    f"""
    query Page($id: ID!, $filter: FlowFilter, $order: FlowOrder, {_ARGUMENTS}) {{
      source(id: $id) {{
        flows(filter: $filter, orderBy: $order, {_PAGING}) {{ totalCount {_PAGE} {_INFO} }}
      }}
    }}
    """,
    ("source", "flows"),
)
SEGMENTS = Listing(
    f"""
    query Page($id: ID!, $window: TimeRange, $objectId: ID, $reverse: Boolean!, {_ARGUMENTS}) {{
      flow(id: $id) {{
        segments(window: $window, objectId: $objectId, reverse: $reverse, {_PAGING}) {{
          totalCount {_PAGE} {_INFO}
        }}
      }}
    }}
    """,
    ("flow", "segments"),
)
REFERENCES = Listing(
    f"""
    query Page($id: ID!, $first: Int, $after: String) {{
      object(id: $id) {{
        references(first: $first, after: $after) {{ totalCount {_PAGE} {_INFO} }}
      }}
    }}
    """,
    ("object", "references"),
)
FLOWS_OF_OBJECT = Listing(
    f"""
    query Page($id: ID!, $filter: FlowFilter, $order: FlowOrder, $first: Int, $after: String) {{
      object(id: $id) {{
        flows(filter: $filter, orderBy: $order, first: $first, after: $after) {{
          totalCount {_PAGE} {_INFO}
        }}
      }}
    }}
    """,
    ("object", "flows"),
)
EVENTS = Listing(
    f"""
    query Page($filter: EventFilter, $first: Int, $after: String) {{
      events(filter: $filter, first: $first, after: $after) {{
        edges {{ cursor node {{ cursor }} }} nodes {{ cursor }} {_INFO}
      }}
    }}
    """,
    ("events",),
    key="cursor",
)

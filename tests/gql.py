"""A client of the GraphQL endpoint, for whatever transport an ``httpx`` client has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

Data = dict[str, Any]
Variables = Mapping[str, object]

GRAPHQL = "/graphql"
FOUND = 200


class GraphQL:
    """Sends operations to one server."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def execute(self, query: str, variables: Variables | None = None) -> Data:
        """The data of an operation that must succeed."""
        answer = await self.answer(query, variables)
        assert "errors" not in answer, answer["errors"]
        data: Data = answer["data"]
        return data

    async def errors(self, query: str, variables: Variables | None = None) -> list[Data]:
        """The errors of an operation that must have some.

        Where in the query they are is left out: it would only restate the query's layout.
        """
        answer = await self.answer(query, variables)
        assert "errors" in answer, answer
        return [without_location(error) for error in answer["errors"]]

    async def answer(self, query: str, variables: Variables | None = None) -> Data:
        """The whole answer to an operation."""
        response = await self.post({"query": query, "variables": variables})
        assert response.status_code == FOUND, response.text
        answer: Data = response.json()
        return answer

    async def post(self, body: object) -> httpx.Response:
        """The response to any JSON."""
        return await self._http.post(GRAPHQL, json=body)


def without_location(error: Data) -> Data:
    """An error of GraphQL without the places in the query."""
    return {key: value for key, value in error.items() if key != "locations"}


def refusal(code: str, message: str, *path: str | int, **details: object) -> Data:
    """An error as ``GraphQL.errors`` gives it: ``path`` is the field's place in the data."""
    error: Data = {"message": message, "extensions": {"code": code, **details}}
    return {**error, "path": list(path)} if path else error

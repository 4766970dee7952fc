"""Clients of subscriptions over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.http.graphql_server import GraphQLServer

EVENTS = "text/event-stream"
PARTS = 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0'


class Events:
    """The events of a stream: pairs of name and data; comments are counted."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()
        self.comments = 0

    def next(self) -> tuple[str, Any]:
        name, data = "", ""
        for line in self._lines:
            field, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments += 1
            elif field in ("event", "event:"):
                name = value
            elif field in ("data", "data:"):
                data = value
            elif not line and name:
                return name, json.loads(data) if data else None
        raise EOFError


class Parts:
    """The bodies of the parts; heartbeats are counted."""

    def __init__(self, answer: httpx.Response) -> None:
        self._bytes = answer.iter_bytes()
        self._read = b""
        self.heartbeats = 0
        assert self._until(b"--graphql\r\n") == b""

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            self._read += next(self._bytes)
        found, _, self._read = self._read.partition(mark)
        return found

    def next(self) -> Any:
        while True:
            head = self._until(b"\r\n")
            if head == b"--graphql--":
                raise EOFError
            assert head == b"Content-Type: application/json; charset=utf-8"
            length = self._until(b"\r\n\r\n")
            body = self._until(b"\r\n--graphql\r\n")
            assert length == b"Content-Length: %d" % len(body)
            if body != b"{}":
                return json.loads(body)
            self.heartbeats += 1


def posted(server: GraphQLServer, accept: str, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    return server.http.stream("POST", "/graphql", json=body, headers={"Accept": accept})


def gotten(server: GraphQLServer, accept: str, query: str, **variables: Any) -> Any:
    params = {"query": query, "variables": json.dumps(variables)}
    return server.http.stream("GET", "/graphql", params=params, headers={"Accept": accept})

"""Operations that run out of time, on a server that is otherwise patient.

With ``request_timeout`` set to a second everything that a test prepares would have to be as quick,
which no machine promises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from starlette.applications import Starlette
from starlette.routing import Route

from tams_gql.context import Context
from tams_gql.http.graphql import GraphQLEndpoint
from tams_gql.http.graphql.operations import Operations


def operations_of(app: Starlette) -> Operations[Context]:
    """What runs the operations of an application."""
    [route] = [r for r in app.routes if isinstance(r, Route) and r.path == "/graphql"]
    endpoint: GraphQLEndpoint[Context] = route.endpoint  # type: ignore[assignment]
    return endpoint._operations


@contextmanager
def impatient(app: Starlette, seconds: int = 1) -> Iterator[None]:
    """Operations that begin meanwhile have no more time than that."""
    operations = operations_of(app)
    limits = operations._limits
    operations._limits = replace(limits, timeout=seconds)
    try:
        yield
    finally:
        operations._limits = limits

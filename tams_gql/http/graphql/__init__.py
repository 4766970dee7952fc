"""GraphQL over HTTP and WebSocket: the transports around the engine.

They follow the GraphQL over HTTP specification, the GraphQL over SSE and over WebSocket protocols,
Apollo's multipart subscriptions and its automatic persisted queries. The engine is given, so
nothing here depends on the library that runs operations.
"""

from __future__ import annotations

from tams_gql.http.graphql.endpoint import GraphQLEndpoint
from tams_gql.http.graphql.limits import OperationLimits, TransportLimits

__all__ = ["GraphQLEndpoint", "OperationLimits", "TransportLimits"]

"""Reading the service."""

from __future__ import annotations

import strawberry

from tams_gql.schema.fields import Info, resolved
from tams_gql.schema.service import Service, service_of


@strawberry.type
class ServiceQueries:
    """The service at the query root."""

    @resolved("This service.")
    def service(self, info: Info) -> Service:
        return service_of(info.context)

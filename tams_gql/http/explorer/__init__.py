"""GraphiQL for browsers, served from files inside this package.

Broadcast networks are closed, so the page and everything it loads come from the server itself.
``scripts/explorer`` builds the files in ``static``; its README says how to renew them.
"""

from __future__ import annotations

from tams_gql.http.explorer.assets import explorer_routes
from tams_gql.http.explorer.page import PAGE_HEADERS, explorer_page

__all__ = ["PAGE_HEADERS", "explorer_page", "explorer_routes"]

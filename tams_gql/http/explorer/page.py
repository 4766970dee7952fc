"""The HTML page of the explorer and the headers it needs."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tams_gql.http.explorer.assets import asset_version

# A browser reads a path that begins with two slashes or backslashes as another host.
_ORIGIN_PATH = re.compile(r"(?:/[A-Za-z0-9._~%-]+)+/?")

_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        # GraphiQL's menus and dialogs add style elements while they are open.
        "style-src 'self' 'unsafe-inline'",
        # The marks under a faulty query are data URLs in GraphiQL's style sheet.
        "img-src 'self' data:",
        # Not every browser counts a WebSocket of the same host as 'self'.
        "connect-src 'self' ws: wss:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

PAGE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        # The page names the version of its files; the endpoint also answers queries by GET.
        "Cache-Control": "no-cache",
        "Vary": "Accept",
    }
)
"""Headers to send with the page."""


def explorer_page(*, graphql_path: str, title: str, default_queries: Sequence[str]) -> str:
    """Return the HTML of GraphiQL for the endpoint at ``graphql_path`` of the page's own origin.

    Its files are expected at ``{graphql_path}/static``: see ``explorer_routes``. Each of
    ``default_queries`` opens in a tab of its own on a first visit; later visits show the tabs that
    the browser remembers. Send it with ``PAGE_HEADERS``.

    Raises:
        ValueError: ``graphql_path`` is not an absolute path of this origin.
    """
    if not _ORIGIN_PATH.fullmatch(graphql_path):
        raise ValueError(f"graphql_path: {graphql_path!r} is not a path such as /graphql")
    config = {"graphqlPath": graphql_path, "title": title, "defaultQueries": [*default_queries]}
    static = html.escape(f"{graphql_path.rstrip('/')}/static/{asset_version()}")
    return f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{html.escape(title)}</title>
    <link rel="icon" type="image/svg+xml" href="{static}/favicon.svg">
    <link rel="stylesheet" href="{static}/explorer.css">
    <script id="explorer-config" type="application/json">{_script_json(config)}</script>
    <script src="{static}/explorer.js" defer></script>
  </head>
  <body>
    <div id="explorer"><p class="explorer-message">Loading the GraphQL explorer…</p></div>
    <noscript><p class="explorer-message">The GraphQL explorer needs JavaScript.</p></noscript>
  </body>
</html>
"""


def _script_json(value: object) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")

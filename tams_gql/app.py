"""The application factory: wires store, media, events and the GraphQL schema together.

``create_app`` is the only way to build the program; tests use it too. Nothing is built at import.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from tams_gql.context import Context, Services
from tams_gql.http.explorer import explorer_page, explorer_routes
from tams_gql.http.explorer.queries import QUERIES
from tams_gql.http.graphql import GraphQLEndpoint, OperationLimits, TransportLimits
from tams_gql.http.health import health_routes
from tams_gql.http.media import media_routes
from tams_gql.http.metrics import metrics_routes
from tams_gql.http.middleware import http_middleware
from tams_gql.media.health import MediaHealth
from tams_gql.media.local import LocalMedia
from tams_gql.media.registry import MediaRegistry
from tams_gql.opening import duties, open_services
from tams_gql.resolvers.worker import keep_working
from tams_gql.schema import QueryLimits, build_schema
from tams_gql.schema.engine import GraphQLEngine
from tams_gql.settings import Settings

GRAPHQL_PATH = "/graphql"
_COST_HEADER = "X-GraphQL-Cost"
_MEDIA_PREFIX = "/media/"

_log = logging.getLogger(__name__)

Refit = Callable[[Services], Services]
"""Changes what the program works with: tests count calls, move the clock, let a part fail."""


class _Running:
    """What exists between start and stop; a request outside that time is a defect of the server."""

    def __init__(self, settings: Settings, refit: Refit | None) -> None:
        self._settings = settings
        self._refit = refit
        self.services: Services | None = None
        self._media_health = MediaHealth(MediaRegistry([]))

    def require(self) -> Services:
        """The services; only asked for while the program runs."""
        if self.services is None:
            raise RuntimeError("the application has not been started")
        return self.services

    def new_context(self, headers: Mapping[str, str]) -> Context:
        """A context for one connection or request."""
        return Context(self.require(), report_cost=headers.get(_COST_HEADER) == "1")

    async def check_store(self) -> None:
        """Raise unless the catalog answers."""
        await self.require().store.check()

    async def check_media(self) -> None:
        """Raise unless a storage backend works."""
        await self._media_health.check()

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Open everything, in order, and close it in the opposite order."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            services = await stack.enter_async_context(open_services(settings))
            local = [media for media in services.media if isinstance(media, LocalMedia)]
            for media in local:
                app.router.routes.extend(media_routes(media))
            await services.feed.start()
            stack.push_async_callback(services.feed.stop)
            self.services = services if self._refit is None else self._refit(services)
            self._media_health = MediaHealth(self.services.media)
            stack.push_async_callback(self._media_health.aclose)
            if settings.background_work:
                await stack.enter_async_context(
                    _background(keep_working(self.services, duties(settings)))
                )
            yield
            self.services = None


def create_app(settings: Settings, refit: Refit | None = None) -> Starlette:
    """The ASGI application. Its lifespan opens the stores; ``TamsError`` if one cannot be.

    ``refit`` is given the services when they are ready, and what it returns is used instead.
    """
    running = _Running(settings, refit)
    schema = build_schema(_query_limits(settings))
    endpoint = GraphQLEndpoint(
        GraphQLEngine(schema, schema.operation_cache),
        running.new_context,
        explorer_html=explorer_page(
            graphql_path=GRAPHQL_PATH,
            title=settings.service_name,
            default_queries=[*QUERIES.values()],
        ),
        limits=_transport_limits(settings),
        allowed_origins=settings.cors_origins,
    )
    app = Starlette(
        routes=[
            Route(GRAPHQL_PATH, endpoint),
            WebSocketRoute(GRAPHQL_PATH, endpoint),
            *explorer_routes(f"{GRAPHQL_PATH}/static"),
            *health_routes({"store": running.check_store, "media": running.check_media}),
            *metrics_routes(),
        ],
        middleware=http_middleware(
            max_request_bytes=settings.max_request_bytes,
            unlimited=(_MEDIA_PREFIX,),
            cors_origins=settings.cors_origins,
        ),
        lifespan=running.lifespan,
    )
    app.state.begin_shutdown = endpoint.begin_shutdown
    return app


@asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_of_failure)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _tell_of_failure(task: asyncio.Task[None]) -> None:
    # Nobody waits for it until the program stops, and what it leaves undone shows only late.
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the background work broke off", exc_info=error)


def _query_limits(settings: Settings) -> QueryLimits:
    return QueryLimits(
        depth=settings.max_query_depth,
        tokens=settings.max_query_tokens,
        characters=settings.max_query_characters,
        definitions=settings.max_query_definitions,
        aliases=settings.max_query_aliases,
        root_fields=settings.max_query_root_fields,
        directives=settings.max_query_directives,
        cost=settings.max_query_cost,
        input_depth=settings.max_input_depth,
        default_page_size=settings.default_page_size,
        max_page_size=settings.max_page_size,
        cache_bytes=settings.operation_cache_bytes,
    )


def _transport_limits(settings: Settings) -> TransportLimits:
    return TransportLimits(
        operations=OperationLimits(
            timeout=settings.request_timeout,
            at_once=settings.max_concurrent_operations,
            waiting=settings.max_waiting_operations,
            subscriptions=settings.max_subscriptions,
            persisted_bytes=settings.persisted_query_bytes,
        ),
        connections=settings.max_websockets,
        operations_per_connection=settings.max_subscriptions_per_connection,
        batch=settings.max_batch_operations,
        heartbeat_seconds=settings.stream_heartbeat,
    )

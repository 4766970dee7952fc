"""What every program that works on the catalog opens: its store and its media.

The server adds the GraphQL schema and HTTP; background workers and commands need neither.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tams_gql import __version__
from tams_gql.context import Limits, ServiceInfo, Services
from tams_gql.events.feed import EventFeed
from tams_gql.media_choice import external_rules, open_media
from tams_gql.resolvers.worker import Duties
from tams_gql.settings import Settings
from tams_gql.store_choice import open_store


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """The catalog store and the media that the settings name; the feed is not started."""
    async with AsyncExitStack() as stack:
        store = await open_store(settings)
        stack.push_async_callback(store.close)
        media = await stack.enter_async_context(open_media(settings, store))
        yield Services(
            store=store,
            media=media,
            feed=EventFeed(store.log, poll_seconds=settings.event_poll_ms / 1000),
            limits=_limits(settings),
            info=ServiceInfo(settings.service_name, settings.service_description, __version__),
            verify_uploads=settings.verify_uploads,
            external=external_rules(settings),
        )


def duties(settings: Settings) -> Duties:
    """What the background work has to do beside jobs."""
    return Duties(settings.event_retention, settings.integrity_checks_per_hour)


def _limits(settings: Settings) -> Limits:
    return Limits(
        default_page_size=settings.default_page_size,
        max_page_size=settings.max_page_size,
        url_lifetime=settings.presign_ttl,
        min_url_lifetime=settings.min_presigned_url_timeout,
        min_object_timeout=settings.min_object_timeout,
        allocation_grace=settings.allocation_grace,
        job_lease=settings.job_lease,
    )

"""The catalog store that the settings choose: opened, migrated and looked at in one place.

The libraries of a store are imported when it is chosen: those of VAST take more than a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from tams_gql.settings import Settings
from tams_gql.store.findings import Finding

if TYPE_CHECKING:
    from tams_gql.store.port import CatalogStore
    from tams_gql.store.vast.config import VastConfig
    from tams_gql.store.vast.store import VastStore


class Versions(NamedTuple):
    """Versions of a catalog's schema; 0 means that there is no catalog yet."""

    found: int
    needed: int


async def open_store(settings: Settings) -> CatalogStore:
    """Open the chosen store, creating the catalog if there is none.

    A SQLite catalog is upgraded as well; one in a cluster is shared with servers that may be older,
    so it is not. Raises ``Unavailable`` if the store cannot be opened as it is.
    """
    if settings.store == "embedded":
        from tams_gql.store.embedded import EmbeddedStore

        return await EmbeddedStore.open(
            settings.catalog_file,
            synchronous=settings.sqlite_synchronous,
            readers=settings.store_readers,
        )
    return await _open_vast(settings)


async def _open_vast(settings: Settings) -> CatalogStore:
    def prepare() -> type[VastStore]:
        from tams_gql.store.vast.store import VastStore

        if versions(settings).found == 0:
            migrate(settings)
        return VastStore

    # In a thread: the import alone would keep the event loop for more than a second.
    store = await asyncio.to_thread(prepare)
    # A little less than the feed's own pause, so that none of its looks comes too early.
    poll_seconds = 0.9 * settings.event_poll_ms / 1000
    return await store.open(vast_config(settings), poll_seconds=poll_seconds)


def versions(settings: Settings) -> Versions:
    """The version of the catalog and the one this program needs; changes nothing. Blocks."""
    if settings.store == "embedded":
        from tams_gql.store import embedded

        return Versions(*embedded.check(settings.catalog_file))
    from tams_gql.store.vast.schema import check
    from tams_gql.store.vast.wire.client import VastClient

    with closing(VastClient(vast_config(settings))) as client:
        return Versions(*check(client))


def migrate(settings: Settings) -> Versions:
    """Create or upgrade the catalog: the version before, and the one it has now. Blocks.

    Raises ``Unavailable`` if it cannot be reached or a newer release wrote it, and OSError if the
    directory of an embedded one cannot be made.
    """
    if settings.store == "embedded":
        from tams_gql.store import embedded

        settings.data_dir.mkdir(parents=True, exist_ok=True)
        return Versions(*embedded.migrate(settings.catalog_file))
    from tams_gql.store.vast.schema import migrate as migrate_vast
    from tams_gql.store.vast.wire.client import VastClient

    with closing(VastClient(vast_config(settings))) as client:
        return Versions(*migrate_vast(client))


def examine(settings: Settings) -> Iterator[Finding]:
    """Check the chosen store, one finding at a time. Blocks."""
    if settings.store == "embedded":
        from tams_gql.store.embedded.doctor import examine as examine_file

        yield from examine_file(settings.catalog_file)
    else:
        from tams_gql.store.vast.probing.doctor import examine as examine_cluster

        yield from examine_cluster(vast_config(settings))


def vast_config(settings: Settings) -> VastConfig:
    """How the cluster is reached. Only for ``store = vast``, whose settings are then complete."""
    from tams_gql.store.vast.config import VastConfig

    bucket = settings.vast_bucket
    access, secret = settings.vast_access_key, settings.vast_secret_key
    if bucket is None or access is None or secret is None:
        raise ValueError("these settings do not choose the VAST store")
    verify = settings.vast_verify_tls
    return VastConfig(
        endpoints=settings.vast_endpoints,
        access_key=access.get_secret_value(),
        secret_key=secret.get_secret_value(),
        bucket=bucket,
        schema=settings.vast_schema,
        timeout_seconds=settings.vast_timeout,
        read_threads=settings.vast_read_threads,
        write_threads=settings.vast_write_threads,
        verify_tls=verify if isinstance(verify, bool) else str(verify),
        isolation=settings.vast_isolation,
        conflicts=settings.vast_conflicts,
        reads=settings.vast_reads,
        plain_queries=settings.vast_plain_queries,
    )

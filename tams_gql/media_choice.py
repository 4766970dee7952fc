"""The storage backends that the settings name: opened and closed in one place."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, cast

from tams_gql.context import utc_now_us
from tams_gql.media.cdn.signer import CdnSigner
from tams_gql.media.external.rules import ExternalRules, host_rule, network_rule
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MediaBackend, StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.media.s3.config import S3BackendConfig, S3BackendSettings, open_s3
from tams_gql.model.errors import BadInput, TamsError, Unavailable
from tams_gql.model.ids import new_id
from tams_gql.resolvers.backends import known_backend
from tams_gql.settings import Settings
from tams_gql.settings_media import LOCAL_LABEL
from tams_gql.store.port import CatalogStore

if TYPE_CHECKING:
    from tams_gql.media.s3.backend import S3Media, UrlAuthoriser


@asynccontextmanager
async def open_media(settings: Settings, store: CatalogStore) -> AsyncIterator[MediaRegistry]:
    """All storage backends of the settings, the local folder first.

    No object store is asked anything yet, so one that is down keeps nobody from starting. One
    without credentials does only if there is no other backend to work with meanwhile.
    Raises BadInput if a backend's configuration cannot work, Unavailable if the only backend has no
    credentials, and OSError if the folder cannot be used.
    """
    async with AsyncExitStack() as stack:
        media: list[MediaBackend] = []
        if settings.local_media:
            media.append(await _local(settings, store))
        for place in range(len(settings.storage_backends)):
            opened = await open_backend(settings, place, store)
            stack.push_async_callback(opened.aclose)
            media.append(opened)
        yield MediaRegistry(media)


def external_rules(settings: Settings) -> ExternalRules:
    """Which copies outside the storage may be read."""
    return ExternalRules(
        hosts=tuple(map(host_rule, settings.external_copy_hosts)),
        networks=tuple(map(network_rule, settings.external_copy_networks)),
        max_bytes=settings.external_copy_max_bytes,
        timeout=settings.external_copy_timeout,
    )


def _default(settings: Settings) -> int | None:
    """Which of the S3 backends is the default; None for the local folder.

    The one that says so, else the local folder, else the first one.
    """
    said = [at for at, backend in enumerate(settings.storage_backends) if backend.default]
    return said[0] if said else None if settings.local_media else 0


async def _local(settings: Settings, store: CatalogStore) -> LocalMedia:
    backend = StorageBackend(
        id=await known_backend(store, LOCAL_LABEL, utc_now_us()),
        label=LOCAL_LABEL,
        default=_default(settings) is None,
    )
    return await asyncio.to_thread(
        LocalMedia,
        settings.data_dir,
        backend=backend,
        public_url=settings.public_url,
        max_object_bytes=settings.max_object_bytes,
        durable=settings.sqlite_synchronous == "full",
    )


async def open_backend(settings: Settings, place: int, store: CatalogStore | None) -> S3Media:
    """One of the buckets; without a catalog to have its id from, only to try it out.

    Raises as ``open_media`` does.
    """
    chosen = settings.storage_backends[place]
    storage_id = chosen.id or new_id()
    if chosen.id is None and store is not None:
        storage_id = await known_backend(store, chosen.label, utc_now_us())
    config: S3BackendConfig = chosen.with_id(storage_id, default=_default(settings) == place)
    others = settings.local_media or len(settings.storage_backends) > 1
    patient = others and store is not None
    try:
        return await open_s3(config, authorise=await _url_signer(chosen), patient=patient)
    except TamsError as error:
        kind = BadInput if isinstance(error, BadInput) else Unavailable
        raise kind(f"storage_backends.{place} ({chosen.label}): {error.message}") from None


async def _url_signer(chosen: S3BackendSettings) -> UrlAuthoriser | CdnSigner | None:
    """What signs the URLs of a CDN, if anything does: built in, or the operator's own function."""
    signer = chosen.url_signer
    if signer is None or chosen.public_base_url is None:
        return None
    if not isinstance(signer, str):
        return await asyncio.to_thread(signer.signer, chosen.public_base_url)
    module, _, name = signer.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"url_signer {signer} cannot be loaded: {error}") from None
    if not callable(found):
        raise BadInput(f"url_signer {signer} is not a function")
    return cast("UrlAuthoriser", found)

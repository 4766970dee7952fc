"""Signed URLs in one batch per tick, from the object rows alone and without any I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from tams_gql.loaders.batch import MAX_BATCH
from tams_gql.loaders.loader import Loader
from tams_gql.media.port import ObjectLocation, ReadMethod, StorageBackend
from tams_gql.media.registry import CannotSign, MediaRegistry, Signed
from tams_gql.store.records import ObjectRecord
from tams_gql.store.scan import Tagged, TagOp


@dataclass(frozen=True, slots=True)
class UrlChoice:
    """Which URLs of an object are wanted. None leaves a filter out; all filters must match.

    ``expires_in`` is in seconds. ``prefer_region`` filters nothing: copies there come first.
    """

    expires_in: int
    labels: frozenset[str] | None = None
    storage_ids: frozenset[str] | None = None
    presigned: bool | None = None
    method: ReadMethod = "GET"
    storage_tags: tuple[Tagged, ...] = ()
    prefer_region: str | None = None


@dataclass(frozen=True, slots=True)
class AccessUrl:
    """One URL of an object. ``backend`` is None for a URL that this service does not control."""

    url: str
    label: str | None
    presigned: bool
    backend: StorageBackend | None


@dataclass(frozen=True, slots=True)
class Instance:
    """Where one copy of an object is: a key in a storage backend, or an uncontrolled URL.

    ``checksums`` are those the backend had at registration: base64 by algorithm.
    """

    storage_id: str | None
    key: str | None
    url: str | None
    label: str | None
    checksums: Mapping[str, str] = field(default_factory=dict, hash=False)


def instances_of(record: ObjectRecord) -> list[Instance]:
    """The instances of an object, in the order in which they were added."""
    found: list[dict[str, Any]] = orjson.loads(record.instances)
    return [
        Instance(
            i.get("storage_id"), i.get("key"), i.get("url"), i.get("label"), i.get("checksums", {})
        )
        for i in found
    ]


def by_preference(
    instances: Sequence[Instance], media: MediaRegistry, region: str | None = None
) -> list[Instance]:
    """The preferred instance first: in the region, then in the default backend, then in the order
    of the backends' configuration; what is no backend of ours comes last."""
    if len(instances) < 2:
        return list(instances)
    places = {backend.backend.id: place for place, backend in enumerate(media)}

    def rank(instance: Instance) -> tuple[bool, bool, int]:
        backend = _backend(instance, media)
        if backend is None:
            return True, True, len(places)
        elsewhere = region is not None and backend.region != region
        return elsewhere, not backend.default, places[backend.id]

    return sorted(instances, key=rank)


UrlKey = tuple[str, UrlChoice]


def urls_by_object(
    objects: Loader[str, ObjectRecord | None], media: MediaRegistry
) -> Loader[UrlKey, list[AccessUrl]]:
    """The chosen URLs by object id; none for an unknown object.

    Those of a storage backend that cannot sign now are left out. Where no others are left, loading
    that key alone raises CannotSign.
    """

    async def load(keys: list[UrlKey]) -> list[list[AccessUrl]]:
        rows = await objects.load_many([object_id for object_id, _ in keys])
        chosen = [
            [] if row is None else _chosen(instances_of(row), choice, media)
            for row, (_, choice) in zip(rows, keys, strict=True)
        ]
        found = await _minted(chosen, [choice for _, choice in keys], media)
        # The loader raises an error for the key that it is the answer to.
        return cast("list[list[AccessUrl]]", found)

    return Loader(load, max_batch_size=MAX_BATCH)


def _chosen(instances: list[Instance], choice: UrlChoice, media: MediaRegistry) -> list[Instance]:
    wanted = [i for i in instances if _wanted(i, choice, media)]
    return by_preference(wanted, media, choice.prefer_region)


def _wanted(instance: Instance, choice: UrlChoice, media: MediaRegistry) -> bool:
    backend = _backend(instance, media)
    label = instance.label if backend is None else backend.label
    presigned = backend is not None and backend.presigned
    return (
        (choice.labels is None or label in choice.labels)
        and (choice.storage_ids is None or instance.storage_id in choice.storage_ids)
        and (choice.presigned is None or presigned is choice.presigned)
        and all(_tagged(backend, tagged) for tagged in choice.storage_tags)
    )


def _tagged(backend: StorageBackend | None, tagged: Tagged) -> bool:
    """Whether a backend's tags meet a condition; what is no backend has no tags."""
    found = None if backend is None else backend.tags.get(tagged.name)
    if found is None:
        return tagged.op is TagOp.ABSENT
    values = {found} if isinstance(found, str) else set(found)
    match tagged.op:
        case TagOp.EXISTS:
            return True
        case TagOp.ABSENT:
            return False
        case TagOp.IN:
            return not values.isdisjoint(tagged.values)
        case TagOp.ALL:
            return values.issuperset(tagged.values)
        case TagOp.PREFIX:
            return any(value.startswith(tagged.values) for value in values)


def _backend(instance: Instance, media: MediaRegistry) -> StorageBackend | None:
    if instance.storage_id is None:
        return None
    found = media.get(instance.storage_id)
    return None if found is None else found.backend


async def _minted(
    chosen: list[list[Instance]], choices: Sequence[UrlChoice], media: MediaRegistry
) -> list[list[AccessUrl] | CannotSign]:
    """Sign everything that shares a method and a life span in one call."""
    signed: dict[tuple[int, int], Signed] = {}
    for kind in {(choice.method, choice.expires_in) for choice in choices}:
        places, locations = [], []
        for at, (instances, choice) in enumerate(zip(chosen, choices, strict=True)):
            if (choice.method, choice.expires_in) != kind:
                continue
            for nth, instance in enumerate(instances):
                if instance.storage_id is not None and instance.key is not None:
                    places.append((at, nth))
                    locations.append(ObjectLocation(instance.storage_id, instance.key))
        method, expires_in = kind
        urls = await media.sign_get(locations, expires_in=expires_in, method=method)
        signed.update(zip(places, urls, strict=True))
    return [
        _accesses([(each, signed.get((at, nth))) for nth, each in enumerate(instances)], media)
        for at, instances in enumerate(chosen)
    ]


def _accesses(
    found: Sequence[tuple[Instance, Signed]], media: MediaRegistry
) -> list[AccessUrl] | CannotSign:
    """The URLs there are; the first failure if there are none because of it."""
    urls = [_access(instance, signed, media) for instance, signed in found]
    failures = [signed for _, signed in found if isinstance(signed, CannotSign)]
    made = [url for url in urls if url is not None]
    # A new error each time: what is raised in many places gathers the traces of all of them.
    return made if made or not failures else CannotSign(failures[0].message)


def _access(instance: Instance, signed: Signed, media: MediaRegistry) -> AccessUrl | None:
    if instance.url is not None:
        return AccessUrl(instance.url, instance.label, presigned=False, backend=None)
    backend = _backend(instance, media)
    if not isinstance(signed, str) or backend is None:
        return None  # the backend is no longer configured, or cannot sign
    return AccessUrl(signed, backend.label, backend.presigned, backend)

"""Which URLs of an object are chosen, by the tags of the storage backends that hold its copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from tams_gql.loaders.loader import Loader
from tams_gql.loaders.urls import UrlChoice, urls_by_object
from tams_gql.media.port import ReadMethod, StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.store.records import ObjectRecord
from tams_gql.store.scan import Tagged, TagOp

_FAST = "11111111-1111-4111-8111-111111111111"
_SLOW = "22222222-2222-4222-8222-222222222222"


class _Signing:
    """Only what minting needs of a backend."""

    signs_slowly = False

    def __init__(self, backend: StorageBackend) -> None:
        self.backend = backend

    def sign_get(
        self, keys: Sequence[str], *, expires_in: int, method: ReadMethod = "GET"
    ) -> list[str]:
        return [f"https://{self.backend.label}/{key}?{method}&{expires_in}" for key in keys]


_BACKENDS: list[Any] = [
    _Signing(StorageBackend(_FAST, "fast", tags={"tier": "hot", "site": ["north", "south"]})),
    _Signing(StorageBackend(_SLOW, "slow", tags={"tier": "cold"})),
]
_MEDIA = MediaRegistry(_BACKENDS)
_INSTANCES = [
    {"storage_id": _FAST, "key": "k"},
    {"storage_id": _SLOW, "key": "k"},
    {"url": "https://elsewhere/k", "label": "elsewhere"},
]
_ROW = ObjectRecord(
    id="o",
    role="media",
    size=None,
    content_type=None,
    timerange=None,
    start_ns=None,
    end_ns=None,
    init_object_id=None,
    key_frame_count=None,
    instances=orjson.dumps(_INSTANCES).decode(),
    created=0,
    registered=0,
    expires=None,
    allocated_flow_id=None,
    first_flow_id=None,
    ref_count=1,
    orphaned=None,
)


@pytest.mark.parametrize(
    ("condition", "labels"),
    [
        (Tagged("tier", TagOp.EXISTS), ["fast", "slow"]),
        (Tagged("tier", TagOp.ABSENT), ["elsewhere"]),
        (Tagged("tier", TagOp.IN, ("hot", "warm")), ["fast"]),
        (Tagged("site", TagOp.IN, ("south",)), ["fast"]),
        (Tagged("site", TagOp.ALL, ("north", "south")), ["fast"]),
        (Tagged("site", TagOp.ALL, ("north", "west")), []),
        (Tagged("tier", TagOp.PREFIX, ("co",)), ["slow"]),
        (Tagged("site", TagOp.ABSENT), ["slow", "elsewhere"]),
    ],
)
async def test_urls_are_chosen_by_the_tags_of_their_backend(
    condition: Tagged, labels: list[str]
) -> None:
    async def rows(ids: list[str]) -> list[ObjectRecord | None]:
        return [_ROW for _ in ids]

    loader = urls_by_object(Loader(rows), _MEDIA)
    found = await loader.load(("o", UrlChoice(expires_in=60, storage_tags=(condition,))))
    assert [url.label for url in found] == labels


_EAST = "33333333-3333-4333-8333-333333333333"
_WEST = "44444444-4444-4444-8444-444444444444"
_PLACES: list[Any] = [
    _Signing(StorageBackend(_FAST, "fast")),
    _Signing(StorageBackend(_EAST, "east", region="east")),
    _Signing(StorageBackend(_SLOW, "slow", default=True)),
    _Signing(StorageBackend(_WEST, "west", region="west")),
]
_ADDED = [
    {"url": "https://elsewhere/k", "label": "elsewhere"},
    {"storage_id": _WEST, "key": "k"},
    {"storage_id": "55555555-5555-4555-8555-555555555555", "key": "k"},
    {"storage_id": _SLOW, "key": "k"},
    {"url": "https://other/k", "label": "other"},
    {"storage_id": _EAST, "key": "k"},
    {"storage_id": _FAST, "key": "k"},
]


@pytest.mark.parametrize(
    ("choice", "labels"),
    [
        ({}, ["slow", "fast", "east", "west", "elsewhere", "other"]),
        ({"prefer_region": "west"}, ["west", "slow", "fast", "east", "elsewhere", "other"]),
        ({"prefer_region": "none"}, ["slow", "fast", "east", "west", "elsewhere", "other"]),
        ({"prefer_region": "east", "presigned": False}, ["elsewhere", "other"]),
        (
            {"prefer_region": "east", "labels": frozenset(("other", "fast", "east"))},
            ["east", "fast", "other"],
        ),
    ],
)
@pytest.mark.parametrize("instances", [_ADDED, [*_ADDED[:4], *_ADDED[:3:-1]]])
async def test_the_preferred_url_is_first(
    instances: list[dict[str, str]], choice: dict[str, Any], labels: list[str]
) -> None:
    """First the region, then the default, then the configuration, at last what is not ours."""
    row = _ROW._replace(instances=orjson.dumps(instances).decode())

    async def rows(ids: list[str]) -> list[ObjectRecord | None]:
        return [row for _ in ids]

    loader = urls_by_object(Loader(rows), MediaRegistry(_PLACES))
    found = await loader.load(("o", UrlChoice(expires_in=60, **choice)))
    assert [url.label for url in found] == labels

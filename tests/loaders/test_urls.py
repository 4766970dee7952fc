"""Which URLs of an object are chosen, by the tags of the storage backends that hold its copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from aiodataloader import DataLoader

from tams_gql.loaders.urls import UrlChoice, urls_by_object
from tams_gql.media.port import ReadMethod, StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.store.records import ObjectRecord
from tams_gql.store.scan import Tagged, TagOp

_FAST = "11111111-1111-4111-8111-111111111111"
_SLOW = "22222222-2222-4222-8222-222222222222"


class _Signing:
    """Only what minting needs of a backend."""

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

    loader = urls_by_object(DataLoader(rows), _MEDIA)
    found = await loader.load(("o", UrlChoice(expires_in=60, storage_tags=(condition,))))
    assert [url.label for url in found] == labels

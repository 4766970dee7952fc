"""Several backends at once. Two real folders stand for two places."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tams_gql.media.local import LocalMedia
from tams_gql.media.port import ObjectLocation, StorageBackend
from tams_gql.media.registry import MediaRegistry
from tams_gql.model.errors import BadInput, NotFound, Unavailable

NEAR = "2ad06302-a05f-4e74-8b59-a1c4a3bcb7b1"
FAR = "5b143aae-fa75-50b4-9cba-b7c0676dba15"
GONE = "c1f0d4b2-6c44-4b4e-9f0e-4f3f3f0a9a11"


def local(folder: Path, storage_id: str, *, default: bool = False) -> LocalMedia:
    backend = StorageBackend(id=storage_id, label=folder.name, default=default)
    return LocalMedia(
        folder, backend=backend, public_url=f"http://{folder.name}.test", durable=False
    )


@pytest.fixture
def near(tmp_path: Path) -> LocalMedia:
    return local(tmp_path / "near", NEAR, default=True)


@pytest.fixture
def far(tmp_path: Path) -> LocalMedia:
    return local(tmp_path / "far", FAR)


@pytest.fixture
def registry(near: LocalMedia, far: LocalMedia) -> MediaRegistry:
    return MediaRegistry([near, far])


async def bytes_of(body: bytes) -> AsyncIterator[bytes]:
    yield body


def test_backends_are_found_by_id_and_kept_in_order(
    registry: MediaRegistry, near: LocalMedia, far: LocalMedia
) -> None:
    assert list(registry) == [near, far]
    assert len(registry) == 2
    assert registry.get(FAR) is far
    assert registry.get(GONE) is None
    assert registry.default is near


def test_allocation_goes_to_the_named_backend_or_the_default(
    registry: MediaRegistry, near: LocalMedia, far: LocalMedia
) -> None:
    assert registry.for_allocation(FAR) is far
    assert registry.for_allocation(None) is near
    with pytest.raises(BadInput, match=f"'{GONE}' is unknown; there are: {NEAR}, {FAR}"):
        registry.for_allocation(GONE)
    with pytest.raises(BadInput, match=f"no storage backend is the default: name one of {FAR}"):
        MediaRegistry([far]).for_allocation(None)


def test_ambiguous_configurations_are_refused(tmp_path: Path, near: LocalMedia) -> None:
    with pytest.raises(BadInput, match=f"two storage backends have the id {NEAR}"):
        MediaRegistry([near, local(tmp_path / "twin", NEAR)])
    with pytest.raises(BadInput, match="only one storage backend may be the default, not near, b"):
        MediaRegistry([near, local(tmp_path / "b", FAR, default=True)])


async def test_a_page_of_urls_keeps_its_order_over_backends(registry: MediaRegistry) -> None:
    locations = [
        ObjectLocation(FAR, "a"),
        ObjectLocation(GONE, "b"),
        ObjectLocation(NEAR, "c"),
        ObjectLocation(FAR, "d"),
    ]
    urls = await registry.sign_get(locations, expires_in=60)
    assert [url and str(url).partition("?")[0] for url in urls] == [
        "http://far.test/media/a",
        None,
        "http://near.test/media/c",
        "http://far.test/media/d",
    ]
    heads = await registry.sign_get(locations[:1], expires_in=60, method="HEAD")
    assert isinstance(heads[0], str)
    assert "?method=HEAD&" in heads[0]
    assert await registry.sign_get([], expires_in=60) == []


async def test_stat_keeps_its_order_over_backends(
    registry: MediaRegistry, near: LocalMedia, far: LocalMedia
) -> None:
    await near.write("a", bytes_of(b"1"), content_type="video/mp2t")
    await far.write("a", bytes_of(b"22"), content_type="video/mp2t")
    await far.write("b", bytes_of(b"333"), content_type="video/mp2t")
    stats = await registry.stat(
        [
            ObjectLocation(FAR, "b"),
            ObjectLocation(NEAR, "a"),
            ObjectLocation(NEAR, "b"),
            ObjectLocation(FAR, "a"),
        ]
    )
    assert [stat and stat.size for stat in stats] == [3, 1, None, 2]
    with pytest.raises(NotFound, match=f"not configured here: {GONE}"):
        await registry.stat([ObjectLocation(GONE, "a")])


async def test_deleting_touches_nothing_if_one_backend_is_unknown(
    registry: MediaRegistry, near: LocalMedia, far: LocalMedia
) -> None:
    # given
    for media in (near, far):
        await media.write("a", bytes_of(b"1"), content_type="video/mp2t")
    both = [ObjectLocation(NEAR, "a"), ObjectLocation(FAR, "a")]
    # when
    with pytest.raises(NotFound):
        await registry.delete([*both, ObjectLocation(GONE, "a")])
    # then
    assert None not in await registry.stat(both)
    # when
    await registry.delete(both)
    # then
    assert await registry.stat(both) == [None, None]


async def test_the_health_of_each_backend_is_its_own(
    registry: MediaRegistry, tmp_path: Path
) -> None:
    assert await registry.check() == {NEAR: None, FAR: None}
    shutil.rmtree(tmp_path / "far")
    health = await registry.check()
    assert health[NEAR] is None
    assert isinstance(health[FAR], Unavailable)
    assert str(tmp_path) not in str(health[FAR])


async def test_one_backend_that_fails_does_not_stop_the_others(
    registry: MediaRegistry, near: LocalMedia, tmp_path: Path
) -> None:
    # given
    await near.write("a", bytes_of(b"1"), content_type="video/mp2t")
    (tmp_path / "far" / "media" / "objects" / "a.object").mkdir()  # a folder cannot be unlinked
    # when
    with pytest.raises(Unavailable):
        await registry.delete([ObjectLocation(FAR, "a"), ObjectLocation(NEAR, "a")])
    # then
    assert await registry.stat([ObjectLocation(NEAR, "a")]) == [None]


def test_a_backend_id_must_be_a_uuid() -> None:
    with pytest.raises(BadInput, match="not a lower-case UUID"):
        StorageBackend(id="LOCAL", label="local")

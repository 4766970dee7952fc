"""What the embedded change log says of other stores' commits."""

from __future__ import annotations

from pathlib import Path

from tams_gql.store.embedded import EmbeddedStore
from tests.store import build


async def test_a_change_is_told_once(tmp_path: Path) -> None:
    paths = [tmp_path / "catalog.db"] * 2
    store, another = [await EmbeddedStore.open(path, synchronous="normal") for path in paths]
    await store.log.changed()
    for _ in range(3):
        assert not await store.log.changed()
        await another.commit(build.changes(events=[build.event()]))
        assert await store.log.changed()
    await store.close()
    await another.close()

"""The storage backends that this catalog knows."""

from __future__ import annotations

from tams_gql.media.port import StorageBackend
from tams_gql.model.ids import new_id
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.resolvers.documents import to_json_text
from tams_gql.store.changes import ChangeSet, Expect, Insert
from tams_gql.store.port import CatalogStore
from tams_gql.store.records import values
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import SERVICE, STORAGE_BACKENDS


async def known_backend(store: CatalogStore, label: str, now_us: int) -> StorageBackend:
    """The local storage backend with this label, made on the first start.

    Its id lives in the catalog, so that it is the same in every process and after every restart.
    """
    name = f"storage_backend:{label}"

    async def attempt() -> StorageBackend:
        async with store.session() as session:
            (batch,) = await session.scan([Scan(SERVICE, ("value",), where=(eq("name", name),))])
        if batch.num_rows:
            return StorageBackend(id=values(batch.column(0))[0], label=label, default=True)
        made = StorageBackend(id=new_id(), label=label, default=True)
        changes = ChangeSet(now_us, expect=[Expect(SERVICE, (name,), None)])
        changes.insert.append(Insert(SERVICE, SERVICE.columns, ((name, made.id),)))
        row = (made.id, label, to_json_text({"label": label}), now_us)
        changes.insert.append(
            Insert(STORAGE_BACKENDS, STORAGE_BACKENDS.columns, (row,), minted=True)
        )
        await store.commit(changes)
        return made

    return await until_fresh(attempt)

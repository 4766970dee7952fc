"""The storage backends that this catalog knows."""

from __future__ import annotations

from tams_gql.model.ids import new_id
from tams_gql.resolvers.attempts import until_fresh
from tams_gql.resolvers.documents import to_json_text
from tams_gql.store.changes import ChangeSet, Expect, Insert
from tams_gql.store.port import CatalogStore
from tams_gql.store.records import values
from tams_gql.store.scan import Scan, eq
from tams_gql.store.tables import SERVICE, STORAGE_BACKENDS


async def known_backend(store: CatalogStore, label: str, now_us: int) -> str:
    """The id of the storage backend with this label, made on the first start.

    It lives in the catalog, so that it is the same in every process and after every restart.
    """
    name = f"storage_backend:{label}"

    async def attempt() -> str:
        async with store.session() as session:
            (batch,) = await session.scan([Scan(SERVICE, ("value",), where=(eq("name", name),))])
        if batch.num_rows:
            return str(values(batch.column(0))[0])
        made = new_id()
        changes = ChangeSet(now_us, expect=[Expect(SERVICE, (name,), None)])
        changes.insert.append(Insert(SERVICE, SERVICE.columns, ((name, made),)))
        row = (made, label, to_json_text({"label": label}), now_us)
        changes.insert.append(
            Insert(STORAGE_BACKENDS, STORAGE_BACKENDS.columns, (row,), minted=True)
        )
        await store.commit(changes)
        return made

    return await until_fresh(attempt)

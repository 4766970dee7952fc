"""One storage backend cannot sign URLs: what is in the others is still given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tams_gql.media.s3.config import S3BackendSettings
from tams_gql.model.errors import Unavailable
from tams_gql.resolvers.documents import to_json_text
from tams_gql.store.changes import ChangeSet, Update
from tams_gql.store.embedded.reader import EmbeddedSession
from tams_gql.store.scan import Scan
from tams_gql.store.tables import OBJECTS
from tests.catalog import Catalog, quick_settings, running, serving
from tests.gql import refusal
from tests.gql_ws import Refused, connected
from tests.recording import watched
from tests.seed import ALLOCATE, Seed
from tests.waiting import until

SECRET = "the-name-of-a-secret-file"
MESSAGE = "storage backend late cannot sign URLs: the S3 credentials are missing"
SEGMENTS = """
query Segments($id: ID!) { flow(id: $id) { segments(first: 1000) { nodes {
  timerange getUrls { label url } object { getUrls { label } }
} } } }
"""
URLS = SEGMENTS.replace("object { getUrls { label } }", "")
INSTANCES = "query Of($id: ID!) { object(id: $id) { instances { label getUrl headUrl } } }"
ADDED = "subscription { segmentsAdded { segments { objectId getUrls { label } } } }"


def late(tmp_path: Path) -> S3BackendSettings:
    """A bucket whose credentials have not come yet."""
    return S3BackendSettings.model_validate(
        {
            "label": "late",
            "bucket": "late-media",
            "endpoint": "http://127.0.0.1:9",
            "credentials": {
                "kind": "files",
                "access_key_id": tmp_path / SECRET,
                "secret_access_key": tmp_path / SECRET,
            },
        }
    )


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    """The local folder works, the bucket beside it does not."""
    settings = quick_settings(tmp_path / "data", storage_backends=(late(tmp_path),))
    async with running(settings) as catalog:
        yield catalog


async def place(catalog: Catalog, object_id: str, *labels: str) -> None:
    """Let the catalog say that an object has copies there."""
    ids = {media.backend.label: media.backend.id for media in catalog.services.media}
    instances: list[dict[str, Any]] = [{"storage_id": ids[name], "key": name} for name in labels]
    changes = ChangeSet(catalog.services.now_us())
    columns = ("instances",)
    changes.update.append(Update(OBJECTS, columns, ((object_id, to_json_text(instances)),)))
    await catalog.services.store.commit(changes)


async def segments(catalog: Catalog, *places: tuple[str, ...]) -> tuple[str, list[str]]:
    seed = Seed(catalog.gql, catalog.http)
    flow_id = await seed.flow()
    ids = await seed.segments(flow_id, *(f"[{n}:0_{n + 1}:0)" for n in range(len(places))))
    for object_id, labels in zip(ids, places, strict=True):
        await place(catalog, object_id, *labels)
    return flow_id, ids


async def test_a_page_has_the_urls_of_the_backends_that_work(catalog: Catalog) -> None:
    # given
    flow_id, _ = await segments(catalog, ("local",), ("late",), ("late", "local"), ("local",))
    # when
    async with catalog.without_socket() as gql:
        with watched() as calls:
            answer = await gql.answer(SEGMENTS, {"id": flow_id})
    # then
    nodes = answer["data"]["flow"]["segments"]["nodes"]
    found = [[url["label"] for url in node["getUrls"]] for node in nodes]
    assert found == [["local"], [], ["local"], ["local"]]
    assert found == [[url["label"] for url in node["object"]["getUrls"]] for node in nodes]
    # and what is missing is named where it is missing
    errors = [{k: v for k, v in error.items() if k != "locations"} for error in answer["errors"]]
    path = ("flow", "segments", "nodes", 1)
    assert errors == [
        refusal("UNAVAILABLE", MESSAGE, *path, *rest)
        for rest in (("getUrls",), ("object", "getUrls"))
    ]
    assert SECRET not in str(answer)
    # and every backend is asked once
    assert sorted(call for call in calls if call.startswith("sign")) == ["sign 2 GET", "sign 3 GET"]


async def test_a_copy_without_a_url_leaves_the_others_in_peace(catalog: Catalog) -> None:
    _, (object_id,) = await segments(catalog, ("late", "local"))
    answer = await catalog.gql.answer(INSTANCES, {"id": object_id})
    first, second = answer["data"]["object"]["instances"]
    assert (first["label"], second) == ("local", {"label": "late", "getUrl": None, "headUrl": None})
    assert first["getUrl"].startswith("http")
    told = [(error["message"], error["path"][-1]) for error in answer["errors"]]
    assert sorted(told) == [(MESSAGE, "getUrl"), (MESSAGE, "headUrl")]


async def test_a_thousand_missing_urls_are_told_of_a_hundred_times(catalog: Catalog) -> None:
    flow_id, _ = await segments(catalog, *[("late",)] * 150)
    answer = await catalog.gql.answer(URLS, {"id": flow_id})
    assert len(answer["data"]["flow"]["segments"]["nodes"]) == 150
    assert len(answer["errors"]) == 100


async def test_a_catalog_that_cannot_be_read_is_no_object_without_urls(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    flow_id, _ = await segments(catalog, ("local",), ("late",))
    read = EmbeddedSession.scan

    async def failing(session: EmbeddedSession, scans: Sequence[Scan]) -> list[pa.RecordBatch]:
        if any(scan.table is OBJECTS for scan in scans):
            raise Unavailable("the catalog store does not answer")
        return await read(session, scans)

    monkeypatch.setattr(EmbeddedSession, "scan", failing)
    # when
    answer = await catalog.gql.answer(URLS, {"id": flow_id})
    # then
    assert answer["data"] == {"flow": None}
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"UNAVAILABLE"}


async def test_nothing_is_allocated_that_cannot_be_uploaded(catalog: Catalog) -> None:
    flow_id = await Seed(catalog.gql, catalog.http).flow()
    _, media = catalog.services.media
    before = await catalog.dump()
    given = {"flowId": flow_id, "storageId": media.backend.id, "limit": 2}
    (error,) = await catalog.gql.errors(ALLOCATE, {"input": given})
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert await catalog.dump() == before


async def test_subscribers_are_told_once_for_each_event(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path / "data", storage_backends=(late(tmp_path),))
    async with serving(settings) as catalog:
        seed = Seed(catalog.gql, catalog.http)
        _, (broken, sound) = await segments(catalog, ("late",), ("local",))
        other = await seed.flow()
        async with connected(catalog.settings.public_url) as client:
            stream = await client.subscribe(ADDED)
            await until(lambda: catalog.services.feed.subscribers == 1)
            for at, object_id in enumerate((broken, sound)):
                item = {"objectId": object_id, "timerange": f"[{at}:0_{at + 1}:0)"}
                await seed.register(other, [item])
            # The first event has its segment and the error, the second one no error.
            with pytest.raises(Refused) as refused:
                await stream.next()
            added = (await stream.next())["segmentsAdded"]
    path = ("segmentsAdded", "segments", 0, "getUrls")
    assert refused.value.errors == [refusal("UNAVAILABLE", MESSAGE, *path)]
    assert added == {"segments": [{"objectId": sound, "getUrls": [{"label": "local"}]}]}

"""What ``doctor`` finds out about objects and their users."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tams_gql.store.findings import Status
from tams_gql.store.scan import eq
from tams_gql.store.tables import OBJECTS, SEGMENTS
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, USES, physical_of
from tams_gql.store.vast.probing import probe_references
from tams_gql.store.vast.probing.probe_references import references
from tams_gql.store.vast.wire.client import VastClient
from tests.store import build
from tests.store.vast.rivals import open_store
from tests.vast_emulator import Emulator

_OBJECTS, _SEGMENTS = physical_of(OBJECTS), physical_of(SEGMENTS)


@pytest.fixture
async def client(config: VastConfig, client: VastClient) -> VastClient:
    """A catalog of three objects, of which one is used twice and one never."""
    store = await open_store(config)
    await store.commit(
        build.changes(
            *build.flows("f", "g"),
            build.objects("a1", "b2", role="media"),
            build.objects("allocated"),
            add_segments=[
                build.segments("f", [(0, 5)], object_id="a1"),
                build.segments("g", [(7, 9)], object_id="a1"),
            ],
        )
    )
    await store.close()
    return client


def _set_uses(client: VastClient, object_id: str, text: str | None) -> None:
    tx = client.begin()
    found = tx.select(_OBJECTS, (), [eq("id", object_id)], row_ids=True)
    ids = found.column(ROW_ID).combine_chunks()
    texts = pa.array([text], pa.string())
    tx.update(_OBJECTS, pa.record_batch([ids, texts], names=[ROW_ID, USES]))
    tx.commit()


def test_a_sound_catalog(client: VastClient, emulator: Emulator) -> None:
    finding = references(client)
    assert (finding.status, finding.text) == (
        Status.OK,
        "the users of 2 objects are where their rows say",
    )
    assert finding.facts == {"objects": 2, "without": 0}
    assert not emulator.open_transactions()


def test_what_is_not_known_is_told(client: VastClient) -> None:
    _set_uses(client, "a1", None)
    finding = references(client)
    assert (finding.status, finding.text) == (
        Status.OK,
        "the users of 1 objects are where their rows say; 1 more do not say, so all segments are"
        " read for them",
    )


def test_a_user_that_is_left_out_fails(client: VastClient) -> None:
    _set_uses(client, "a1", '{"f":0}')
    finding = references(client)
    assert (finding.status, finding.text) == (
        Status.FAILED,
        "1 of 2 objects have other users than their rows say",
    )
    assert finding.facts["wrong"] == ["a1"]
    assert "set the row `schema_version` of the table `service` to 2" in finding.advice


def test_of_many_objects_some_are_tried(
    client: VastClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_references, "_WANTED", 1)
    monkeypatch.setattr(probe_references, "_MOST", 0)
    for _ in range(20):
        assert references(client).status is Status.OK
    monkeypatch.setattr(probe_references, "hexdigits", "a" * 16)
    with emulator.counting() as calls:
        assert references(client).facts == {"objects": 0, "without": 0}
    counts = [call.ranges("id")[0].values for call in calls.on("objects") if call.predicate]
    assert len(counts) == 3  # "a", which is too many, "aa" and the objects of that


def test_a_cluster_that_fails_is_a_finding(client: VastClient, emulator: Emulator) -> None:
    emulator.faults.fail(500, kinds=("query",), times=None)
    finding = references(client)
    assert finding.status is Status.FAILED
    assert finding.text.startswith("objects cannot be read: the VAST cluster answered 500")
    assert not emulator.open_transactions()

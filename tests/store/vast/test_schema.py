"""Migrations of a catalog in the emulated cluster."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.scan import eq
from tams_gql.store.tables import FLOWS, SEGMENTS, SERVICE
from tams_gql.store.vast import schema
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import (
    GUARD_ROWS,
    GUARDS,
    LOCK,
    PHYSICAL,
    ROW_ID,
    physical_of,
    rows_to_batch,
)
from tams_gql.store.vast.schema import check, latest_version, migrate, require_current
from tams_gql.store.vast.wire.client import Tx, VastClient
from tests.processes import Process
from tests.store.vast.clusters import config_of
from tests.vast_emulator import Emulator
from tests.waiting import PATIENCE_SECONDS

_SERVICE = physical_of(SERVICE)
_NUMBERS = count()
_PROGRAM = """
import sys
from tams_gql.store.vast.wire.client import VastClient
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.schema import migrate

url, bucket = sys.argv[1:]
print("versions", *migrate(VastClient(VastConfig((url,), "AK", "SK", bucket))), flush=True)
"""


@pytest.fixture
def bucket(emulator: Emulator) -> Iterator[str]:
    """An empty bucket."""
    name = emulator.create_bucket(f"empty-{next(_NUMBERS)}")
    yield name
    emulator.drop_bucket(name)


@pytest.fixture
def new_client(emulator: Emulator, bucket: str) -> Iterator[Callable[..., VastClient]]:
    """Makes clients of the bucket."""
    with ExitStack() as stack:

        def new(**others: object) -> VastClient:
            client = VastClient(config_of(emulator, bucket, **others))
            return stack.enter_context(closing(client))

        yield new


def _service(client: VastClient) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in client.direct().select(_SERVICE, ("name", "value")).to_pylist():
        found.setdefault(row["name"], []).append(row["value"])
    return found


def _assert_whole(client: VastClient) -> None:
    service = _service(client)
    assert service.keys() == {"schema_version", "log_id", "log_floor"}
    assert service["schema_version"] == [str(latest_version())]
    assert service["log_floor"] == ["0"]
    (log_id,) = service["log_id"]
    assert len(log_id) == 8
    tx = client.begin()
    slots = tx.select(GUARDS, ("slot", LOCK))
    assert sorted(slots.column("slot").to_pylist()) == list(range(GUARD_ROWS))
    assert set(slots.column(LOCK).to_pylist()) == {0}
    for table in PHYSICAL:
        found = tx.select(table, table.schema.names, row_ids=True)
        assert found.schema.names == [*table.schema.names, ROW_ID]
        assert found.schema.field(ROW_ID).type == table.row_id


def test_an_empty_bucket_gets_a_whole_catalog(
    emulator: Emulator, new_client: Callable[..., VastClient]
) -> None:
    client = new_client()
    assert check(client) == (0, latest_version())
    with pytest.raises(Unavailable, match="run `tams-gql migrate`"):
        require_current(client)
    with emulator.counting() as rpcs:
        assert migrate(client) == (0, latest_version())
    assert rpcs["begin"] == rpcs["commit"] == 1  # all of it or nothing
    assert len(rpcs) <= 2 * len(PHYSICAL)
    require_current(client)
    assert check(client) == (latest_version(), latest_version())
    _assert_whole(client)
    before = _service(client)
    with emulator.counting() as rpcs:
        assert migrate(client) == (latest_version(), latest_version())
    assert dict(rpcs.counts) == {"begin": 1, "query": 1, "rollback": 1}
    assert _service(client) == before


def test_sorted_tables_are_sorted(emulator: Emulator, client: VastClient) -> None:
    tx = client.begin()
    segments = physical_of(SEGMENTS)
    place = client.config.bucket, client.config.schema, segments.name
    columns = tx.ask(lambda api: api.list_all_columns(*place, sorted_columns=False, txid=tx.txid))
    order = {
        field.name: field.metadata[b"VAST:sort_index"]
        for field in columns
        if field.metadata.get(b"VAST:sort_type") == b"Sorted"
    }
    assert sorted(order, key=lambda name: order[name]) == ["flow_id", "start_ns"]


def test_a_schema_may_be_nested_and_may_exist(
    emulator: Emulator, new_client: Callable[..., VastClient], bucket: str
) -> None:
    client = new_client(schema="media/tams")
    tx = client.begin()
    tx.change(lambda api: api.create_schema(bucket, "media", txid=tx.txid))
    tx.commit()
    assert migrate(client) == (0, latest_version())
    _assert_whole(client)


def test_a_missing_bucket_is_named(emulator: Emulator) -> None:
    with (
        closing(VastClient(config_of(emulator, "nowhere"))) as client,
        pytest.raises(Unavailable, match="the VAST cluster has no bucket 'nowhere'"),
    ):
        migrate(client)


def test_programs_that_start_together_make_one_catalog(
    emulator: Emulator, new_client: Callable[..., VastClient]
) -> None:
    clients = [new_client() for _ in range(4)]
    found: list[tuple[int, int]] = []
    threads = [threading.Thread(target=lambda c=c: found.append(migrate(c))) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    latest = latest_version()
    assert sorted(found) == [(0, latest), *[(latest, latest)] * 3]
    _assert_whole(clients[0])


def test_after_a_kill_another_program_migrates_afresh(
    emulator: Emulator, new_client: Callable[..., VastClient], bucket: str, tmp_path: Path
) -> None:
    fault = emulator.faults.hold("insert", table="guards")
    command = [sys.executable, "-c", _PROGRAM, emulator.url, bucket]
    first = Process(command, {}, Path.cwd())
    try:
        fault.wait_reached()
        first.stop(signal.SIGKILL, PATIENCE_SECONDS)
    finally:
        first.close()
        fault.release()
    emulator.faults.clear()
    client = new_client()
    assert check(client) == (0, latest_version())
    # Until the cluster lets the transaction of the killed program expire, its tables are taken.
    second = Process(command, {}, Path.cwd())
    try:
        with emulator.counting() as calls:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not any(rpc.status == 409 for rpc in list(calls.rpcs)):
                assert time.monotonic() < deadline, second.output
                time.sleep(0.01)
        emulator.expire_transactions()
        second.wait_for(rf"versions 0 {latest_version()}")
        assert second.ended() == 0
    finally:
        second.close()
    _assert_whole(client)


def test_patience_with_another_program_ends(
    emulator: Emulator,
    new_client: Callable[..., VastClient],
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schema, "_PATIENCE_SECONDS", 0.3)
    client = new_client()
    other = client.begin()
    other.change(lambda api: api.create_schema(bucket, "tams", txid=other.txid))
    with pytest.raises(Unavailable, match="another program is changing the schema"):
        migrate(client)
    other.rollback()
    assert migrate(client) == (0, latest_version())


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_commit_is_settled(
    emulator: Emulator, new_client: Callable[..., VastClient], applied: bool
) -> None:
    client = new_client()
    emulator.faults.drop_commit(applied=applied)
    found = migrate(client)
    assert found == ((latest_version() if applied else 0), latest_version())
    _assert_whole(client)


def test_a_lost_commit_that_cannot_be_settled_at_once_ends_nothing(
    emulator: Emulator, new_client: Callable[..., VastClient]
) -> None:
    client = new_client()
    emulator.faults.drop_commit(applied=True)
    # The first such question is whether the transaction lives in which no table was found.
    fault = emulator.faults.fail(500, kinds=("keep_alive",), nth=2)
    assert migrate(client) == (latest_version(), latest_version())
    assert fault.hits == 1
    _assert_whole(client)


@pytest.mark.parametrize("nth", [1, 5, 9, 14, 17, 19])
def test_a_failure_anywhere_leaves_nothing(
    emulator: Emulator, new_client: Callable[..., VastClient], nth: int
) -> None:
    client = new_client()
    kinds = ("create_schema", "create_table", "insert", "query", "list_tables")
    fault = emulator.faults.fail(500, kinds=kinds, nth=nth)
    with pytest.raises(Unavailable, match="the VAST cluster answered 500"):
        migrate(client)
    assert fault.hits == 1
    assert emulator.open_transactions() == []
    assert check(client) == (0, latest_version())
    migrate(client)
    _assert_whole(client)


def test_what_exists_already_is_completed(new_client: Callable[..., VastClient]) -> None:
    client = new_client()
    migrate(client)
    log_id = _service(client)["log_id"]
    tx = client.begin()
    version = tx.select(_SERVICE, (), [eq("name", "schema_version")], row_ids=True)
    tx.delete(_SERVICE, version.column(ROW_ID))
    slots = [eq("slot", 5)], [eq("slot", GUARD_ROWS - 1)]
    for slot in slots:
        tx.delete(GUARDS, tx.select(GUARDS, (), slot, row_ids=True).column(ROW_ID))
    config = client.config
    tx.change(lambda api: api.drop_table(config.bucket, config.schema, FLOWS.name, txid=tx.txid))
    tx.commit()
    assert migrate(client) == (0, latest_version())
    _assert_whole(client)
    assert _service(client)["log_id"] == log_id


def test_tables_of_others_are_left_alone(
    new_client: Callable[..., VastClient], bucket: str
) -> None:
    client = new_client()
    tx = client.begin()
    columns = pa.schema([("id", pa.int64())])
    tx.change(lambda api: api.create_schema(bucket, "tams", txid=tx.txid))
    tx.change(lambda api: api.create_table(bucket, "tams", "flows", columns, txid=tx.txid))
    tx.commit()
    expected = "table 'flows' in schema 'tams' has other columns: the schema belongs to another"
    with pytest.raises(Unavailable, match=expected):
        migrate(client)


def _set_version(client: VastClient, version: int) -> None:
    tx = client.begin()
    found = tx.select(_SERVICE, (), [eq("name", "schema_version")], row_ids=True)
    ids = found.column(ROW_ID).combine_chunks()
    tx.update(_SERVICE, pa.record_batch([ids, [str(version)]], names=[ROW_ID, "value"]))
    tx.commit()


def test_a_newer_catalog_is_refused(client: VastClient) -> None:
    newer = latest_version() + 1
    _set_version(client, newer)
    message = (
        f"the catalog has schema version {newer}, this program knows {latest_version()}:"
        " a newer release wrote it"
    )
    for refuse in (migrate, require_current):
        with pytest.raises(Unavailable) as refused:
            refuse(client)
        assert str(refused.value) == message
    assert check(client) == (newer, latest_version())


def test_upgrades_are_steps_in_one_transaction(
    emulator: Emulator, client: VastClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = latest_version()

    def add_column(tx: Tx, config: VastConfig) -> None:
        place = config.bucket, config.schema, FLOWS.name
        column = pa.schema([("colour", pa.string())])
        tx.change(lambda api: api.add_columns(*place, column, txid=tx.txid))

    def add_row(tx: Tx, config: VastConfig) -> None:
        tx.insert(_SERVICE, rows_to_batch(_SERVICE, ("name",), [("colour",)]))

    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, add_column, add_row))
    needed = f"schema version {before}, this program needs {before + 2}: run `tams-gql migrate`"
    with pytest.raises(Unavailable, match=needed):
        require_current(client)
    emulator.faults.fail(500, kinds=("update",), table="service")
    with pytest.raises(Unavailable):
        migrate(client)
    assert check(client) == (before, before + 2)
    assert migrate(client) == (before, before + 2)
    require_current(client)
    assert _service(client)["schema_version"] == [str(before + 2)]
    assert "colour" in _service(client)

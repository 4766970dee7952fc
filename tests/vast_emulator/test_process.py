"""The emulator as a process of its own, controlled over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import ibis
import pyarrow as pa
import pytest
import vastdb
from vastdb import errors

from tests.vast_emulator import Emulator, RemoteEmulator, emulator_process
from tests.vast_emulator.driving import Driver

COLUMNS = pa.schema({"id": pa.utf8(), "n": pa.int64()})
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteEmulator]:
    """An emulator process with other keys."""
    with emulator_process("--access-key", "K2", "--secret-key", "S2", "--bucket", "a") as remote:
        yield remote


@pytest.fixture
def session(remote: RemoteEmulator) -> Iterator[vastdb.session.Session]:
    """The SDK on a bucket with one table."""
    remote.create_bucket("a")
    session = vastdb.connect(endpoint=remote.url, access="K2", secret="S2", timeout=20)
    with session.transaction() as tx:
        tx.bucket("a").create_schema("s").create_table("t", COLUMNS)
    yield session
    remote.clear_faults()
    remote.expire_transactions()
    session.api.__exit__()


def insert(session: vastdb.session.Session, *ids: str) -> None:
    with session.transaction() as tx:
        rows = pa.table({"id": list(ids), "n": [0] * len(ids)}, schema=COLUMNS)
        tx.bucket("a").schema("s").table("t").insert(rows)


def ids(session: vastdb.session.Session, bucket: str = "a") -> list[str]:
    with session.transaction() as tx:
        found = tx.bucket(bucket).schema("s").table("t").select(columns=["id"]).read_all()
        values: list[str] = found["id"].to_pylist()
        return values


def test_the_program_prints_its_url_and_ends_on_sigterm() -> None:
    options = "--conflict none --vip 10.0.0.1 --check-access-key false --latency-ms 1.5"
    command = [sys.executable, "-m", "tests.vast_emulator", *options.split()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        switches = RemoteEmulator(url).switch()
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(60) == 0
    assert (switches["conflict"], switches["latency_ms"], switches["vips"]) == (
        "none",
        1.5,
        ["10.0.0.1"],
    )
    assert switches["check_access_key"] is False


def test_starting_it_imports_no_sdk() -> None:
    code = "import sys, tests.vast_emulator; print({'vastdb', 'ibis'} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "set()\n"


def test_counting(remote: RemoteEmulator, session: vastdb.session.Session) -> None:
    insert(session, "x", "y")
    before = remote.counts
    with remote.counting() as rpcs, session.transaction() as tx:
        table = tx.bucket("a").schema("s").table("t")
        table.select(columns=["n"], predicate=ibis._.id == "y").read_all()
    assert rpcs.counts == remote.counts - before
    (query,) = [rpc for rpc in rpcs.rpcs if rpc["kind"] == "query"]
    assert query["predicate"] == [{"column": "id", "ranges": [["==", "y"]]}]
    assert (query["rows"], query["rows_scanned"], query["columns"]) == (1, 2, ["n"])
    assert rpcs.connections == 3  # the pool's, one to find the listed addresses, the query's


def test_switches_and_copies(remote: RemoteEmulator, session: vastdb.session.Session) -> None:
    insert(session, "x")
    remote.copy_bucket("a", "b")
    insert(session, "y")
    assert ids(session, "b") == ["x"]
    assert ids(session) == ["x", "y"]
    remote.drop_bucket("b")
    with pytest.raises(errors.MissingBucket):
        ids(session, "b")
    assert remote.switch(isolation="read_committed")["isolation"] == "read_committed"
    assert remote.switch(isolation="snapshot")["isolation"] == "snapshot"


def test_faults(remote: RemoteEmulator, session: vastdb.session.Session) -> None:
    fault = remote.fault("error", kinds=["write"], status=409, nth=2)
    insert(session, "x")
    with pytest.raises(errors.Conflict):
        insert(session, "y")
    assert fault.hits == 1
    fault.remove()
    with pytest.raises(ValueError, match="KeyError"):
        fault.state()
    insert(session, "z")
    assert ids(session) == ["x", "z"]


def test_holding_a_commit(remote: RemoteEmulator, session: vastdb.session.Session) -> None:
    held = remote.fault("hold", kinds=["commit"], table="t")
    with pytest.raises(TimeoutError):
        held.wait_reached(0.0)
    thread = threading.Thread(target=insert, args=(session, "late"))
    thread.start()
    held.wait_reached()
    assert len(remote.open_transactions()) == 1
    held.release()
    thread.join()
    assert ids(session) == ["late"]


def test_expiring(remote: RemoteEmulator, session: vastdb.session.Session) -> None:
    lost = session.transaction().__enter__()
    assert remote.open_transactions() == [lost.txid]
    assert remote.expire_transactions() == 1
    with pytest.raises(errors.NotFound):
        session.api.get_transaction(lost.txid)


@pytest.mark.parametrize(
    ("method", "path", "values", "reason"),
    [
        ("PUT", "switches", {"isolation": "none"}, "isolation must be one of"),
        ("POST", "faults", {"action": "explode"}, "action must be one of"),
        ("POST", "faults", {"action": "error", "sauce": 1}, "TypeError"),
        ("POST", "buckets/none/copy", {"to": "x"}, "bucket 'none' does not exist"),
        ("GET", "nothing", None, "unknown control request"),
    ],
)
def test_refusals(
    remote: RemoteEmulator, method: str, path: str, values: dict[str, object] | None, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        remote.request(method, path, values)


def test_an_emulator_of_this_process_is_controlled_in_the_same_way(
    emulator: Emulator, driver: Driver
) -> None:
    remote = RemoteEmulator(emulator.url)
    tx = driver.begin()
    assert remote.open_transactions() == emulator.open_transactions() == [tx.txid]


def test_stopping_closes_port_and_connections() -> None:
    with Emulator() as emulator:
        session = vastdb.connect(**emulator.session)
    with pytest.raises(errors.ConnectionError):
        session.api.begin_transaction()
    session.api.__exit__()

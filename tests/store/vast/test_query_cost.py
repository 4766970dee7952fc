"""What reads cost: calls, connections, and processor time next to the SDK's own."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tams_gql.store.scan import Op, compare, eq, is_in
from tams_gql.store.tables import FLOWS, SEGMENTS
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, physical_of, rows_to_batch
from tams_gql.store.vast.wire.client import VastClient
from tests.vast_emulator import Emulator

_FLOWS = physical_of(FLOWS)
_SEGMENTS = physical_of(SEGMENTS)
_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def filled(client: VastClient) -> VastClient:
    """A client of a catalog with a thousand flows."""
    tx = client.begin()
    rows = [(f"{i:04}", f"label {i}") for i in range(1000)]
    tx.insert(_FLOWS, rows_to_batch(_FLOWS, ("id", "label"), rows))
    tx.commit()
    return client


def test_a_look_at_one_row_is_three_calls(emulator: Emulator, filled: VastClient) -> None:
    with emulator.counting() as rpcs:
        tx = filled.begin()
        assert tx.select(_FLOWS, ("label",), [eq("id", "0007")]).to_pylist() == [
            {"label": "label 7"}
        ]
        tx.rollback()
    assert [rpc.kind for rpc in rpcs.rpcs] == ["begin", "query", "rollback"]
    assert rpcs.connections == 1


@pytest.mark.parametrize("keys", [1, 10, 200, 300])
def test_any_number_of_keys_is_one_call(emulator: Emulator, filled: VastClient, keys: int) -> None:
    tx = filled.begin()
    with emulator.counting() as rpcs:
        found = tx.select(_FLOWS, ("id",), [is_in("id", [f"{i:04}" for i in range(keys)])])
    assert found.num_rows == keys
    assert dict(rpcs.counts) == {"query": 1}
    assert rpcs.connections == 1


def test_only_what_is_asked_for_travels(emulator: Emulator, filled: VastClient) -> None:
    tx = filled.begin()
    with emulator.counting() as rpcs:
        found = tx.select(_FLOWS, ("id",), [compare("label", Op.CONTAINS, "9%")], row_ids=True)
        assert (found.num_rows, found.column_names) == (0, ["id", ROW_ID])
        assert tx.count(_FLOWS, [compare("label", Op.PREFIX, "label 9")]) == 111
    searched, counted = rpcs.of("query")
    # The wildcard is checked here, so that column has to come along.
    assert searched.columns == ("id", "label", ROW_ID)
    assert counted.columns == ()
    assert searched.pushed_columns == counted.pushed_columns == {"label"}


def test_a_window_of_a_flow_scans_no_other_flow(emulator: Emulator, client: VastClient) -> None:
    tx = client.begin()
    columns = ("flow_id", "start_ns", "end_ns")
    rows = [(f"{flow:03}", i, i + 1) for flow in range(100) for i in range(1500)]
    tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, columns, rows))
    where = [
        eq("flow_id", "050"),
        compare("start_ns", Op.GE, 100),
        compare("start_ns", Op.LT, 110),
        compare("end_ns", Op.GT, 105),
    ]
    with emulator.counting() as rpcs:
        assert tx.select(_SEGMENTS, columns, where).num_rows == 5
    (query,) = rpcs.of("query")
    assert query.rows_in_key_range == 10
    assert query.pushed_columns == {"flow_id", "start_ns", "end_ns"}


def test_threads_share_connections(emulator: Emulator, filled: VastClient) -> None:
    def look(i: int) -> int:
        tx = filled.begin()
        try:
            return int(tx.select(_FLOWS, ("id",), [eq("id", f"{i:04}")]).num_rows)
        finally:
            tx.rollback()

    with emulator.counting() as rpcs, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, range(200))) == [1] * 200
    assert rpcs.connections <= 8
    assert len(rpcs) == 600


def test_close_leaves_no_thread_and_no_connection(emulator: Emulator, config: VastConfig) -> None:
    before = set(threading.enumerate())
    with closing(VastClient(config)) as client:
        tx = client.begin()
        assert tx.count(_FLOWS, [is_in("id", [str(i) for i in range(12_000)])]) == 0
        mine = [t for t in threading.enumerate() if t.name.startswith("vast-part")]
        assert 1 <= len(mine) <= 4
        tx.rollback()
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("vast")]


def test_ours_is_the_cheapest_select() -> None:
    command = [sys.executable, "-m", "bench.vast_select", "--rounds", "3", "--rows", "800"]
    command += ["--flows", "1", "--flows", "300"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, *lines = [line.split() for line in done.stdout.splitlines()]
    assert head == ["flows", "rows", "way", "CPU", "ms", "wall", "ms", "calls", "connections"]
    cost = {(int(line[0]), line[2]): (float(line[3]), float(line[5])) for line in lines}
    assert len(cost) == 6
    for flows in (1, 300):
        naive, plain, ours = (cost[flows, way] for way in ("naive", "plain", "ours"))
        assert (naive[1], plain[1], ours[1]) == (10, 1, 1)
        assert 2 * ours[0] < plain[0] < naive[0]

"""The benchmark on a small catalog: it runs, compares every answer, and reports all it promises."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]
QUERIES = ("Q1", "Q2", "Q3", "Q4")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of one flow with segments among a thousand."""
    directory = tmp_path_factory.mktemp("bench")
    made = bench("generate", "--segments", "200", "--data-dir", str(directory))
    assert made.returncode == 0, made.stderr
    return directory


def test_a_run_compares_all_answers_and_reports_every_part(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    run = bench(
        *("run", "--data-dir", str(data_dir), "--output", str(output)),
        *("--seconds", "0", "--rounds", "1"),  # each connection asks once, on any machine
    )
    assert run.returncode == 0, run.stderr
    results: dict[str, Any] = orjson.loads(output.read_bytes())
    assert {name: len(calls) for name, calls in results["trips"].items()} == {
        "Q1": 4,
        "Q2": 2,
        "Q3": 1,
        "Q4": 1,
    }
    requests = {
        (query, server, connections): cell["requests"]
        for query, servers in results["queries"].items()
        for server, by_connections in servers.items()
        for connections, cell in by_connections.items()
    }
    assert requests == {
        (query, server, connections): int(connections)
        for query in QUERIES
        for server in ("ours", "floor")
        for connections in ("1", "8")
    }
    ingest = results["ingest"]["ours"]
    assert ingest["register"]["segments"] == 800
    assert ingest["upload"]["segments"] == 160
    deliveries = {n: seen["deliveries"] for n, seen in results["delivery"]["ours"].items()}
    assert deliveries == {"1": 3, "100": 300}
    for title in ("round trips", "CPU ms/req", "segments/s", "sent to delivery p50 ms"):
        assert title in run.stdout


WRONG_COUNTERS = """
    SELECT count(*) FROM flow_counters c LEFT JOIN (
        SELECT flow_id, count(*) AS n, sum(size) AS bytes, sum(end_ns - start_ns) AS duration,
               min(start_ns) AS first, max(end_ns) AS last FROM segments GROUP BY flow_id
    ) s USING (flow_id)
    WHERE c.segment_count <> coalesce(s.n, 0) OR c.bytes <> coalesce(s.bytes, 0)
       OR c.duration_ns <> coalesce(s.duration, 0)
       OR c.min_start_ns IS NOT s.first OR c.max_end_ns IS NOT s.last"""
WRONG_REFERENCES = """
    SELECT count(*) FROM objects o
    WHERE ref_count <> (SELECT count(*) FROM segments s WHERE s.object_id = o.id)"""
WRONG_FLOW_COUNTS = """
    SELECT count(*) FROM sources s
    WHERE flow_count <> (SELECT count(*) FROM flows f WHERE f.source_id = s.id)"""


def test_the_generated_catalog_is_consistent(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "catalog.sqlite3")) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("sources", "flows", "segments", "objects", "tag_index")
        ]
        wrong = [
            connection.execute(rule).fetchone()[0]
            for rule in (WRONG_COUNTERS, WRONG_REFERENCES, WRONG_FLOW_COUNTS)
        ]
    assert counts == [334, 1002, 200, 180, 3 * 334 + 2 * 1002]
    assert wrong == [0, 0, 0]


def test_the_same_catalog_is_used_again(data_dir: Path) -> None:
    before = (data_dir / "catalog.sqlite3").stat().st_mtime_ns
    again = bench("generate", "--segments", "200", "--data-dir", str(data_dir))
    assert (again.returncode, again.stdout) == (0, f"{data_dir} holds the catalog already\n")
    assert (data_dir / "catalog.sqlite3").stat().st_mtime_ns == before


def test_a_catalog_that_was_not_generated_is_left_alone(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.sqlite3"
    catalog.write_bytes(b"somebody's work")
    refused = bench("generate", "--segments", "200", "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"bench: {tmp_path} holds a catalog that was not generated; choose another\n"
    )
    assert catalog.read_bytes() == b"somebody's work"

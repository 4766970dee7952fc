"""``tams-gql worker``, killed in the middle of its work."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tams_gql.opening import open_services
from tams_gql.settings import Settings
from tests.lifecycle.orphans import fill, state
from tests.processes import Process
from tests.waiting import PATIENCE_SECONDS, eventually


def test_a_worker_whose_work_breaks_off_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("no thread to be had")

    monkeypatch.setattr("tams_gql.resolvers.worker.keep_working", broken)
    monkeypatch.setattr("tams_gql.cli.worker.configure_logs", lambda *_: None)
    with caplog.at_level(logging.ERROR):
        done = CliRunner().invoke(main, ["worker", "--data-dir", str(tmp_path / "d")])
    assert done.exit_code == 1
    (record,) = caplog.records
    assert record.message == "the background work broke off"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "no thread to be had"


def files_of(data_dir: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(data_dir / "media" / "objects" / "objects"))


async def test_a_killed_worker_leaves_nothing_behind_that_another_does_not_find(
    tmp_path: Path,
) -> None:
    count = 500
    data_dir = tmp_path / "data"
    settings = Settings(data_dir=data_dir, sqlite_synchronous="normal")
    async with open_services(settings) as services:
        await fill(services, count)
    assert files_of(data_dir) == count
    command = [sys.executable, "-m", "tams_gql", "worker"]
    env = {
        "TAMS_DATA_DIR": str(data_dir),
        "TAMS_JOB_LEASE": "2",
        "TAMS_SQLITE_SYNCHRONOUS": "normal",
    }
    process = Process(command, env, tmp_path)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while files_of(data_dir) == count:
            assert time.monotonic() < deadline, process.output
            await asyncio.sleep(0.001)
        process.child.send_signal(signal.SIGKILL)
        process.ended()
    finally:
        process.close()
    assert files_of(data_dir) > 0
    async with open_services(settings) as services:
        in_objects, in_jobs, stored = await state(services)
    # Each key is either part of an object, with its bytes, or the matter of a job, or gone.
    assert in_objects <= stored
    assert in_objects.isdisjoint(in_jobs)
    assert stored <= in_objects | in_jobs
    process = Process(command, env, tmp_path)
    try:
        async with open_services(settings) as services:

            async def is_clean() -> bool:
                return await state(services) == (set(), set(), set())

            await eventually(is_clean)
        assert process.stop(signal.SIGTERM, PATIENCE_SECONDS)[0] == 0
        assert "Traceback" not in process.output, process.output
    finally:
        process.close()
